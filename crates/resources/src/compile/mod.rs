//! The objects in force into the model.
//!
//! Everything is looked up by an index, so that the work is in proportion to what comes out, and what
//! comes out equal to what was there before is the same `Arc`.

mod endpoints;
mod rules;
mod selection;
#[cfg(test)]
mod tests;
mod workloads;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use model::{Algorithm, LoadBalancing, Locality, LocalityMode, ServiceName, Snapshot, Source};

use crate::object::{self, Body, EndpointSlice, Labels};
use crate::{Kind, ObjectKey, Options, Problem, Severity, Store};

use endpoints::EndpointSet;
use rules::Rules;
use selection::{Entry, Selection};
use workloads::Workloads;

/// The model of everything that is in force in the store, with the names of its options. Services
/// and workloads that are equal to those of `previous` are shared with it. Endpoints are all there,
/// healthy or not.
pub fn snapshot(store: &Store, previous: &Snapshot) -> (Snapshot, Vec<Problem>) {
    let mut compiler = Compiler::new(store);
    for (key, in_force) in store.in_force() {
        match &in_force.object.body {
            Body::Service(service) => compiler.kubernetes_service(key, service),
            Body::ServiceEntry(entry) => compiler.service_entry(key, entry),
            Body::Namespace { labels } => {
                compiler.namespaces.insert(key.name.clone(), labels.clone());
            }
            _ => {}
        }
    }
    compiler.finish(previous)
}

struct Compiler<'a> {
    store: &'a Store,
    options: &'a Options,
    nodes: HashMap<&'a str, &'a Locality>,
    /// The slices of each service, by namespace and name.
    slices: HashMap<(&'a str, &'a str), Vec<(&'a ObjectKey, &'a EndpointSlice)>>,
    /// The WorkloadEntries of each namespace.
    entries: HashMap<&'a str, Selection<'a>>,
    rules: Rules<'a>,
    workloads: Workloads<'a>,
    services: BTreeMap<ServiceName, model::Service>,
    namespaces: BTreeMap<String, Labels>,
    problems: Vec<Problem>,
}

// === impl Compiler ===

impl<'a> Compiler<'a> {
    fn new(store: &'a Store) -> Self {
        let mut compiler = Self {
            store,
            options: store.options(),
            nodes: HashMap::new(),
            slices: HashMap::new(),
            entries: HashMap::new(),
            rules: Rules::default(),
            workloads: Workloads::default(),
            services: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            problems: Vec::new(),
        };
        for (key, in_force) in store.in_force() {
            match &in_force.object.body {
                Body::Node { locality } => {
                    compiler.nodes.insert(&key.name, locality);
                }
                Body::EndpointSlice(slice) => compiler.endpoint_slice(key, slice),
                _ => {}
            }
        }
        compiler.workload_entries();
        compiler.destination_rules();
        compiler
    }

    fn endpoint_slice(&mut self, key: &'a ObjectKey, slice: &'a EndpointSlice) {
        let Some(service) = &slice.service else { return };
        self.slices.entry((&key.namespace, service)).or_default().push((key, slice));
        let owner = ObjectKey {
            kind: Kind::Service,
            namespace: key.namespace.clone(),
            name: service.clone(),
        };
        if !self.store.in_force().contains_key(&owner) {
            let message = format!("{owner} does not exist");
            self.say(Severity::Info, key, "metadata.labels", message, "the slice has no effect");
        }
    }

    fn destination_rules(&mut self) {
        let objects = self.store.in_force();
        let known: HashSet<String> = objects
            .keys()
            .filter(|key| key.kind == Kind::Service)
            .map(|key| self.options.service_host(&key.namespace, &key.name))
            .collect();
        for (key, in_force) in objects {
            let Body::DestinationRule(rule) = &in_force.object.body else { continue };
            if rule.is_for_all_clients {
                let host = rules::resolve(self.options, &key.namespace, &rule.host, &known);
                self.rules.add(host, key, rule, in_force.object.created.as_ref());
            }
        }
        for (loser, winner) in self.rules.settle() {
            let message = format!("{winner} is about the same host");
            self.say(
                Severity::Error,
                loser,
                "spec.host",
                message,
                "that rule counts, this does not",
            );
        }
    }

    /// Those that can be reached. They know their nodes, and services only refer to them.
    fn workload_entries(&mut self) {
        for (key, in_force) in self.store.in_force() {
            let Body::WorkloadEntry(entry) = &in_force.object.body else { continue };
            let Some(destination) = &entry.destination else { continue };
            let place = endpoints::place_of(self.options, &self.nodes, destination);
            let id = self.workloads.add_entry(self.options, key, entry, destination, place);
            let selection = self.entries.entry(&key.namespace).or_default();
            selection.add(Entry { id, key, entry });
        }
    }

