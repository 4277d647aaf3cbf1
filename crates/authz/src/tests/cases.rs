//! The reference, field by field. The kernel's answer is that of the reference in every case.

use std::net::IpAddr;
use std::sync::Arc;

use abi::limits::Limits;
use model::{
    AddressBlock, Clause, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule,
    ServiceAccount, Snapshot, StringMatch, Workload, WorkloadName,
};

use super::property::World;
use super::{Dial, Expected};
use crate::{Connection, Decision, Identity, Matched, evaluate};

const PORT: u16 = 8080;

/// Who dials in a case.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// `cluster.local/ns/shop/sa/web` at 10.0.0.7 or fd00::7.
    Web,
    /// Of the trust domain td.
    Stranger,
    /// Of the namespace shop, with an account that is not known.
    NoAccount,
    /// An address that is nobody's.
    Unknown,
}

use Client::{NoAccount, Stranger, Unknown, Web};

fn exact(text: &str) -> Vec<StringMatch> {
    vec![StringMatch::Exact(text.into())]
}

fn prefix(text: &str) -> Vec<StringMatch> {
    vec![StringMatch::Prefix(text.into())]
}

fn suffix(text: &str) -> Vec<StringMatch> {
    vec![StringMatch::Suffix(text.into())]
}

fn presence() -> Vec<StringMatch> {
    vec![StringMatch::Presence]
}

fn blocks(texts: &[&str]) -> Vec<AddressBlock> {
    let block = |text: &&str| {
        let (address, bits) = text.split_once('/').unwrap();
        let address = address.parse().unwrap();
        AddressBlock { address, prefix_bits: bits.parse().unwrap() }
    };
    texts.iter().map(block).collect()
}

fn account(namespace: &str, name: &str) -> Vec<ServiceAccount> {
    vec![ServiceAccount { namespace: namespace.into(), name: name.into() }]
}

fn namespaces(namespaces: Vec<StringMatch>) -> Match {
    Match { namespaces, ..Match::default() }
}

fn not_namespaces(not_namespaces: Vec<StringMatch>) -> Match {
    Match { not_namespaces, ..Match::default() }
}

fn principals(principals: Vec<StringMatch>) -> Match {
    Match { principals, ..Match::default() }
}

fn not_principals(not_principals: Vec<StringMatch>) -> Match {
    Match { not_principals, ..Match::default() }
}

fn accounts(service_accounts: Vec<ServiceAccount>) -> Match {
    Match { service_accounts, ..Match::default() }
}

fn not_accounts(not_service_accounts: Vec<ServiceAccount>) -> Match {
    Match { not_service_accounts, ..Match::default() }
}

fn sources(texts: &[&str]) -> Match {
    Match { source_ips: blocks(texts), ..Match::default() }
}

fn not_sources(texts: &[&str]) -> Match {
    Match { not_source_ips: blocks(texts), ..Match::default() }
}

fn destinations(texts: &[&str]) -> Match {
    Match { destination_ips: blocks(texts), ..Match::default() }
}

fn not_destinations(texts: &[&str]) -> Match {
    Match { not_destination_ips: blocks(texts), ..Match::default() }
}

fn ports(ports: &[u16]) -> Match {
    Match { destination_ports: ports.into(), ..Match::default() }
}

fn not_ports(ports: &[u16]) -> Match {
    Match { not_destination_ports: ports.into(), ..Match::default() }
}

fn policy(name: &str, action: PolicyAction, rules: Vec<Vec<Vec<Match>>>) -> Policy {
    let clause = |matches| Clause { matches };
    let rule =
        |clauses: Vec<Vec<Match>>| Rule { clauses: clauses.into_iter().map(clause).collect() };
    Policy {
        name: PolicyName::new("shop", name),
        scope: PolicyScope::Namespace,
        action,
        is_dry_run: false,
        rules: rules.into_iter().map(rule).collect(),
    }
}

