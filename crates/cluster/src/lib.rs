//! A real Kubernetes of two nodes and a real istiod on one machine, for end-to-end tests and benches.
//!
//! A node is a set of namespaces: network, mounts, host name and cgroups. Inside it, paths are
//! those of production (`/etc/cni/net.d`, `/opt/cni/bin`, `/var/lib/kubelet`, `/run`, `/sys/fs/bpf`), and
//! none of them is the host's. The node's first
//! process ends when its maker does, however that ends, and kills every process in the node's cgroup; mounts and
//! network go with the last of them.
//!
//! A failure of the bench is a failure of the test: functions here panic, with what was being done and
//! what to do about it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "test code: a cluster that cannot be set up must stop the test"
)]

pub mod app;
mod cgroups;
mod cluster;
mod component;
mod control_plane;
mod dns;
pub mod image;
pub mod istiod;
mod kubectl;
mod network;
mod node;
pub mod node_init;
mod programs;
mod proxy;
mod worker;

pub use cluster::{Cluster, Options, write_test_image};
pub use component::Component;
pub use control_plane::API_PORT;
pub use dns::ClusterDns;
pub use istiod::Istiod;
pub use kubectl::Kubectl;
pub use node::Node;
pub use programs::Programs;
pub use proxy::KubeProxy;
pub use worker::NODE_LABEL;
