//! The resources that are in force, joined to the mesh that they describe.

mod names;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use model::{
    Endpoint, Health, Locality, NodeFacts, Policy, PolicyName, Protocol, Service, ServiceName,
    ServicePort, Snapshot, Source, TargetPorts, Topology, UnresolvedEndpoint, Waypoints, Workload,
    WorkloadName,
};

use crate::Finding;
use crate::details::ServiceDetails;
use crate::facts::{AddressFacts, Ports, ServiceFacts, WorkloadFacts};
use crate::subscription::{Change, Versions};
use names::Names;
use shared::Shared;

/// A port of the wire has no transport, so each is one of both.
const TRANSPORTS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Names of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The DNS domain of the cluster.
    pub domain: String,
    /// The mesh's own cluster; a workload that names it counts as one that names none.
    pub cluster: String,
    /// The network of this node. Others can't be reached from here.
    pub network: String,
}

/// What is in force after a response.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The mesh.
    pub snapshot: Arc<Snapshot>,
    /// What has no effect.
    pub findings: Arc<[Finding]>,
    /// Versions of the services and workloads in force, then of the policies.
    pub versions: [Versions; 2],
    /// When the last response came; none before the first.
    pub received: Option<Instant>,
}

impl Update {
    /// Version of the resource of this name.
    pub fn version(&self, resource: &str) -> Option<&Arc<str>> {
        self.versions.iter().find_map(|versions| versions.get(resource))
    }
}

/// Services and workloads by the names of their resources.
#[derive(Debug)]
pub struct Registry {
    options: Options,
    resources: BTreeMap<Arc<str>, AddressFacts>,
    /// Resources of the services of a name; the first of them counts.
    services: BTreeMap<ServiceName, Names>,
    /// Resources of the workloads that serve a service.
    members: BTreeMap<ServiceName, Names>,
    /// Resources of the workloads of a name; the first of them counts.
    workloads: BTreeMap<Arc<WorkloadName>, Names>,
    /// Names of policies by those of their resources.
    policies: BTreeMap<Arc<str>, PolicyName>,
    shared: Shared,
    /// Localities of the workloads of a node, and how many have each.
    node_localities: BTreeMap<String, BTreeMap<Locality, usize>>,
    findings: BTreeMap<Arc<str>, Vec<Finding>>,
    snapshot: Snapshot,
}

/// What a response touches.
#[derive(Default)]
struct Touched {
    services: BTreeSet<ServiceName>,
    workloads: BTreeSet<Arc<WorkloadName>>,
}

// === impl Registry ===

