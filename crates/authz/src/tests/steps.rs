//! What a change costs, and what it leads to.

use std::net::IpAddr;
use std::sync::Arc;

use abi::authz::Change;
use abi::limits::Limits;
use model::{
    Clause, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule, Service, ServiceName,
    Snapshot, StringMatch, Topology, Waypoint, WaypointTarget, Workload, WorkloadName,
};

use super::property::World;
use super::{Dial, Expected, endpoints, service};
use crate::{Decision, Outcome};

const PORT: u16 = 80;

pub(super) fn workload(namespace: &str, name: &str, last: u8, node: &str) -> Workload {
    Workload {
        name: Arc::new(WorkloadName::new(namespace, name)),
        uid_prefix: "Kubernetes//Pod".into(),
        addresses: [address(last)].into(),
        labels: Arc::default(),
        trust_domain: "".into(),
        service_account: name.into(),
        topology: Arc::new(Topology { node: node.into(), ..Topology::default() }),
        health: model::Health::Healthy,
        services: Arc::default(),
        policies: Arc::default(),
        waypoints: Arc::default(),
    }
}

pub(super) fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

pub(super) fn dial(from: u8, to: u8) -> Dial {
    Dial { source: address(from), destination: address(to), port: PORT }
}

/// A policy of a namespace that is about the account `name` of it.
pub(super) fn about(action: PolicyAction, namespace: &str, name: &str, account: &str) -> Policy {
    let principal = format!("cluster.local/ns/{namespace}/sa/{account}");
    let principals = vec![StringMatch::Exact(principal)];
    let it = Match { principals, ..Match::default() };
    Policy {
        name: PolicyName::new(namespace, name),
        scope: PolicyScope::Namespace,
        action,
        is_dry_run: false,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![it] }] }],
    }
}

pub(super) fn set_policy(world: &mut World, policy: Policy) {
    world.snapshot.policies.insert(policy.name.clone(), Arc::new(policy));
}

pub(super) fn set_workload(world: &mut World, workload: Workload) {
    world.snapshot.workloads.insert(workload.name.clone(), Arc::new(workload));
}

pub(super) fn commit(world: &mut World) -> Vec<Change> {
    let changes = world.update();
    changes.iter().for_each(|change| world.kernel.apply(change));
    changes
}

/// Two namespaces with a server each, and somebody who dials both.
pub(super) fn two_servers(limits: Limits) -> World {
    let mut world = World::new(limits);
    set_workload(&mut world, workload("a", "server", 1, "here"));
    set_workload(&mut world, workload("b", "server", 2, "here"));
    set_workload(&mut world, workload("a", "client", 3, "there"));
    set_policy(&mut world, about(PolicyAction::Deny, "a", "p", "client"));
    set_policy(&mut world, about(PolicyAction::Deny, "b", "q", "nobody"));
    commit(&mut world);
    world
}

fn count(changes: &[Change], is: fn(&Change) -> bool) -> usize {
    changes.iter().filter(|change| is(change)).count()
}

fn sets(changes: &[Change]) -> usize {
    count(changes, |it| matches!(it, Change::Set { .. }))
}

fn flips(changes: &[Change]) -> usize {
    count(changes, |it| matches!(it, Change::Destination { .. }))
}

#[test]
fn nothing_changed_is_nothing_written() {
    let mut world = two_servers(Limits::DEFAULT);
    assert_eq!(commit(&mut world), []);
    world.release();
    assert_eq!(commit(&mut world), []);
    let server =
        Workload { health: model::Health::Unhealthy, ..workload("a", "server", 1, "here") };
    set_workload(&mut world, server);
    assert_eq!(commit(&mut world), [], "health is nobody's identity");
}

#[test]
fn a_changed_policy_is_one_set_and_a_flip_for_each_address() {
    let mut world = two_servers(Limits::DEFAULT);
    set_policy(&mut world, about(PolicyAction::Deny, "b", "q", "server"));
    let changes = commit(&mut world);
    assert_eq!((sets(&changes), flips(&changes)), (1, 1));
    set_policy(&mut world, about(PolicyAction::Deny, "elsewhere", "r", "server"));
    assert_eq!(commit(&mut world), [], "nobody here is concerned");
}

