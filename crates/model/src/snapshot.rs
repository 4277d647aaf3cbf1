//! The whole mesh at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Locality, Map, Policy, PolicyName, Service, ServiceName, Workload, WorkloadName};

/// The mesh as one node sees it. Parts that did not change are shared with the snapshot before, so
/// that the work after a change is in proportion to the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All services.
    pub services: Map<ServiceName, Arc<Service>>,
    /// All workloads.
    pub workloads: Map<Arc<WorkloadName>, Arc<Workload>>,
    /// All policies.
    pub policies: Map<PolicyName, Arc<Policy>>,
    /// Labels of each namespace.
    pub namespaces: Map<String, Arc<BTreeMap<String, String>>>,
    /// What is known of each node, by its name.
    pub nodes: Map<String, Arc<NodeFacts>>,
}

/// What the configuration says about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Where it is.
    pub locality: Locality,
    /// Its own addresses, where node ports are dialled.
    pub addresses: Vec<IpAddr>,
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
    /// Its own addresses, where node ports are dialled.
    pub addresses: Vec<IpAddr>,
    /// What happens to destinations that nothing names.
    pub outbound_policy: OutboundPolicy,
}

/// `outboundTrafficPolicy.mode` of Istio's mesh configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutboundPolicy {
    /// They are left alone.
    #[default]
    AllowAny,
    /// They are refused, unless they are addresses of services, workloads or ServiceEntries.
    RegistryOnly,
}

// === impl Node ===

impl Node {
    /// The node with what the configuration says about it in the place of what is not known here.
    pub fn completed(&self, snapshot: &Snapshot) -> Self {
        let mut node = self.clone();
        let Some(facts) = snapshot.nodes.get(&self.name) else { return node };
        if node.locality == Locality::default() {
            node.locality = facts.locality.clone();
        }
        if node.addresses.is_empty() {
            node.addresses = facts.addresses.clone();
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_learns_what_it_was_not_told() {
        let facts = NodeFacts {
            locality: Locality::parse("eu/a/rack1"),
            addresses: vec![[192, 0, 2, 1].into()],
        };
        let nodes = [("n1".to_owned(), Arc::new(facts))].into_iter().collect();
        let snapshot = Snapshot { nodes, ..Snapshot::default() };
        let named = |name: &str| Node { name: name.to_owned(), ..Node::default() };
        let completed = named("n1").completed(&snapshot);
        assert_eq!(completed.locality, Locality::parse("eu/a/rack1"));
        assert_eq!(completed.addresses, [IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(named("n2").completed(&snapshot), named("n2"));
        let told = Node {
            locality: Locality::parse("us"),
            addresses: vec![[203, 0, 113, 1].into()],
            ..named("n1")
        };
        assert_eq!(told.completed(&snapshot), told);
    }
}
