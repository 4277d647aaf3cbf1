//! The messages, generated from `proto/`.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, reason = "generated")]

/// Services and workloads.
pub mod workload {
    tonic::include_proto!("istio.workload");
}

/// Policies.
pub mod security {
    tonic::include_proto!("istio.security");
}

/// The transport.
pub mod discovery {
    tonic::include_proto!("envoy.service.discovery.v3");
}

/// What the other messages cannot say.
pub mod details {
    tonic::include_proto!("kmesh.workload");
}
