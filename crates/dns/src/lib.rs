//! The mesh's DNS on one node: a server inside each enrolled network namespace, which answers the
//! names of services itself and passes everything else on to the resolvers that the pod had.
//!
//! [`NameTable`] decides what a name means, without I/O. [`Resolver`] holds it for all servers,
//! with the cache of passed-on answers and the counters. [`Server`] answers the clients of one
//! namespace. [`Lookups`] is the other direction: it keeps the addresses of names that the
//! configuration mentions.
//!
//! Followed: RFC 1034 and 1035 (messages), 2181 section 9 (truncation), 2308 (negative answers),
//! 3225 (DO), 5452 (matching replies), 6891 (EDNS), 7766 (TCP), 9619 (one question). Names are
//! not rewritten and nothing is validated: DNSSEC records pass through as they are.
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod counters;
mod forward;
mod lookups;
mod names;
mod resolv_conf;
mod resolver;
mod schedule;
mod server;
mod sockets;
mod tcp;
mod wire;

#[cfg(test)]
mod tests;

pub use counters::Counts;
pub use lookups::{Addresses, Ask, HostAsk, LookupFailed, Lookups, Resolution};
pub use names::{Found, NameTable};
pub use resolv_conf::nameservers;
pub use resolver::Resolver;
pub use server::{ClientIdentity, Listeners, Server, ServerOptions};
pub use sockets::{OwnSockets, SocketFactory};

/// TTL of what the name table answers, in seconds. Short, since clients keep what they were told
/// when a service changes.
pub const TABLE_TTL_SECONDS: u32 = 30;
