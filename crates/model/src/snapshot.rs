//! The whole mesh at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Locality, Service, ServiceName, Workload, WorkloadName};

/// The mesh as one node sees it. Parts that did not change are shared with the snapshot before, so
/// that the work after a change is in proportion to the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All services.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// All workloads.
    pub workloads: BTreeMap<WorkloadName, Arc<Workload>>,
    /// Labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

/// The node that a plan is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name, as in `nodeName` of an endpoint.
    pub name: String,
    /// Where it is.
    pub locality: Locality,
    /// Its network, empty for the mesh's own.
    pub network: String,
    /// Its cluster, empty for the mesh's own.
    pub cluster: String,
}
