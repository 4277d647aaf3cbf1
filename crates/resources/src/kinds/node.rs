//! v1 Node: the well-known labels that say where its pods are, and its own addresses
//! (<https://kubernetes.io/docs/reference/labels-annotations-taints/>).

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{Locality, NodeFacts};

use crate::findings::Findings;
use crate::object::Body;
use crate::values;

pub(super) const REGION: &str = "topology.kubernetes.io/region";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const SUBZONE: &str = "topology.istio.io/subzone";
pub(super) const HOST_NAME: &str = "kubernetes.io/hostname";

pub(super) fn read(api: Node, findings: &mut Findings) -> (ObjectMeta, Body) {
    let labels = api.metadata.labels.as_ref();
    let label = |name| labels.and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
    let locality = Locality { region: label(REGION), zone: label(ZONE), subzone: label(SUBZONE) };
    let mut addresses = Vec::new();
    let list = api.status.as_ref().and_then(|status| status.addresses.as_deref());
    for (index, api) in list.unwrap_or_default().iter().enumerate() {
        // The others are names.
        if !matches!(api.type_.as_str(), "InternalIP" | "ExternalIP") {
            continue;
        }
        match values::address(&api.address) {
            Ok(address) if !addresses.contains(&address) => addresses.push(address),
            Ok(_) => {}
            Err(message) => {
                let field = format!("status.addresses[{index}].address");
                findings.warning(field, message, "node ports are not served at this address");
            }
        }
    }
    (api.metadata, Body::Node(Arc::new(NodeFacts { locality, addresses })))
}
