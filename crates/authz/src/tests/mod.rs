//! A model kernel applies the changes one by one; after each, a connection must be judged as the
//! policies say, those of before or those of now.

mod cases;
mod kernel;
mod limits;
mod property;
mod random;
mod steps;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Endpoint, Health, LoadBalancing, Policy, PolicyName, PolicyScope, Rule, Service, ServiceName,
    Snapshot, Source, WaypointTarget, Workload,
};

use crate::matching::{Dimension, asks_anything};
use crate::{Connection, Decision, Identity, evaluate};

fn service(name: &ServiceName, address: IpAddr) -> Service {
    Service {
        name: name.clone(),
        object_name: name.hostname.clone(),
        source: Source::Kubernetes,
        addresses: vec![address],
        auto_addresses: false,
        networks: Vec::new(),
        external_addresses: Vec::new(),
        node_ports: Vec::new(),
        external_local: false,
        ports: Vec::new(),
        load_balancing: LoadBalancing::default(),
        endpoints: Vec::new(),
        unresolved: Vec::new(),
        waypoints: Default::default(),
    }
}

fn endpoints(workload: &Workload) -> Vec<Endpoint> {
    let endpoint = |address: &IpAddr| Endpoint {
        workload: Some(workload.name.clone()),
        address: *address,
        target_ports: Arc::default(),
        health: Health::Healthy,
        weight: 1,
        topology: Arc::default(),
    };
    workload.addresses.iter().map(endpoint).collect()
}

/// What should happen to a connection, found out from the snapshot alone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    NotJudged,
    FromNode,
    Trusted,
    Closed,
    Judged(Decision),
}

impl Expected {
    fn is_allowed(&self) -> bool {
        match self {
            Self::NotJudged | Self::FromNode | Self::Trusted => true,
            Self::Closed => false,
            Self::Judged(decision) => decision.is_allowed(),
        }
    }
}

/// A connection as the program sees it.
#[derive(Clone, Copy, Debug)]
struct Dial {
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

/// What should happen where addresses belong to whom `sources` says, under the policies and waypoints
/// of `policies`.
fn expected(sources: &Snapshot, policies: &Snapshot, node: &[IpAddr], dial: Dial) -> Expected {
    if policies.policies.is_empty() {
        return Expected::NotJudged;
    }
    if node.contains(&dial.source) {
        return Expected::FromNode;
    }
    let subjects = subjects(sources, dial.source);
    let lists = lists(policies, dial.destination);
    let [(_, applying, trusted)] = &Vec::from_iter(lists)[..] else { return Expected::Closed };
    let applying: Vec<&Policy> = applying.iter().map(|name| &*policies.policies[name]).collect();
    let subject = match subjects.len() {
        1 => subjects.first(),
        _ => None,
    };
    if subject.is_some_and(|(_, served)| !served.is_disjoint(trusted)) {
        return Expected::Trusted;
    }
    if subjects.len() > 1 && applying.iter().any(|policy| asks_for_identity(policy)) {
        return Expected::Closed;
    }
    let connection = Connection {
        source: subject.map(|(identity, _)| identity.clone()),
        source_address: dial.source,
        destination_address: dial.destination,
        destination_port: dial.port,
    };
    Expected::Judged(evaluate(applying, &connection).decision)
}

/// Who has a source address, and which waypoints these serve.
fn subjects(snapshot: &Snapshot, address: IpAddr) -> BTreeSet<(Identity, BTreeSet<ServiceName>)> {
    let here = snapshot.workloads.values().filter(|it| it.topology.network.is_empty());
    let owners = here.filter(|it| it.addresses.contains(&address));
    owners.map(|it| (Identity::of(it), served(snapshot, it))).collect()
}

/// What a workload says about who judges connections to it: its namespace, if that has policies, the
/// policies, and the waypoints that it trusts.
type List = (Option<String>, BTreeSet<PolicyName>, BTreeSet<ServiceName>);

/// What the workloads of an address say.
fn lists(snapshot: &Snapshot, address: IpAddr) -> BTreeSet<List> {
    let is_here = |it: &&Arc<Workload>| {
        it.topology.network.is_empty() && ["here", ""].contains(&&*it.topology.node)
    };
    let locals = snapshot.workloads.values().filter(is_here);
    let locals: Vec<_> = locals.filter(|it| it.addresses.contains(&address)).collect();
    match locals.is_empty() {
        true => BTreeSet::from([list(snapshot, None)]),
        false => locals.into_iter().map(|it| list(snapshot, Some(it))).collect(),
    }
}

fn list(snapshot: &Snapshot, workload: Option<&Workload>) -> List {
    let policies: Vec<&Policy> = snapshot.policies.values().map(AsRef::as_ref).collect();
    let is_own = |policy: &&&Policy| {
        policy.scope == PolicyScope::Namespace
            && workload.is_some_and(|it| it.name.namespace == policy.name.namespace)
    };
    let applies = |policy: &&&Policy| {
        policy.scope == PolicyScope::Global
            || is_own(policy)
            || workload.is_some_and(|it| it.policies.contains(&policy.name))
    };
    let namespace = policies.iter().find(is_own).map(|it| it.name.namespace.clone());
    let names = policies.iter().filter(applies).map(|it| it.name.clone()).collect();
    (namespace, names, workload.map(|it| trusted(snapshot, it)).unwrap_or_default())
}

fn leads_to(snapshot: &Snapshot, target: &WaypointTarget) -> Option<ServiceName> {
    match target {
        WaypointTarget::Service(name) => Some(name.clone()),
        WaypointTarget::Address(address) => {
            let mut services = snapshot.services.values();
            services.find(|it| it.addresses.contains(address)).map(|it| it.name.clone())
        }
    }
}

fn served(snapshot: &Snapshot, workload: &Workload) -> BTreeSet<ServiceName> {
    let lists = snapshot.services.values().map(|it| &it.waypoints);
    let lists = lists.chain(snapshot.workloads.values().map(|it| &it.waypoints));
    let used: BTreeSet<ServiceName> =
        lists.flat_map(|it| it.iter()).filter_map(|it| leads_to(snapshot, &it.target)).collect();
    let known = workload.services.iter().filter(|name| snapshot.services.contains_key(*name));
    known.filter(|name| used.contains(*name)).cloned().collect()
}

fn trusted(snapshot: &Snapshot, workload: &Workload) -> BTreeSet<ServiceName> {
    if !served(snapshot, workload).is_empty() {
        return BTreeSet::new();
    }
    let services = workload.services.iter().filter_map(|name| snapshot.services.get(name));
    let lists = services.map(|it| &it.waypoints).chain([&workload.waypoints]);
    lists.flat_map(|it| it.iter()).filter_map(|it| leads_to(snapshot, &it.target)).collect()
}

/// True when who dials matters to a rule that can match at all.
fn asks_for_identity(policy: &Policy) -> bool {
    let can_match = |rule: &&Rule| {
        let mut clauses = rule.clauses.iter();
        clauses.all(|it| it.matches.is_empty() || it.matches.iter().any(asks_anything))
    };
    let rules = policy.rules.iter().filter(can_match);
    let mut matches = rules.flat_map(|rule| &rule.clauses).flat_map(|clause| &clause.matches);
    matches.any(|it| Dimension::Identity.is_in(it))
}
