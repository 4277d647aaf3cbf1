//! What the maps should say, service by service, without any index.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use abi::{FrontendKey, IpAddress, PROTOCOL_TCP, PROTOCOL_UDP};
use model::{
    Algorithm, Endpoint, Node, Protocol, Service, ServiceName, ServicePort, Snapshot, Source,
};

/// One slot: where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The endpoint's address.
    pub address: IpAddress,
    /// The endpoint's own port.
    pub port: u16,
}

/// The slots of one service port and address family. Empty: nothing is usable, refuse.
pub type Table = Vec<Target>;

/// What a frontend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Choose from this table of the service.
    Balance(usize),
    /// Leave the destination alone.
    Pass,
    /// The address is known, the port is not.
    RefusePort,
}

/// One place that applications dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendImage {
    /// Address, port and protocol.
    pub key: FrontendKey,
    /// What happens there.
    pub action: Action,
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
    pub services: BTreeMap<ServiceName, Arc<ServiceImage>>,
}

/// Compiles one service for one node.
pub fn compile(service: &Service, node: &Node, slots_per_table_max: u32) -> ServiceImage {
    let mut image = ServiceImage::default();
    for v4 in [true, false] {
        let addresses: Vec<IpAddr> =
            service.addresses.iter().copied().filter(|address| address.is_ipv4() == v4).collect();
        if addresses.is_empty() {
            continue;
        }
        for port in &service.ports {
            let action = port_action(&mut image, service, port, v4, node, slots_per_table_max);
            let protocol = number(port.protocol);
            image.frontends.extend(addresses.iter().map(|address| FrontendImage {
                key: FrontendKey::port(*address, port.port, protocol),
                action,
            }));
        }
        if owns_whole_address(service) {
            image.frontends.extend(addresses.iter().map(|address| FrontendImage {
                key: FrontendKey::whole_address(*address),
                action: Action::RefusePort,
            }));
        }
    }
    image
}

/// A Kubernetes cluster IP is nothing but its service's: a port that the service does not have
/// cannot lead anywhere. The address of a ServiceEntry may be a real host with other ports.
fn owns_whole_address(service: &Service) -> bool {
    service.source == Source::Kubernetes
        && service.load_balancing.algorithm != Algorithm::Passthrough
}

fn port_action(
    image: &mut ServiceImage,
    service: &Service,
    port: &ServicePort,
    v4: bool,
    node: &Node,
    slots_per_table_max: u32,
) -> Action {
    if service.load_balancing.algorithm == Algorithm::Passthrough {
        return Action::Pass;
    }
    let key = (port.port, port.protocol);
    let serving: Vec<&Endpoint> = service
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.address.is_ipv4() == v4)
        .filter(|endpoint| endpoint.target_ports.contains_key(&key))
        .collect();
    let table = balance::slots(&serving, &service.load_balancing, node, slots_per_table_max)
        .into_iter()
        .map(|index| Target {
            address: serving[index].address.into(),
            port: serving[index].target_ports[&key],
        })
        .collect();
    image.tables.push(table);
    Action::Balance(image.tables.len() - 1)
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
    compiled: BTreeMap<ServiceName, (Arc<Service>, Arc<ServiceImage>)>,
}

impl Planner {
    /// A planner for one node.
    pub fn new(node: Node, slots_per_table_max: u32) -> Self {
        Self { node, slots_per_table_max, compiled: BTreeMap::new() }
    }

    /// Changes what the node knows of itself; everything is compiled anew if it differs.
    pub fn set_node(&mut self, node: Node) {
        if node != self.node {
            self.node = node;
            self.compiled.clear();
        }
    }

    /// The node that plans are made for.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The image of `snapshot`.
    pub fn image(&mut self, snapshot: &Snapshot) -> Image {
        let mut before = std::mem::take(&mut self.compiled);
        for (name, service) in &snapshot.services {
            let image = match before.remove(name) {
                Some((old, image)) if Arc::ptr_eq(&old, service) || old == *service => image,
                _ => Arc::new(compile(service, &self.node, self.slots_per_table_max)),
            };
            self.compiled.insert(name.clone(), (Arc::clone(service), image));
        }
        let services =
            self.compiled.iter().map(|(name, (_, image))| (name.clone(), Arc::clone(image)));
        Image { services: services.collect() }
    }
}