    fn kubernetes_service(&mut self, key: &'a ObjectKey, service: &'a object::Service) {
        let host = self.options.service_host(&key.namespace, &key.name);
        let name = ServiceName::new(&key.namespace, host);
        let mut endpoints = EndpointSet::default();
        let slices = self.slices.remove(&(key.namespace.as_str(), key.name.as_str()));
        for (slice_key, slice) in slices.into_iter().flatten() {
            let twins = self.workloads.add_slice(self.options, &self.nodes, &name, slice);
            endpoints.add_slice(&self.nodes, &service.ports, slice);
            for twin in twins {
                let message = format!("pod {twin} has the name of a WorkloadEntry");
                let consequence = "the workload is described by the WorkloadEntry";
                self.say(Severity::Warning, slice_key, "endpoints", message, consequence);
            }
        }
        self.add_selected(&mut endpoints, &name, &service.selector, &service.ports);
        let mut endpoints = endpoints.finish();
        if service.publish_not_ready_addresses {
            endpoints.iter_mut().for_each(|endpoint| endpoint.health = model::Health::Healthy);
        }
        let load_balancing = LoadBalancing {
            locality: service.locality.clone(),
            affinity_seconds: service.affinity_seconds,
            ..LoadBalancing::default()
        };
        self.add_service(model::Service {
            name,
            object_name: key.name.clone(),
            source: Source::Kubernetes,
            addresses: service.addresses.clone(),
            networks: Vec::new(),
            external_addresses: service.external_addresses.clone(),
            node_ports: service.node_ports.clone(),
            external_local: service.external_local,
            ports: service_ports(&service.ports),
            load_balancing,
            endpoints,
        });
    }

    fn service_entry(&mut self, key: &'a ObjectKey, entry: &'a object::ServiceEntry) {
        for (index, host) in entry.hosts.iter().enumerate() {
            let name = ServiceName::new(&key.namespace, host);
            let mut endpoints = EndpointSet::default();
            for destination in &entry.endpoints {
                let place = endpoints::place_of(self.options, &self.nodes, destination);
                endpoints.add_destination(&entry.ports, destination, place, None);
            }
            self.add_selected(&mut endpoints, &name, &entry.selector, &entry.ports);
            let mut balancing = LoadBalancing::default();
            if entry.is_passthrough {
                balancing.algorithm = Algorithm::Passthrough;
            }
            // Several hosts can't be told apart by an address: it is the first one's.
            let (addresses, networks) = match index {
                0 => (entry.addresses.clone(), entry.networks.clone()),
                _ => Default::default(),
            };
            self.add_service(model::Service {
                name,
                object_name: key.name.clone(),
                source: Source::ServiceEntry,
                addresses,
                networks,
                external_addresses: Vec::new(),
                node_ports: Vec::new(),
                external_local: false,
                ports: service_ports(&entry.ports),
                load_balancing: balancing,
                endpoints: endpoints.finish(),
            });
        }
    }

    /// Adds the WorkloadEntries that a service selects.
    fn add_selected(
        &mut self,
        endpoints: &mut EndpointSet,
        name: &ServiceName,
        selector: &Labels,
        ports: &[object::Port],
    ) {
        let Some(selection) = self.entries.get(name.namespace.as_str()) else { return };
        for Entry { id, key, entry } in selection.select(selector) {
            let Some(destination) = &entry.destination else { continue };
            let place = endpoints::place_of(self.options, &self.nodes, destination);
            endpoints.add_destination(ports, destination, place, Some((key, entry.health)));
            self.workloads.add_service(id, name);
        }
    }

    /// Adds a service once its DestinationRule has had its say.
    fn add_service(&mut self, mut service: model::Service) {
        let balancing = &mut service.load_balancing;
        if let Some(rule) = self.rules.find(&service.name) {
            let keeps_algorithm = balancing.algorithm == Algorithm::Passthrough;
            if let Some(algorithm) = rule.algorithm.filter(|_| !keeps_algorithm) {
                balancing.algorithm = algorithm;
            }
            // `internalTrafficPolicy: Local` is a limit and no preference.
            let keeps_locality = matches!(balancing.locality, LocalityMode::Strict(_));
            if let Some(locality) = rule.locality.as_ref().filter(|_| !keeps_locality) {
                balancing.locality = locality.clone();
            }
        }
        self.services.insert(service.name.clone(), service);
    }

    fn finish(mut self, previous: &Snapshot) -> (Snapshot, Vec<Problem>) {
        for key in self.rules.unused() {
            let message = "no service has this host".to_owned();
            self.say(Severity::Info, key, "spec.host", message, "the rule has no effect");
        }
        let snapshot = Snapshot {
            services: share(self.services, &previous.services),
            workloads: share(self.workloads.finish(), &previous.workloads),
            namespaces: self.namespaces,
        };
        (snapshot, self.problems)
    }

    fn say(
        &mut self,
        severity: Severity,
        key: &ObjectKey,
        field: &str,
        message: String,
        consequence: &str,
    ) {
        let Some(in_force) = self.store.in_force().get(key) else { return };
        self.problems.push(Problem {
            severity,
            field: field.to_owned(),
            message,
            consequence: consequence.to_owned(),
            ..in_force.place.problem(Some(key))
        });
    }
}

fn service_ports(ports: &[object::Port]) -> Vec<model::ServicePort> {
    ports.iter().map(|port| port.port.clone()).collect()
}

/// The new values, each as the old `Arc` where it is equal to it.
fn share<K: Ord + Hash, V: PartialEq>(
    new: BTreeMap<K, V>,
    old: &BTreeMap<K, Arc<V>>,
) -> BTreeMap<K, Arc<V>> {
    let shared = new.into_iter().map(|(name, value)| match old.get(&name) {
        Some(same) if **same == value => (name, same.clone()),
        _ => (name, Arc::new(value)),
    });
    shared.collect()
}
