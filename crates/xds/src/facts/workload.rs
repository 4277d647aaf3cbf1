//! A workload.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{Locality, PolicyName, ServiceName, Topology, Waypoints, Workload, WorkloadName};

use super::{Reader, gateway_text};
use crate::details::{self, EndpointDetails};
use crate::finding::{Finding, Refusal};
use crate::wire::workload as wire;

/// The endpoint's own port by the one that is dialled.
pub type Ports = BTreeMap<u16, u16>;

/// Parts of a uid before the namespace: cluster, API group and kind.
const UID_PREFIX_PARTS: usize = 3;

/// What a resource says about a workload. There are very many: what they have in common can be shared.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadFacts {
    /// What its uid begins with: cluster, API group and kind.
    pub uid_prefix: Arc<str>,
    /// Namespace, and the rest of the uid: the name, with a section where there are several.
    pub name: Arc<WorkloadName>,
    /// Its addresses.
    pub addresses: Box<[IpAddr]>,
    /// They are those of its node.
    pub uses_host_network: bool,
    /// The name by which it is found, when it has no address.
    pub hostname: Box<str>,
    /// Where it runs.
    pub topology: Arc<Topology>,
    /// Trust domain, empty for the one that the wire leaves out.
    pub trust_domain: Arc<str>,
    /// Kubernetes service account.
    pub service_account: Arc<str>,
    /// May it be chosen?
    pub is_healthy: bool,
    /// Relative weight.
    pub weight: u32,
    /// Services that it serves, and its ports for each.
    pub services: Arc<[(ServiceName, Ports)]>,
    /// Policies whose selector matches it.
    pub policies: Arc<[PolicyName]>,
    /// What TCP connections to its addresses go by.
    pub waypoints: Waypoints,
    /// What only our own control plane says.
    pub details: Option<Arc<EndpointDetails>>,
    /// What has no effect.
    pub findings: Vec<Finding>,
}

pub(super) fn read(
    reader: &Reader<'_>,
    workload: wire::Workload,
) -> Result<WorkloadFacts, Refusal> {
    let (uid_prefix, name) = names(reader, &workload)?;
    let findings = findings(reader, &workload);
    let is_healthy = match wire::WorkloadStatus::try_from(workload.status) {
        Ok(status) => status == wire::WorkloadStatus::Healthy,
        Err(_) => {
            let message = format!("{} is not a known value", workload.status);
            return Err(reader.refusal("status", message));
        }
    };
    let addresses = workload.addresses.iter().map(|bytes| reader.ip("addresses", bytes));
    let addresses = addresses.collect::<Result<_, _>>()?;
    let details = workload.extensions.iter().find(|it| it.name == details::ENDPOINT);
    let details = details.map(|it| EndpointDetails::read(reader, it)).transpose()?;
    let network_mode = wire::NetworkMode::try_from(workload.network_mode).map_err(|_| {
        let message = format!("{} is not a known value", workload.network_mode);
        reader.refusal("network_mode", message)
    })?;
    let services = workload.services.iter().map(|(key, list)| service(reader, key, list));
    let services = services.collect::<Result<_, _>>()?;
    let locality = workload.locality.unwrap_or_default();
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let waypoint = workload.waypoint.iter().map(|it| reader.waypoint("waypoint", it, 1));
    let policies = workload.authorization_policies.iter().map(|name| policy_name(reader, name));
    let policies = policies.collect::<Result<_, _>>()?;
    let is_known = details.as_ref().is_none_or(|details| !details.has_no_service_account);
    let default_account = if is_known { "default" } else { "" };
    Ok(WorkloadFacts {
        uid_prefix: uid_prefix.into(),
        name: Arc::new(name),
        addresses,
        uses_host_network: network_mode == wire::NetworkMode::HostNetwork,
        hostname: workload.hostname.into(),
        topology: Arc::new(Topology {
            locality: Locality {
                region: locality.region,
                zone: locality.zone,
                subzone: locality.subzone,
            },
            node: workload.node,
            network: workload.network,
            cluster: workload.cluster_id,
        }),
        trust_domain: trust_domain(&workload.trust_domain).into(),
        service_account: or(workload.service_account, default_account).into(),
        is_healthy,
        weight: workload.capacity.unwrap_or(1),
        services,
        policies,
        waypoints: waypoint.collect::<Result<_, _>>()?,
        details: details.map(Arc::new),
        findings,
    })
}

/// The default has one form, whether the wire names it or not.
fn trust_domain(text: &str) -> &str {
    if text == Workload::DEFAULT_TRUST_DOMAIN { "" } else { text }
}

/// A uid is `cluster/group/kind/namespace/name`, and a section where one object has several.
fn names(
    reader: &Reader<'_>,
    workload: &wire::Workload,
) -> Result<(String, WorkloadName), Refusal> {
    reader.required("uid", &workload.uid)?;
    let parts: Vec<&str> = workload.uid.splitn(UID_PREFIX_PARTS + 2, '/').collect();
    let [cluster, group, kind, namespace, name] = parts[..] else {
        return Ok((workload.uid.clone(), WorkloadName::new(&workload.namespace, &workload.name)));
    };
    Ok((format!("{cluster}/{group}/{kind}"), WorkloadName::new(namespace, name)))
}

fn service(
    reader: &Reader<'_>,
    key: &str,
    list: &wire::PortList,
) -> Result<(ServiceName, Ports), Refusal> {
    let name = reader.service_name("services", key)?;
    let mut ports = Ports::new();
    for port in &list.ports {
        let dialled = reader.port("services.ports.service_port", port.service_port)?;
        let target = reader.target_port("services.ports.target_port", port.target_port, dialled)?;
        ports.insert(dialled, target);
    }
    Ok((name, ports))
}

fn policy_name(reader: &Reader<'_>, text: &str) -> Result<PolicyName, Refusal> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| {
        reader.refusal("authorization_policies", format!("{text} is not namespace/name"))
    })?;
    Ok(PolicyName::new(namespace, name))
}

fn findings(reader: &Reader<'_>, workload: &wire::Workload) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut without_effect = |field, message: String| {
        findings.push(reader.without_effect(field, message));
    };
    if let Some(gateway) = &workload.network_gateway {
        let name = gateway_text(gateway);
        without_effect("network_gateway", format!("connections do not go by way of {name}"));
    }
    if let Some(tunnel) = &workload.application_tunnel
        && tunnel.protocol() != wire::application_tunnel::Protocol::None
    {
        without_effect("application_tunnel", "connections are made without it".to_owned());
    }
    for extension in workload.extensions.iter().filter(|it| it.name != details::ENDPOINT) {
        without_effect("extensions", format!("{} is not known here", extension.name));
    }
    findings
}
