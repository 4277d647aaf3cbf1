//! The dumps: the configuration as understood, and what is in the maps, in the admin API's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::{Frontend, IpAddress, PROTOCOL_TCP, PROTOCOL_UDP, SlotSource};
use model::{
    Algorithm, Endpoint, Health, Locality, LocalityMode, Service, Snapshot, WaypointTarget,
    Workload,
};
use plan::{Layout, Placement, Target};
use runtime::api::{
    BackendEntry, BpfDump, ConfigDump, EndpointDump, EndpointEntry, FrontendEntry,
    LoadBalancerDump, LocalityDump, PortDump, ServiceDump, ServiceEntry, WaypointDump,
    WorkloadDump,
};

use crate::policy_dump::policy_dump;

/// The configuration as understood.
pub fn config(snapshot: &Snapshot) -> ConfigDump {
    ConfigDump {
        workloads: snapshot.workloads.values().map(|workload| workload_dump(workload)).collect(),
        services: snapshot.services.values().map(|service| service_dump(service)).collect(),
        policies: snapshot.policies.values().map(|policy| policy_dump(policy)).collect(),
    }
}

fn workload_dump(workload: &Workload) -> WorkloadDump {
    let label = |key: &str| workload.labels.get(key).cloned().unwrap_or_default();
    WorkloadDump {
        uid: workload.uid(),
        addresses: workload.addresses.iter().map(IpAddr::to_string).collect(),
        protocol: "NONE".into(),
        name: workload.name.name.clone(),
        namespace: workload.name.namespace.clone(),
        service_account: workload.service_account.to_string(),
        workload_name: workload.name.name.clone(),
        workload_type: "POD".into(),
        canonical_name: label("service.istio.io/canonical-name"),
        canonical_revision: label("service.istio.io/canonical-revision"),
        cluster_id: workload.topology.cluster.clone(),
        trust_domain: workload.trust_domain.to_string(),
        locality: locality_dump(&workload.topology.locality),
        node: workload.topology.node.clone(),
        network: workload.topology.network.clone(),
        status: status_of(workload.health).into(),
        services: workload.services.iter().map(ToString::to_string).collect(),
        authorization_policies: workload.policies.iter().map(ToString::to_string).collect(),
        waypoint: waypoint(&workload.waypoints).unwrap_or_default(),
        ..WorkloadDump::default()
    }
}

