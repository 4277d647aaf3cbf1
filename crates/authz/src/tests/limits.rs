//! What crosses a limit is refused, and named.

use std::collections::HashMap;

use abi::authz::AuthzSource;
use abi::limits::Limits;
use model::{Clause, Match, PolicyAction, PolicyName, Rule, WorkloadName};

use super::Expected;
use super::property::World;
use super::steps::{about, commit, dial, set_policy, set_workload, two_servers, workload};
use crate::{Authz, Options, Outcome};

fn problems(world: &World) -> Vec<String> {
    world.authz.problems().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_problem(world: &World, parts: &[&str]) {
    let found = problems(world);
    let has_all = |text: &String| parts.iter().all(|part| text.contains(part));
    assert!(found.iter().any(has_all), "{parts:?} in {found:#?}");
}

#[test]
fn a_rule_of_too_many_terms_closes_the_workloads_that_it_is_for() {
    let mut world = two_servers(Limits::DEFAULT);
    assert_eq!(problems(&world), [""; 0]);
    let ports: Vec<u16> = vec![1];
    let it = Match { destination_ports: ports, ..world_match() };
    let clause = || Clause { matches: vec![it.clone(); 17] };
    let mut policy = about(PolicyAction::Deny, "a", "large", "client");
    policy.rules = vec![Rule { clauses: vec![clause(), clause()] }];
    set_policy(&mut world, policy);
    commit(&mut world);
    assert_problem(
        &world,
        &["a/server", "rule 0 of a/large", "AUTHZ_TERMS_PER_RULE_MAX", "refused"],
    );
    assert_eq!(world.answer(dial(2, 1)), Expected::Closed);
    assert!(world.answer(dial(3, 2)).is_allowed(), "others are as they were");
    let explained = world.authz.explain([10, 0, 0, 2].into(), [10, 0, 0, 1].into(), 80);
    assert!(matches!(explained.outcome, Outcome::Closed(_)), "{explained:?}");
    world.snapshot.policies.remove(&PolicyName::new("a", "large"));
    commit(&mut world);
    assert_eq!(problems(&world), [""; 0]);
    assert!(world.answer(dial(2, 1)).is_allowed());
}

fn world_match() -> Match {
    let policy = about(PolicyAction::Deny, "a", "p", "client");
    policy.rules[0].clauses[0].matches[0].clone()
}

#[test]
fn too_many_terms_for_one_workload_close_it() {
    let mut world = two_servers(Limits::DEFAULT);
    let mut policy = about(PolicyAction::Deny, "a", "long", "client");
    policy.rules = vec![policy.rules[0].clone(); 256 * 64];
    set_policy(&mut world, policy.clone());
    commit(&mut world);
    assert_problem(&world, &["a/server", "a/long", "AUTHZ_WORDS_PER_SET_MAX", "refused"]);
    assert_eq!(world.answer(dial(2, 1)), Expected::Closed);
    policy.rules.truncate(255 * 64);
    set_policy(&mut world, policy);
    commit(&mut world);
    assert_eq!(problems(&world), [""; 0]);
    assert!(!world.answer(dial(3, 1)).is_allowed());
}

#[test]
fn what_finds_room_once_the_old_set_has_gone_waits_for_it() {
    let words = {
        let world = two_servers(Limits::DEFAULT);
        let fill = world.authz.fill();
        fill.iter().find(|(name, _)| *name == "authz_words").unwrap().1 as u32
    };
    // Room for one more set, and not for two.
    let mut world = two_servers(Limits { authz_words_max: words + 3, ..Limits::DEFAULT });
    world.release();
    set_policy(&mut world, about(PolicyAction::Allow, "a", "p", "client"));
    commit(&mut world);
    assert!(world.answer(dial(3, 1)).is_allowed());
    set_policy(&mut world, about(PolicyAction::Deny, "a", "p", "client"));
    commit(&mut world);
    assert!(world.authz.is_unfinished());
    assert!(world.answer(dial(3, 1)).is_allowed(), "the policies of before");
    assert_problem(&world, &["a/server", "authz_words_max", "of before are in force"]);
    world.release();
    commit(&mut world);
    assert!(!world.authz.is_unfinished());
    assert_eq!(problems(&world), [""; 0]);
    assert!(!world.answer(dial(3, 1)).is_allowed());
}

#[test]
fn sources_without_room_close_those_that_are_not_known() {
    let mut world = two_servers(Limits { authz_sources_max: 5, ..Limits::DEFAULT });
    assert_eq!(problems(&world), [""; 0]);
    set_workload(&mut world, workload("a", "more", 8, "there"));
    commit(&mut world);
    assert_problem(&world, &["a/more", "authz_sources_max is 5", "refused"]);
    assert_eq!(world.answer(dial(8, 1)), Expected::Closed);
    assert_eq!(world.answer(dial(99, 1)), Expected::Closed);
    assert!(world.answer(dial(2, 1)).is_allowed());
    world.snapshot.workloads.remove(&WorkloadName::new("a", "client"));
    commit(&mut world);
    assert_eq!(problems(&world), [""; 0]);
    assert!(world.answer(dial(8, 1)).is_allowed() && world.answer(dial(99, 1)).is_allowed());
}

#[test]
fn destinations_without_room_close_all_that_have_no_entry() {
    let mut world = two_servers(Limits { authz_destinations_max: 3, ..Limits::DEFAULT });
    assert_eq!(problems(&world), [""; 0]);
    set_workload(&mut world, workload("a", "more", 8, "here"));
    commit(&mut world);
    assert_problem(&world, &["a/more", "authz_destinations_max is 3", "refused"]);
    assert_eq!(world.answer(dial(2, 8)), Expected::Closed);
    assert_eq!(world.answer(dial(2, 99)), Expected::Closed);
    assert!(world.answer(dial(2, 1)).is_allowed());
}

#[test]
fn workloads_that_dispute_an_address_are_named() {
    let mut world = two_servers(Limits::DEFAULT);
    set_workload(&mut world, workload("b", "twin", 1, "here"));
    commit(&mut world);
    assert_problem(&world, &["a/server, b/twin", "10.0.0.1", "not the same policies"]);
    assert_problem(&world, &["a/server, b/twin", "10.0.0.1", "not the same identity"]);
    assert_eq!(world.answer(dial(3, 1)), Expected::Closed);
    assert_eq!(world.answer(dial(1, 2)), Expected::Closed);
}

#[test]
fn policies_without_a_number_are_in_force_and_named() {
    let world = two_servers(Limits { authz_policies_max: 2, ..Limits::DEFAULT });
    assert_problem(&world, &["authz_policies_max is 2", "counted together"]);
    assert!(!world.answer(dial(3, 1)).is_allowed());
}

#[test]
fn a_policy_that_is_named_and_not_there_is_a_problem() {
    let mut world = two_servers(Limits::DEFAULT);
    let mut server = workload("a", "server", 1, "here");
    server.policies = [PolicyName::new("a", "late")].into();
    set_workload(&mut world, server);
    commit(&mut world);
    assert_problem(&world, &["a/late", "a/server", "not known"]);
    set_policy(&mut world, {
        let mut late = about(PolicyAction::Allow, "a", "late", "server");
        late.scope = model::PolicyScope::WorkloadSelector;
        late
    });
    commit(&mut world);
    assert_eq!(problems(&world), [""; 0]);
    assert!(!world.answer(dial(2, 1)).is_allowed());
}

#[test]
fn identities_that_can_not_be_told_apart_are_refused() {
    let mut world = two_servers(Limits::DEFAULT);
    let options = Options { node: "here".into(), ..Options::default() };
    // A hash that knows no difference.
    world.authz = Authz::with(options, HashMap::new(), HashMap::new(), |_| 77);
    world.kernel = Default::default();
    commit(&mut world);
    let identities: Vec<u64> = world.kernel.sources.values().map(|it| it.identity).collect();
    let closed = identities.iter().filter(|it| **it == AuthzSource::IDENTITY_CLOSED).count();
    assert_eq!((closed, identities.contains(&77)), (2, true), "{identities:?}");
    assert_problem(&world, &["its number is that of another identity"]);
}
