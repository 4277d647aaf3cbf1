//! Small random meshes and connections, in which policies meet whom they name more often than not.

use std::net::IpAddr;
use std::sync::Arc;

use model::{
    AddressBlock, Clause, Health, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule,
    Service, ServiceAccount, ServiceName, Snapshot, StringMatch, Topology, Waypoint,
    WaypointTarget, Workload, WorkloadName,
};

use super::service;

const NAMESPACES: [&str; 3] = ["a", "ab", "b"];
const ACCOUNTS: [&str; 3] = ["web", "we", ""];
const DOMAINS: [&str; 2] = ["", "td"];
const NODES: [&str; 3] = ["here", "there", ""];
const PORTS: [u16; 3] = [80, 443, 8080];
const SERVICES: [&str; 3] = ["s", "w1", "w2"];

/// Numbers from a seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, them: &[T]) -> T {
        them[self.below(them.len())].clone()
    }

    /// Up to `max`, mostly few.
    fn some<T>(&mut self, max: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(max + 1);
        (0..count).map(|_| one(self)).collect()
    }

    /// A list that is mostly empty.
    fn rarely<T>(&mut self, one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.one_in(4) { self.some(2, one) } else { Vec::new() }
    }

    pub(super) fn address(&mut self) -> IpAddr {
        let last = self.below(12) as u8;
        match self.one_in(4) {
            true => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]),
            false => IpAddr::from([10, 0, last / 8, last]),
        }
    }

    pub(super) fn port(&mut self) -> u16 {
        self.pick(&[80, 443, 8080, 1, 0])
    }

    fn block(&mut self) -> AddressBlock {
        let address = self.address();
        let bits: &[u8] = if address.is_ipv4() { &[0, 8, 24, 30, 32] } else { &[0, 8, 127, 128] };
        let prefix_bits = self.pick(bits);
        AddressBlock { address, prefix_bits }
    }

    fn text(&mut self, texts: &[&str]) -> StringMatch {
        let text = self.pick(texts).to_owned();
        let middle = self.below(text.len() + 1);
        match self.below(6) {
            0 => StringMatch::Presence,
            1 => StringMatch::Prefix(text[..middle].to_owned()),
            2 => StringMatch::Suffix(text[middle..].to_owned()),
            _ => StringMatch::Exact(text),
        }
    }

    fn namespace_match(&mut self) -> StringMatch {
        self.text(&NAMESPACES)
    }

    fn principal_match(&mut self) -> StringMatch {
        let domain = self.pick(&["cluster.local", "td"]);
        let principal =
            format!("{domain}/ns/{}/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS[..2]));
        self.text(&[&principal])
    }

    fn account(&mut self) -> ServiceAccount {
        let (namespace, name) = (self.pick(&NAMESPACES), self.pick(&ACCOUNTS[..2]));
        ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn a_match(&mut self) -> Match {
        Match {
            namespaces: self.rarely(Self::namespace_match),
            not_namespaces: self.rarely(Self::namespace_match),
            principals: self.rarely(Self::principal_match),
            not_principals: self.rarely(Self::principal_match),
            source_ips: self.rarely(Self::block),
            not_source_ips: self.rarely(Self::block),
            destination_ips: self.rarely(Self::block),
            not_destination_ips: self.rarely(Self::block),
            destination_ports: self.rarely(|it| it.pick(&PORTS)),
            not_destination_ports: self.rarely(|it| it.pick(&PORTS)),
            service_accounts: self.rarely(Self::account),
            not_service_accounts: self.rarely(Self::account),
        }
    }

    pub(super) fn policy(&mut self, name: PolicyName) -> Policy {
        let clause = |it: &mut Self| Clause { matches: it.some(3, Self::a_match) };
        let rule = |it: &mut Self| Rule { clauses: it.some(3, clause) };
        use {PolicyAction as Action, PolicyScope as Scope};
        Policy {
            name,
            scope: self.pick(&[Scope::Global, Scope::Namespace, Scope::WorkloadSelector]),
            action: self.pick(&[Action::Allow, Action::Allow, Action::Deny, Action::Audit]),
            is_dry_run: self.one_in(8),
            rules: self.some(3, rule),
        }
    }

    pub(super) fn policy_name(&mut self) -> PolicyName {
        PolicyName::new(self.pick(&NAMESPACES), self.pick(&["p", "q", "r"]))
    }

    fn service_name(&mut self) -> ServiceName {
        ServiceName::new("a", self.pick(&SERVICES))
    }

    fn waypoints(&mut self) -> Vec<Waypoint> {
        if !self.one_in(3) {
            return Vec::new();
        }
        let target = match self.one_in(2) {
            true => WaypointTarget::Service(self.service_name()),
            false => WaypointTarget::Address(IpAddr::from([10, 9, 0, self.below(3) as u8])),
        };
        vec![Waypoint { target, hbone_port: 15_008, weight: 1 }]
    }

    pub(super) fn workload_name(&mut self) -> WorkloadName {
        WorkloadName::new(self.pick(&NAMESPACES), self.pick(&["x", "y", "z"]))
    }

    pub(super) fn workload(&mut self, name: WorkloadName) -> Workload {
        Workload {
            name: Arc::new(name),
            uid_prefix: "Kubernetes//Pod".into(),
            addresses: self.some(2, Self::address).into(),
            labels: Arc::default(),
            trust_domain: self.pick(&DOMAINS).into(),
            service_account: self.pick(&ACCOUNTS).into(),
            topology: Arc::new(Topology {
                node: self.pick(&NODES).to_owned(),
                network: if self.one_in(8) { "far".to_owned() } else { String::new() },
                ..Topology::default()
            }),
            health: Health::Healthy,
            services: self.some(2, Self::service_name).into(),
            policies: self.some(2, Self::policy_name).into(),
            waypoints: self.waypoints().into(),
        }
    }

    /// A snapshot in which one thing is another.
    pub(super) fn change(&mut self, snapshot: &mut Snapshot) {
        match self.below(8) {
            0..=3 => {
                let name = self.policy_name();
                match self.one_in(3) {
                    true => drop(snapshot.policies.remove(&name)),
                    false => {
                        let policy = Arc::new(self.policy(name.clone()));
                        snapshot.policies.insert(name, policy);
                    }
                }
            }
            4..=6 => {
                let name = self.workload_name();
                match self.one_in(4) {
                    true => drop(snapshot.workloads.remove(&name)),
                    false => {
                        let workload = Arc::new(self.workload(name));
                        snapshot.workloads.insert(workload.name.clone(), workload);
                    }
                }
                join_services(snapshot);
            }
            _ => {
                let name = self.service_name();
                let address = IpAddr::from([10, 9, 0, self.below(3) as u8]);
                let service =
                    Service { waypoints: self.waypoints().into(), ..service(&name, address) };
                match self.one_in(4) {
                    true => drop(snapshot.services.remove(&name)),
                    false => drop(snapshot.services.insert(name, Arc::new(service))),
                }
                join_services(snapshot);
            }
        }
    }
}

/// Gives each service the endpoints that its workloads are.
fn join_services(snapshot: &mut Snapshot) {
    let names: Vec<ServiceName> = snapshot.services.keys().cloned().collect();
    for name in names {
        let members = snapshot.workloads.values().filter(|it| it.services.contains(&name));
        let endpoints = members.flat_map(|it| super::endpoints(it)).collect();
        let old = &snapshot.services[&name];
        if old.endpoints != endpoints {
            let service = Service { endpoints, ..(**old).clone() };
            snapshot.services.insert(name, Arc::new(service));
        }
    }
}
