//! What the maps should say, service by service, without any index.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use abi::{FrontendKey, IpAddress, PROTOCOL_TCP, PROTOCOL_UDP, SlotSource, SlotTable};
use model::{
    AddressBlock, Algorithm, Endpoint, LoadBalancing, LocalityMode, Map, Node, OutboundPolicy,
    Protocol, Scope, Service, ServiceName, ServicePort, Snapshot, Source,
};

use crate::Problem;
use crate::waypoints::{self, Waypoints};
use crate::workload_addresses::WorkloadAddresses;

/// One slot: where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The endpoint's address.
    pub address: IpAddress,
    /// The endpoint's own port.
    pub port: u16,
}

/// The slots of one service port and address family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// One for each slot. Empty: nothing is usable, refuse.
    pub targets: Vec<Target>,
    /// How a slot is picked; the extent is not used.
    pub picking: SlotTable,
}

/// What a frontend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Choose from this table of the service.
    Balance(usize),
    /// Leave the destination alone.
    Pass,
    /// The address is known, the port is not.
    RefusePort,
    /// The own address of a workload: leave it alone.
    Workload,
}

/// Where applications dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At an address.
    Address(FrontendKey),
    /// Anywhere in a block.
    Block {
        /// The block.
        block: AddressBlock,
        /// The port.
        port: u16,
        /// `IPPROTO_TCP` or `IPPROTO_UDP`.
        protocol: u8,
    },
}

/// One place that applications dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendImage {
    /// Where.
    pub place: Place,
    /// What happens there.
    pub action: Action,
    /// TCP connections go by a waypoint: the frontend that has the table of waypoints.
    pub waypoint: Option<FrontendKey>,
}

/// One service, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceImage {
    /// Its tables.
    pub tables: Vec<Table>,
    /// Where it is dialled.
    pub frontends: Vec<FrontendImage>,
}

/// All services, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// By name; services that did not change are shared with the image before.
    pub services: Map<ServiceName, Arc<ServiceImage>>,
}

/// Compiles one service for one node, with the waypoints that connections to it go by.
pub fn compile(
    service: &Service,
    waypoints: Option<&model::Waypoints>,
    node: &Node,
    slots_per_table_max: u32,
) -> ServiceImage {
    let compiler = Compiler { service, waypoints, node, slots_per_table_max };
    let mut image = ServiceImage::default();
    compiler.family(&mut image, IpAddr::is_ipv4);
    compiler.family(&mut image, IpAddr::is_ipv6);
    image.tables.shrink_to_fit();
    image.frontends.shrink_to_fit();
    image
}

struct Compiler<'a> {
    service: &'a Service,
    waypoints: Option<&'a model::Waypoints>,
    node: &'a Node,
    slots_per_table_max: u32,
}