fn workload(namespace: &str, name: &str, address: IpAddr, account: &str, domain: &str) -> Workload {
    Workload {
        name: Arc::new(WorkloadName::new(namespace, name)),
        uid_prefix: "Kubernetes//Pod".into(),
        addresses: [address].into(),
        labels: Arc::default(),
        trust_domain: domain.into(),
        service_account: account.into(),
        topology: Arc::default(),
        health: model::Health::Healthy,
        services: Arc::default(),
        policies: Arc::default(),
        waypoints: Arc::default(),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A mesh of a server at 10.0.0.9 and fd00::9, and those who dial.
fn mesh(policies: &[Policy]) -> Snapshot {
    let mut server = workload("shop", "server", address("10.0.0.9"), "server", "");
    server.addresses = [address("10.0.0.9"), address("fd00::9")].into();
    server.policies = [PolicyName::new("shop", "selected")].into();
    let mut web = workload("shop", "web", address("10.0.0.7"), "web", "");
    web.addresses = [address("10.0.0.7"), address("fd00::7")].into();
    let stranger = workload("shop", "far", address("10.0.0.6"), "web", "td");
    let bare = workload("shop", "bare", address("10.0.0.5"), "", "");
    let workloads = [server, web, stranger, bare].map(|it| (it.name.clone(), Arc::new(it)));
    let policies = policies.iter().map(|it| (it.name.clone(), Arc::new(it.clone())));
    Snapshot {
        workloads: workloads.into_iter().collect(),
        policies: policies.collect(),
        ..Snapshot::default()
    }
}

fn addresses(from: Client, v6: bool) -> (IpAddr, IpAddr) {
    let source = match (from, v6) {
        (Web, true) => "fd00::7",
        (Web, false) => "10.0.0.7",
        (Stranger, _) => "10.0.0.6",
        (NoAccount, _) => "10.0.0.5",
        (Unknown, true) => "fd00::1:7",
        (Unknown, false) => "10.0.1.7",
    };
    (address(source), address(if v6 { "fd00::9" } else { "10.0.0.9" }))
}

fn identity(from: Client) -> Option<Identity> {
    let (domain, account) = match from {
        Web => ("cluster.local", "web"),
        Stranger => ("td", "web"),
        NoAccount => ("cluster.local", ""),
        Unknown => return None,
    };
    let namespace = "shop".into();
    Some(Identity { trust_domain: domain.into(), namespace, service_account: account.into() })
}

/// What the reference says, which must be what the kernel says.
#[track_caller]
fn decision(policies: &[Policy], from: Client, v6: bool, port: u16) -> Decision {
    let (source, destination) = addresses(from, v6);
    let connection = Connection {
        source: identity(from),
        source_address: source,
        destination_address: destination,
        destination_port: port,
    };
    let mut applying: Vec<&Policy> = policies.iter().collect();
    applying.sort_by(|a, b| a.name.cmp(&b.name));
    let decision = evaluate(applying, &connection).decision;
    let mut world = World::new(Limits::DEFAULT);
    (world.snapshot, world.node) = (mesh(policies), Vec::new());
    world.update().iter().for_each(|change| world.kernel.apply(change));
    let answer = world.answer(Dial { source, destination, port });
    assert_eq!(answer, Expected::Judged(decision.clone()), "the kernel");
    decision
}

/// Does a DENY of one match refuse the connection?
#[track_caller]
fn matches(it: &Match, from: Client, v6: bool) -> bool {
    let denies = policy("p", PolicyAction::Deny, vec![vec![vec![it.clone()]]]);
    !decision(&[denies], from, v6, PORT).is_allowed()
}

#[test]
fn texts_are_matched_as_a_whole_and_by_their_ends() {
    let web = "cluster.local/ns/shop/sa/web";
    for (it, from, expected) in [
        (namespaces(exact("shop")), Web, true),
        (namespaces(exact("sho")), Web, false),
        (namespaces(prefix("sh")), Web, true),
        (namespaces(prefix("hop")), Web, false),
        (namespaces(suffix("op")), Web, true),
        (namespaces(suffix("sho")), Web, false),
        (namespaces(presence()), Web, true),
        (principals(exact(web)), Web, true),
        (principals(exact("cluster.local/ns/shop/sa/we")), Web, false),
        (principals(exact("/ns/shop/sa/web")), Web, false),
        (principals(exact(web)), Stranger, false),
        (principals(exact("td/ns/shop/sa/web")), Stranger, true),
        (principals(prefix("cluster.local/ns/shop/")), Web, true),
        (principals(prefix("cluster.local/ns/shop/")), Stranger, false),
        (principals(suffix("/ns/shop/sa/web")), Stranger, true),
        (principals(presence()), Web, true),
        (accounts(account("shop", "web")), Web, true),
        (accounts(account("shop", "web")), Stranger, true),
        (accounts(account("bar", "web")), Web, false),
        (accounts(account("shop", "api")), Web, false),
    ] {
        assert_eq!(matches(&it, from, false), expected, "{it:?} {from:?}");
    }
}

#[test]
fn not_fields_match_whom_they_do_not_name() {
    let web = "cluster.local/ns/shop/sa/web";
    for (it, from, expected) in [
        (not_namespaces(exact("shop")), Web, false),
        (not_namespaces(exact("bar")), Web, true),
        (not_namespaces(prefix("sh")), Web, false),
        (not_namespaces(suffix("op")), Web, false),
        (not_namespaces(presence()), Web, false),
        (not_principals(exact(web)), Web, false),
        (not_principals(exact(web)), Stranger, true),
        (not_principals(presence()), Web, false),
        (not_accounts(account("shop", "web")), Web, false),
        (not_accounts(account("shop", "api")), Web, true),
    ] {
        assert_eq!(matches(&it, from, false), expected, "{it:?} {from:?}");
    }
}

#[test]
fn who_is_not_known_is_like_no_text() {
    for (it, expected) in [
        (namespaces(presence()), false),
        (namespaces(suffix("")), false),
        (principals(presence()), false),
        (principals(prefix("")), false),
        (accounts(account("", "")), false),
        (not_namespaces(presence()), true),
        (not_namespaces(exact("shop")), true),
        (not_principals(presence()), true),
        (not_principals(suffix("/sa/web")), true),
        (not_accounts(account("shop", "web")), true),
    ] {
        assert_eq!(matches(&it, Unknown, false), expected, "{it:?}");
    }
}

#[test]
fn who_has_no_known_account_has_a_namespace_and_no_principal() {
    for (it, expected) in [
        (namespaces(exact("shop")), true),
        (not_namespaces(exact("shop")), false),
        (principals(presence()), false),
        (principals(prefix("cluster.local")), false),
        (not_principals(presence()), true),
        (accounts(account("shop", "")), false),
        (not_accounts(account("shop", "web")), true),
    ] {
        assert_eq!(matches(&it, NoAccount, false), expected, "{it:?}");
    }
}

#[test]
fn addresses_are_matched_within_their_family() {
    for (it, v4, v6) in [
        (sources(&["10.0.0.7/32"]), true, false),
        (sources(&["10.0.0.0/29"]), true, false),
        (sources(&["10.0.0.8/29"]), false, false),
        (sources(&["10.0.0.255/24"]), true, false),
        (sources(&["0.0.0.0/0"]), true, false),
        (sources(&["::/0"]), false, true),
        (sources(&["::ffff:10.0.0.0/120"]), true, false),
        (sources(&["fd00::/64"]), false, true),
        (sources(&["192.0.2.0/24", "fd00::7/128"]), false, true),
        (not_sources(&["10.0.0.0/8"]), false, true),
        (not_sources(&["::/0"]), true, false),
        (not_sources(&["0.0.0.0/0", "::/0"]), false, false),
        (destinations(&["10.0.0.9/32"]), true, false),
        (destinations(&["10.0.0.8/32", "fd00::/16"]), false, true),
        (destinations(&["::/0"]), false, true),
        (not_destinations(&["10.0.0.9/32"]), false, true),
        (not_destinations(&["fd00::9/128"]), true, false),
    ] {
        assert_eq!((matches(&it, Web, false), matches(&it, Web, true)), (v4, v6), "{it:?}");
    }
}

#[test]
fn inner_blocks_and_outer_ones_are_told_apart() {
    let ring = Match { not_source_ips: blocks(&["10.0.0.0/29"]), ..sources(&["10.0.0.0/16"]) };
    assert!(!matches(&ring, Web, false));
    assert!(matches(&ring, Unknown, false));
    let hole = Match { not_source_ips: blocks(&["10.0.0.6/32"]), ..sources(&["10.0.0.0/29"]) };
    assert!(matches(&hole, Web, false));
    assert!(!matches(&hole, Stranger, false));
}

#[test]
fn ports_are_matched() {
    for (it, expected) in [
        (ports(&[PORT]), true),
        (ports(&[80, PORT]), true),
        (ports(&[80]), false),
        (not_ports(&[PORT]), false),
        (not_ports(&[80]), true),
    ] {
        assert_eq!(matches(&it, Web, false), expected, "{it:?}");
    }
}

#[test]
fn all_kinds_of_fields_of_a_match_must_fit() {
    let both =
        |namespace, port| Match { destination_ports: vec![port], ..namespaces(exact(namespace)) };
    assert!(matches(&both("shop", PORT), Web, false));
    assert!(!matches(&both("shop", 80), Web, false));
    assert!(!matches(&both("bar", PORT), Web, false));
    let but = Match { not_principals: exact("td/ns/shop/sa/web"), ..namespaces(exact("shop")) };
    assert!(matches(&but, Web, false));
    assert!(!matches(&but, Stranger, false));
    assert!(!matches(&Match::default(), Web, false), "a match that asks nothing matches nothing");
}

#[test]
fn a_rule_needs_all_clauses_and_a_clause_any_match() {
    let denies = |clauses: Vec<Vec<Match>>| {
        let policy = policy("p", PolicyAction::Deny, vec![clauses]);
        !decision(&[policy], Web, false, PORT).is_allowed()
    };
    let (hit, miss) = (|| ports(&[PORT]), || ports(&[1]));
    assert!(denies(vec![]), "a rule without clauses");
    assert!(denies(vec![vec![]]), "a clause without matches");
    assert!(denies(vec![vec![miss(), hit()]]));
    assert!(denies(vec![vec![hit()], vec![namespaces(exact("shop"))]]));
    assert!(!denies(vec![vec![hit()], vec![miss()]]));
    assert!(!denies(vec![vec![hit()], vec![Match::default()]]));
    assert!(denies(vec![vec![hit()], vec![Match::default(), hit()]]));
    assert!(denies(vec![vec![], vec![hit()]]));
}

fn by(name: &str, rule: usize) -> Matched {
    Matched { policy: PolicyName::new("shop", name), rule }
}

#[test]
fn deny_comes_before_allow_whatever_the_order_of_names() {
    let hit = || vec![vec![vec![ports(&[PORT])]]];
    let miss = || vec![vec![vec![ports(&[1])]]];
    use PolicyAction::{Allow, Deny};
    for (policies, expected) in [
        (vec![], Decision::Unrestricted),
        (vec![policy("a", Deny, miss())], Decision::Unrestricted),
        (vec![policy("a", Deny, hit())], Decision::Denied(by("a", 0))),
        (vec![policy("a", Deny, vec![])], Decision::Unrestricted),
        (vec![policy("a", Allow, hit())], Decision::Allowed(by("a", 0))),
        (vec![policy("a", Allow, miss())], Decision::NotAllowed),
        (vec![policy("a", Allow, vec![])], Decision::NotAllowed),
        (vec![policy("a", Allow, hit()), policy("b", Deny, hit())], Decision::Denied(by("b", 0))),
        (vec![policy("a", Allow, hit()), policy("b", Deny, miss())], Decision::Allowed(by("a", 0))),
        (
            vec![policy("a", Allow, vec![]), policy("b", Allow, hit())],
            Decision::Allowed(by("b", 0)),
        ),
    ] {
        if policies.is_empty() {
            continue;
        }
        assert_eq!(decision(&policies, Web, false, PORT), expected, "{policies:?}");
    }
}

#[test]
fn the_verdict_names_the_first_rule_that_matches() {
    let rule = |port| vec![vec![ports(&[port])]];
    let allows = policy("a", PolicyAction::Allow, vec![rule(1), rule(PORT), rule(PORT)]);
    assert_eq!(decision(&[allows], Web, false, PORT), Decision::Allowed(by("a", 1)));
}

#[test]
fn dry_runs_and_audits_decide_nothing_and_are_told() {
    let hit = || vec![vec![vec![ports(&[PORT])]]];
    let dry = |name, action| Policy { is_dry_run: true, ..policy(name, action, hit()) };
    let policies = [
        dry("a", PolicyAction::Deny),
        dry("b", PolicyAction::Allow),
        policy("c", PolicyAction::Audit, hit()),
        policy("d", PolicyAction::Audit, vec![vec![vec![ports(&[1])]]]),
    ];
    assert_eq!(decision(&policies, Web, false, PORT), Decision::Unrestricted);
    let connection = Connection {
        source: None,
        source_address: address("10.0.0.7"),
        destination_address: address("10.0.0.9"),
        destination_port: PORT,
    };
    let observed = evaluate(&policies, &connection).observed;
    assert_eq!(observed, [by("a", 0), by("b", 0), by("c", 0)]);
}

#[test]
fn global_policies_those_of_the_namespace_and_those_that_a_workload_names_apply_together() {
    let deny = |name: &str, scope, port| Policy {
        scope,
        ..policy(name, PolicyAction::Deny, vec![vec![vec![ports(&[port])]]])
    };
    let mut policies = vec![
        deny("here", PolicyScope::Namespace, 2),
        deny("selected", PolicyScope::WorkloadSelector, 3),
        deny("unselected", PolicyScope::WorkloadSelector, 4),
    ];
    policies.push(Policy {
        name: PolicyName::new("istio-system", "global"),
        ..deny("", PolicyScope::Global, 1)
    });
    policies.push(Policy {
        name: PolicyName::new("bar", "there"),
        ..deny("", PolicyScope::Namespace, 5)
    });
    let mut world = World::new(Limits::DEFAULT);
    (world.snapshot, world.node) = (mesh(&policies), Vec::new());
    world.update().iter().for_each(|change| world.kernel.apply(change));
    for (port, is_refused) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        let (source, destination) = addresses(Web, false);
        let answer = world.answer(Dial { source, destination, port });
        let expected = matches!(answer, Expected::Judged(Decision::Denied(_)));
        assert_eq!(expected, is_refused, "{port}: {answer:?}");
    }
    let elsewhere = Dial { source: address("10.0.0.7"), destination: address("10.9.9.9"), port: 1 };
    assert!(!world.answer(elsewhere).is_allowed(), "an address that nothing names");
    assert!(world.answer(Dial { port: 2, ..elsewhere }).is_allowed());
}

#[test]
fn v4_mapped_addresses_are_ipv4_addresses() {
    let mapped: IpAddr = address("::ffff:10.0.0.7");
    let connection = Connection {
        source: None,
        source_address: mapped,
        destination_address: address("::ffff:10.0.0.9"),
        destination_port: PORT,
    };
    let it = Match { destination_ips: blocks(&["10.0.0.9/32"]), ..sources(&["10.0.0.0/24"]) };
    let denies = policy("p", PolicyAction::Deny, vec![vec![vec![it]]]);
    assert_eq!(evaluate([&denies], &connection).decision, Decision::Denied(by("p", 0)));
}