#[test]
fn a_new_identity_is_a_row_and_its_address() {
    let mut world = two_servers(Limits::DEFAULT);
    set_workload(&mut world, workload("b", "nobody", 9, "there"));
    let changes = commit(&mut world);
    assert_eq!((sets(&changes), flips(&changes)), (0, 0));
    assert_eq!(count(&changes, |it| matches!(it, Change::Row { .. })), 1, "of one of the sets");
    assert_eq!(count(&changes, |it| matches!(it, Change::Source { .. })), 1);
    assert!(!world.answer(dial(9, 2)).is_allowed());
    assert!(world.answer(dial(9, 1)).is_allowed());
    world.snapshot.workloads.remove(&WorkloadName::new("b", "nobody"));
    assert_eq!(count(&commit(&mut world), |it| matches!(it, Change::RemoveSource { .. })), 1);
    let rows = world.kernel.rows.len();
    world.release();
    assert_eq!(world.kernel.rows.len(), rows - 1, "its row has gone");
}

#[test]
fn an_address_that_changes_hands_is_the_new_ones_at_once() {
    let mut world = two_servers(Limits::DEFAULT);
    assert!(!world.answer(dial(3, 1)).is_allowed());
    world.snapshot.workloads.remove(&WorkloadName::new("a", "client"));
    set_workload(&mut world, workload("a", "other", 3, "there"));
    let changes = commit(&mut world);
    assert_eq!(count(&changes, |it| matches!(it, Change::RemoveSource { .. })), 0);
    assert!(world.answer(dial(3, 1)).is_allowed());
}

#[test]
fn without_policies_nothing_is_judged_and_nothing_is_kept() {
    let mut world = two_servers(Limits::DEFAULT);
    world.snapshot.policies.clear();
    let changes = commit(&mut world);
    assert_eq!(changes[0], Change::Active(false));
    world.release();
    assert!(world.kernel.sources.is_empty() && world.kernel.destinations.is_empty());
    assert!(world.kernel.rows.is_empty() && world.kernel.blocks.is_empty());
    assert_eq!(world.authz.explain(address(3), address(1), PORT).outcome, Outcome::NotJudged);
    let used = world.authz.fill().into_iter().map(|(_, used)| used).sum::<u64>();
    assert_eq!(used, 0, "{:?}", world.authz.fill());
}

#[test]
fn switched_off_is_as_without_policies() {
    let mut world = two_servers(Limits::DEFAULT);
    let changes = world.authz.update(&world.snapshot, &[], false);
    changes.iter().for_each(|change| world.kernel.apply(change));
    assert_eq!(world.answer(dial(3, 1)), Expected::NotJudged);
    assert_eq!(commit(&mut world).last(), Some(&Change::Active(true)));
    assert!(!world.answer(dial(3, 1)).is_allowed());
}

#[test]
fn what_this_node_dials_is_not_judged() {
    let mut world = two_servers(Limits::DEFAULT);
    world.node = vec![address(3)];
    commit(&mut world);
    assert_eq!(world.answer(dial(3, 1)), Expected::FromNode);
    let explained = world.authz.explain(address(3), address(1), PORT);
    assert_eq!(explained.outcome, Outcome::FromNode);
}

/// A waypoint of two services, of which `a/server` serves one.
fn with_waypoint(target: WaypointTarget) -> World {
    let mut world = two_servers(Limits::DEFAULT);
    let waypoint = ServiceName::new("a", "waypoint");
    let mut proxy = workload("a", "proxy", 5, "there");
    proxy.services = [waypoint.clone()].into();
    let mut server = workload("a", "server", 1, "here");
    server.services = [ServiceName::new("a", "web")].into();
    let through = Waypoint { target, hbone_port: 15_008, weight: 1 };
    let vip = [10, 96, 0, 1].into();
    let web = Service {
        waypoints: [through].into(),
        endpoints: endpoints(&server),
        ..service(&ServiceName::new("a", "web"), [10, 96, 0, 2].into())
    };
    let stands_for_it = Service { endpoints: endpoints(&proxy), ..service(&waypoint, vip) };
    for it in [web, stands_for_it] {
        world.snapshot.services.insert(it.name.clone(), Arc::new(it));
    }
    set_workload(&mut world, proxy);
    set_workload(&mut world, server);
    for namespace in ["a", "b"] {
        set_policy(&mut world, about(PolicyAction::Allow, namespace, "only", "client"));
    }
    commit(&mut world);
    world
}

