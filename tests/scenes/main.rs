//! Scenes: a client, servers and a daemon on one node, each in network namespaces, a cgroup and a
//! bpffs of the scene's own. Every name says the topology and what must hold in it.
//!
//! `cargo build -p kmesh-daemon -p kmeshctl` first; then `cargo test -p scenes -- --test-threads=1`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a scene that meets something unexpected stops there"
)]

/// All of them need root; without it they fail.
mod root {
    mod admin;
    mod authz;
    mod balancing;
    mod bench;
    mod check;
    mod churn;
    mod config;
    mod dns;
    mod enrolment;
    mod events;
    mod kubernetes;
    mod lifecycle;
    mod limits;
    mod load;
    mod locality;
    mod modes;
    mod ports;
    mod reachability;
    mod refusal;
    mod reuse;
    mod several;
    mod sockets;
    mod udp;
    mod v4v6;
    mod waypoint;
    mod xds;
}
