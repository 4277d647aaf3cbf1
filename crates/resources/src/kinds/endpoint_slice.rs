//! discovery.k8s.io/v1 EndpointSlice
//! (<https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/>).

use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{Health, WorkloadName};

use crate::ObjectKey;
use crate::findings::Findings;
use crate::object::{Body, EndpointSlice, SliceEndpoint, SlicePort};
use crate::values;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn read(
    key: &ObjectKey,
    api: api::EndpointSlice,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    let is_ipv4 = match api.address_type.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        other => {
            let message = match other {
                "FQDN" => "FQDN is not supported: host names are not resolved".to_owned(),
                _ => format!("{other:?} is not one of IPv4, IPv6, FQDN"),
            };
            findings.error("addressType", message);
            return None;
        }
    };
    let labels = api.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME)).cloned();
    if service.is_none() {
        let message = format!("no label {SERVICE_NAME}");
        findings.warning("metadata.labels", message, "the slice belongs to no service");
    }
    let slice = EndpointSlice {
        service,
        ports: ports(api.ports.as_deref().unwrap_or_default(), findings),
        endpoints: endpoints(key, &api.endpoints, is_ipv4, findings),
    };
    Some((api.metadata, Body::EndpointSlice(slice)))
}

fn ports(list: &[api::EndpointPort], findings: &mut Findings) -> Vec<SlicePort> {
    let mut ports = Vec::new();
    for (index, api) in list.iter().enumerate() {
        let field = format!("ports[{index}]");
        let transport = values::transport(api.protocol.as_deref());
        let protocol = findings.take(format!("{field}.protocol"), transport).flatten();
        let Some(number) = api.port else {
            let message = "not set, which means all ports: not supported";
            findings.warning(format!("{field}.port"), message, "the port is skipped");
            continue;
        };
        let number = findings.take(format!("{field}.port"), values::port(number));
        // SCTP is reported once, at the service.
        let (Some(number), Some(protocol)) = (number, protocol) else { continue };
        let name = api.name.clone().unwrap_or_default();
        ports.push(SlicePort { name, protocol, number });
    }
    ports.shrink_to_fit();
    ports
}

fn endpoints(
    key: &ObjectKey,
    list: &[api::Endpoint],
    is_ipv4: bool,
    findings: &mut Findings,
) -> Vec<SliceEndpoint> {
    let mut endpoints = Vec::with_capacity(list.len());
    for (index, api) in list.iter().enumerate() {
        // The addresses of one endpoint are interchangeable; the first is used, as by kube-proxy.
        let Some(text) = api.addresses.first() else {
            findings.error(format!("endpoints[{index}].addresses"), "no address");
            continue;
        };
        let address = values::address_of_others(text).and_then(|address| {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            match address.is_ipv4() == is_ipv4 {
                true => Ok(address),
                false => Err(format!("{text:?} is not an {family} address")),
            }
        });
        let field = format!("endpoints[{index}].addresses[0]");
        let Some(address) = findings.take(field, address) else { continue };
        endpoints.push(SliceEndpoint {
            address,
            health: health(api.conditions.as_ref()),
            node: api.node_name.as_deref().unwrap_or_default().into(),
            zone: api.zone.as_deref().unwrap_or_default().into(),
            pod: pod(key, api),
        });
    }
    endpoints
}

/// `EndpointConditions`: a condition that is not known counts as ready.
fn health(conditions: Option<&api::EndpointConditions>) -> Health {
    let Some(conditions) = conditions else { return Health::Healthy };
    let is_serving = conditions.serving.unwrap_or(true);
    let is_terminating = conditions.terminating.unwrap_or(false);
    match conditions.ready {
        None | Some(true) => Health::Healthy,
        Some(false) if is_serving && is_terminating => Health::Terminating,
        Some(false) => Health::Unhealthy,
    }
}

fn pod(key: &ObjectKey, api: &api::Endpoint) -> Option<Arc<WorkloadName>> {
    let target = api.target_ref.as_ref()?;
    if target.kind.as_deref() != Some("Pod") {
        return None;
    }
    let namespace = target.namespace.as_ref().filter(|text| !text.is_empty());
    let name = target.name.clone().filter(|name| !name.is_empty())?;
    Some(Arc::new(WorkloadName::new(namespace.unwrap_or(&key.namespace), name)))
}
