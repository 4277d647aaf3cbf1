//! What it costs to compile policies: `cargo run --release -p authz --example cost [POLICIES]`. All of
//! them apply to one workload, each about an account of its own, which is the most that one set can be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::authz::Change;
use authz::{Authz, Options};
use model::{
    Clause, Health, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule, Snapshot,
    StringMatch, Topology, Workload, WorkloadName,
};

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut snapshot = mesh(count);
    let mut authz = Authz::new(Options { node: "here".into(), ..Options::default() });
    let (changes, time) = timed(|| authz.update(&snapshot, &[], true));
    report("all", &changes, time);
    for round in 0..10 {
        authz.release();
        let name = PolicyName::new("shop", format!("p{round}"));
        snapshot.policies.insert(name.clone(), Arc::new(policy(name, "somebody else")));
        let (changes, time) = timed(|| authz.update(&snapshot, &[], true));
        report("one changed", &changes, time);
    }
    println!("{:?}", authz.fill());
}

fn mesh(count: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..count {
        let name = PolicyName::new("shop", format!("p{number}"));
        let policy = policy(name.clone(), &format!("client-{number}"));
        snapshot.policies.insert(name, Arc::new(policy));
        let client = workload("clients", &format!("client-{number}"), number as u32, "there");
        snapshot.workloads.insert(client.name.clone(), Arc::new(client));
    }
    let server = workload("shop", "server", u32::MAX >> 8, "here");
    snapshot.workloads.insert(server.name.clone(), Arc::new(server));
    snapshot
}

fn policy(name: PolicyName, account: &str) -> Policy {
    let principal = StringMatch::Exact(format!("cluster.local/ns/clients/sa/{account}"));
    let from = Match { principals: vec![principal], ..Match::default() };
    let to = Match { destination_ports: vec![8080], ..Match::default() };
    let clauses = [to, from].map(|it| Clause { matches: vec![it] });
    Policy {
        name,
        scope: PolicyScope::Namespace,
        action: PolicyAction::Allow,
        is_dry_run: false,
        rules: vec![Rule { clauses: clauses.into() }],
    }
}

fn workload(namespace: &str, name: &str, number: u32, node: &str) -> Workload {
    Workload {
        name: Arc::new(WorkloadName::new(namespace, name)),
        uid_prefix: "Kubernetes//Pod".into(),
        addresses: [std::net::Ipv4Addr::from_bits(10 << 24 | number).into()].into(),
        labels: Arc::default(),
        trust_domain: "".into(),
        service_account: name.into(),
        topology: Arc::new(Topology { node: node.into(), ..Topology::default() }),
        health: Health::Healthy,
        services: Arc::default(),
        policies: Arc::default(),
        waypoints: Arc::default(),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

fn report(what: &str, changes: &[Change], time: Duration) {
    let words = changes.iter().map(|change| match change {
        Change::Words { words, .. } => words.len(),
        _ => 0,
    });
    let words: usize = words.sum();
    println!("{what}: {time:?}, {} changes, {words} words", changes.len());
}
