//! The mesh as resources: the other direction, for a control plane. A client that reads them has the
//! same mesh again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Algorithm, Endpoint, Health, LocalityMode, Map, Policy, PolicyName, Protocol, Scope, Service,
    ServiceName, Snapshot, TargetPorts, Topology, UnresolvedEndpoint, Waypoint, WaypointTarget,
    Workload, WorkloadName,
};
use prost::Message;

use crate::details::{EndpointDetails, ServiceDetails, address_bytes};
use crate::finding::Finding;
use crate::wire::discovery::{Payload, Resource};
use crate::wire::security::Authorization;
use crate::wire::workload as wire;
use crate::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

mod policy;

/// API group and kind of endpoints that are not workloads, in their uid.
const ENDPOINT_KIND: &str = "discovery.k8s.io/EndpointSlice";

/// Resources by name. A copy costs nothing, and [`model::diff`] of two costs what differs.
pub type Resources = Map<String, Arc<Resource>>;

/// Names of the mesh's own, which are empty in the model and not on the wire.
#[derive(Clone, Debug, Default)]
pub struct EncodeOptions {
    /// The cluster.
    pub cluster: String,
    /// The network.
    pub network: String,
}

/// Keeps resources in step with a snapshot, at the cost of what changes.
#[derive(Debug)]
pub struct Encoder {
    options: EncodeOptions,
    snapshot: Snapshot,
    resources: Resources,
    policies: Resources,
    /// What each workload resource serves.
    served: BTreeMap<String, BTreeMap<ServiceName, Arc<TargetPorts>>>,
    /// Names of the resources that are endpoints of a service and nothing else.
    endpoints: BTreeMap<ServiceName, BTreeSet<String>>,
    /// Names of the workloads that serve a service as what they are.
    members: BTreeMap<ServiceName, BTreeSet<Arc<WorkloadName>>>,
}

// === impl Encoder ===

