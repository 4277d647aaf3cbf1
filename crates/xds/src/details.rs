//! What the model knows and Istio's messages cannot say, as extensions of their resources.

use std::net::IpAddr;

use model::{
    Algorithm, Endpoint, Health, Locality, LocalityMode, LocalityShare, LocalityWeights, NodePort,
    Protocol, Service, ServiceName, ServicePort, Source, TargetPorts, UnresolvedEndpoint, Workload,
    WorkloadName,
};
use prost::Message;
use prost_types::Any;

use crate::facts::Reader;
use crate::finding::Refusal;
use crate::wire::details as wire;
use crate::wire::workload::Extension;

/// Name of the extension of a service.
pub const SERVICE: &str = "kmesh.net/service";
/// Name of the extension of a workload.
pub const ENDPOINT: &str = "kmesh.net/endpoint";
/// Message types are named by this and the full name.
const TYPE_PREFIX: &str = "type.googleapis.com/kmesh.workload.";

/// What the extension of a service says.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDetails {
    /// Kind of the object.
    pub source: Source,
    /// As in [`Service`].
    pub auto_addresses: bool,
    /// As in [`Service`].
    pub external_addresses: Vec<IpAddr>,
    /// As in [`Service`].
    pub node_ports: Vec<NodePort>,
    /// As in [`Service`].
    pub external_local: bool,
    /// As in [`Service`].
    pub ports: Vec<ServicePort>,
    /// How an endpoint is chosen.
    pub algorithm: Algorithm,
    /// As in [`model::LoadBalancing`].
    pub affinity_seconds: Option<u32>,
    /// What the routing preference of the wire cannot say.
    pub locality: Option<LocalityMode>,
}

/// What the extension of a workload says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointDetails {
    /// As [`Health::Terminating`].
    pub is_terminating: bool,
    /// As in [`UnresolvedEndpoint`].
    pub first_address_only: bool,
    /// As in [`Workload`].
    pub labels: std::collections::BTreeMap<String, String>,
    /// Ports that depend on the transport; none when those of the wire say it all.
    pub target_ports: TargetPorts,
    /// It is no workload of its own.
    pub is_endpoint_only: bool,
    /// The workload that an endpoint belongs to.
    pub workload: Option<WorkloadName>,
    /// It is not known which service account it has.
    pub has_no_service_account: bool,
    /// It is in another network, and can be dialled from this one all the same.
    pub is_dialled_across_networks: bool,
    /// All services that the workload serves, when its own resource does not name them all.
    pub services: Vec<ServiceName>,
}

// === impl ServiceDetails ===

impl ServiceDetails {
    /// The extension of a service.
    pub fn encode(service: &Service) -> Extension {
        let balancing = &service.load_balancing;
        let message = wire::ServiceDetails {
            is_service_entry: service.source == Source::ServiceEntry,
            auto_addresses: service.auto_addresses,
            external_addresses: service.external_addresses.iter().map(address_bytes).collect(),
            node_ports: service.node_ports.iter().map(node_port).collect(),
            external_local: service.external_local,
            ports: service.ports.iter().map(service_port).collect(),
            algorithm: algorithm(balancing.algorithm).into(),
            affinity_seconds: balancing.affinity_seconds,
            region_failover: region_failover(&balancing.locality),
            distribute: distribute(&balancing.locality),
        };
        extension(SERVICE, "ServiceDetails", &message)
    }

    pub(crate) fn read(reader: &Reader<'_>, extension: &Extension) -> Result<Self, Refusal> {
        let message: wire::ServiceDetails = decode(reader, extension)?;
        let source =
            if message.is_service_entry { Source::ServiceEntry } else { Source::Kubernetes };
        let externals = message.external_addresses.iter();
        let externals = externals.map(|bytes| reader.ip("extensions.external_addresses", bytes));
        let node_ports = message.node_ports.iter().map(|port| read_node_port(reader, port));
        let ports = message.ports.iter().map(|port| read_service_port(reader, port));
        let algorithm = wire::service_details::Algorithm::try_from(message.algorithm);
        let algorithm = algorithm.map_err(|_| {
            let what = format!("{} is not a known value", message.algorithm);
            reader.refusal("extensions.algorithm", what)
        })?;
        let failover = message.region_failover;
        let failover = failover.map(|it| LocalityMode::RegionFailover { failover: it.to_by_from });
        Ok(Self {
            source,
            auto_addresses: message.auto_addresses,
            external_addresses: externals.collect::<Result<_, _>>()?,
            node_ports: node_ports.collect::<Result<_, _>>()?,
            external_local: message.external_local,
            ports: ports.collect::<Result<_, _>>()?,
            algorithm: read_algorithm(algorithm),
            affinity_seconds: message.affinity_seconds,
            locality: failover.or(message.distribute.map(read_distribute)),
        })
    }
}

