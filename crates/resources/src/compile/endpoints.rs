//! The endpoints of one service.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Endpoint, Health, Map, NodeFacts, Protocol, TargetPorts, Topology, UnresolvedEndpoint,
    WorkloadName,
};

use crate::Options;
use crate::object::{Address, Destination, EndpointSlice, Port, Site, SliceEndpoint, TargetPort};

/// What is known of nodes, by name.
pub(super) type Nodes = Map<String, Arc<NodeFacts>>;

/// Endpoints under construction.
#[derive(Debug)]
pub(super) struct EndpointSet<'a> {
    options: &'a Options,
    nodes: &'a Nodes,
    /// Of the addresses of a name only the first counts.
    pub(super) first_address_only: bool,
    list: Vec<Endpoint>,
    unresolved: Vec<UnresolvedEndpoint>,
    /// Those that came from slices, by address and workload.
    sliced: HashMap<(IpAddr, Option<Arc<WorkloadName>>), Vec<usize>>,
}

/// Where the workload of a WorkloadEntry is: what it says itself, else what its node says.
pub(super) fn topology_of_site(options: &Options, nodes: &Nodes, site: &Site) -> Topology {
    let locality = match nodes.get(site.node.as_str()) {
        Some(facts) if site.locality == model::Locality::default() => facts.locality.clone(),
        _ => site.locality.clone(),
    };
    let network = match &site.network {
        network if *network == options.network => String::new(),
        network => network.clone(),
    };
    Topology { locality, node: site.node.clone(), network, cluster: String::new() }
}

/// Where a pod is: what its node says, with the zone that the slice says.
pub(super) fn topology_of_pod(nodes: &Nodes, endpoint: &SliceEndpoint) -> Topology {
    let facts = nodes.get(&*endpoint.node);
    let mut locality = facts.map(|facts| facts.locality.clone()).unwrap_or_default();
    if !endpoint.zone.is_empty() && locality.zone != *endpoint.zone {
        locality.zone = endpoint.zone.to_string();
        locality.subzone = String::new();
    }
    Topology { locality, node: endpoint.node.to_string(), ..Topology::default() }
}

// === impl EndpointSet ===

impl<'a> EndpointSet<'a> {
    pub(super) fn new(options: &'a Options, nodes: &'a Nodes) -> Self {
        Self {
            options,
            nodes,
            first_address_only: false,
            list: Vec::new(),
            unresolved: Vec::new(),
            sliced: HashMap::new(),
        }
    }

    /// Adds what a slice says. The slices of one service may each know some ports of an address.
    pub(super) fn add_slice(&mut self, ports: &[Port], slice: &EndpointSlice) {
        let target_ports = Arc::new(slice_ports(ports, slice));
        for endpoint in &slice.endpoints {
            self.add_sliced(Endpoint {
                workload: endpoint.pod.clone(),
                address: endpoint.address,
                target_ports: target_ports.clone(),
                health: endpoint.health,
                weight: 1,
                topology: Arc::new(topology_of_pod(self.nodes, endpoint)),
            });
        }
    }

    /// Adds a WorkloadEntry, or an inline endpoint, which has no name and is always healthy.
    pub(super) fn add_destination(
        &mut self,
        ports: &[Port],
        destination: &Destination,
        workload: Option<(Arc<WorkloadName>, Health)>,
    ) {
        let target_ports = ports.iter().filter_map(|port| {
            let number = port.on(destination)?;
            Some(((port.port.port, port.port.protocol), number))
        });
        let topology = topology_of_site(self.options, self.nodes, &destination.site);
        let health = workload.as_ref().map_or(Health::Healthy, |(_, health)| *health);
        let mut unresolved = UnresolvedEndpoint {
            hostname: String::new(),
            first_address_only: self.first_address_only,
            workload: workload.map(|(name, _)| name),
            target_ports: Arc::new(target_ports.collect()),
            health,
            weight: destination.weight,
            topology: Arc::new(topology),
        };
        match &destination.address {
            Address::Ip(address) => self.list.push(unresolved.at(*address)),
            Address::Host(host) => {
                unresolved.hostname = host.to_string();
                self.unresolved.push(unresolved);
            }
        }
    }

    /// Adds the host of a service as its own endpoint.
    pub(super) fn add_host(&mut self, ports: &[Port], host: &str) {
        let target_ports = ports.iter().filter_map(|port| {
            let number = match &port.target {
                TargetPort::Same => port.port.port,
                TargetPort::Number(number) => *number,
                TargetPort::Name(_) => return None,
            };
            Some(((port.port.port, port.port.protocol), number))
        });
        self.unresolved.push(UnresolvedEndpoint {
            hostname: host.to_owned(),
            first_address_only: self.first_address_only,
            workload: None,
            target_ports: Arc::new(target_ports.collect()),
            health: Health::Healthy,
            weight: 1,
            topology: Arc::default(),
        });
    }

    /// All count as healthy.
    pub(super) fn publish_all(&mut self) {
        self.list.iter_mut().for_each(|endpoint| endpoint.health = Health::Healthy);
        self.unresolved.iter_mut().for_each(|endpoint| endpoint.health = Health::Healthy);
    }

    /// The endpoints, in an order that does not depend on which slice they came from.
    pub(super) fn finish(self) -> (Vec<Endpoint>, Vec<UnresolvedEndpoint>) {
        let Self { mut list, mut unresolved, .. } = self;
        list.sort_by(|a, b| {
            let (a_key, b_key) = ((a.address, &a.workload), (b.address, &b.workload));
            a_key.cmp(&b_key).then_with(|| a.target_ports.cmp(&b.target_ports))
        });
        unresolved.sort_by(|a, b| {
            let (a_key, b_key) = ((&a.hostname, &a.workload), (&b.hostname, &b.workload));
            a_key.cmp(&b_key).then_with(|| a.target_ports.cmp(&b.target_ports))
        });
        list.shrink_to_fit();
        (list, unresolved)
    }

    fn add_sliced(&mut self, endpoint: Endpoint) {
        let key = (endpoint.address, endpoint.workload.clone());
        let twins = self.sliced.entry(key).or_default();
        for index in twins.iter() {
            let twin = &mut self.list[*index];
            if can_merge(&twin.target_ports, &endpoint.target_ports) {
                Arc::make_mut(&mut twin.target_ports).extend(endpoint.target_ports.iter());
                twin.health = twin.health.min(endpoint.health);
                return;
            }
        }
        twins.push(self.list.len());
        self.list.push(endpoint);
    }
}

/// No port has two targets.
fn can_merge(a: &TargetPorts, b: &TargetPorts) -> bool {
    a.iter().all(|(port, target)| b.get(port).is_none_or(|other| other == target))
}

/// A port of the service is the slice's port of the same name and protocol.
fn slice_ports(ports: &[Port], slice: &EndpointSlice) -> TargetPorts {
    let by_name: HashMap<(&str, Protocol), u16> =
        slice.ports.iter().map(|port| ((port.name.as_str(), port.protocol), port.number)).collect();
    let targets = ports.iter().map(|port| &port.port).filter_map(|port| {
        let number = by_name.get(&(port.name.as_str(), port.protocol))?;
        Some(((port.port, port.protocol), *number))
    });
    targets.collect()
}