impl Encoder {
    /// The empty mesh.
    pub fn new(options: EncodeOptions) -> Self {
        Self {
            options,
            snapshot: Snapshot::default(),
            resources: Resources::default(),
            policies: Resources::default(),
            served: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// Services and workloads of the last snapshot.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Policies of the last snapshot.
    pub fn policies(&self) -> &Resources {
        &self.policies
    }

    /// What of the last snapshot is not told.
    pub fn findings(&self) -> Vec<Finding> {
        self.snapshot.policies.values().filter_map(|policy| policy::finding(policy)).collect()
    }

    /// Goes over to another snapshot.
    pub fn update(&mut self, snapshot: &Snapshot) {
        let old = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut services = BTreeSet::new();
        let mut workloads = BTreeSet::new();
        for difference in model::diff(&old.services, &snapshot.services) {
            services.insert(difference.key.clone());
        }
        // How an endpoint is told depends on whether it is as its workload.
        for difference in model::diff(&old.workloads, &snapshot.workloads) {
            workloads.insert(difference.key.clone());
            for workload in [difference.old, difference.new].into_iter().flatten() {
                services.extend(workload.services.iter().cloned());
            }
            let uid = |workload: &Arc<Workload>| workload.uid();
            if let Some(gone) = difference.old.map(uid)
                && difference.new.map(uid).as_ref() != Some(&gone)
            {
                self.resources.remove(&gone);
                self.served.remove(&gone);
            }
        }
        for difference in model::diff(&old.policies, &snapshot.policies) {
            self.encode_policy(difference.key, difference.new);
        }
        for name in services {
            self.encode_service(&name, &mut workloads);
        }
        for name in workloads {
            self.encode_workload(&name);
        }
    }

    fn encode_policy(&mut self, name: &PolicyName, policy: Option<&Arc<Policy>>) {
        let name = name.to_string();
        match policy.and_then(|policy| policy::encode(policy)) {
            Some(message) => {
                let resource = policy_resource(&name, &message);
                self.policies.insert(name, Arc::new(resource));
            }
            None => drop(self.policies.remove(&name)),
        }
    }

    fn encode_service(&mut self, name: &ServiceName, touched: &mut BTreeSet<Arc<WorkloadName>>) {
        self.withdraw(name, touched);
        let Some(service) = self.snapshot.services.get(name).cloned() else {
            self.resources.remove(&name.to_string());
            return;
        };
        let families = families(&service);
        self.put(
            name.to_string(),
            wire::address::Type::Service(wire_service(&service, families, &self.options)),
        );
        let mut groups: BTreeMap<Option<&Arc<WorkloadName>>, Vec<&Endpoint>> = BTreeMap::new();
        for endpoint in &service.endpoints {
            groups.entry(endpoint.workload.as_ref()).or_default().push(endpoint);
        }
        for (workload, group) in groups {
            let known = workload.and_then(|name| self.snapshot.workloads.get(name));
            match (workload, known) {
                (Some(name), Some(known)) if are_as(&group, known, families) => {
                    let served = self.served.entry(known.uid()).or_default();
                    let ports = group.first().map(|it| it.target_ports.clone());
                    served.insert(service.name.clone(), ports.unwrap_or_default());
                    self.members.entry(service.name.clone()).or_default().insert(name.clone());
                    touched.insert(name.clone());
                }
                _ => group.iter().for_each(|it| self.put_endpoint(&service, it)),
            }
        }
        for endpoint in &service.unresolved {
            self.put_unresolved(&service, endpoint);
        }
    }

    /// Forgets who serves a service.
    fn withdraw(&mut self, name: &ServiceName, touched: &mut BTreeSet<Arc<WorkloadName>>) {
        for resource in self.endpoints.remove(name).unwrap_or_default() {
            self.resources.remove(&resource);
        }
        for workload in self.members.remove(name).unwrap_or_default() {
            let known = self.snapshot.workloads.get(&workload);
            if let Some(served) = known.and_then(|known| self.served.get_mut(&known.uid())) {
                served.remove(name);
            }
            touched.insert(workload);
        }
    }

    fn put_endpoint(&mut self, service: &Service, endpoint: &Endpoint) {
        let section =
            endpoint.workload.as_ref().map_or_else(String::new, |w| format!("/{}", w.name));
        let part = format!("{}{section}", endpoint.address);
        let mut details = EndpointDetails::of_endpoint(endpoint);
        let ports = wire_ports(&endpoint.target_ports, &mut details);
        let mut workload = self.endpoint_resource(service, &part, &endpoint.topology, ports);
        workload.addresses = vec![address_bytes(&endpoint.address)];
        workload.status = status(endpoint.health).into();
        workload.capacity = Some(endpoint.weight);
        workload.extensions = details.encode().into_iter().collect();
        self.put_part(service, workload);
    }

    fn put_unresolved(&mut self, service: &Service, endpoint: &UnresolvedEndpoint) {
        let name = endpoint.workload.as_ref().map_or_else(String::new, |w| format!("/{}", w.name));
        let part = format!("{}{name}", endpoint.hostname);
        let mut details = EndpointDetails::of_unresolved(endpoint);
        let ports = wire_ports(&endpoint.target_ports, &mut details);
        let mut workload = self.endpoint_resource(service, &part, &endpoint.topology, ports);
        workload.hostname = endpoint.hostname.clone();
        workload.status = status(endpoint.health).into();
        workload.capacity = Some(endpoint.weight);
        workload.extensions = details.encode().into_iter().collect();
        self.put_part(service, workload);
    }

    fn endpoint_resource(
        &self,
        service: &Service,
        part: &str,
        topology: &Topology,
        ports: wire::PortList,
    ) -> wire::Workload {
        let ServiceName { namespace, hostname } = &service.name;
        let cluster = &self.options.cluster;
        wire::Workload {
            uid: format!("{cluster}/{ENDPOINT_KIND}/{namespace}/{hostname}/{part}"),
            name: format!("{hostname}/{part}"),
            namespace: namespace.clone(),
            services: [(service.name.to_string(), ports)].into(),
            ..self.placed(topology)
        }
    }

    fn put_part(&mut self, service: &Service, workload: wire::Workload) {
        let name = workload.uid.clone();
        self.endpoints.entry(service.name.clone()).or_default().insert(name.clone());
        self.put(name, wire::address::Type::Workload(workload));
    }

    fn encode_workload(&mut self, name: &Arc<WorkloadName>) {
        let Some(workload) = self.snapshot.workloads.get(name).cloned() else { return };
        let uid = workload.uid();
        let mut details = EndpointDetails::of_workload(&workload);
        let served = self.served.get(&uid).cloned().unwrap_or_default();
        if workload.services.iter().any(|service| !served.contains_key(service)) {
            details.services = workload.services.to_vec();
        }
        let services = served
            .iter()
            .map(|(service, ports)| (service.to_string(), wire_ports(ports, &mut details)))
            .collect();
        let message = wire::Workload {
            uid: uid.clone(),
            name: workload.name.name.clone(),
            namespace: workload.name.namespace.clone(),
            addresses: workload.addresses.iter().map(address_bytes).collect(),
            trust_domain: workload.trust_domain.to_string(),
            service_account: workload.service_account.to_string(),
            authorization_policies: workload.policies.iter().map(ToString::to_string).collect(),
            status: status(workload.health).into(),
            workload_type: wire::WorkloadType::Pod.into(),
            workload_name: workload.name.name.clone(),
            waypoint: workload.waypoints.first().map(gateway),
            services,
            extensions: details.encode().into_iter().collect(),
            ..self.placed(&workload.topology)
        };
        self.put(uid, wire::address::Type::Workload(message));
    }

    fn placed(&self, topology: &Topology) -> wire::Workload {
        let or = |text: &String, own: &String| if text.is_empty() { own } else { text }.clone();
        let locality = &topology.locality;
        wire::Workload {
            network: or(&topology.network, &self.options.network),
            cluster_id: or(&topology.cluster, &self.options.cluster),
            node: topology.node.clone(),
            locality: Some(wire::Locality {
                region: locality.region.clone(),
                zone: locality.zone.clone(),
                subzone: locality.subzone.clone(),
            }),
            ..wire::Workload::default()
        }
    }

    fn put(&mut self, name: String, message: wire::address::Type) {
        let resource = resource(&name, message);
        if self.resources.get(&name).is_none_or(|known| known.version != resource.version) {
            self.resources.insert(name, Arc::new(resource));
        }
    }
}

/// True when the workload's own resource says all that these endpoints do.
fn are_as(endpoints: &[&Endpoint], workload: &Workload, (v4, v6): (bool, bool)) -> bool {
    let Some(first) = endpoints.first() else { return false };
    let same = |it: &&Endpoint| {
        it.health == workload.health
            && it.weight == 1
            && it.topology == workload.topology
            && it.target_ports == first.target_ports
    };
    let is_of_family = |ip: &IpAddr| if ip.is_ipv4() { v4 } else { v6 };
    let own: BTreeSet<IpAddr> = workload.addresses.iter().copied().filter(is_of_family).collect();
    let told: BTreeSet<IpAddr> = endpoints.iter().map(|it| it.address).collect();
    // By transport, ports are an endpoint's own business.
    is_same_for_transports(&first.target_ports)
        && endpoints.iter().all(same)
        && own == told
        && own.len() == endpoints.len()
}

/// A service or a workload as a resource.
pub fn resource(name: &str, message: wire::address::Type) -> Resource {
    versioned(name, ADDRESS_TYPE, &wire::Address { r#type: Some(message) })
}

/// A policy as a resource.
pub fn policy_resource(name: &str, message: &Authorization) -> Resource {
    versioned(name, AUTHORIZATION_TYPE, message)
}

/// A message as a resource. Its version is a hash of its bytes.
fn versioned(name: &str, type_url: &str, message: &impl Message) -> Resource {
    let value = message.encode_to_vec();
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let version = format!("{:016x}", hasher.finish());
    let payload = Payload { type_url: type_url.to_owned(), value: value.into() };
    Resource { name: name.to_owned(), version, resource: Some(payload), aliases: vec![] }
}

/// Families of the endpoints; both when there are none.
fn families(service: &Service) -> (bool, bool) {
    let has = |v4: bool| service.endpoints.iter().any(|it| it.address.is_ipv4() == v4);
    if service.endpoints.is_empty() { (true, true) } else { (has(true), has(false)) }
}

fn wire_service(
    service: &Service,
    families: (bool, bool),
    options: &EncodeOptions,
) -> wire::Service {
    let address = |ip: &IpAddr, length: Option<u32>| wire::NetworkAddress {
        network: options.network.clone(),
        address: address_bytes(ip),
        length,
    };
    let single = service.addresses.iter().map(|ip| address(ip, None));
    let blocks =
        service.networks.iter().map(|it| address(&it.address, Some(it.prefix_bits.into())));
    let ports: BTreeSet<u16> = service.ports.iter().map(|port| port.port).collect();
    let ip_families = match families {
        (true, false) => wire::IpFamilies::Ipv4Only,
        (false, true) => wire::IpFamilies::Ipv6Only,
        _ => wire::IpFamilies::Automatic,
    };
    wire::Service {
        name: service.object_name.clone(),
        namespace: service.name.namespace.clone(),
        hostname: service.name.hostname.clone(),
        addresses: single.chain(blocks).collect(),
        ports: ports
            .into_iter()
            .map(|port| wire::Port { service_port: port.into(), target_port: 0, app_protocol: 0 })
            .collect(),
        load_balancing: Some(wire_balancing(service)),
        ip_families: ip_families.into(),
        waypoint: service.waypoints.first().map(gateway),
        weighted_waypoints: weighted(&service.waypoints),
        extensions: vec![ServiceDetails::encode(service)],
        ..wire::Service::default()
    }
}

fn gateway(waypoint: &Waypoint) -> wire::GatewayAddress {
    use wire::gateway_address::Destination;
    let destination = match &waypoint.target {
        WaypointTarget::Address(address) => Destination::Address(wire::NetworkAddress {
            address: address_bytes(address),
            ..wire::NetworkAddress::default()
        }),
        WaypointTarget::Service(name) => Destination::Hostname(wire::NamespacedHostname {
            namespace: name.namespace.clone(),
            hostname: name.hostname.clone(),
        }),
    };
    let hbone_mtls_port = waypoint.hbone_port.into();
    wire::GatewayAddress { destination: Some(destination), hbone_mtls_port }
}

/// A single one has its own field.
fn weighted(waypoints: &[Waypoint]) -> Vec<wire::WeightedWaypoint> {
    let list = waypoints.iter().map(|waypoint| wire::WeightedWaypoint {
        destination: Some(gateway(waypoint)),
        weight: waypoint.weight,
    });
    if waypoints.len() > 1 { list.collect() } else { Vec::new() }
}

fn wire_balancing(service: &Service) -> wire::LoadBalancing {
    use wire::load_balancing::Mode;
    let (mode, scopes) = match &service.load_balancing.locality {
        LocalityMode::Failover(scopes) => (Mode::Failover, scopes.as_slice()),
        LocalityMode::Strict(scopes) => (Mode::Strict, scopes.as_slice()),
        _ if service.load_balancing.algorithm == Algorithm::Passthrough => {
            (Mode::Passthrough, [].as_slice())
        }
        _ => (Mode::UnspecifiedMode, [].as_slice()),
    };
    wire::LoadBalancing {
        routing_preference: scopes.iter().map(|scope| wire_scope(*scope).into()).collect(),
        mode: mode.into(),
        health_policy: 0,
    }
}

fn wire_scope(scope: Scope) -> wire::load_balancing::Scope {
    use wire::load_balancing::Scope as Wire;
    match scope {
        Scope::Region => Wire::Region,
        Scope::Zone => Wire::Zone,
        Scope::Subzone => Wire::Subzone,
        Scope::Node => Wire::Node,
        Scope::Cluster => Wire::Cluster,
        Scope::Network => Wire::Network,
    }
}

fn status(health: Health) -> wire::WorkloadStatus {
    match health {
        Health::Healthy => wire::WorkloadStatus::Healthy,
        Health::Terminating | Health::Unhealthy => wire::WorkloadStatus::Unhealthy,
    }
}

fn is_same_for_transports(ports: &TargetPorts) -> bool {
    ports.iter().all(|((port, protocol), target)| {
        let other = match protocol {
            Protocol::Tcp => Protocol::Udp,
            Protocol::Udp => Protocol::Tcp,
        };
        ports.get(&(*port, other)).is_none_or(|it| it == target)
    })
}

/// Ports as the wire has them; what it cannot say goes to the details.
fn wire_ports(ports: &TargetPorts, details: &mut EndpointDetails) -> wire::PortList {
    if !is_same_for_transports(ports) {
        details.target_ports = ports.clone();
    }
    let by_port: BTreeMap<u16, u16> = ports.iter().map(|((port, _), it)| (*port, *it)).collect();
    let ports = by_port.into_iter().map(|(port, target)| wire::Port {
        service_port: port.into(),
        target_port: target.into(),
        app_protocol: 0,
    });
    wire::PortList { ports: ports.collect() }
}

#[cfg(test)]
mod tests;
