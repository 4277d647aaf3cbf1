//! Hosts as network namespaces, real servers in them, and a daemon under test: the bench that
//! scenes, benches and the demo share.
//!
//! Everything made here is named `kmesh-<scene>-<pid>-<n>` and is removed on Drop. What a killed
//! process left behind is found by that name and removed by the next scene of that name ([`sweep`]). Nothing
//! here touches the interfaces, the cgroups or the bpffs of the host itself, so scenes run beside
//! a daemon that is already there and beside each other.
//!
//! A failure of the bench is a failure of the test: functions here panic, with what was being
//! done and what to do about it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "test code: a bench that cannot be set up must stop the test"
)]

mod admin;
mod api_server;
mod bpffs;
mod cgroup;
mod client;
mod cni;
mod command;
mod container;
mod control;
mod daemon;
mod ident;
mod interrupt;
mod mounts;
mod name_server;
mod network;
mod nginx;
mod pod;
mod privilege;
mod recorder;
mod scene;
mod servers;
mod stats;
mod sweep;
mod table;
mod wait;
pub mod yaml;

#[cfg(test)]
mod tests;

pub use admin::Response;
pub use api_server::ApiServer;
pub use bpffs::Bpffs;
pub use cgroup::Cgroup;
pub use client::{Answer, ask, ask_udp};
pub use cni::{CniAnswer, CniCall, PREVIOUS};
pub use command::{OwnChild, must, output};
pub use container::{CgroupDriver, Container};
pub use control::Control;
pub use daemon::{Daemon, DaemonOptions, binary};
pub use ident::{Ident, is_leftover};
pub use interrupt::{Interrupt, Interrupted};
pub use mounts::{cgroup2_mount, own_cgroup};
pub use name_server::NameServer;
pub use network::Network;
pub use nginx::Nginx;
pub use pod::Pod;
pub use privilege::require_root;
pub use recorder::{Recorder, Reply};
pub use scene::Scene;
pub use servers::{Family, Servers};
pub use stats::within_sigma;
pub use sweep::sweep;
pub use table::table;
pub use wait::{Polled, patient, try_until, wait_until};
