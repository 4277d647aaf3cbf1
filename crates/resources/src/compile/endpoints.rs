//! The endpoints of one service.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use model::{Endpoint, Health, Locality, Protocol, WorkloadName};

use crate::object::{Destination, EndpointSlice, Port, SliceEndpoint};
use crate::{ObjectKey, Options};

/// Localities by name of the node.
pub(super) type Nodes<'a> = HashMap<&'a str, &'a Locality>;

type TargetPorts = BTreeMap<(u16, Protocol), u16>;

/// Where a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) locality: Locality,
    pub(super) network: String,
}

/// Endpoints under construction.
#[derive(Debug, Default)]
pub(super) struct EndpointSet {
    list: Vec<Endpoint>,
    /// Those that came from slices, by address and workload.
    sliced: HashMap<(IpAddr, Option<WorkloadName>), Vec<usize>>,
}

/// Where the workload of a WorkloadEntry is: what it says itself, else what its node says.
pub(super) fn place_of(options: &Options, nodes: &Nodes<'_>, destination: &Destination) -> Place {
    let locality = match nodes.get(destination.node.as_str()) {
        Some(locality) if destination.locality == Locality::default() => (*locality).clone(),
        _ => destination.locality.clone(),
    };
    let network = match &destination.network {
        network if *network == options.network => String::new(),
        network => network.clone(),
    };
    Place { locality, network }
}

/// Where a pod is: what its node says, with the zone that the slice says.
pub(super) fn locality_of(nodes: &Nodes<'_>, endpoint: &SliceEndpoint) -> Locality {
    let mut locality =
        nodes.get(endpoint.node.as_str()).map(|it| (*it).clone()).unwrap_or_default();
    if !endpoint.zone.is_empty() && locality.zone != endpoint.zone {
        locality.zone = endpoint.zone.clone();
        locality.subzone = String::new();
    }
    locality
}

// === impl EndpointSet ===

impl EndpointSet {
    /// Adds what a slice says. The slices of one service may each know some ports of an address.
    pub(super) fn add_slice(&mut self, nodes: &Nodes<'_>, ports: &[Port], slice: &EndpointSlice) {
        let target_ports = slice_ports(ports, slice);
        for endpoint in &slice.endpoints {
            self.add_sliced(Endpoint {
                workload: endpoint.pod.as_ref().map(|(ns, name)| WorkloadName::new(ns, name)),
                address: endpoint.address,
                target_ports: target_ports.clone(),
                health: endpoint.health,
                weight: 1,
                locality: locality_of(nodes, endpoint),
                node: endpoint.node.clone(),
                network: String::new(),
                cluster: String::new(),
            });
        }
    }

    /// Adds a WorkloadEntry, or an inline endpoint, which has no name and is always healthy.
    pub(super) fn add_destination(
        &mut self,
        ports: &[Port],
        destination: &Destination,
        place: Place,
        entry: Option<(&ObjectKey, Health)>,
    ) {
        let target_ports = ports.iter().filter_map(|port| {
            let number = port.on(&destination.ports)?;
            Some(((port.port.port, port.port.protocol), number))
        });
        self.list.push(Endpoint {
            workload: entry.map(|(key, _)| WorkloadName::new(&key.namespace, &key.name)),
            address: destination.address,
            target_ports: target_ports.collect(),
            health: entry.map_or(Health::Healthy, |(_, health)| health),
            weight: destination.weight,
            locality: place.locality,
            node: destination.node.clone(),
            network: place.network,
            cluster: String::new(),
        });
    }

    /// The endpoints, in an order that does not depend on which slice they came from.
    pub(super) fn finish(self) -> Vec<Endpoint> {
        let mut list = self.list;
        list.sort_by(|a, b| {
            let (a_key, b_key) = ((a.address, &a.workload), (b.address, &b.workload));
            a_key.cmp(&b_key).then_with(|| a.target_ports.cmp(&b.target_ports))
        });
        list
    }

    fn add_sliced(&mut self, endpoint: Endpoint) {
        let key = (endpoint.address, endpoint.workload.clone());
        let twins = self.sliced.entry(key).or_default();
        for index in twins.iter() {
            let twin = &mut self.list[*index];
            if can_merge(&twin.target_ports, &endpoint.target_ports) {
                twin.target_ports.extend(endpoint.target_ports);
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
