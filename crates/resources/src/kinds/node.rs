//! v1 Node: the well-known labels that say where its pods are
//! (<https://kubernetes.io/docs/reference/labels-annotations-taints/>).

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::Locality;

use crate::object::Body;

pub(super) const REGION: &str = "topology.kubernetes.io/region";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const SUBZONE: &str = "topology.istio.io/subzone";
pub(super) const HOST_NAME: &str = "kubernetes.io/hostname";

pub(super) fn read(api: Node) -> (ObjectMeta, Body) {
    let labels = api.metadata.labels.as_ref();
    let label = |name| labels.and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
    let locality = Locality { region: label(REGION), zone: label(ZONE), subzone: label(SUBZONE) };
    (api.metadata, Body::Node { locality })
}
