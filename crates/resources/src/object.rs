//! Objects after validation: only what the model needs of them, in types that can't hold a bad value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::{
    AddressBlock, Algorithm, Health, Locality, LocalityMode, NodePort, PolicyAction, Protocol,
    Rule, ServicePort, WorkloadName,
};

/// Labels, or a selector of labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// A valid object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// `metadata.creationTimestamp`.
    pub(crate) created: Option<Time>,
    pub(crate) use_waypoint: UseWaypoint,
    pub(crate) body: Body,
}

/// What an object says about its waypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum UseWaypoint {
    /// Nothing: what its namespace says.
    #[default]
    AsNamespace,
    /// It has none.
    None,
    /// The Gateway of this key, which need not exist.
    Gateway(Box<ObjectKey>),
}

/// What it says. There may be very many of these: what is large and rare is behind a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Namespace { labels: Arc<Labels> },
    Node(Arc<model::NodeFacts>),
    Service(Box<Service>),
    EndpointSlice(EndpointSlice),
    ServiceEntry(Box<ServiceEntry>),
    WorkloadEntry(WorkloadEntry),
    DestinationRule(Box<DestinationRule>),
    Gateway(Gateway),
    Pod(Pod),
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    PeerAuthentication,
}

/// v1 Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) labels: Arc<Labels>,
    pub(crate) service_account: Arc<str>,
}

/// security.istio.io AuthorizationPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationPolicy {
    /// It has no effect here.
    pub(crate) is_for_waypoint: bool,
    /// Empty for all workloads of the namespace, or of the mesh.
    pub(crate) selector: Labels,
    pub(crate) action: PolicyAction,
    pub(crate) is_dry_run: bool,
    pub(crate) rules: Vec<Rule>,
}

/// gateway.networking.k8s.io Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) is_waypoint: bool,
    pub(crate) for_services: bool,
    pub(crate) for_workloads: bool,
}

/// v1 Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) addresses: Vec<IpAddr>,
    /// `externalIPs` and those of the load balancer, without the `addresses`.
    pub(crate) external_addresses: Vec<IpAddr>,
    pub(crate) node_ports: Vec<NodePort>,
    /// `externalTrafficPolicy: Local`.
    pub(crate) external_local: bool,
    pub(crate) ports: Vec<Port>,
    /// Empty when the service selects nothing.
    pub(crate) selector: Labels,
    pub(crate) publish_not_ready_addresses: bool,
    /// What the service itself says about locality.
    pub(crate) locality: LocalityMode,
    /// `sessionAffinity: ClientIP`.
    pub(crate) affinity_seconds: Option<u32>,
}

/// A port of a service, and where it goes on workloads that are selected by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) port: ServicePort,
    pub(crate) target: TargetPort,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetPort {
    /// The port itself.
    Same,
    Number(u16),
    /// The workload's port of that name.
    Name(String),
}

/// discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSlice {
    /// Name of its service in the same namespace; none when it does not say.
    pub(crate) service: Option<String>,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) endpoints: Vec<SliceEndpoint>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEndpoint {
    pub(crate) address: IpAddr,
    pub(crate) health: Health,
    pub(crate) node: Arc<str>,
    pub(crate) zone: Arc<str>,
    pub(crate) pod: Option<Arc<WorkloadName>>,
}

/// networking.istio.io ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceEntry {
    pub(crate) hosts: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) networks: Vec<AddressBlock>,
    /// Hosts without an address may be given one.
    pub(crate) may_allocate: bool,
    pub(crate) ports: Vec<Port>,
    pub(crate) resolution: Resolution,
    pub(crate) endpoints: Vec<Destination>,
    /// Empty when it selects nothing.
    pub(crate) selector: Labels,
    /// What the entry itself says about locality.
    pub(crate) locality: LocalityMode,
}

/// `ServiceEntry.Resolution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    None,
    Static,
    Dns,
    DnsRoundRobin,
}

/// networking.istio.io WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadEntry {
    /// Namespace and name of the object.
    pub(crate) name: Arc<WorkloadName>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) health: Health,
    /// None while it has no address.
    pub(crate) destination: Option<Destination>,
}

/// What a WorkloadEntry and an inline endpoint of a ServiceEntry have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) address: Address,
    /// Port numbers by port name.
    pub(crate) ports: Box<[(String, u16)]>,
    pub(crate) weight: u32,
    pub(crate) site: Arc<Site>,
}

/// Where something can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Ip(IpAddr),
    /// A name that must be resolved.
    Host(Box<str>),
}

/// Where something is and as whom it runs, which many have in common; empty parts are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) locality: Locality,
    pub(crate) node: String,
    pub(crate) network: String,
    pub(crate) service_account: String,
}

/// networking.istio.io DestinationRule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationRule {
    pub(crate) host: String,
    /// False for a rule that holds for some clients only.
    pub(crate) is_for_all_clients: bool,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) locality: Option<LocalityMode>,
}

// === impl Body ===

impl Body {
    /// The labels by which a service selects WorkloadEntries; empty when it selects nothing.
    pub(crate) fn selector(&self) -> Option<&Labels> {
        match self {
            Body::Service(service) => Some(&service.selector),
            Body::ServiceEntry(entry) => Some(&entry.selector),
            _ => None,
        }
    }
}

// === impl ServiceEntry ===

impl ServiceEntry {
    /// The hosts that are dialled at addresses of our choice.
    pub(crate) fn hosts_to_allocate(&self) -> impl Iterator<Item = &String> {
        let hosts = if self.may_allocate { self.hosts.as_slice() } else { &[] };
        hosts.iter().filter(|host| !host.starts_with("*."))
    }
}

// === impl Destination ===

impl Destination {
    /// The number of the port of that name.
    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(other, _)| other == name).map(|(_, number)| *number)
    }
}

// === impl Port ===

impl Port {
    /// The port number on a workload; none when it does not serve this port.
    pub(crate) fn on(&self, destination: &Destination) -> Option<u16> {
        destination.port(&self.port.name).or_else(|| match &self.target {
            TargetPort::Same => Some(self.port.port),
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => destination.port(name),
        })
    }
}
