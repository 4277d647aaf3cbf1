//! A service from its parts.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::{Algorithm, LoadBalancing, LocalityMode, ServiceName, Source};

use super::Compiler;
use super::endpoints::EndpointSet;
use super::index::selects;
use super::waypoints::{self, Traffic};
use crate::ObjectKey;
use crate::object::{self, Body, DestinationRule, Labels, Object, Resolution};
use crate::registry::Registry;

/// A rule that is in force for all clients, and its age.
pub(super) fn rule<'r>(
    registry: &'r Registry,
    key: &ObjectKey,
) -> Option<(&'r DestinationRule, Option<Time>)> {
    let object = registry.get(key)?;
    match &object.body {
        Body::DestinationRule(rule) if rule.is_for_all_clients => {
            Some((rule, object.created.clone()))
        }
        _ => None,
    }
}

/// The services that an object declares: one for each host.
pub(super) fn compile(
    compiler: &mut Compiler,
    registry: &Registry,
    key: &Arc<ObjectKey>,
    object: &Object,
) -> Vec<model::Service> {
    match &object.body {
        Body::Service(service) => {
            vec![kubernetes_service(compiler, registry, (key, object), service)]
        }
        Body::ServiceEntry(entry) => {
            let hosts = 0..entry.hosts.len();
            hosts
                .map(|index| service_entry(compiler, registry, (key, object), entry, index))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn kubernetes_service(
    compiler: &mut Compiler,
    registry: &Registry,
    (key, object): (&ObjectKey, &Object),
    service: &object::Service,
) -> model::Service {
    let waypoints = waypoints::of_object(registry, key, Some(object), Traffic::Services);
    let host = registry.options().service_host(&key.namespace, &key.name);
    let name = ServiceName::new(&key.namespace, host);
    let mut endpoints = EndpointSet::new(registry.options(), &compiler.snapshot.nodes);
    let slices = compiler.index.slices.of(&(key.namespace.clone(), key.name.clone()));
    let mut slices: Vec<_> = slices.collect();
    slices.sort();
    for slice in slices {
        if let Some(Body::EndpointSlice(slice)) = registry.get(slice).map(|object| &object.body) {
            endpoints.add_slice(&service.ports, slice);
        }
    }
    add_selected(compiler, registry, &mut endpoints, key, &service.selector, &service.ports);
    if service.publish_not_ready_addresses {
        endpoints.publish_all();
    }
    let own = LoadBalancing {
        algorithm: Algorithm::default(),
        locality: service.locality.clone(),
        affinity_seconds: service.affinity_seconds,
    };
    let (endpoints, unresolved) = endpoints.finish();
    let load_balancing = balancing(compiler, registry, &name, own);
    model::Service {
        name,
        object_name: key.name.clone(),
        source: Source::Kubernetes,
        addresses: service.addresses.clone(),
        auto_addresses: false,
        networks: Vec::new(),
        external_addresses: service.external_addresses.clone(),
        node_ports: service.node_ports.clone(),
        external_local: service.external_local,
        ports: service.ports.iter().map(|port| port.port.clone()).collect(),
        load_balancing,
        endpoints,
        unresolved,
        waypoints,
    }
}

/// One host of a ServiceEntry.
fn service_entry(
    compiler: &mut Compiler,
    registry: &Registry,
    (key, object): (&ObjectKey, &Object),
    entry: &object::ServiceEntry,
    index: usize,
) -> model::Service {
    let waypoints = waypoints::of_object(registry, key, Some(object), Traffic::Services);
    let host = &entry.hosts[index];
    let name = ServiceName::new(&key.namespace, host);
    let mut endpoints = EndpointSet::new(registry.options(), &compiler.snapshot.nodes);
    endpoints.first_address_only = entry.resolution == Resolution::DnsRoundRobin;
    for destination in &entry.endpoints {
        endpoints.add_destination(&entry.ports, destination, None);
    }
    add_selected(compiler, registry, &mut endpoints, key, &entry.selector, &entry.ports);
    let is_dns = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if is_dns && entry.endpoints.is_empty() && entry.selector.is_empty() {
        endpoints.add_host(&entry.ports, host);
    }
    let algorithm = match entry.resolution {
        Resolution::None => Algorithm::Passthrough,
        _ => Algorithm::default(),
    };
    let own = LoadBalancing { algorithm, locality: entry.locality.clone(), affinity_seconds: None };
    let (endpoints, unresolved) = endpoints.finish();
    let load_balancing = balancing(compiler, registry, &name, own);
    let vip = registry.vip(key, host);
    // Several hosts can't be told apart by an address that the entry names: it is the first one's.
    let is_first = index == 0;
    model::Service {
        name,
        object_name: key.name.clone(),
        source: Source::ServiceEntry,
        addresses: match vip {
            Some(vip) => vip.to_vec(),
            None if is_first => entry.addresses.clone(),
            None => Vec::new(),
        },
        auto_addresses: vip.is_some(),
        networks: if is_first { entry.networks.clone() } else { Vec::new() },
        external_addresses: Vec::new(),
        node_ports: Vec::new(),
        external_local: false,
        ports: entry.ports.iter().map(|port| port.port.clone()).collect(),
        load_balancing,
        endpoints,
        unresolved,
        waypoints,
    }
}

/// Adds the WorkloadEntries that a service selects.
fn add_selected(
    compiler: &Compiler,
    registry: &Registry,
    endpoints: &mut EndpointSet<'_>,
    key: &ObjectKey,
    selector: &Labels,
    ports: &[object::Port],
) {
    for candidate in compiler.index.selection.entries(&key.namespace, selector) {
        let Some(object) = registry.get(candidate) else { continue };
        let Body::WorkloadEntry(entry) = &object.body else { continue };
        let Some(destination) = &entry.destination else { continue };
        if selects(selector, &entry.labels) {
            let workload = (entry.name.clone(), entry.health);
            endpoints.add_destination(ports, destination, Some(workload));
        }
    }
}

/// What the service says itself, with what a rule says about it.
fn balancing(
    compiler: &mut Compiler,
    registry: &Registry,
    name: &ServiceName,
    mut balancing: LoadBalancing,
) -> LoadBalancing {
    let key = compiler.rules.find(name).cloned();
    compiler.rules.choose(name, key.as_ref());
    let Some((rule, _)) = key.and_then(|key| rule(registry, &key)) else { return balancing };
    let keeps_algorithm = balancing.algorithm == Algorithm::Passthrough;
    if let Some(algorithm) = rule.algorithm.filter(|_| !keeps_algorithm) {
        balancing.algorithm = algorithm;
    }
    // `internalTrafficPolicy: Local` is a limit and no preference.
    let keeps_locality = matches!(balancing.locality, LocalityMode::Strict(_));
    if let Some(locality) = rule.locality.as_ref().filter(|_| !keeps_locality) {
        balancing.locality = locality.clone();
    }
    balancing
}