impl Registry {
    /// Nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            resources: BTreeMap::new(),
            services: BTreeMap::new(),
            members: BTreeMap::new(),
            workloads: BTreeMap::new(),
            policies: BTreeMap::new(),
            shared: Shared::default(),
            node_localities: BTreeMap::new(),
            findings: BTreeMap::new(),
            snapshot: Snapshot::default(),
        }
    }

    /// Takes what one response says. The work is in proportion to the services that it touches.
    pub fn update(&mut self, changes: Vec<Change<AddressFacts>>) {
        let mut touched = Touched::default();
        for change in changes {
            let (name, facts) = match change {
                Change::Set(name, facts) => (name, Some(facts)),
                Change::Removed(name) => (name, None),
            };
            self.replace(name, facts, &mut touched);
        }
        for name in touched.services {
            self.compile_service(&name);
        }
        for name in touched.workloads {
            self.compile_workload(name);
        }
    }

    /// Takes what one response says about policies.
    pub fn update_policies(&mut self, changes: Vec<Change<Policy>>) {
        for change in changes {
            let name = match &change {
                Change::Set(name, _) | Change::Removed(name) => name.clone(),
            };
            if let Some(old) = self.policies.remove(&name) {
                self.snapshot.policies.remove(&old);
            }
            if let Change::Set(_, policy) = change {
                self.policies.insert(name, policy.name.clone());
                self.snapshot.policies.insert(policy.name.clone(), Arc::new(policy));
            }
        }
    }

    /// The mesh as it is now.
    pub fn current(&self) -> Update {
        Update {
            snapshot: Arc::new(self.snapshot.clone()),
            findings: self.findings.values().flatten().cloned().collect(),
            versions: Default::default(),
            received: None,
        }
    }

    fn replace(&mut self, name: Arc<str>, facts: Option<AddressFacts>, touched: &mut Touched) {
        if let Some(old) = self.resources.remove(&name) {
            self.index(&name, &old, false, touched);
        }
        self.findings.remove(&name);
        let Some(mut facts) = facts else { return };
        let mut findings = match &mut facts {
            AddressFacts::Service(service) => std::mem::take(&mut Arc::make_mut(service).findings),
            AddressFacts::Workload(workload) => {
                let workload = Arc::make_mut(workload);
                self.shared.workload(workload);
                std::mem::take(&mut workload.findings)
            }
        };
        self.index(&name, &facts, true, touched);
        findings.extend(self.out_of_reach(&name, &facts));
        if !findings.is_empty() {
            self.findings.insert(name.clone(), findings);
        }
        self.resources.insert(name, facts);
    }

    /// Adds the resource to the indices, or removes it.
    fn index(&mut self, name: &Arc<str>, facts: &AddressFacts, adds: bool, touched: &mut Touched) {
        match facts {
            AddressFacts::Service(service) => {
                alter(&mut self.services, &service.name, name, adds);
                touched.services.insert(service.name.clone());
            }
            AddressFacts::Workload(workload) => {
                if !is_endpoint_only(workload) {
                    alter(&mut self.workloads, &workload.name, name, adds);
                    touched.workloads.insert(workload.name.clone());
                }
                self.count_locality(&workload.topology, adds);
                for (service, _) in workload.services.iter() {
                    alter(&mut self.members, service, name, adds);
                    touched.services.insert(service.clone());
                }
            }
        }
    }

    /// A node is where most of its workloads are: a single one may say otherwise of itself.
    fn count_locality(&mut self, topology: &Topology, adds: bool) {
        let Topology { node, locality, .. } = topology;
        if node.is_empty() || *locality == Locality::default() {
            return;
        }
        let counts = self.node_localities.entry(node.clone()).or_default();
        let count = counts.entry(locality.clone()).or_default();
        *count = if adds { *count + 1 } else { count.saturating_sub(1) };
        counts.retain(|_, count| *count > 0);
        let most = counts.iter().max_by_key(|(_, count)| **count);
        let Some((locality, _)) = most else {
            self.node_localities.remove(node);
            self.snapshot.nodes.remove(node);
            return;
        };
        if self.snapshot.nodes.get(node).is_none_or(|known| known.locality != *locality) {
            let facts = NodeFacts { locality: locality.clone(), addresses: Vec::new() };
            self.snapshot.nodes.insert(node.clone(), Arc::new(facts));
        }
    }

    fn out_of_reach(&self, name: &str, facts: &AddressFacts) -> Option<Finding> {
        let AddressFacts::Workload(workload) = facts else { return None };
        let network = &workload.topology.network;
        (!self.is_within_reach(workload)).then(|| Finding {
            resource: name.to_owned(),
            is_refused: false,
            field: "network",
            message: format!(
                "it is in network {network:?} and this node in {:?}: it takes no traffic from here",
                self.options.network
            ),
        })
    }

    /// Istio's other networks are reached by gateways, which takes an identity.
    fn is_within_reach(&self, workload: &WorkloadFacts) -> bool {
        workload.topology.network == self.options.network
            || workload.details.as_ref().is_some_and(|it| it.is_dialled_across_networks)
    }

    fn compile_service(&mut self, name: &ServiceName) {
        let first = self.services.get(name).and_then(Names::first);
        let facts = first.and_then(|resource| self.resources.get(resource).cloned());
        let Some(AddressFacts::Service(facts)) = facts else {
            self.snapshot.services.remove(name);
            return;
        };
        let service = Arc::new(self.service(&facts));
        if self.snapshot.services.get(name) != Some(&service) {
            self.snapshot.services.insert(name.clone(), service);
        }
    }

    fn service(&mut self, facts: &ServiceFacts) -> Service {
        let own = |network: &String| network.is_empty() || *network == self.options.network;
        let mut service = Service {
            name: facts.name.clone(),
            object_name: facts.object_name.clone(),
            source: self.source(facts),
            addresses: facts.addresses.iter().filter(|(n, _)| own(n)).map(|(_, ip)| *ip).collect(),
            auto_addresses: false,
            networks: facts.blocks.iter().filter(|(n, _)| own(n)).map(|(_, b)| *b).collect(),
            external_addresses: Vec::new(),
            node_ports: Vec::new(),
            external_local: false,
            ports: ports(facts),
            load_balancing: facts.load_balancing.clone(),
            endpoints: Vec::new(),
            unresolved: Vec::new(),
            waypoints: facts.waypoints.clone(),
        };
        if let Some(details) = &facts.details {
            complete(&mut service, details);
        }
        let members = self.members.get(&facts.name).into_iter().flat_map(Names::iter);
        let members: Vec<_> =
            members.filter_map(|resource| self.resources.get(resource).cloned()).collect();
        let mut targets = BTreeMap::new();
        for member in members {
            if let AddressFacts::Workload(workload) = &member {
                self.add_endpoints(&mut service, facts, workload, &mut targets);
            }
        }
        service
    }

    /// The wire does not tell the kind: a Kubernetes Service has the name that Kubernetes gives it.
    fn source(&self, facts: &ServiceFacts) -> Source {
        let ServiceName { namespace, hostname } = &facts.name;
        let kubernetes = format!("{}.{namespace}.svc.{}", facts.object_name, self.options.domain);
        if *hostname == kubernetes { Source::Kubernetes } else { Source::ServiceEntry }
    }

    fn add_endpoints(
        &mut self,
        service: &mut Service,
        facts: &ServiceFacts,
        workload: &WorkloadFacts,
        targets: &mut BTreeMap<Ports, Arc<TargetPorts>>,
    ) {
        if !self.is_within_reach(workload) {
            return;
        }
        let served = workload.services.iter().find(|(name, _)| *name == facts.name);
        let Some((_, own_ports)) = served else { return };
        let details = workload.details.as_deref();
        let target_ports = match details.filter(|details| !details.target_ports.is_empty()) {
            Some(details) => Arc::new(details.target_ports.clone()),
            None => {
                let known = targets.entry(own_ports.clone());
                known.or_insert_with(|| Arc::new(target_ports(facts, own_ports))).clone()
            }
        };
        let name = endpoint_workload(workload);
        let topology = self.topology(&workload.topology);
        let is_usable = workload.is_healthy || facts.allows_unhealthy;
        let health = if is_usable { Health::Healthy } else { own_health(workload) };
        let (v4, v6) = facts.families;
        for address in workload.addresses.iter() {
            if if address.is_ipv4() { v4 } else { v6 } {
                service.endpoints.push(Endpoint {
                    workload: name.clone(),
                    address: *address,
                    target_ports: target_ports.clone(),
                    health,
                    weight: workload.weight,
                    topology: topology.clone(),
                });
            }
        }
        if workload.addresses.is_empty() && !workload.hostname.is_empty() {
            service.unresolved.push(UnresolvedEndpoint {
                hostname: workload.hostname.to_string(),
                first_address_only: details.is_some_and(|details| details.first_address_only),
                workload: name,
                target_ports,
                health,
                weight: workload.weight,
                topology,
            });
        }
    }

    /// Behind here the mesh's own are the empty name.
    fn topology(&mut self, topology: &Arc<Topology>) -> Arc<Topology> {
        let (cluster, network) = (&self.options.cluster, &self.options.network);
        if topology.cluster != *cluster && (topology.network != *network || network.is_empty()) {
            return topology.clone();
        }
        let mut own = (**topology).clone();
        if own.network == *network {
            own.network = String::new();
        }
        if own.cluster == *cluster {
            own.cluster = String::new();
        }
        self.shared.topologies.share(own)
    }

    fn compile_workload(&mut self, name: Arc<WorkloadName>) {
        let first = self.workloads.get(&name).and_then(Names::first);
        let facts = first.and_then(|resource| self.resources.get(resource).cloned());
        let Some(AddressFacts::Workload(facts)) = facts else {
            self.snapshot.workloads.remove(&name);
            return;
        };
        let facts = &*facts;
        let name = facts.name.clone();
        let workload = Arc::new(Workload {
            name: name.clone(),
            uid_prefix: facts.uid_prefix.clone(),
            addresses: own_addresses(facts),
            labels: self.shared.labels.share(labels_of(facts)),
            trust_domain: facts.trust_domain.clone(),
            service_account: facts.service_account.clone(),
            topology: self.topology(&facts.topology),
            health: own_health(facts),
            services: self.shared.served.share_slice(services_of(facts)),
            policies: facts.policies.clone(),
            waypoints: own_waypoints(facts),
        });
        if self.snapshot.workloads.get(&name) != Some(&workload) {
            self.snapshot.workloads.insert(name, workload);
        }
    }
}

