//! The resources that are in force, joined to the mesh that they describe.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use model::{
    Endpoint, Health, Locality, NodeFacts, Policy, PolicyName, Protocol, Service, ServiceName,
    ServicePort, Snapshot, Source, TargetPorts, Topology, UnresolvedEndpoint, Workload,
    WorkloadName,
};

use crate::Finding;
use crate::details::ServiceDetails;
use crate::facts::{AddressFacts, Ports, ServiceFacts, WorkloadFacts};
use crate::subscription::{Change, Versions};

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
    resources: BTreeMap<String, Arc<AddressFacts>>,
    /// Resources of the services of a name; the first of them counts.
    services: BTreeMap<ServiceName, BTreeSet<String>>,
    /// Resources of the workloads that serve a service.
    members: BTreeMap<ServiceName, BTreeSet<String>>,
    /// Resources of the workloads of a name; the first of them counts.
    workloads: BTreeMap<WorkloadName, BTreeSet<String>>,
    /// Names of policies by those of their resources.
    policies: BTreeMap<String, PolicyName>,
    topologies: HashMap<Topology, Arc<Topology>>,
    /// Localities of the workloads of a node, and how many have each.
    node_localities: BTreeMap<String, BTreeMap<Locality, usize>>,
    findings: BTreeMap<String, Vec<Finding>>,
    snapshot: Snapshot,
}

/// What a response touches.
#[derive(Default)]
struct Touched {
    services: BTreeSet<ServiceName>,
    workloads: BTreeSet<WorkloadName>,
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
            topologies: HashMap::new(),
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
                Change::Set(name, facts) => (name, Some(Arc::new(facts))),
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

    fn replace(&mut self, name: String, facts: Option<Arc<AddressFacts>>, touched: &mut Touched) {
        if let Some(old) = self.resources.remove(&name) {
            self.index(&name, &old, false, touched);
        }
        self.findings.remove(&name);
        let Some(facts) = facts else { return };
        self.index(&name, &facts, true, touched);
        let mut findings = match &*facts {
            AddressFacts::Service(service) => service.findings.clone(),
            AddressFacts::Workload(workload) => workload.findings.clone(),
        };
        findings.extend(self.out_of_reach(&name, &facts));
        if !findings.is_empty() {
            self.findings.insert(name.clone(), findings);
        }
        self.resources.insert(name, facts);
    }

    /// Adds the resource to the indices, or removes it.
    fn index(&mut self, name: &str, facts: &AddressFacts, adds: bool, touched: &mut Touched) {
        match facts {
            AddressFacts::Service(service) => {
                alter(&mut self.services, &service.name, name, adds);
                touched.services.insert(service.name.clone());
            }
            AddressFacts::Workload(workload) => {
                if !workload.details.is_endpoint_only {
                    alter(&mut self.workloads, &workload.name, name, adds);
                    touched.workloads.insert(workload.name.clone());
                }
                self.count_locality(&workload.topology, adds);
                for (service, _) in &workload.services {
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
            || workload.details.is_dialled_across_networks
    }

    fn compile_service(&mut self, name: &ServiceName) {
        let first = self.services.get(name).and_then(BTreeSet::first).cloned();
        let facts = first.and_then(|resource| self.resources.get(&resource).cloned());
        let Some(AddressFacts::Service(facts)) = facts.as_deref() else {
            self.snapshot.services.remove(name);
            return;
        };
        let service = Arc::new(self.service(facts));
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
        };
        if let Some(details) = &facts.details {
            complete(&mut service, details);
        }
        let members = self.members.get(&facts.name).cloned().unwrap_or_default();
        let mut targets = BTreeMap::new();
        for resource in members {
            let Some(member) = self.resources.get(&resource).cloned() else { continue };
            if let AddressFacts::Workload(workload) = &*member {
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
        let target_ports = if workload.details.target_ports.is_empty() {
            let known = targets.entry(own_ports.clone());
            known.or_insert_with(|| Arc::new(target_ports(facts, own_ports))).clone()
        } else {
            Arc::new(workload.details.target_ports.clone())
        };
        let name = endpoint_workload(workload).map(Arc::new);
        let topology = self.topology(&workload.topology);
        let is_usable = workload.is_healthy || facts.allows_unhealthy;
        let health = if is_usable { Health::Healthy } else { own_health(workload) };
        let (v4, v6) = facts.families;
        for address in &workload.addresses {
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
                hostname: workload.hostname.clone(),
                first_address_only: workload.details.first_address_only,
                workload: name,
                target_ports,
                health,
                weight: workload.weight,
                topology,
            });
        }
    }

    fn topology(&mut self, topology: &Topology) -> Arc<Topology> {
        if let Some(known) = self.topologies.get(topology) {
            return known.clone();
        }
        let mut shared = topology.clone();
        // Behind here the mesh's own are the empty name.
        if shared.network == self.options.network {
            shared.network = String::new();
        }
        if shared.cluster == self.options.cluster {
            shared.cluster = String::new();
        }
        let shared = Arc::new(shared);
        self.topologies.insert(topology.clone(), shared.clone());
        shared
    }

    fn compile_workload(&mut self, name: WorkloadName) {
        let first = self.workloads.get(&name).and_then(BTreeSet::first).cloned();
        let facts = first.and_then(|resource| self.resources.get(&resource).cloned());
        let Some(AddressFacts::Workload(facts)) = facts.as_deref() else {
            self.snapshot.workloads.remove(&name);
            return;
        };
        let name = Arc::new(name);
        let workload = Arc::new(Workload {
            name: name.clone(),
            uid_prefix: facts.uid_prefix.as_str().into(),
            addresses: own_addresses(facts).into(),
            labels: Arc::new(facts.details.labels.clone()),
            service_account: facts.service_account.as_str().into(),
            topology: self.topology(&facts.topology),
            health: own_health(facts),
            services: services_of(facts),
            policies: facts.policies.clone(),
        });
        if self.snapshot.workloads.get(&name) != Some(&workload) {
            self.snapshot.workloads.insert(name, workload);
        }
    }
}

/// The node's addresses are not those of the workloads that use them.
fn own_addresses(facts: &WorkloadFacts) -> Vec<IpAddr> {
    if facts.uses_host_network { Vec::new() } else { facts.addresses.clone() }
}

/// The workload that an endpoint belongs to.
fn endpoint_workload(facts: &WorkloadFacts) -> Option<WorkloadName> {
    let details = &facts.details;
    if details.is_endpoint_only { details.workload.clone() } else { Some(facts.name.clone()) }
}

/// All that it serves.
fn services_of(facts: &WorkloadFacts) -> Arc<[ServiceName]> {
    if facts.details.services.is_empty() {
        return facts.services.iter().map(|(service, _)| service.clone()).collect();
    }
    facts.details.services.as_slice().into()
}

fn own_health(facts: &WorkloadFacts) -> Health {
    match (facts.is_healthy, facts.details.is_terminating) {
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

fn alter<K: Ord + Clone>(
    index: &mut BTreeMap<K, BTreeSet<String>>,
    key: &K,
    resource: &str,
    adds: bool,
) {
    if adds {
        index.entry(key.clone()).or_default().insert(resource.to_owned());
    } else if let Some(resources) = index.get_mut(key) {
        resources.remove(resource);
        if resources.is_empty() {
            index.remove(key);
        }
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