impl Compiler<'_> {
    fn family(&self, image: &mut ServiceImage, is_family: fn(&IpAddr) -> bool) {
        let service = self.service;
        let of_family = |addresses: &[IpAddr]| -> Vec<IpAddr> {
            addresses.iter().copied().filter(is_family).collect()
        };
        let addresses = of_family(&service.addresses);
        // Who dials an external address from here is inside the cluster, whatever the policy says of
        // those outside: so says the Kubernetes API of `externalTrafficPolicy`.
        let mut dialled = addresses.clone();
        dialled.extend(of_family(&service.external_addresses));
        let nodes = of_family(&self.node.addresses);
        let blocks: Vec<AddressBlock> =
            service.networks.iter().copied().filter(|block| is_family(&block.address)).collect();
        for port in &service.ports {
            let mut inside = None;
            let mut outside = None;
            for place in places(port, &dialled, &blocks) {
                let action =
                    *inside.get_or_insert_with(|| self.balance(image, port, is_family, false));
                let waypoint = self.waypoint(&place, port.protocol);
                image.frontends.push(FrontendImage { place, action, waypoint });
            }
            for place in node_places(service, port, &nodes) {
                let local = service.external_local;
                let action = match inside {
                    Some(action) if !local => action,
                    _ => {
                        *outside.get_or_insert_with(|| self.balance(image, port, is_family, local))
                    }
                };
                image.frontends.push(FrontendImage { place, action, waypoint: None });
            }
        }
        if self.owns_whole_address() {
            image.frontends.extend(addresses.into_iter().map(|address| FrontendImage {
                place: Place::Address(FrontendKey::whole_address(address)),
                action: Action::RefusePort,
                waypoint: None,
            }));
        }
    }

    /// Where the waypoints' table is. They know the service by its own addresses and blocks alone, so
    /// an external address or a node port leads to the endpoints.
    fn waypoint(&self, place: &Place, protocol: Protocol) -> Option<FrontendKey> {
        let list = self.waypoints.filter(|_| protocol == Protocol::Tcp)?;
        let address = match place {
            Place::Address(key) => key.address.ip(),
            Place::Block { block, .. } => block.address,
        };
        let is_own =
            matches!(place, Place::Block { .. }) || self.service.addresses.contains(&address);
        is_own.then(|| waypoints::place_for(list, address))
    }

    /// A Kubernetes cluster IP, or an address that was made up for a host, is nothing but its
    /// service's: a port that the service does not have cannot lead anywhere. An address that a
    /// ServiceEntry names may be a real host with other ports.
    fn owns_whole_address(&self) -> bool {
        let service = self.service;
        let is_virtual = service.source == Source::Kubernetes || service.auto_addresses;
        is_virtual && service.load_balancing.algorithm != Algorithm::Passthrough
    }

    /// Adds the table of one port; `local` keeps it to this node's own endpoints.
    fn balance(
        &self,
        image: &mut ServiceImage,
        port: &ServicePort,
        is_family: fn(&IpAddr) -> bool,
        local: bool,
    ) -> Action {
        let service = self.service;
        if service.load_balancing.algorithm == Algorithm::Passthrough {
            return Action::Pass;
        }
        let key = (port.port, port.protocol);
        let serving: Vec<&Endpoint> = service
            .endpoints
            .iter()
            .filter(|endpoint| is_family(&endpoint.address))
            .filter(|endpoint| endpoint.target_ports.contains_key(&key))
            .collect();
        let mut balancing = service.load_balancing.clone();
        if local {
            balancing.locality = LocalityMode::Strict(vec![Scope::Node]);
        }
        let slots = balance::slots(&serving, &balancing, self.node, self.slots_per_table_max);
        let targets = slots
            .into_iter()
            .map(|index| Target {
                address: serving[index].address.into(),
                port: serving[index].target_ports[&key],
            })
            .collect();
        image.tables.push(Table { targets, picking: picking(&balancing) });
        Action::Balance(image.tables.len() - 1)
    }
}

/// How a slot is picked.
pub(crate) fn picking(balancing: &LoadBalancing) -> SlotTable {
    if let Some(seconds) = balancing.affinity_seconds {
        return SlotTable::picking(SlotSource::Affinity, false, seconds);
    }
    match balancing.algorithm {
        Algorithm::RoundRobin => SlotTable::picking(SlotSource::Cursor, false, 0),
        Algorithm::LeastRequest => SlotTable::picking(SlotSource::Random, true, 0),
        Algorithm::ConsistentHash => SlotTable::picking(SlotSource::Client, false, 0),
        Algorithm::WeightedRandom | Algorithm::Passthrough => SlotTable::default(),
    }
}

fn places(port: &ServicePort, addresses: &[IpAddr], blocks: &[AddressBlock]) -> Vec<Place> {
    let protocol = number(port.protocol);
    let address =
        |address: &IpAddr| Place::Address(FrontendKey::port(*address, port.port, protocol));
    let block = |block: &AddressBlock| Place::Block { block: *block, port: port.port, protocol };
    addresses.iter().map(address).chain(blocks.iter().map(block)).collect()
}

fn node_places(service: &Service, port: &ServicePort, nodes: &[IpAddr]) -> Vec<Place> {
    let protocol = number(port.protocol);
    let at = |address: &IpAddr, port| Place::Address(FrontendKey::port(*address, port, protocol));
    let node_ports = service
        .node_ports
        .iter()
        .filter(|node_port| (node_port.port, node_port.protocol) == (port.port, port.protocol));
    node_ports.flat_map(|it| nodes.iter().map(|node| at(node, it.node_port))).collect()
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => PROTOCOL_TCP,
        Protocol::Udp => PROTOCOL_UDP,
    }
}

