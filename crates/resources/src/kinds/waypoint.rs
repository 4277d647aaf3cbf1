//! What objects say about waypoints: labels, and the Gateways of class `istio-waypoint`
//! (<https://istio.io/latest/docs/ambient/usage/waypoint/>).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_yaml_ng::Value;

use super::istio::Resource;
use crate::findings::Findings;
use crate::object::{Body, Gateway, UseWaypoint};
use crate::{Kind, ObjectKey, values};

/// The waypoint of an object, or of all in a namespace.
pub(crate) const USE: &str = "istio.io/use-waypoint";
/// The waypoint's namespace, if it is not the object's own.
pub(crate) const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// What a waypoint is for.
const FOR: &str = "istio.io/waypoint-for";
/// The value that says: none, whatever the namespace says.
const NONE: &str = "none";
/// Who made an object; Istio marks what belongs to a waypoint itself.
const MANAGED: &str = "gateway.istio.io/managed";
const MANAGED_BY_MESH: &str = "istio.io-mesh-controller";
/// The class of Gateways that are waypoints.
const CLASS: &str = "istio-waypoint";

/// `spec` of a Gateway. What the mesh has no use for is kept as a value: the waypoint itself reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewaySpec {
    gateway_class_name: String,
    #[serde(rename = "listeners")]
    _listeners: Option<Value>,
    #[serde(rename = "addresses")]
    _addresses: Option<Value>,
    #[serde(rename = "infrastructure")]
    _infrastructure: Option<Value>,
}

/// The Gateway, as far as it is a waypoint.
pub(super) fn gateway(
    api: Resource<GatewaySpec>,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    let class = &api.spec.gateway_class_name;
    let is_waypoint = class == CLASS;
    if !is_waypoint {
        findings.warning(
            "spec.gatewayClassName",
            format!("{class:?} is not supported yet: only {CLASS} is"),
            "the object has no effect",
        );
    }
    let purpose = api.metadata.labels.as_ref().and_then(|labels| labels.get(FOR));
    let (for_services, for_workloads) = match purpose.map(String::as_str) {
        None | Some("service") => (true, false),
        Some("workload") => (false, true),
        Some("all") => (true, true),
        Some("none") => (false, false),
        Some(other) => {
            let known = "service, workload, all, none";
            findings.error(label(FOR), format!("{other:?} is not one of {known}"));
            return None;
        }
    };
    let gateway = Gateway { is_waypoint, for_services, for_workloads };
    Some((api.metadata, Body::Gateway(gateway)))
}

/// What an object says about its waypoint.
pub(super) fn used(
    key: &ObjectKey,
    metadata: &ObjectMeta,
    findings: &mut Findings,
) -> Option<UseWaypoint> {
    let has_waypoint = matches!(
        key.kind,
        Kind::Namespace | Kind::Service | Kind::ServiceEntry | Kind::WorkloadEntry | Kind::Pod
    );
    let labels = metadata.labels.as_ref().filter(|_| has_waypoint);
    let none = BTreeMap::new();
    let labels = labels.unwrap_or(&none);
    if labels.get(MANAGED).is_some_and(|by| by == MANAGED_BY_MESH) {
        return Some(UseWaypoint::None);
    }
    let own = if key.kind == Kind::Namespace { &key.name } else { &key.namespace };
    let namespace = labels.get(USE_NAMESPACE);
    match labels.get(USE).map(String::as_str) {
        None | Some("") => {
            if namespace.is_some() {
                let message = format!("set without {USE}");
                findings.warning(label(USE_NAMESPACE), message, "ignored");
            }
            Some(UseWaypoint::AsNamespace)
        }
        Some(NONE) => Some(UseWaypoint::None),
        Some(name) => {
            findings.take(label(USE), values::object_name(name))?;
            let namespace = namespace.unwrap_or(own);
            findings.take(label(USE_NAMESPACE), values::object_name(namespace))?;
            let (namespace, name) = (namespace.clone(), name.to_owned());
            let gateway = ObjectKey { kind: Kind::Gateway, namespace, name };
            Some(UseWaypoint::Gateway(Box::new(gateway)))
        }
    }
}

/// The field of a label.
pub(crate) fn label(name: &str) -> String {
    format!("metadata.labels.{name}")
}
