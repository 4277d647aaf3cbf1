//! Services: what applications dial, and the endpoints behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Locality, LocalityWeights, Scope, ServiceName, Topology, Waypoints, WorkloadName};

/// Transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Which kind of object a service came from: it decides what an unlisted port of its address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Kubernetes Service: its cluster IPs belong to it alone.
    Kubernetes,
    /// An Istio ServiceEntry: its addresses may be real hosts with other ports.
    ServiceEntry,
}

/// What applications dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and host name.
    pub name: ServiceName,
    /// Short name of the object that declares it.
    pub object_name: String,
    /// Kind of that object.
    pub source: Source,
    /// Virtual addresses. None for a headless service: applications dial its endpoints directly.
    pub addresses: Vec<IpAddr>,
    /// `addresses` were made up here, because the object names none: only DNS can tell them.
    pub auto_addresses: bool,
    /// CIDR blocks of a ServiceEntry; the smallest block around an address counts.
    pub networks: Vec<AddressBlock>,
    /// `externalIPs` and the load balancer's addresses: other ports of these are not ours.
    pub external_addresses: Vec<IpAddr>,
    /// Node ports: each node's own addresses are dialled at these.
    pub node_ports: Vec<NodePort>,
    /// `externalTrafficPolicy: Local`: node ports lead to this node's own endpoints alone.
    pub external_local: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// All endpoints, healthy or not.
    pub endpoints: Vec<Endpoint>,
    /// Endpoints that are known by name only. Whoever resolves a name adds the endpoints that
    /// [`UnresolvedEndpoint::at`] makes of its addresses.
    pub unresolved: Vec<UnresolvedEndpoint>,
    /// What TCP connections to `addresses` and `networks` go by.
    pub waypoints: Waypoints,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, empty when the service has only one port.
    pub name: String,
    /// The port that applications dial.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// `appProtocol`, or the protocol that Istio reads from the port's name; empty when unknown.
    pub app_protocol: String,
}

/// A port that every node opens for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePort {
    /// The node's port.
    pub node_port: u16,
    /// The service's port.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// A CIDR block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressBlock {
    /// First address.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix_bits: u8,
}

/// Ports of an endpoint by the service's (port, protocol). A port that is missing is not served.
pub type TargetPorts = BTreeMap<(u16, Protocol), u16>;

/// One address that serves a service. There may be very many: what they have in common is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The workload behind it, when it has a name.
    pub workload: Option<Arc<WorkloadName>>,
    /// Its address.
    pub address: IpAddr,
    /// Its own port for each port of the service.
    pub target_ports: Arc<TargetPorts>,
    /// May it be chosen?
    pub health: Health,
    /// Relative weight; 0 takes no traffic.
    pub weight: u32,
    /// Where it runs.
    pub topology: Arc<Topology>,
}

/// An endpoint, or several, behind a name that must be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedEndpoint {
    /// The name.
    pub hostname: String,
    /// Only the first address of each family counts (`DNS_ROUND_ROBIN`); else each is an endpoint
    /// (`DNS`).
    pub first_address_only: bool,
    /// As in [`Endpoint`].
    pub workload: Option<Arc<WorkloadName>>,
    /// As in [`Endpoint`].
    pub target_ports: Arc<TargetPorts>,
    /// As in [`Endpoint`].
    pub health: Health,
    /// Weight of the name; each of its addresses has it.
    pub weight: u32,
    /// As in [`Endpoint`].
    pub topology: Arc<Topology>,
}

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Yes.
    Healthy,
    /// Only when the service has no healthy endpoint at all (an EndpointSlice condition of
    /// `serving` with `terminating`, as kube-proxy does it).
    Terminating,
    /// No.
    Unhealthy,
}

/// How one of several usable endpoints is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// In proportion to weights, each connection for itself (`RANDOM`).
    #[default]
    WeightedRandom,
    /// One after the other, as often as the weights say (`ROUND_ROBIN`).
    RoundRobin,
    /// Of two drawn by weight, the one with fewer live connections (`LEAST_REQUEST`).
    LeastRequest,
    /// The same client always gets the same endpoint, as far as the endpoints stay the same
    /// (`consistentHash.useSourceIp`, Maglev).
    ConsistentHash,
    /// Do not choose: the connection goes to the address that was dialled.
    Passthrough,
}

/// What locality means for the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalityMode {
    /// Nothing.
    #[default]
    Ignore,
    /// Endpoints that match more leading scopes first; those that match fewer only when no usable
    /// endpoint matches more (`FAILOVER` of Istio's workload API).
    Failover(Vec<Scope>),
    /// Only endpoints that match every scope (`STRICT`).
    Strict(Vec<Scope>),
    /// By the node's region: own locality, then zone, then region, then `failover` regions of the
    /// node's region, then the rest (`localityLbSetting` without `failoverPriority`).
    RegionFailover {
        /// `from` region to `to` region.
        failover: BTreeMap<String, String>,
    },
    /// `localityLbSetting.distribute`: pairs of the `from` pattern and its shares; the first
    /// pattern that contains the node's locality counts.
    Distribute(Vec<(Locality, LocalityWeights)>),
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancing {
    /// Among the usable ones.
    pub algorithm: Algorithm,
    /// Which are usable first.
    pub locality: LocalityMode,
    /// `sessionAffinity: ClientIP`: a client keeps its endpoint until it has not dialled the
    /// service for so many seconds. It takes the place of `algorithm`.
    pub affinity_seconds: Option<u32>,
}

// === impl Protocol ===

impl Protocol {
    /// `TCP` or `UDP`, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        }
    }
}

// === impl UnresolvedEndpoint ===

impl UnresolvedEndpoint {
    /// The endpoint at one of the addresses of the name.
    pub fn at(&self, address: IpAddr) -> Endpoint {
        Endpoint {
            workload: self.workload.clone(),
            address,
            target_ports: self.target_ports.clone(),
            health: self.health,
            weight: self.weight,
            topology: self.topology.clone(),
        }
    }
}

// === impl AddressBlock ===

impl AddressBlock {
    /// The block of one address.
    pub fn single(address: IpAddr) -> Self {
        Self { address, prefix_bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for AddressBlock {
    /// As CIDR; a single address without a prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::single(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}