#[test]
fn a_waypoint_is_trusted_by_what_it_serves_and_judged_elsewhere() {
    let by_name = WaypointTarget::Service(ServiceName::new("a", "waypoint"));
    let by_address = WaypointTarget::Address([10, 96, 0, 1].into());
    for target in [by_name, by_address] {
        let world = with_waypoint(target);
        assert_eq!(world.answer(dial(5, 1)), Expected::Trusted);
        let explained = world.authz.explain(address(5), address(1), PORT);
        let waypoint = ServiceName::new("a", "waypoint");
        assert_eq!(explained.outcome, Outcome::FromWaypoint(waypoint));
        assert_eq!(world.answer(dial(5, 2)), Expected::Judged(Decision::NotAllowed));
        assert!(!world.answer(dial(2, 1)).is_allowed(), "nobody else is trusted");
    }
}

#[test]
fn a_service_that_goes_by_no_waypoint_any_more_trusts_none() {
    let mut world = with_waypoint(WaypointTarget::Service(ServiceName::new("a", "waypoint")));
    let name = ServiceName::new("a", "web");
    let web = (*world.snapshot.services[&name]).clone();
    let web = Service { waypoints: Default::default(), ..web };
    world.snapshot.services.insert(name, Arc::new(web));
    commit(&mut world);
    assert_eq!(world.answer(dial(5, 1)), Expected::Judged(Decision::NotAllowed));
}

#[test]
fn the_explanation_names_source_destination_and_policies() {
    let world = two_servers(Limits::DEFAULT);
    let explained = world.authz.explain(address(3), address(1), PORT);
    assert_eq!(explained.source.to_string(), "cluster.local/ns/a/sa/client");
    assert_eq!(explained.destination[0].to_string(), "a/server");
    assert_eq!(explained.outcome.to_string(), "refused by rule 0 of a/p");
    let [considered] = &explained.considered[..] else { panic!("{:?}", explained.considered) };
    assert_eq!((considered.policy.to_string().as_str(), considered.rule), ("a/p", Some(0)));
    let unknown = world.authz.explain(address(77), address(1), PORT);
    assert_eq!(unknown.source.to_string(), "nobody that is known");
    assert!(unknown.outcome.is_allowed());
}

#[test]
fn a_policy_keeps_its_number_while_it_is_there() {
    let mut world = two_servers(Limits::DEFAULT);
    let number = |world: &World, name: &str| {
        let name = PolicyName::new("a", name);
        world.authz.policies().find(|(_, it)| **it == name).map(|(slot, _)| slot)
    };
    let before = number(&world, "p").unwrap();
    set_policy(&mut world, about(PolicyAction::Allow, "a", "p", "client"));
    let changes = commit(&mut world);
    assert_eq!(count(&changes, |it| matches!(it, Change::ResetCount { .. })), 0);
    assert_eq!(number(&world, "p"), Some(before));
    world.snapshot.policies.remove(&PolicyName::new("a", "p"));
    set_policy(&mut world, about(PolicyAction::Allow, "a", "new", "client"));
    commit(&mut world);
    assert_ne!(number(&world, "new"), Some(before), "programs may still count for the old one");
    world.release();
    set_policy(&mut world, about(PolicyAction::Allow, "a", "newer", "client"));
    assert!(commit(&mut world).contains(&Change::ResetCount { policy: before }));
}

#[test]
fn the_same_snapshot_gives_the_same_changes() {
    let snapshot: Snapshot = two_servers(Limits::DEFAULT).snapshot;
    let changes = || {
        let mut world = World::new(Limits::DEFAULT);
        world.snapshot = snapshot.clone();
        world.update()
    };
    assert_eq!(changes(), changes());
}

#[test]
fn an_address_of_a_node_is_nobodys_identity() {
    let mut world = two_servers(Limits::DEFAULT);
    for (name, last) in [("agent", 3), ("probe", 1)] {
        set_workload(&mut world, workload("a", name, last, "here"));
    }
    commit(&mut world);
    assert_eq!(world.answer(dial(3, 1)), Expected::Closed, "disputed");
    let addresses = vec![address(1), address(3)];
    let facts = model::NodeFacts { addresses, ..Default::default() };
    world.snapshot.nodes.insert("there".into(), Arc::new(facts));
    commit(&mut world);
    assert_eq!(world.authz.problems(), []);
    assert!(world.answer(dial(3, 1)).is_allowed(), "no policy is for the node");
    let explained = world.authz.explain(address(3), address(1), PORT);
    assert_eq!(
        (explained.source.to_string().as_str(), explained.destination.len()),
        ("nobody that is known", 0)
    );
    world.snapshot.nodes.clear();
    commit(&mut world);
    assert_eq!(world.answer(dial(3, 1)), Expected::Closed);
}