// === impl EndpointDetails ===

impl EndpointDetails {
    /// The extension of a workload, when there is anything to say.
    pub fn encode(&self) -> Option<Extension> {
        if *self == Self::default() {
            return None;
        }
        let ports = self.target_ports.iter().map(|((port, transport), target)| wire::TargetPort {
            port: (*port).into(),
            protocol: protocol(*transport).into(),
            target_port: (*target).into(),
        });
        let message = wire::EndpointDetails {
            is_terminating: self.is_terminating,
            first_address_only: self.first_address_only,
            labels: self.labels.clone(),
            target_ports: ports.collect(),
            is_endpoint_only: self.is_endpoint_only,
            workload_namespace: self.workload.as_ref().map(|name| name.namespace.clone()),
            workload_name: self.workload.as_ref().map(|name| name.name.clone()),
            has_no_service_account: self.has_no_service_account,
            is_dialled_across_networks: self.is_dialled_across_networks,
            services: self.services.iter().map(ToString::to_string).collect(),
        };
        Some(extension(ENDPOINT, "EndpointDetails", &message))
    }

    /// Of a workload for itself.
    pub fn of_workload(workload: &Workload) -> Self {
        Self {
            is_terminating: workload.health == Health::Terminating,
            labels: (*workload.labels).clone(),
            has_no_service_account: workload.service_account.is_empty(),
            is_dialled_across_networks: !workload.topology.network.is_empty(),
            ..Self::default()
        }
    }

    /// Of an endpoint that is not as its workload, or has none.
    pub fn of_endpoint(endpoint: &Endpoint) -> Self {
        Self {
            is_terminating: endpoint.health == Health::Terminating,
            is_endpoint_only: true,
            workload: endpoint.workload.as_deref().cloned(),
            is_dialled_across_networks: !endpoint.topology.network.is_empty(),
            ..Self::default()
        }
    }

    /// Of an endpoint that is known by name.
    pub fn of_unresolved(endpoint: &UnresolvedEndpoint) -> Self {
        Self {
            is_terminating: endpoint.health == Health::Terminating,
            first_address_only: endpoint.first_address_only,
            is_endpoint_only: true,
            workload: endpoint.workload.as_deref().cloned(),
            is_dialled_across_networks: !endpoint.topology.network.is_empty(),
            ..Self::default()
        }
    }

    pub(crate) fn read(reader: &Reader<'_>, extension: &Extension) -> Result<Self, Refusal> {
        let message: wire::EndpointDetails = decode(reader, extension)?;
        let mut target_ports = TargetPorts::new();
        for port in &message.target_ports {
            let dialled = reader.port("extensions.target_ports.port", port.port)?;
            let target = reader.port("extensions.target_ports.target_port", port.target_port)?;
            target_ports.insert((dialled, read_protocol(reader, port.protocol)?), target);
        }
        let services = message.services.iter();
        let services = services.map(|it| reader.service_name("extensions.services", it));
        let workload = message.workload_namespace.zip(message.workload_name);
        Ok(Self {
            is_terminating: message.is_terminating,
            first_address_only: message.first_address_only,
            labels: message.labels,
            target_ports,
            is_endpoint_only: message.is_endpoint_only,
            workload: workload.map(|(namespace, name)| WorkloadName::new(namespace, name)),
            has_no_service_account: message.has_no_service_account,
            is_dialled_across_networks: message.is_dialled_across_networks,
            services: services.collect::<Result<_, _>>()?,
        })
    }
}

