//! Workloads: who runs where.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Health, PolicyName, ServiceName, Topology, Waypoints, WorkloadName};

/// A Pod, a VM or a process with addresses of its own. There may be very many: what they have in
/// common is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Namespace and name.
    pub name: Arc<WorkloadName>,
    /// What its [`Workload::uid`] begins with: cluster, API group and kind.
    pub uid_prefix: Arc<str>,
    /// Its addresses.
    pub addresses: Box<[IpAddr]>,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Trust domain of its identity, empty for [`Workload::DEFAULT_TRUST_DOMAIN`]: see
    /// [`Workload::trust_domain`].
    pub trust_domain: Arc<str>,
    /// Kubernetes service account, empty when unknown.
    pub service_account: Arc<str>,
    /// Where it runs.
    pub topology: Arc<Topology>,
    /// Health.
    pub health: Health,
    /// Services that it serves.
    pub services: Arc<[ServiceName]>,
    /// Policies whose selector matches it.
    pub policies: Arc<[PolicyName]>,
    /// What TCP connections to `addresses` go by.
    pub waypoints: Waypoints,
}

// === impl Workload ===

impl Workload {
    /// The trust domain of a mesh that names none, which Istio's workload API leaves out.
    pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

    /// Trust domain of its identity, never empty.
    pub fn trust_domain(&self) -> &str {
        match &*self.trust_domain {
            "" => Self::DEFAULT_TRUST_DOMAIN,
            named => named,
        }
    }

    /// Unique id as Istio forms it, such as `Kubernetes//Pod/<namespace>/<name>`.
    pub fn uid(&self) -> String {
        format!("{}/{}", self.uid_prefix, self.name)
    }
}
