//! networking.istio.io ServiceEntry
//! (<https://istio.io/latest/docs/reference/config/networking/service-entry/>).

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{AddressBlock, Protocol, ServicePort};

use super::workload_entry::{HostNames, destination};
use super::{distribution, istio};
use crate::findings::Findings;
use crate::object::{Body, Destination, Labels, Port, Resolution, ServiceEntry, TargetPort};
use crate::values;

/// Label that says whether hosts without an address may be given one.
const ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

pub(super) fn read(
    api: istio::Resource<istio::ServiceEntry>,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    let spec = &api.spec;
    let resolution = resolution(spec.resolution.as_deref(), findings)?;
    match spec.location.as_deref() {
        None | Some("MESH_EXTERNAL" | "MESH_INTERNAL") => {}
        Some(other) => {
            let message = format!("{other:?} is not one of MESH_EXTERNAL, MESH_INTERNAL");
            findings.error("spec.location", message);
        }
    }
    findings.unsupported(
        "spec.subjectAltNames",
        &spec.subject_alt_names,
        "the identity of the endpoints is not checked",
    );
    export_to(&spec.export_to, findings);
    let (addresses, networks) = addresses(&spec.addresses, findings);
    let labels = api.metadata.labels.as_ref();
    let is_refused = labels
        .and_then(|labels| labels.get(ALLOCATE))
        .is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let entry = ServiceEntry {
        hosts: hosts(spec, resolution, findings),
        addresses,
        networks,
        may_allocate: spec.addresses.is_empty() && resolution != Resolution::None && !is_refused,
        ports: ports(&spec.ports, findings),
        resolution,
        endpoints: endpoints(spec, resolution, findings),
        selector: selector(spec, findings),
        locality: distribution::annotated(&api.metadata, findings),
    };
    Some((api.metadata, Body::ServiceEntry(Box::new(entry))))
}

/// `exportTo`, here and in other kinds.
pub(super) fn export_to(list: &[String], findings: &mut Findings) {
    if !list.is_empty() && list != ["*"] {
        let message = format!("{list:?} is not supported");
        findings.warning("spec.exportTo", message, "visible in all namespaces");
    }
}

fn resolution(text: Option<&str>, findings: &mut Findings) -> Option<Resolution> {
    match text {
        None | Some("NONE") => Some(Resolution::None),
        Some("STATIC") => Some(Resolution::Static),
        Some("DNS") => Some(Resolution::Dns),
        Some("DNS_ROUND_ROBIN") => Some(Resolution::DnsRoundRobin),
        Some(other) => {
            let known = "NONE, STATIC, DNS, DNS_ROUND_ROBIN";
            findings.error("spec.resolution", format!("{other:?} is not one of {known}"));
            None
        }
    }
}

fn hosts(
    spec: &istio::ServiceEntry,
    resolution: Resolution,
    findings: &mut Findings,
) -> Vec<String> {
    let list = &spec.hosts;
    if list.is_empty() {
        findings.error("spec.hosts", "no host");
    }
    let mut hosts = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let field = format!("spec.hosts[{index}]");
        let Some(host) = findings.take(field.clone(), values::host(text)) else { continue };
        if host.starts_with("*.") && is_resolved_itself(spec, resolution) {
            let message = format!("{text:?} can't be resolved, and there are no endpoints");
            findings.error(field, message);
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Are the hosts what is resolved, for want of other endpoints?
fn is_resolved_itself(spec: &istio::ServiceEntry, resolution: Resolution) -> bool {
    let is_dns = matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    is_dns && spec.endpoints.is_empty() && spec.workload_selector.is_none()
}

/// Single addresses, and blocks of addresses.
fn addresses(list: &[String], findings: &mut Findings) -> (Vec<IpAddr>, Vec<AddressBlock>) {
    let (mut addresses, mut networks) = (Vec::new(), Vec::new());
    for (index, text) in list.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let net = text.parse::<IpNet>().ok();
        if let Some(net) = net.filter(|net| net.prefix_len() < net.max_prefix_len()) {
            let block = findings.take(field.clone(), values::block(net));
            if let Some((block, true)) = block {
                let message = format!("{text}: bits after the prefix are set; this is {block}");
                findings.warning(field, message, "they do not count");
            }
            let block = block.map(|(block, _)| block);
            networks.extend(block.filter(|block| !networks.contains(block)));
            continue;
        }
        let single = net.map(|net| net.addr().to_string());
        let address = findings.take(field, values::address(single.as_deref().unwrap_or(text)));
        addresses.extend(address.filter(|address| !addresses.contains(address)));
    }
    (addresses, networks)
}

fn ports(list: &[istio::ServicePort], findings: &mut Findings) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for (index, api) in list.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let Some(port) = port(api, &field, findings) else { continue };
        let twin = ports.iter().find(|other| {
            (other.port.port, other.port.protocol) == (port.port.port, port.port.protocol)
        });
        if twin.is_some() {
            findings.error(format!("{field}.number"), "another port has this number");
        } else if ports.iter().any(|other| other.port.name == port.port.name) {
            findings.error(format!("{field}.name"), "another port has this name");
        }
        ports.push(port);
    }
    ports
}

fn port(api: &istio::ServicePort, field: &str, findings: &mut Findings) -> Option<Port> {
    let number = findings.take(format!("{field}.number"), values::port(api.number));
    let text = api.protocol.as_deref().filter(|text| !text.is_empty()).unwrap_or("TCP");
    let known = values::istio_protocol(text).ok_or_else(|| {
        let known = "HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, REDIS, MYSQL, TCP, TLS, UDP";
        format!("{text:?} is not one of {known}")
    });
    let app_protocol = findings.take(format!("{field}.protocol"), known);
    let target = match api.target_port {
        None | Some(0) => Some(TargetPort::Same),
        Some(number) => findings
            .take(format!("{field}.targetPort"), values::port(number))
            .map(TargetPort::Number),
    };
    let app_protocol = app_protocol?;
    let protocol = if app_protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    let port = ServicePort {
        name: api.name.clone(),
        port: number?,
        protocol,
        app_protocol: app_protocol.to_owned(),
    };
    Some(Port { port, target: target? })
}

fn endpoints(
    spec: &istio::ServiceEntry,
    resolution: Resolution,
    findings: &mut Findings,
) -> Vec<Destination> {
    const FIELD: &str = "spec.endpoints";
    let list = &spec.endpoints;
    let host_names = match resolution {
        Resolution::Dns | Resolution::DnsRoundRobin => HostNames::Resolved,
        Resolution::None | Resolution::Static => HostNames::Refused,
    };
    match resolution {
        Resolution::None if !list.is_empty() => {
            findings.error(FIELD, "must be empty with resolution NONE");
        }
        Resolution::DnsRoundRobin if list.len() > 1 => {
            findings.error(FIELD, "at most one with resolution DNS_ROUND_ROBIN");
        }
        _ => {}
    }
    let destinations = list.iter().enumerate().filter_map(|(index, api)| {
        destination(api, &api.labels, &format!("{FIELD}[{index}]"), host_names, findings)
    });
    destinations.collect()
}

fn selector(spec: &istio::ServiceEntry, findings: &mut Findings) -> Labels {
    const FIELD: &str = "spec.workloadSelector";
    let Some(selector) = &spec.workload_selector else { return Labels::new() };
    if !spec.endpoints.is_empty() {
        findings.error(FIELD, "must not be set together with spec.endpoints");
    }
    if selector.labels.is_empty() {
        findings.warning(FIELD, "no labels", "it selects nothing");
    }
    selector.labels.clone()
}
