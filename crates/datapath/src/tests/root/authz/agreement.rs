//! The programs judge as the policies say: random meshes, each connection between their addresses, and
//! what `authz` finds out from the policies themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::sync::Arc;

use abi::authz::Term;
use abi::{Reason, authz::AuthzCount};
use authz::{Authz, Decision, Matched, Options, Outcome};
use model::{
    AddressBlock, Clause, Endpoint, Health, Match, Policy, PolicyAction, PolicyName, PolicyScope,
    Rule, Service, ServiceAccount, ServiceName, Snapshot, StringMatch, Topology, Waypoint,
    WaypointTarget, Workload, WorkloadName,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};

use super::super::select::service as service_numbered;
use super::super::{LIMITS, Place};
use super::judging::{Connection, Judge, Judgement};
use crate::Datapath;

/// Meshes; each has [`connections`] of them.
const MESHES: u32 = 128;
const NODE: &str = "here";
const NAMESPACES: [&str; 3] = ["a", "ab", "b"];
const ACCOUNTS: [&str; 3] = ["web", "we", ""];
const PORTS: [u16; 4] = [80, 443, 8080, 8443];
const POLICY_NAMES: [&str; 4] = ["p", "q", "r", "s"];
/// The waypoint's service, and one that goes by it.
const WAYPOINT: u8 = 1;
const BEHIND: u8 = 2;

/// Twelve addresses of workloads, one of the node and one of nobody, in both families.
fn addresses() -> Vec<IpAddr> {
    let v4 = (1..=9).map(|last| IpAddr::from([10, 0, last % 3, last]));
    let v6 = (1..=3).map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, last % 2, last]));
    v4.chain(v6).chain([node_address(), IpAddr::from([192, 0, 2, 1])]).collect()
}

fn node_address() -> IpAddr {
    IpAddr::from([10, 0, 0, 100])
}

fn connections() -> Vec<Connection> {
    let ends = addresses();
    let mut connections = Vec::new();
    for source in &ends {
        for destination in &ends {
            let to = |port| Connection { source: *source, destination: *destination, port };
            connections.extend(PORTS.map(to));
        }
    }
    connections
}

fn few<T: std::fmt::Debug + Clone + 'static>(
    one: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![4 => Just(Vec::new()), 1 => vec(one, 1..3)]
}

fn text(of: impl Strategy<Value = String>) -> impl Strategy<Value = StringMatch> {
    (of, 0..6_usize, any::<prop::sample::Index>()).prop_map(|(text, kind, cut)| {
        let cut = cut.index(text.len() + 1);
        match kind {
            0 => StringMatch::Presence,
            1 => StringMatch::Prefix(text[..cut].to_owned()),
            2 => StringMatch::Suffix(text[cut..].to_owned()),
            _ => StringMatch::Exact(text),
        }
    })
}

fn namespace() -> impl Strategy<Value = StringMatch> {
    text(select(&NAMESPACES[..]).prop_map(str::to_owned))
}

fn principal() -> impl Strategy<Value = StringMatch> {
    let parts =
        (select(vec!["cluster.local", "td"]), select(&NAMESPACES[..]), select(&ACCOUNTS[..2]));
    text(
        parts.prop_map(|(domain, namespace, account)| {
            format!("{domain}/ns/{namespace}/sa/{account}")
        }),
    )
}