/// The node's addresses are not those of the workloads that use them.
fn own_addresses(facts: &WorkloadFacts) -> Box<[IpAddr]> {
    if facts.uses_host_network { Box::default() } else { facts.addresses.clone() }
}

/// Nobody dials the workload at an address that is its node's.
fn own_waypoints(facts: &WorkloadFacts) -> Waypoints {
    if facts.uses_host_network { Waypoints::default() } else { facts.waypoints.clone() }
}

/// The workload that an endpoint belongs to.
fn endpoint_workload(facts: &WorkloadFacts) -> Option<Arc<WorkloadName>> {
    match &facts.details {
        Some(details) if details.is_endpoint_only => details.workload.clone().map(Arc::new),
        _ => Some(facts.name.clone()),
    }
}

fn is_endpoint_only(facts: &WorkloadFacts) -> bool {
    facts.details.as_ref().is_some_and(|details| details.is_endpoint_only)
}

fn labels_of(facts: &WorkloadFacts) -> BTreeMap<String, String> {
    facts.details.as_ref().map(|details| details.labels.clone()).unwrap_or_default()
}

/// All that it serves.
fn services_of(facts: &WorkloadFacts) -> Vec<ServiceName> {
    match &facts.details {
        Some(details) if !details.services.is_empty() => details.services.clone(),
        _ => facts.services.iter().map(|(service, _)| service.clone()).collect(),
    }
}