/// The bytes of an address on the wire.
pub fn address_bytes(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn extension(name: &str, type_name: &str, message: &impl Message) -> Extension {
    let config =
        Any { type_url: format!("{TYPE_PREFIX}{type_name}"), value: message.encode_to_vec() };
    Extension { name: name.to_owned(), config: Some(config) }
}

fn decode<M: Message + Default>(reader: &Reader<'_>, extension: &Extension) -> Result<M, Refusal> {
    let bytes = extension.config.as_ref().map_or(&[][..], |any| any.value.as_slice());
    M::decode(bytes).map_err(|error| {
        reader.refusal("extensions", format!("{} can't be decoded: {error}", extension.name))
    })
}

fn protocol(protocol: Protocol) -> wire::Protocol {
    match protocol {
        Protocol::Tcp => wire::Protocol::Tcp,
        Protocol::Udp => wire::Protocol::Udp,
    }
}

fn read_protocol(reader: &Reader<'_>, number: i32) -> Result<Protocol, Refusal> {
    match wire::Protocol::try_from(number) {
        Ok(wire::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(wire::Protocol::Udp) => Ok(Protocol::Udp),
        Err(_) => {
            Err(reader.refusal("extensions.protocol", format!("{number} is not a known value")))
        }
    }
}

fn node_port(port: &NodePort) -> wire::NodePort {
    wire::NodePort {
        node_port: port.node_port.into(),
        port: port.port.into(),
        protocol: protocol(port.protocol).into(),
    }
}

fn read_node_port(reader: &Reader<'_>, port: &wire::NodePort) -> Result<NodePort, Refusal> {
    Ok(NodePort {
        node_port: reader.port("extensions.node_ports.node_port", port.node_port)?,
        port: reader.port("extensions.node_ports.port", port.port)?,
        protocol: read_protocol(reader, port.protocol)?,
    })
}

fn service_port(port: &ServicePort) -> wire::ServicePort {
    wire::ServicePort {
        name: port.name.clone(),
        port: port.port.into(),
        protocol: protocol(port.protocol).into(),
        app_protocol: port.app_protocol.clone(),
    }
}

fn read_service_port(
    reader: &Reader<'_>,
    port: &wire::ServicePort,
) -> Result<ServicePort, Refusal> {
    Ok(ServicePort {
        name: port.name.clone(),
        port: reader.port("extensions.ports.port", port.port)?,
        protocol: read_protocol(reader, port.protocol)?,
        app_protocol: port.app_protocol.clone(),
    })
}

fn algorithm(algorithm: Algorithm) -> wire::service_details::Algorithm {
    use wire::service_details::Algorithm as Wire;
    match algorithm {
        Algorithm::WeightedRandom => Wire::WeightedRandom,
        Algorithm::RoundRobin => Wire::RoundRobin,
        Algorithm::LeastRequest => Wire::LeastRequest,
        Algorithm::ConsistentHash => Wire::ConsistentHash,
        Algorithm::Passthrough => Wire::Passthrough,
    }
}

fn read_algorithm(algorithm: wire::service_details::Algorithm) -> Algorithm {
    use wire::service_details::Algorithm as Wire;
    match algorithm {
        Wire::WeightedRandom => Algorithm::WeightedRandom,
        Wire::RoundRobin => Algorithm::RoundRobin,
        Wire::LeastRequest => Algorithm::LeastRequest,
        Wire::ConsistentHash => Algorithm::ConsistentHash,
        Wire::Passthrough => Algorithm::Passthrough,
    }
}

fn region_failover(mode: &LocalityMode) -> Option<wire::RegionFailover> {
    let LocalityMode::RegionFailover { failover } = mode else { return None };
    Some(wire::RegionFailover { to_by_from: failover.clone() })
}

fn distribute(mode: &LocalityMode) -> Option<wire::Distribute> {
    let LocalityMode::Distribute(rules) = mode else { return None };
    let from = rules.iter().map(|(from, weights)| wire::distribute::From {
        locality: locality_text(from),
        shares: weights
            .shares
            .iter()
            .map(|share| wire::distribute::Share {
                locality: locality_text(&share.locality),
                weight_percent: share.weight_percent,
            })
            .collect(),
    });
    Some(wire::Distribute { from: from.collect() })
}

fn read_distribute(message: wire::Distribute) -> LocalityMode {
    let rules = message.from.into_iter().map(|from| {
        let shares = from.shares.into_iter().map(|share| LocalityShare {
            locality: Locality::parse(&share.locality),
            weight_percent: share.weight_percent,
        });
        (Locality::parse(&from.locality), LocalityWeights { shares: shares.collect() })
    });
    LocalityMode::Distribute(rules.collect())
}

/// With all its slashes: an empty part in the middle stays one.
fn locality_text(locality: &Locality) -> String {
    format!("{}/{}/{}", locality.region, locality.zone, locality.subzone)
}
