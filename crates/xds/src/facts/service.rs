//! A service.

use std::net::IpAddr;

use model::{AddressBlock, Algorithm, LoadBalancing, LocalityMode, Scope, ServiceName, Waypoints};

use super::Reader;
use crate::details::{self, ServiceDetails};
use crate::finding::{Finding, Refusal};
use crate::wire::workload as wire;
use crate::wire::workload::load_balancing::{HealthPolicy, Mode, Scope as WireScope};

/// What a resource says about a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceFacts {
    /// Namespace and host name.
    pub name: ServiceName,
    /// Name of the object that declares it.
    pub object_name: String,
    /// Virtual addresses, with their networks.
    pub addresses: Vec<(String, IpAddr)>,
    /// CIDR blocks, with their networks.
    pub blocks: Vec<(String, AddressBlock)>,
    /// The port that is dialled, the endpoint's own where an endpoint names none, and the
    /// application protocol, empty when unknown.
    pub ports: Vec<(u16, u16, &'static str)>,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// Unhealthy endpoints take traffic, too.
    pub allows_unhealthy: bool,
    /// Endpoints of IPv4 and of IPv6.
    pub families: (bool, bool),
    /// What TCP connections go by.
    pub waypoints: Waypoints,
    /// What only our own control plane says.
    pub details: Option<ServiceDetails>,
    /// What has no effect.
    pub findings: Vec<Finding>,
}

pub(super) fn read(reader: &Reader<'_>, service: wire::Service) -> Result<ServiceFacts, Refusal> {
    reader.required("namespace", &service.namespace)?;
    reader.required("hostname", &service.hostname)?;
    let families = families(reader, &service)?;
    let balancing = service.load_balancing.clone().unwrap_or_default();
    let details = service.extensions.iter().find(|it| it.name == details::SERVICE);
    let details = details.map(|it| ServiceDetails::read(reader, it)).transpose()?;
    let waypoints = waypoints(reader, &service)?;
    let mut facts = ServiceFacts {
        findings: findings(reader, &service),
        name: ServiceName::new(service.namespace, service.hostname),
        object_name: service.name,
        addresses: Vec::new(),
        blocks: Vec::new(),
        ports: ports(reader, &service.ports)?,
        load_balancing: load_balancing(reader, &balancing)?,
        allows_unhealthy: balancing.health_policy() == HealthPolicy::AllowAll,
        families,
        waypoints,
        details,
    };
    for address in service.addresses {
        let ip = reader.ip("addresses", &address.address)?;
        let block = block(reader, ip, address.length)?;
        if block == AddressBlock::single(ip) {
            facts.addresses.push((address.network, ip));
        } else {
            facts.blocks.push((address.network, block));
        }
    }
    Ok(facts)
}

fn block(reader: &Reader<'_>, ip: IpAddr, length: Option<u32>) -> Result<AddressBlock, Refusal> {
    let whole = AddressBlock::single(ip);
    let Some(bits) = length else { return Ok(whole) };
    let prefix_bits = u8::try_from(bits).ok().filter(|bits| *bits <= whole.prefix_bits);
    let refusal = || reader.refusal("addresses", format!("{ip} can't have {bits} leading bits"));
    Ok(AddressBlock { prefix_bits: prefix_bits.ok_or_else(refusal)?, ..whole })
}

fn ports(
    reader: &Reader<'_>,
    ports: &[wire::Port],
) -> Result<Vec<(u16, u16, &'static str)>, Refusal> {
    let read = |port: &wire::Port| {
        let dialled = reader.port("ports.service_port", port.service_port)?;
        let target = reader.target_port("ports.target_port", port.target_port, dialled)?;
        Ok((dialled, target, app_protocol(port.app_protocol())))
    };
    ports.iter().map(read).collect()
}

fn app_protocol(protocol: wire::AppProtocol) -> &'static str {
    match protocol {
        wire::AppProtocol::Unknown => "",
        wire::AppProtocol::Http11 => "http",
        wire::AppProtocol::Http2 => "http2",
        wire::AppProtocol::Grpc => "grpc",
        wire::AppProtocol::Tcp => "tcp",
        wire::AppProtocol::Tls => "tls",
    }
}

fn families(reader: &Reader<'_>, service: &wire::Service) -> Result<(bool, bool), Refusal> {
    match wire::IpFamilies::try_from(service.ip_families) {
        Ok(wire::IpFamilies::Automatic | wire::IpFamilies::Dual) => Ok((true, true)),
        Ok(wire::IpFamilies::Ipv4Only) => Ok((true, false)),
        Ok(wire::IpFamilies::Ipv6Only) => Ok((false, true)),
        Err(_) => {
            Err(reader
                .refusal("ip_families", format!("{} is not a known value", service.ip_families)))
        }
    }
}

fn load_balancing(
    reader: &Reader<'_>,
    balancing: &wire::LoadBalancing,
) -> Result<LoadBalancing, Refusal> {
    let unknown =
        |field, value: i32| reader.refusal(field, format!("{value} is not a known value"));
    let mut scopes = Vec::new();
    for scope in &balancing.routing_preference {
        let known = WireScope::try_from(*scope);
        scopes.extend(match known {
            Ok(WireScope::UnspecifiedScope) => None,
            Ok(WireScope::Region) => Some(Scope::Region),
            Ok(WireScope::Zone) => Some(Scope::Zone),
            Ok(WireScope::Subzone) => Some(Scope::Subzone),
            Ok(WireScope::Node) => Some(Scope::Node),
            Ok(WireScope::Cluster) => Some(Scope::Cluster),
            Ok(WireScope::Network) => Some(Scope::Network),
            Err(_) => return Err(unknown("load_balancing.routing_preference", *scope)),
        });
    }
    HealthPolicy::try_from(balancing.health_policy)
        .map_err(|_| unknown("load_balancing.health_policy", balancing.health_policy))?;
    let mut result = LoadBalancing::default();
    match Mode::try_from(balancing.mode) {
        Ok(Mode::UnspecifiedMode) => {}
        Ok(Mode::Strict) => result.locality = LocalityMode::Strict(scopes),
        Ok(Mode::Failover) => result.locality = LocalityMode::Failover(scopes),
        Ok(Mode::Passthrough) => result.algorithm = Algorithm::Passthrough,
        Err(_) => return Err(unknown("load_balancing.mode", balancing.mode)),
    }
    Ok(result)
}

/// The list, where there is one; else the one.
fn waypoints(reader: &Reader<'_>, service: &wire::Service) -> Result<Waypoints, Refusal> {
    if service.weighted_waypoints.is_empty() {
        let one = service.waypoint.iter().map(|it| reader.waypoint("waypoint", it, 1));
        return one.collect();
    }
    let several = service.weighted_waypoints.iter().map(|it| {
        let destination = it.destination.as_ref();
        let missing = || reader.refusal("weighted_waypoints", "a destination is missing");
        reader.waypoint("weighted_waypoints", destination.ok_or_else(missing)?, it.weight)
    });
    several.collect()
}

fn findings(reader: &Reader<'_>, service: &wire::Service) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut without_effect = |field, message: String| {
        findings.push(reader.without_effect(field, message));
    };
    if service.visibility() == wire::service::Visibility::Namespace {
        without_effect("visibility", "clients of other namespaces reach it, too".to_owned());
    }
    for extension in service.extensions.iter().filter(|it| it.name != details::SERVICE) {
        without_effect("extensions", format!("{} is not known here", extension.name));
    }
    findings
}
