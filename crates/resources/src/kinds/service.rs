//! v1 Service (<https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/>).

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{LocalityMode, NodePort, Protocol, Scope, ServicePort};

use crate::findings::Findings;
use crate::object::{Body, Port, Service, TargetPort};
use crate::values;

/// What `PreferClose` prefers, most important first.
const CLOSE: [Scope; 4] = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone];

pub(super) fn read(api: api::Service, findings: &mut Findings) -> Option<(ObjectMeta, Body)> {
    let Some(spec) = api.spec else {
        findings.error("spec", "missing");
        return None;
    };
    let is_served = service_type(&spec, findings);
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    let addresses = if is_served { addresses(&spec, findings) } else { Vec::new() };
    let ports = ports(spec.ports.as_deref().unwrap_or_default(), findings);
    if is_served && !is_headless && spec.ports.as_ref().is_none_or(Vec::is_empty) {
        findings.error("spec.ports", "missing: only a headless service may have none");
    }
    let service = Service {
        affinity_seconds: affinity_seconds(&spec, findings),
        external_addresses: external_addresses(&spec, api.status.as_ref(), findings),
        node_ports: node_ports(&spec),
        external_local: external_local(&spec, findings),
        locality: locality(&spec, findings),
        addresses,
        ports,
        selector: if is_served { spec.selector.unwrap_or_default() } else { Default::default() },
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
    };
    Some((api.metadata, Body::Service(service)))
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

/// Seconds of `sessionAffinityConfig.clientIP.timeoutSeconds` when it is not set.
const AFFINITY_SECONDS_DEFAULT: i32 = 10_800;
/// The longest that the API allows.
const AFFINITY_SECONDS_MAX: i32 = 86_400;

fn affinity_seconds(spec: &api::ServiceSpec, findings: &mut Findings) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let message = format!("{other:?} is not one of None, ClientIP");
            findings.error("spec.sessionAffinity", message);
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = config.and_then(|c| c.timeout_seconds).unwrap_or(AFFINITY_SECONDS_DEFAULT);
    if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) {
        let message = format!("{seconds} is not between 1 and {AFFINITY_SECONDS_MAX}");
        findings.error("spec.sessionAffinityConfig.clientIP.timeoutSeconds", message);
    }
    u32::try_from(seconds).ok()
}

fn external_addresses(
    spec: &api::ServiceSpec,
    status: Option<&api::ServiceStatus>,
    findings: &mut Findings,
) -> Vec<IpAddr> {
    let external = spec.external_ips.iter().flatten().enumerate();
    let mut addresses: Vec<IpAddr> = external
        .filter_map(|(index, text)| {
            findings.take(format!("spec.externalIPs[{index}]"), values::address(text))
        })
        .collect();
    let ingress = status.and_then(|s| s.load_balancer.as_ref()).and_then(|b| b.ingress.as_ref());
    for (index, ingress) in ingress.into_iter().flatten().enumerate() {
        let is_vip = ingress.ip_mode.as_deref().is_none_or(|mode| mode == "VIP");
        if let Some(text) = ingress.ip.as_deref().filter(|_| is_vip) {
            let field = format!("status.loadBalancer.ingress[{index}].ip");
            addresses.extend(findings.take(field, values::address(text)));
        }
    }
    addresses
}

fn node_ports(spec: &api::ServiceSpec) -> Vec<NodePort> {
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => return None,
            };
            let node_port = u16::try_from(port.node_port?).ok().filter(|port| *port > 0)?;
            Some(NodePort { node_port, port: u16::try_from(port.port).ok()?, protocol })
        })
        .collect()
}

fn external_local(spec: &api::ServiceSpec, findings: &mut Findings) -> bool {
    match spec.external_traffic_policy.as_deref() {
        None | Some("" | "Cluster") => false,
        Some("Local") => true,
        Some(other) => {
            let message = format!("{other:?} is not one of Cluster, Local");
            findings.error("spec.externalTrafficPolicy", message);
            false
        }
    }
}

fn locality(spec: &api::ServiceSpec, findings: &mut Findings) -> LocalityMode {
    let preferred = match spec.traffic_distribution.as_deref() {
        None => LocalityMode::Ignore,
        Some("PreferClose" | "PreferSameZone") => LocalityMode::Failover(CLOSE.to_vec()),
        Some("PreferSameNode") => {
            LocalityMode::Failover(CLOSE.into_iter().chain([Scope::Node]).collect())
        }
        Some(other) => {
            let known = "PreferClose, PreferSameZone, PreferSameNode";
            findings.error("spec.trafficDistribution", format!("{other:?} is not one of {known}"));
            LocalityMode::Ignore
        }
    };
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