fn own_health(facts: &WorkloadFacts) -> Health {
    let is_terminating = facts.details.as_ref().is_some_and(|details| details.is_terminating);
    match (facts.is_healthy, is_terminating) {
        (true, _) => Health::Healthy,
        (false, true) => Health::Terminating,
        (false, false) => Health::Unhealthy,
    }
}

/// What only our own control plane says.
fn complete(service: &mut Service, details: &ServiceDetails) {
    service.source = details.source;
    service.auto_addresses = details.auto_addresses;
    service.external_addresses.clone_from(&details.external_addresses);
    service.node_ports.clone_from(&details.node_ports);
    service.external_local = details.external_local;
    service.ports.clone_from(&details.ports);
    service.load_balancing.algorithm = details.algorithm;
    service.load_balancing.affinity_seconds = details.affinity_seconds;
    if let Some(locality) = &details.locality {
        service.load_balancing.locality = locality.clone();
    }
}

fn alter<K: Ord + Clone>(index: &mut BTreeMap<K, Names>, key: &K, resource: &Arc<str>, adds: bool) {
    match (adds, index.get_mut(key)) {
        (true, Some(names)) => names.add(resource),
        (true, None) => drop(index.insert(key.clone(), Names::One(resource.clone()))),
        (false, Some(names)) => {
            if names.remove(resource) {
                index.remove(key);
            }
        }
        (false, None) => {}
    }
}

fn ports(facts: &ServiceFacts) -> Vec<ServicePort> {
    let of_both = |(port, _, app_protocol): &(u16, u16, &'static str)| {
        TRANSPORTS.map(|protocol| ServicePort {
            name: String::new(),
            port: *port,
            protocol,
            app_protocol: (*app_protocol).to_owned(),
        })
    };
    facts.ports.iter().flat_map(of_both).collect()
}

/// A port that the workload does not name is the service's own, if the workload names none at all.
fn target_ports(facts: &ServiceFacts, own: &Ports) -> TargetPorts {
    let of_service = facts.ports.iter().map(|(dialled, target, _)| (*dialled, *target));
    let all: Ports = if own.is_empty() { of_service.collect() } else { own.clone() };
    let is_known = |(port, protocol): (u16, Protocol)| {
        let known = |details: &ServiceDetails| {
            details.ports.iter().any(|it| it.port == port && it.protocol == protocol)
        };
        facts.details.as_ref().is_none_or(known)
    };
    all.into_iter()
        .flat_map(|(dialled, target)| TRANSPORTS.map(|transport| ((dialled, transport), target)))
        .filter(|(port, _)| is_known(*port))
        .collect()
}

#[cfg(test)]
mod tests;