/// Compiles snapshots one after the other, and services only when they changed.
pub struct Planner {
    node: Node,
    slots_per_table_max: u32,
    /// What the image was compiled from.
    snapshot: Snapshot,
    image: Image,
    waypoints: Waypoints,
    workload_addresses: WorkloadAddresses,
    /// The node is another than the image was compiled for.
    is_stale: bool,
}

impl Planner {
    /// A planner for one node, where waypoints are dialled at [`abi::waypoint::PORT`].
    pub fn new(node: Node, slots_per_table_max: u32) -> Self {
        Self::with_waypoint_port(node, slots_per_table_max, abi::waypoint::PORT)
    }

    /// A planner for one node, where waypoints are dialled at `waypoint_port`.
    pub fn with_waypoint_port(node: Node, slots_per_table_max: u32, waypoint_port: u16) -> Self {
        Self {
            node,
            slots_per_table_max,
            snapshot: Snapshot::default(),
            image: Image::default(),
            waypoints: Waypoints::new(waypoint_port),
            workload_addresses: WorkloadAddresses::default(),
            is_stale: false,
        }
    }

    /// Changes what the node knows of itself; everything is compiled anew if it differs.
    pub fn set_node(&mut self, node: Node) {
        self.is_stale |= node != self.node;
        self.node = node;
    }

    /// The node that plans are made for.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The image of `snapshot`, at the cost of what differs from the snapshot before.
    pub fn image(&mut self, snapshot: &Snapshot) -> Image {
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut touched = self.waypoints.update(&before, snapshot);
        for service in model::diff(&before.services, &snapshot.services) {
            match service.new {
                Some(new) => self.compile(service.key, new),
                None => drop(self.image.services.remove(service.key)),
            }
        }
        for name in &touched.services {
            snapshot.services.get(name).iter().for_each(|service| self.compile(name, service));
        }
        if std::mem::take(&mut self.is_stale) {
            snapshot.services.iter().for_each(|(name, service)| self.compile(name, service));
            touched.lists.extend(self.waypoints.lists());
        }
        touched.lists.iter().for_each(|list| self.compile_waypoints(list));
        self.compile_workloads(&touched.services);
        self.image.clone()
    }

    /// What is wrong with waypoints, and what it means. It is looked at all of them.
    pub fn waypoint_problems(&self) -> Vec<Problem> {
        self.waypoints.problems(&self.snapshot)
    }

    /// The addresses of the endpoints of all waypoints, each with the waypoint's service.
    pub fn waypoint_addresses(&self) -> BTreeMap<IpAddr, ServiceName> {
        let services = self.waypoints.services().filter_map(|it| self.snapshot.services.get(it));
        let addresses = services
            .flat_map(|service| service.endpoints.iter().map(|it| (it.address, &service.name)));
        addresses.map(|(address, name)| (address, name.clone())).collect()
    }

    fn compile(&mut self, name: &ServiceName, service: &Service) {
        let waypoints = self.waypoints.of_service(service);
        let image = compile(service, waypoints, &self.node, self.slots_per_table_max);
        put(&mut self.image.services, name, image);
    }

    fn compile_waypoints(&mut self, list: &model::Waypoints) {
        let name = waypoints::pseudo_service(list);
        let (node, slots_max) = (&self.node, self.slots_per_table_max);
        match self.waypoints.compile(list, &self.snapshot, node, slots_max) {
            Some(image) => put(&mut self.image.services, &name, image),
            None => drop(self.image.services.remove(&name)),
        }
    }

    /// Workloads may have waypoints, and REGISTRY_ONLY must let the addresses of all others pass.
    fn compile_workloads(&mut self, flipped: &BTreeSet<ServiceName>) {
        let all = self.node.outbound_policy == OutboundPolicy::RegistryOnly;
        let (snapshot, waypoints) = (&self.snapshot, &self.waypoints);
        for (name, image) in self.workload_addresses.update(snapshot, all, waypoints, flipped) {
            if image.frontends.is_empty() {
                self.image.services.remove(&name);
            } else {
                put(&mut self.image.services, &name, image);
            }
        }
    }
}

/// Enters an image, unless an equal one is there.
fn put(
    services: &mut Map<ServiceName, Arc<ServiceImage>>,
    name: &ServiceName,
    image: ServiceImage,
) {
    if services.get(name).is_none_or(|known| **known != image) {
        services.insert(name.clone(), Arc::new(image));
    }
}
