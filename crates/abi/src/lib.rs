//! Rust twins of the structs that the kernel programs and user space share.
//!
//! `bpf/include/kmesh/abi.h` is the other half. Layouts are not trusted: a test of `datapath`
//! compares the size and every offset of each type here with the BTF of the built object, through
//! the table in [`layout`]. Addresses are 16 bytes in network order, IPv4 in its v4-mapped form
//! (RFC 4291, section 2.5.5.2); ports in keys and values are in network order.
#![forbid(unsafe_code)]

pub mod authz;
pub mod dns;
pub mod layout;
pub mod limits;
pub mod pool;
mod reason;
mod types;
pub mod waypoint;
pub mod write;

pub use reason::{Outcome, Reason};
pub use types::*;
pub use write::{Contents, Write};
