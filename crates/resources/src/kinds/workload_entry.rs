//! networking.istio.io WorkloadEntry, and the same shape inside a ServiceEntry
//! (<https://istio.io/latest/docs/reference/config/networking/workload-entry/>).

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{Health, WorkloadName};
use serde_yaml_ng::Value;

use super::{istio, node};
use crate::ObjectKey;
use crate::findings::Findings;
use crate::object::{Address, Body, Destination, Labels, Site, WorkloadEntry};
use crate::values;

/// What an address may be besides an IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostNames {
    /// A host name, which is resolved while the mesh runs.
    Resolved,
    /// Nothing.
    Refused,
}

pub(super) fn read(
    key: &ObjectKey,
    api: istio::Resource<istio::WorkloadEntry>,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    // The labels of the object win over those of the entry.
    let mut labels = api.spec.labels.clone();
    labels.extend(api.metadata.labels.clone().unwrap_or_default());
    let destination = destination(&api.spec, &labels, "spec", HostNames::Resolved, findings);
    let health = health(api.status.as_ref());
    let name = Arc::new(WorkloadName::new(&key.namespace, &key.name));
    let entry = WorkloadEntry { name, labels: Arc::new(labels), health, destination };
    Some((api.metadata, Body::WorkloadEntry(entry)))
}

/// Where the entry at `field` is; none, with a finding, when it can't be reached.
pub(super) fn destination(
    api: &istio::WorkloadEntry,
    labels: &Labels,
    field: &str,
    host_names: HostNames,
    findings: &mut Findings,
) -> Option<Destination> {
    let address = address(&api.address, &format!("{field}.address"), host_names, findings);
    let mut ports = Vec::new();
    for (name, number) in &api.ports {
        let number = findings.take(format!("{field}.ports.{name}"), values::port(*number));
        ports.extend(number.map(|number| (name.clone(), number)));
    }
    let weight = match api.weight {
        None => 1,
        Some(weight) => findings.take(
            format!("{field}.weight"),
            u32::try_from(weight)
                .map_err(|_| format!("{weight} is not a weight (0 to {})", u32::MAX)),
        )?,
    };
    let locality = match api.locality.as_deref() {
        None | Some("") => Default::default(),
        Some(text) => findings.take(format!("{field}.locality"), values::locality(text))?,
    };
    let site = Site {
        locality,
        node: labels.get(node::HOST_NAME).cloned().unwrap_or_default(),
        network: api.network.clone(),
        service_account: api.service_account.clone(),
    };
    Some(Destination { address: address?, ports: ports.into(), weight, site: Arc::new(site) })
}

fn address(
    text: &str,
    field: &str,
    host_names: HostNames,
    findings: &mut Findings,
) -> Option<Address> {
    if text.is_empty() {
        findings.warning(field, "not set", "it takes no traffic");
        return None;
    }
    if text.starts_with("unix:") {
        findings.error(field, format!("{text:?}: the mesh does not reach Unix domain sockets"));
        return None;
    }
    match values::address(text) {
        Ok(address) => Some(Address::Ip(address)),
        Err(_) if host_names == HostNames::Resolved && values::is_host_name(text) => {
            Some(Address::Host(text.trim_end_matches('.').to_ascii_lowercase().into()))
        }
        Err(message) => {
            findings.error(field, message);
            None
        }
    }
}

/// `status.conditions`: unhealthy when the condition `Healthy` is `False`.
fn health(status: Option<&Value>) -> Health {
    let conditions = status.and_then(|status| status.get("conditions")?.as_sequence());
    let is =
        |condition: &Value, field, text| condition.get(field).and_then(Value::as_str) == Some(text);
    let is_unhealthy = conditions.is_some_and(|conditions| {
        conditions.iter().any(|it| is(it, "type", "Healthy") && is(it, "status", "False"))
    });
    if is_unhealthy { Health::Unhealthy } else { Health::Healthy }
}
