//! Names of things, each with its namespace.

use std::fmt;

/// A service: `namespace/hostname`, as in the resource names of Istio's workload discovery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Fully qualified host name, such as `web.shop.svc.cluster.local`.
    pub hostname: String,
}

/// A workload: `namespace/name` of a Pod or a WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name of the Pod or WorkloadEntry.
    pub name: String,
}

impl ServiceName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, hostname: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), hostname: hostname.into() }
    }
}

impl WorkloadName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