fn account() -> impl Strategy<Value = ServiceAccount> {
    (select(&NAMESPACES[..]), select(&ACCOUNTS[..2])).prop_map(|(namespace, name)| ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn block() -> impl Strategy<Value = AddressBlock> {
    (select(addresses()), any::<prop::sample::Index>()).prop_map(|(address, bits)| {
        let lengths: &[u8] =
            if address.is_ipv4() { &[0, 8, 24, 30, 32] } else { &[0, 112, 127, 128] };
        AddressBlock { address, prefix_bits: *bits.get(lengths) }
    })
}

fn a_match() -> impl Strategy<Value = Match> {
    let who = (few(namespace()), few(namespace()), few(principal()), few(principal()));
    let accounts = (few(account()), few(account()));
    let blocks = (few(block()), few(block()), few(block()), few(block()));
    let ports = (few(select(&PORTS[..3])), few(select(&PORTS[..3])));
    (who, accounts, blocks, ports).prop_map(|(who, accounts, blocks, ports)| Match {
        namespaces: who.0,
        not_namespaces: who.1,
        principals: who.2,
        not_principals: who.3,
        service_accounts: accounts.0,
        not_service_accounts: accounts.1,
        source_ips: blocks.0,
        not_source_ips: blocks.1,
        destination_ips: blocks.2,
        not_destination_ips: blocks.3,
        destination_ports: ports.0,
        not_destination_ports: ports.1,
    })
}

fn policy_name() -> impl Strategy<Value = PolicyName> {
    (select(&NAMESPACES[..]), select(&POLICY_NAMES[..]))
        .prop_map(|(namespace, name)| PolicyName::new(namespace, name))
}

fn policy() -> impl Strategy<Value = Policy> {
    use {PolicyAction as Action, PolicyScope as Scope};
    let scope = select(vec![Scope::Global, Scope::Namespace, Scope::WorkloadSelector]);
    let action = select(vec![Action::Allow, Action::Allow, Action::Deny, Action::Audit]);
    // Without a clause, or with an empty one, a rule is for everybody: seldom, as it hides the others.
    let clause = prop_oneof![1 => vec(a_match(), 0), 15 => vec(a_match(), 1..4)];
    let clause = clause.prop_map(|matches| Clause { matches }).boxed();
    let rule = prop_oneof![1 => vec(clause.clone(), 0), 15 => vec(clause, 1..3)];
    let rules = vec(rule.prop_map(|clauses| Rule { clauses }), 0..4);
    (policy_name(), scope, action, prop::bool::weighted(0.1), rules).prop_map(
        |(name, scope, action, is_dry_run, rules)| Policy {
            name,
            scope,
            action,
            is_dry_run,
            rules,
        },
    )
}

/// One that has these addresses of [`addresses`].
fn workload() -> impl Strategy<Value = Workload> {
    let name = (select(&NAMESPACES[..]), select(&["x", "y", "z", "w"][..]));
    let identity = (select(&["", "td"][..]), select(&ACCOUNTS[..]));
    let place = (select(&[NODE, NODE, "there", ""][..]), vec(select(addresses()), 1..3));
    let serves = vec(select(vec![WAYPOINT, BEHIND]), 0..2);
    let policies = vec(policy_name(), 0..3);
    (name, identity, place, serves, policies, any::<bool>()).prop_map(
        |(name, identity, (node, addresses), serves, policies, by_waypoint)| Workload {
            name: Arc::new(WorkloadName::new(name.0, name.1)),
            uid_prefix: "Kubernetes//Pod".into(),
            addresses: addresses.into(),
            labels: Arc::default(),
            trust_domain: identity.0.into(),
            service_account: identity.1.into(),
            topology: Arc::new(Topology { node: node.to_owned(), ..Topology::default() }),
            health: Health::Healthy,
            services: serves.into_iter().map(service_name).collect(),
            policies: policies.into(),
            waypoints: if by_waypoint { vec![by_service()].into() } else { Default::default() },
        },
    )
}

fn service_name(number: u8) -> ServiceName {
    service_numbered(number, Default::default(), Vec::new(), false).name
}

fn by_service() -> Waypoint {
    let target = WaypointTarget::Service(service_name(WAYPOINT));
    Waypoint { target, hbone_port: 15_008, weight: 1 }
}

fn mesh() -> impl Strategy<Value = Snapshot> {
    (vec(workload(), 0..10), vec(policy(), 0..8)).prop_map(|(workloads, policies)| {
        let workloads: Vec<_> = workloads.into_iter().map(Arc::new).collect();
        let services = [WAYPOINT, BEHIND].map(|number| service(number, &workloads));
        Snapshot {
            services: services.into_iter().map(|it| (it.name.clone(), Arc::new(it))).collect(),
            workloads: workloads.into_iter().map(|it| (it.name.clone(), it)).collect(),
            policies: policies.into_iter().map(|it| (it.name.clone(), Arc::new(it))).collect(),
            ..Snapshot::default()
        }
    })
}

fn service(number: u8, workloads: &[Arc<Workload>]) -> Service {
    let mut service = service_numbered(number, Default::default(), Vec::new(), false);
    let members: BTreeMap<_, _> = workloads.iter().map(|it| (it.name.clone(), it)).collect();
    let members = members.into_values().filter(|it| it.services.contains(&service.name));
    let endpoint = |(workload, address): (&Arc<Workload>, &IpAddr)| Endpoint {
        workload: Some(workload.name.clone()),
        address: *address,
        target_ports: Arc::default(),
        health: Health::Healthy,
        weight: 1,
        topology: Arc::default(),
    };
    let endpoints = members.flat_map(|it| it.addresses.iter().map(move |address| (it, address)));
    service.endpoints = endpoints.map(endpoint).collect();
    if number == BEHIND {
        service.waypoints = vec![by_service()].into();
    }
    service
}

/// What the policies say, in the words of the programs.
fn expected(authz: &Authz, connection: Connection, terms: &BTreeMap<PolicyName, u32>) -> Judgement {
    let Connection { source, destination, port } = connection;
    let term = |matched: &Matched| Some(Term::new(terms[&matched.policy], matched.rule));
    match authz.explain(source, destination, port).outcome {
        Outcome::NotJudged => panic!("nothing asks while nothing is judged"),
        Outcome::FromNode => Judgement::Exempt(Reason::AuthzNode),
        Outcome::FromWaypoint(_) => Judgement::Exempt(Reason::AuthzTrustedWaypoint),
        Outcome::Closed(_) => Judgement::Refused(Reason::AuthzClosed, None),
        Outcome::Judged(verdict) => match &verdict.decision {
            Decision::Unrestricted => Judgement::Passed(None),
            Decision::Allowed(by) => Judgement::Passed(term(by)),
            Decision::Denied(by) => Judgement::Refused(Reason::AuthzDenied, term(by)),
            Decision::NotAllowed => Judgement::Refused(Reason::AuthzNotAllowed, None),
        },
    }
}

/// What each policy should have counted for these connections.
fn expected_counts(
    authz: &Authz,
    connections: &[Connection],
    terms: &BTreeMap<PolicyName, u32>,
) -> BTreeMap<u32, AuthzCount> {
    let mut counts = BTreeMap::<u32, AuthzCount>::new();
    for one in connections {
        let outcome = authz.explain(one.source, one.destination, one.port).outcome;
        let Outcome::Judged(verdict) = outcome else { continue };
        let mut count = |by: &Matched, add: fn(&mut AuthzCount)| {
            add(counts.entry(terms[&by.policy]).or_default());
        };
        match &verdict.decision {
            Decision::Allowed(by) => count(by, |count| count.allowed += 1),
            Decision::Denied(by) => count(by, |count| count.denied += 1),
            Decision::Unrestricted | Decision::NotAllowed => {}
        }
        verdict.observed.iter().for_each(|by| count(by, |count| count.dry_run += 1));
    }
    counts
}

/// The daemon's part: what is in the maps, and the maps.
struct Node<'a> {
    authz: RefCell<Authz>,
    datapath: &'a Datapath,
    judge: Judge<'a>,
}

impl Node<'_> {
    fn options() -> Options {
        Options { node: NODE.to_owned(), network: String::new(), limits: LIMITS }
    }

    fn apply(&self, changes: &[abi::authz::Change]) {
        self.datapath.maps().apply_authz(changes).expect("the changes apply");
    }

    /// Goes over to `mesh`, and now and then starts anew from what the maps hold.
    fn update(&self, mesh: &Snapshot, is_restart: bool) {
        let mut authz = self.authz.borrow_mut();
        if is_restart {
            let contents = self.datapath.maps().authz_contents().expect("contents");
            let (recovered, changes) = Authz::recover(Self::options(), &contents);
            self.apply(&changes);
            *authz = recovered;
        }
        self.apply(&authz.update(mesh, &[node_address()], true));
        crate::grace_period().expect("a grace period");
        self.apply(&authz.release());
        assert!(!authz.is_unfinished(), "{:?}", authz.problems());
    }

    fn counts(&self, terms: &BTreeMap<PolicyName, u32>) -> BTreeMap<u32, AuthzCount> {
        let count = |slot: &u32| (*slot, self.datapath.maps().authz_count(*slot).expect("a count"));
        terms.values().map(count).collect()
    }

    fn agrees(&self, connections: &[Connection]) -> Result<(), TestCaseError> {
        let authz = self.authz.borrow();
        let terms: BTreeMap<_, _> =
            authz.policies().map(|(slot, name)| (name.clone(), slot)).collect();
        let before = self.counts(&terms);
        for (one, judged) in connections.iter().zip(self.judge.judge(connections)) {
            prop_assert_eq!(judged, expected(&authz, *one, &terms), "{:?}", one);
        }
        let added = expected_counts(&authz, connections, &terms);
        for (slot, after) in self.counts(&terms) {
            let (before, added) = (before[&slot], added.get(&slot).copied().unwrap_or_default());
            prop_assert_eq!(after.allowed - before.allowed, added.allowed, "policy {}", slot);
            prop_assert_eq!(after.denied - before.denied, added.denied, "policy {}", slot);
            prop_assert_eq!(after.dry_run - before.dry_run, added.dry_run, "policy {}", slot);
        }
        Ok(())
    }
}

#[test]
fn the_kernel_judges_and_counts_exactly_as_the_policies_say() {
    let place = Place::new("authz_agree");
    let datapath = place.load();
    let mut storage = MaybeUninit::uninit();
    let judge = Judge::new(datapath.maps(), &mut storage);
    let node =
        Node { authz: RefCell::new(Authz::new(Node::options())), datapath: &datapath, judge };
    let connections = connections();
    assert!(connections.len() * MESHES as usize >= 100_000);
    let config = ProptestConfig { cases: MESHES, ..ProptestConfig::default() };
    let judged = mesh().prop_filter("a mesh with policies", |it| !it.policies.is_empty());
    TestRunner::new(config)
        .run(&(judged, prop::bool::weighted(0.2)), |(mesh, is_restart)| {
            node.update(&mesh, is_restart);
            node.agrees(&connections)
        })
        .expect("C and Rust agree");
}
