//! v1 Service (<https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/>).

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{LocalityMode, Scope, ServicePort};

use super::{distribution, exposure};
use crate::findings::Findings;
use crate::object::{Body, Port, Service, TargetPort};
use crate::values;

/// How long a client keeps its endpoint when the service does not say.
const AFFINITY_SECONDS: u32 = 10_800;
/// The longest time that the API allows.
const AFFINITY_SECONDS_MAX: u32 = 86_400;

pub(super) fn read(api: api::Service, findings: &mut Findings) -> Option<(ObjectMeta, Body)> {
    let Some(spec) = api.spec else {
        findings.error("spec", "missing");
        return None;
    };
    let is_served = service_type(&spec, findings);
    let mut cluster_ips = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    let is_headless = cluster_ips.next().is_some_and(|first| first == "None");
    let addresses = if is_served { addresses(&spec, findings) } else { Vec::new() };
    let ports = ports(spec.ports.as_deref().unwrap_or_default(), findings);
    if is_served && !is_headless && spec.ports.as_ref().is_none_or(Vec::is_empty) {
        findings.error("spec.ports", "missing: only a headless service may have none");
    }
    let exposure = if is_served && !is_headless {
        exposure::read(&spec, api.status.as_ref(), &addresses, findings)
    } else {
        exposure::none(&spec, findings)
    };
    let affinity_seconds = affinity(&spec, findings);
    let locality = locality(&spec, &api.metadata, findings);
    let service = Service {
        addresses,
        external_addresses: exposure.addresses,
        node_ports: exposure.node_ports,
        external_local: exposure.is_local,
        ports,
        selector: if is_served { spec.selector.unwrap_or_default() } else { Default::default() },
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
        locality,
        affinity_seconds,
    };
    Some((api.metadata, Body::Service(Box::new(service))))
}

/// False for a service that has no endpoints in the mesh.
fn service_type(spec: &api::ServiceSpec, findings: &mut Findings) -> bool {
    match spec.type_.as_deref() {
        None | Some("ClusterIP" | "NodePort" | "LoadBalancer") => true,
        Some("ExternalName") => {
            findings.warning(
                "spec.type",
                "ExternalName is not served yet",
                "the service has no address; its name resolves as if there were no mesh",
            );
            false
        }
        Some(other) => {
            let known = "ClusterIP, NodePort, LoadBalancer, ExternalName";
            findings.error("spec.type", format!("{other:?} is not one of {known}"));
            true
        }
    }
}

fn addresses(spec: &api::ServiceSpec, findings: &mut Findings) -> Vec<IpAddr> {
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    if let Some(first) = list.first().filter(|first| !single.is_empty() && *first != single) {
        let message = format!("{first:?} differs from spec.clusterIP {single:?}");
        findings.error("spec.clusterIPs[0]", message);
        return Vec::new();
    }
    if list.is_empty() {
        return match single {
            "None" => Vec::new(),
            "" => {
                findings.warning(
                    "spec.clusterIP",
                    "not set, and there is no API server here that would allocate one",
                    "the service has no address to be dialled at",
                );
                Vec::new()
            }
            ip => findings.take("spec.clusterIP", values::address(ip)).into_iter().collect(),
        };
    }
    if list == ["None"] {
        return Vec::new();
    }
    let mut addresses = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let address = findings.take(format!("spec.clusterIPs[{index}]"), values::address(text));
        addresses.extend(address.filter(|address| !addresses.contains(address)));
    }
    addresses
}

fn ports(list: &[api::ServicePort], findings: &mut Findings) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for (index, api) in list.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        if list.len() > 1 && api.name.as_deref().unwrap_or_default().is_empty() {
            findings.error(format!("{field}.name"), "missing: each of several ports needs one");
        }
        let Some(port) = port(api, &field, findings) else { continue };
        let twin = ports.iter().find(|other| {
            (other.port.port, other.port.protocol) == (port.port.port, port.port.protocol)
        });
        if twin.is_some() {
            findings.error(format!("{field}.port"), "another port has this number and protocol");
        } else if ports.iter().any(|other| other.port.name == port.port.name) {
            findings.error(format!("{field}.name"), "another port has this name");
        }
        ports.push(port);
    }
    ports.shrink_to_fit();
    ports
}

fn port(api: &api::ServicePort, field: &str, findings: &mut Findings) -> Option<Port> {
    let number = findings.take(format!("{field}.port"), values::port(api.port));
    let protocol =
        findings.take(format!("{field}.protocol"), values::transport(api.protocol.as_deref()))?;
    let target = target_port(api.target_port.as_ref(), &format!("{field}.targetPort"), findings);
    let Some(protocol) = protocol else {
        let message = "the mesh does not carry SCTP";
        findings.warning(format!("{field}.protocol"), message, "the port is skipped");
        return None;
    };
    let name = api.name.clone().unwrap_or_default();
    let app_protocol = match &api.app_protocol {
        Some(app_protocol) => app_protocol.clone(),
        None => values::protocol_of_port_name(&name).to_owned(),
    };
    let port = ServicePort { name, port: number?, protocol, app_protocol };
    Some(Port { port, target: target? })
}

fn target_port(
    api: Option<&IntOrString>,
    field: &str,
    findings: &mut Findings,
) -> Option<TargetPort> {
    match api {
        None | Some(IntOrString::Int(0)) => Some(TargetPort::Same),
        Some(IntOrString::Int(number)) => {
            findings.take(field, values::port(*number)).map(TargetPort::Number)
        }
        Some(IntOrString::String(name)) if name.is_empty() => Some(TargetPort::Same),
        Some(IntOrString::String(name)) if name.bytes().any(|b| b.is_ascii_alphabetic()) => {
            Some(TargetPort::Name(name.clone()))
        }
        Some(IntOrString::String(name)) => {
            let message = format!("{name:?} is not the name of a port; a number has no quotes");
            findings.error(field, message);
            None
        }
    }
}

fn affinity(spec: &api::ServiceSpec, findings: &mut Findings) -> Option<u32> {
    const FIELD: &str = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    match spec.session_affinity.as_deref() {
        None | Some("None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let message = format!("{other:?} is not one of None, ClientIP");
            findings.error("spec.sessionAffinity", message);
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let Some(seconds) = seconds else { return Some(AFFINITY_SECONDS) };
    let valid = u32::try_from(seconds).ok().filter(|it| (1..=AFFINITY_SECONDS_MAX).contains(it));
    let message =
        || format!("{seconds} is not a number of seconds from 1 to {AFFINITY_SECONDS_MAX}");
    findings.take(FIELD, valid.ok_or_else(message))
}

/// `internalTrafficPolicy` goes before what is preferred.
fn locality(
    spec: &api::ServiceSpec,
    metadata: &ObjectMeta,
    findings: &mut Findings,
) -> LocalityMode {
    let preferred = distribution::read(spec.traffic_distribution.as_deref(), metadata, findings);
    match spec.internal_traffic_policy.as_deref() {
        None | Some("Cluster") => preferred,
        Some("Local") => LocalityMode::Strict(vec![Scope::Node]),
        Some(other) => {
            let message = format!("{other:?} is not one of Cluster, Local");
            findings.error("spec.internalTrafficPolicy", message);
            preferred
        }
    }
}
