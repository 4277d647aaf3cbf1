//! One module for each kind: the type of its API, validated, becomes an [`Object`].
//!
//! A value that the API does not know is an error. A value that it knows and the mesh does not
//! implement is a warning that says what happens instead.

mod authorization_policy;
mod destination_rule;
mod distribution;
mod endpoint_slice;
mod exposure;
mod istio;
mod node;
mod peer_authentication;
#[cfg(test)]
mod policy_tests;
mod security;
mod service;
mod service_entry;
#[cfg(test)]
mod tests;
mod traffic_policy;
mod waypoint;
mod workload_entry;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_yaml_ng::Value;

use crate::decode::decode;
use crate::findings::Findings;
use crate::object::{Body, Object};
use crate::{Kind, ObjectKey};

pub(crate) use waypoint::{USE as USE_WAYPOINT, label};

/// The object, if no finding is an error.
pub(crate) fn read(key: &ObjectKey, value: &Value, findings: &mut Findings) -> Option<Object> {
    let (metadata, body) = match key.kind {
        Kind::Namespace => namespace(decode(value, findings)?),
        Kind::Node => node::read(decode(value, findings)?, findings),
        Kind::Service => service::read(decode(value, findings)?, findings)?,
        Kind::EndpointSlice => endpoint_slice::read(key, decode(value, findings)?, findings)?,
        Kind::ServiceEntry => service_entry::read(decode(value, findings)?, findings)?,
        Kind::WorkloadEntry => workload_entry::read(key, decode(value, findings)?, findings)?,
        Kind::DestinationRule => destination_rule::read(decode(value, findings)?, findings)?,
        Kind::Gateway => waypoint::gateway(decode(value, findings)?, findings)?,
        Kind::Pod => pod(decode(value, findings)?),
        Kind::AuthorizationPolicy => {
            authorization_policy::read(key, decode(value, findings)?, findings)?
        }
        Kind::PeerAuthentication => peer_authentication::read(decode(value, findings)?, findings),
    };
    let use_waypoint = waypoint::used(key, &metadata, findings)?;
    Some(Object { created: metadata.creation_timestamp, use_waypoint, body })
}

/// Kubernetes runs a pod that names no service account as `default`.
fn pod(api: Pod) -> (ObjectMeta, Body) {
    let labels = Arc::new(api.metadata.labels.clone().unwrap_or_default());
    let account = api.spec.and_then(|spec| spec.service_account_name);
    let account = account.filter(|name| !name.is_empty());
    let service_account = account.as_deref().unwrap_or("default").into();
    (api.metadata, Body::Pod(crate::object::Pod { labels, service_account }))
}

fn namespace(api: Namespace) -> (ObjectMeta, Body) {
    let labels = api.metadata.labels.clone().unwrap_or_default();
    (api.metadata, Body::Namespace { labels: Arc::new(labels) })
}
