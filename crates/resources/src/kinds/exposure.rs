//! How a Service can be reached from outside: node ports, external addresses, the load balancer
//! (<https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types>).

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use model::NodePort;

use crate::findings::Findings;
use crate::values;

/// What a Service shows to the outside.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    pub(super) node_ports: Vec<NodePort>,
    /// `externalIPs` and the load balancer's, without cluster IPs.
    pub(super) addresses: Vec<IpAddr>,
    /// `externalTrafficPolicy: Local`.
    pub(super) is_local: bool,
}

/// Of a Service with cluster IPs.
pub(super) fn read(
    spec: &api::ServiceSpec,
    status: Option<&api::ServiceStatus>,
    cluster_ips: &[IpAddr],
    findings: &mut Findings,
) -> Exposure {
    let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    let mut addresses = external_ips(spec, findings);
    if is_load_balancer {
        addresses.extend(ingress(status, findings));
        not_served(spec, findings);
    }
    addresses.sort();
    addresses.dedup();
    addresses.retain(|address| !cluster_ips.contains(address));
    Exposure {
        node_ports: node_ports(spec, findings),
        addresses,
        is_local: is_local(spec, findings),
    }
}

/// Of one without: nothing, and it is said of what it names in vain.
pub(super) fn none(spec: &api::ServiceSpec, findings: &mut Findings) -> Exposure {
    const NOT_SERVED: &str = "connections to these addresses pass as if there were no mesh";
    if spec.external_ips.as_ref().is_some_and(|list| !list.is_empty()) {
        findings.warning("spec.externalIPs", "a service without a cluster IP has none", NOT_SERVED);
    }
    is_local(spec, findings);
    Exposure::default()
}

fn is_local(spec: &api::ServiceSpec, findings: &mut Findings) -> bool {
    match spec.external_traffic_policy.as_deref() {
        None | Some("Cluster" | "") => false,
        Some("Local") => true,
        Some(other) => {
            let message = format!("{other:?} is not one of Cluster, Local");
            findings.error("spec.externalTrafficPolicy", message);
            false
        }
    }
}

fn node_ports(spec: &api::ServiceSpec, findings: &mut Findings) -> Vec<NodePort> {
    const NOT_SERVED: &str = "the port is not served at the nodes' addresses";
    let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
    let mut node_ports: Vec<NodePort> = Vec::new();
    for (index, api) in spec.ports.iter().flatten().enumerate() {
        let field = format!("spec.ports[{index}].nodePort");
        let number = match api.node_port {
            None | Some(0) => {
                if type_ == "NodePort" {
                    let message =
                        "not set, and there is no API server here that would allocate one";
                    findings.warning(field, message, NOT_SERVED);
                }
                continue;
            }
            Some(_) if !matches!(type_, "NodePort" | "LoadBalancer") => {
                findings.error(field, format!("must not be set with type {type_}"));
                continue;
            }
            Some(number) => number,
        };
        let Some(node_port) = findings.take(field.clone(), values::port(number)) else { continue };
        // What is wrong with these two is told where the port itself is read.
        let (Ok(port), Ok(Some(protocol))) =
            (values::port(api.port), values::transport(api.protocol.as_deref()))
        else {
            continue;
        };
        if node_ports.iter().any(|it| (it.node_port, it.protocol) == (node_port, protocol)) {
            findings.error(field, format!("another port has {node_port} {}", protocol.name()));
        }
        node_ports.push(NodePort { node_port, port, protocol });
    }
    node_ports
}

fn external_ips(spec: &api::ServiceSpec, findings: &mut Findings) -> Vec<IpAddr> {
    let list = spec.external_ips.iter().flatten().enumerate();
    let addresses = list.filter_map(|(index, text)| {
        findings.take(format!("spec.externalIPs[{index}]"), values::address_of_others(text))
    });
    addresses.collect()
}

/// The load balancer's addresses that packets still have when they come to a node.
fn ingress(status: Option<&api::ServiceStatus>, findings: &mut Findings) -> Vec<IpAddr> {
    let list = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
    let mut addresses = Vec::new();
    for (index, api) in list.unwrap_or_default().iter().enumerate() {
        let Some(text) = &api.ip else { continue };
        if api.ip_mode.as_deref().is_some_and(|mode| mode != "VIP") {
            continue;
        }
        match values::address(text) {
            Ok(address) => addresses.push(address),
            Err(message) => {
                let field = format!("status.loadBalancer.ingress[{index}].ip");
                findings.warning(field, message, "the address is skipped");
            }
        }
    }
    addresses
}

fn not_served(spec: &api::ServiceSpec, findings: &mut Findings) {
    if spec.load_balancer_source_ranges.as_ref().is_some_and(|list| !list.is_empty()) {
        findings.warning(
            "spec.loadBalancerSourceRanges",
            "not supported",
            "clients of all addresses may connect, as far as the mesh is concerned",
        );
    }
    if spec.health_check_node_port.is_some_and(|port| port != 0) {
        findings.info(
            "spec.healthCheckNodePort",
            "not served by the mesh",
            "left to kube-proxy, or whoever serves it",
        );
    }
}
