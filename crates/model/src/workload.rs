//! Workloads: who runs where.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Health, Locality, ServiceName, WorkloadName};

/// A Pod, a VM or a process with addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Namespace and name.
    pub name: WorkloadName,
    /// Unique id as Istio forms it, such as `Kubernetes//Pod/<namespace>/<name>`.
    pub uid: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels, which many workloads have in common.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Kubernetes service account, empty when unknown.
    pub service_account: String,
    /// Where it runs.
    pub locality: Locality,
    /// Name of its node, empty when unknown.
    pub node: String,
    /// Name of its network, empty for the mesh's own.
    pub network: String,
    /// Name of its cluster, empty for the mesh's own.
    pub cluster: String,
    /// Health.
    pub health: Health,
    /// Services that it serves.
    pub services: Vec<ServiceName>,
}
