//! Objects after validation: only what the model needs of them, in types that can't hold a bad value.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::{
    AddressBlock, Algorithm, Health, Locality, LocalityMode, NodePort, Protocol, ServicePort,
};

/// Labels, or a selector of labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// A valid object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// `metadata.creationTimestamp`.
    pub(crate) created: Option<Time>,
    pub(crate) body: Body,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Namespace { labels: Labels },
    Node { locality: Locality },
    Service(Service),
    EndpointSlice(EndpointSlice),
    ServiceEntry(ServiceEntry),
    WorkloadEntry(WorkloadEntry),
    DestinationRule(DestinationRule),
}

/// v1 Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<Port>,
    /// Empty when the service selects nothing.
    pub(crate) selector: Labels,
    pub(crate) publish_not_ready_addresses: bool,
    /// `sessionAffinity: ClientIP` and its timeout.
    pub(crate) affinity_seconds: Option<u32>,
    pub(crate) external_addresses: Vec<IpAddr>,
    pub(crate) node_ports: Vec<NodePort>,
    pub(crate) external_local: bool,
    /// What the service itself says about locality.
    pub(crate) locality: LocalityMode,
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
    pub(crate) node: String,
    pub(crate) zone: String,
    /// Namespace and name.
    pub(crate) pod: Option<(String, String)>,
}

/// networking.istio.io ServiceEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceEntry {
    pub(crate) hosts: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Addresses that are CIDR blocks.
    pub(crate) networks: Vec<AddressBlock>,
    pub(crate) ports: Vec<Port>,
    /// `resolution: NONE`.
    pub(crate) is_passthrough: bool,
    pub(crate) endpoints: Vec<Destination>,
    /// Empty when it selects nothing.
    pub(crate) selector: Labels,
}

/// networking.istio.io WorkloadEntry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadEntry {
    pub(crate) labels: Labels,
    pub(crate) health: Health,
    /// None while its address is not an IP address.
    pub(crate) destination: Option<Destination>,
}

/// What a WorkloadEntry and an inline endpoint of a ServiceEntry have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) address: IpAddr,
    /// Port numbers by port name.
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) weight: u32,
    /// Empty when it does not say.
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

// === impl Port ===

impl Port {
    /// The port number on a workload with these named ports; none when it does not serve this port.
    pub(crate) fn on(&self, ports: &BTreeMap<String, u16>) -> Option<u16> {
        if let Some(number) = ports.get(&self.port.name) {
            return Some(*number);
        }
        match &self.target {
            TargetPort::Same => Some(self.port.port),
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => ports.get(name).copied(),
        }
    }
}