/// `NETWORK/ADDRESS` or `NAMESPACE/HOSTNAME`; of several, each with its weight.
fn waypoint(waypoints: &[model::Waypoint]) -> Option<String> {
    let one = |waypoint: &model::Waypoint| match &waypoint.target {
        WaypointTarget::Address(address) => format!("/{address}"),
        WaypointTarget::Service(name) => name.to_string(),
    };
    match waypoints {
        [] => None,
        [only] => Some(one(only)),
        several => {
            let parts = several.iter().map(|it| format!("{}={}", one(it), it.weight));
            Some(parts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn service_dump(service: &Service) -> ServiceDump {
    ServiceDump {
        name: service.object_name.clone(),
        namespace: service.name.namespace.clone(),
        hostname: service.name.hostname.clone(),
        vips: service.addresses.iter().map(|address| format!("/{address}")).collect(),
        ports: service
            .ports
            .iter()
            .map(|port| PortDump {
                service_port: port.port.into(),
                target_port: common_target_port(service, (port.port, port.protocol)),
                name: port.name.clone(),
                protocol: port.protocol.name().into(),
            })
            .collect(),
        load_balancer: load_balancer_dump(service),
        waypoint: waypoint(&service.waypoints).map(|destination| WaypointDump { destination }),
        endpoints: service.endpoints.iter().map(endpoint_dump).collect(),
        origin: None,
    }
}

/// The target port, when all endpoints have the same.
fn common_target_port(service: &Service, port: (u16, model::Protocol)) -> u32 {
    let targets: BTreeSet<u16> =
        service.endpoints.iter().filter_map(|e| e.target_ports.get(&port).copied()).collect();
    match targets.len() {
        1 => targets.first().copied().unwrap_or(0).into(),
        _ => 0,
    }
}

fn load_balancer_dump(service: &Service) -> Option<LoadBalancerDump> {
    let (mode, scopes) = match (&service.load_balancing.algorithm, &service.load_balancing.locality)
    {
        (Algorithm::Passthrough, _) => ("PASSTHROUGH", [].as_slice()),
        (_, LocalityMode::Ignore) => return None,
        (_, LocalityMode::Failover(scopes)) => ("FAILOVER", scopes.as_slice()),
        (_, LocalityMode::Strict(scopes)) => ("STRICT", scopes.as_slice()),
        (_, LocalityMode::RegionFailover { .. }) => ("FAILOVER", [].as_slice()),
        (_, LocalityMode::Distribute(_)) => ("UNSPECIFIED_MODE", [].as_slice()),
    };
    Some(LoadBalancerDump {
        mode: mode.into(),
        routing_preferences: scopes.iter().map(|scope| scope.name().into()).collect(),
    })
}

fn endpoint_dump(endpoint: &Endpoint) -> EndpointDump {
    EndpointDump {
        workload: endpoint.workload.as_ref().map(ToString::to_string).unwrap_or_default(),
        address: endpoint.address.to_string(),
        status: status_of(endpoint.health).into(),
        weight: endpoint.weight,
        locality: locality_dump(&endpoint.topology.locality),
        node: endpoint.topology.node.clone(),
        ports: endpoint
            .target_ports
            .iter()
            .map(|((port, protocol), target)| PortDump {
                service_port: (*port).into(),
                target_port: (*target).into(),
                name: String::new(),
                protocol: protocol.name().into(),
            })
            .collect(),
    }
}

fn locality_dump(locality: &Locality) -> LocalityDump {
    LocalityDump {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        subzone: locality.subzone.clone(),
    }
}

fn status_of(health: Health) -> &'static str {
    match health {
        Health::Healthy => "HEALTHY",
        Health::Terminating => "TERMINATING",
        Health::Unhealthy => "UNHEALTHY",
    }
}

/// What is in the maps. Built from the layout, which is what was written and what a restart reads
/// back.
pub fn bpf(layout: &Layout, snapshot: &Snapshot) -> BpfDump {
    let uids = uids(snapshot);
    let uid_of = |address: &IpAddress, index: u32| {
        uids.get(&address.ip()).map_or_else(|| index.to_string(), String::clone)
    };
    let backends = layout.backends();
    let indices: BTreeMap<IpAddress, u32> = backends.iter().map(|(i, a)| (*a, *i)).collect();
    let mut served: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut services: BTreeMap<u32, ServiceEntry> = BTreeMap::new();
    let mut endpoints = Vec::new();
    for placement in layout.placements().filter(|p| p.value.action == Frontend::BALANCE) {
        for target in targets(&placement) {
            let index = indices.get(&target.address).copied().unwrap_or(0);
            served.entry(index).or_default().insert(placement.service.to_string());
        }
        if services.insert(placement.value.table, service_entry(&placement)).is_none() {
            endpoints.extend((0u32..).zip(targets(&placement)).map(|(slot, target)| {
                let index = indices.get(&target.address).copied().unwrap_or(0);
                EndpointEntry {
                    service_id: placement.value.table,
                    slot,
                    backend_uid: uid_of(&target.address, index),
                    target_port: target.port.into(),
                }
            }));
        }
    }
    BpfDump {
        workload_policies: Vec::new(),
        backends: backends
            .iter()
            .map(|(index, address)| {
                let services: Vec<String> =
                    served.remove(index).unwrap_or_default().into_iter().collect();
                BackendEntry {
                    backend_uid: uid_of(address, *index),
                    ip: address.ip().to_string(),
                    service_count: services.len() as u32,
                    services,
                    ..BackendEntry::default()
                }
            })
            .collect(),
        endpoints,
        frontends: layout.placements().map(|placement| frontend_entry(&placement)).collect(),
        services: services.into_values().collect(),
    }
}

fn uids(snapshot: &Snapshot) -> BTreeMap<IpAddr, String> {
    let workloads = snapshot.workloads.values();
    workloads.flat_map(|w| w.addresses.iter().map(move |address| (*address, w.uid()))).collect()
}

fn targets<'a>(placement: &Placement<'a>) -> &'a [Target] {
    placement.table.map_or(&[], |table| table.targets.as_slice())
}

fn lb_policy(placement: &Placement<'_>) -> &'static str {
    let Some(picking) = placement.table.map(|table| table.picking) else { return "" };
    match picking.source {
        _ if picking.two_choices != 0 => "LEAST_REQUEST",
        source if source == SlotSource::Client as u8 => "CONSISTENT_HASH",
        source if source == SlotSource::Affinity as u8 => "SESSION_AFFINITY",
        source if source == SlotSource::Cursor as u8 => "ROUND_ROBIN",
        _ => "WEIGHTED_RANDOM",
    }
}

fn service_entry(placement: &Placement<'_>) -> ServiceEntry {
    let ports: BTreeSet<u16> = targets(placement).iter().map(|target| target.port).collect();
    ServiceEntry {
        service_id: placement.value.table,
        name: placement.service.to_string(),
        endpoint_count: placement.extent.count.to_string(),
        lb_policy: lb_policy(placement).into(),
        service_port: placement.key.port.get().to_string(),
        target_port: BpfDump::joined(ports),
        first_slot: placement.extent.first,
        ..ServiceEntry::default()
    }
}

fn frontend_entry(placement: &Placement<'_>) -> FrontendEntry {
    let (action, upstream_id) = match placement.value.action {
        Frontend::BALANCE => ("balance", placement.value.table.to_string()),
        Frontend::REFUSE_PORT => ("refuse", String::new()),
        Frontend::WORKLOAD => ("workload", String::new()),
        _ => ("pass", String::new()),
    };
    let protocol = match placement.key.protocol {
        PROTOCOL_TCP => "TCP",
        PROTOCOL_UDP => "UDP",
        _ => "",
    };
    FrontendEntry {
        address: placement.key.address.ip().to_string(),
        port: placement.key.port.get().into(),
        protocol: protocol.into(),
        action: action.into(),
        upstream_id,
        waypoint_id: placement
            .value
            .waypoint
            .checked_sub(1)
            .map(|it| it.to_string())
            .unwrap_or_default(),
        owner: placement.service.to_string(),
    }
}
