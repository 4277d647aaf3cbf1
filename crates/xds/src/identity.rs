//! Who asks a control plane, in the terms of Istio.

use std::net::IpAddr;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::wire::discovery::Node;

/// The role of a node proxy: istiod tells it everything, not only what one workload needs.
const ROLE: &str = "ztunnel";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the pod.
    pub pod_name: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its address.
    pub instance_ip: IpAddr,
    /// Name of the node.
    pub node_name: String,
    /// Name of the cluster.
    pub cluster_id: String,
    /// Name of the mesh.
    pub mesh_id: String,
    /// Name of the network, empty for the mesh's own.
    pub network: String,
}

// === impl Identity ===

impl Identity {
    /// As xDS wants it: an id of role, address, pod and domain, and Istio's bootstrap metadata.
    pub fn node(&self) -> Node {
        let Self { pod_name, pod_namespace, instance_ip, .. } = self;
        let id = format!(
            "{ROLE}~{instance_ip}~{pod_name}.{pod_namespace}~{pod_namespace}.svc.cluster.local"
        );
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = [
            ("NAMESPACE", text(pod_namespace)),
            ("CLUSTER_ID", text(&self.cluster_id)),
            // A list to Istio, which it writes as one string with commas; it refuses a list of JSON.
            ("INSTANCE_IPS", text(&instance_ip.to_string())),
            ("MESH_ID", text(&self.mesh_id)),
            ("NETWORK", text(&self.network)),
            ("NODE_NAME", text(&self.node_name)),
            ("SERVICE_ACCOUNT", text(&self.service_account)),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Node { id, metadata: Some(Struct { fields }), ..Node::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_a_node_proxy() {
        let identity = Identity {
            pod_name: "kmesh-x".into(),
            pod_namespace: "kmesh-system".into(),
            service_account: "kmesh".into(),
            instance_ip: [192, 0, 2, 7].into(),
            node_name: "n1".into(),
            cluster_id: "Kubernetes".into(),
            mesh_id: "cluster.local".into(),
            network: String::new(),
        };
        let node = identity.node();
        assert_eq!(
            node.id,
            "ztunnel~192.0.2.7~kmesh-x.kmesh-system~kmesh-system.svc.cluster.local"
        );
        let fields = node.metadata.unwrap().fields;
        assert_eq!(fields["NODE_NAME"].kind, Some(Kind::StringValue("n1".into())));
        assert_eq!(fields["INSTANCE_IPS"].kind, Some(Kind::StringValue("192.0.2.7".into())));
    }
}
