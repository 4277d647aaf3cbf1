//! The tables of the kernel in step with a snapshot, at the cost of what changes.
//!
//! In one update, what is new is written where nothing leads; then each address of a workload goes
//! over to it, then addresses change hands. So a connection is judged by the old policies of its
//! destination or by the new ones, with the old owner of its source address or the new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use abi::IpAddress;
use abi::authz::{AuthzDestination, AuthzSource, Change};
use abi::limits::Limits;
use model::{Policy, PolicyScope, ServiceName, Snapshot, Workload, WorkloadName};

use crate::addresses::{Addresses, Flips, agree};
use crate::identity::{Identity, Subject};
use crate::locals::Locals;
use crate::scopes::{Scopes, SetKey};
use crate::sets::Sets;
use crate::subjects::Subjects;
use crate::waypoints::{Touched, Waypoints};

/// Who this node is, and how large the maps are.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the node: connections to its workloads are judged, and to those whose node is not known.
    /// Empty when it is not known itself, and then every workload may be here.
    pub node: String,
    /// Its network. Addresses of other networks are not the addresses of who dials here.
    pub network: String,
    /// Sizes of the maps.
    pub limits: Limits,
}

/// What the kernel should hold about who may connect to whom.
#[derive(Debug)]
pub struct Authz {
    pub(crate) options: Options,
    /// The last one; empty while there is nothing to judge.
    pub(crate) snapshot: Snapshot,
    pub(crate) is_active: Option<bool>,
    pub(crate) node_addresses: BTreeSet<IpAddress>,
    /// Addresses of all nodes, and how many say that one is theirs. A workload that has one shares it
    /// with everything else on its node, so that it does not tell who dials or who is dialled.
    shared: BTreeMap<IpAddress, usize>,
    pub(crate) waypoints: Waypoints,
    pub(crate) scopes: Scopes,
    pub(crate) subjects: Subjects,
    pub(crate) locals: Locals,
    pub(crate) sources: Addresses<u64, AuthzSource>,
    pub(crate) destinations: Addresses<Arc<SetKey>, AuthzDestination>,
    pub(crate) sets: Sets,
    pub(crate) others: Arc<SetKey>,
    pub(crate) node_name: Arc<WorkloadName>,
}

// === impl Authz ===

impl Authz {
    /// Empty maps.
    pub fn new(options: Options) -> Self {
        Self::with(options, HashMap::new(), HashMap::new(), Subject::number)
    }

    pub(crate) fn with(
        options: Options,
        sources: HashMap<IpAddress, AuthzSource>,
        destinations: HashMap<IpAddress, AuthzDestination>,
        number: fn(&Subject) -> u64,
    ) -> Self {
        let limits = options.limits;
        Self {
            snapshot: Snapshot::default(),
            is_active: None,
            node_addresses: BTreeSet::new(),
            shared: BTreeMap::new(),
            waypoints: Waypoints::default(),
            scopes: Scopes::default(),
            subjects: Subjects::new(number),
            locals: Locals::default(),
            sources: Addresses::new(limits.authz_sources_max, sources),
            destinations: Addresses::new(limits.authz_destinations_max, destinations),
            sets: Sets::new(limits),
            others: Arc::default(),
            node_name: Arc::new(WorkloadName::new("", "node")),
            options,
        }
    }

    /// The changes that lead to `snapshot`, at the cost of what differs from the one before. The state
    /// is then that of the snapshot: if a change fails, recover from what the maps hold.
    ///
    /// Connections from `node_addresses` are not judged. With `is_enabled` false nothing is, as
    /// without any policy.
    pub fn update(
        &mut self,
        snapshot: &Snapshot,
        node_addresses: &[IpAddr],
        is_enabled: bool,
    ) -> Vec<Change> {
        let is_active = Self::judges(snapshot, is_enabled);
        let next = if is_active { snapshot.clone() } else { Snapshot::default() };
        let node_addresses = if is_active { node_addresses } else { &[] };
        let before = std::mem::replace(&mut self.snapshot, next);
        let after = self.snapshot.clone();

        let touched = self.waypoints.update(&before, &after);
        self.update_node(node_addresses);
        self.update_shared(&before, &after);
        self.update_sources(&before, &after, &touched);
        let changed_sets = self.update_destinations(&before, &after, &touched);
        let mut changes = Vec::new();
        self.update_sets(changed_sets, is_active, &mut changes);
        self.flip(is_active, &mut changes);
        self.sets.retire_unused(|key| is_active && key.is_for_others());
        self.switch(is_active, &mut changes);
        changes
    }

    /// Would anything be judged? Only then the addresses of the node matter.
    pub fn judges(snapshot: &Snapshot, is_enabled: bool) -> bool {
        is_enabled && !snapshot.policies.is_empty()
    }

    /// A grace period has passed since the last changes were applied: removes what they replaced.
    pub fn release(&mut self) -> Vec<Change> {
        let forgotten = self.subjects.forget_unused();
        self.sets.release(&forgotten)
    }

    /// True while connections are judged.
    pub fn is_active(&self) -> bool {
        self.is_active == Some(true)
    }

    /// True when something waits for [`Authz::release`].
    pub fn has_retired(&self) -> bool {
        self.sets.has_retired() || self.subjects.has_unused()
    }

    /// True when something had no room: another update with the same snapshot may help, once
    /// [`Authz::release`] has freed something.
    pub fn is_unfinished(&self) -> bool {
        !self.sets.unfinished().is_empty()
    }

    /// Entries in use, by the name of the map.
    pub fn fill(&self) -> Vec<(&'static str, u64)> {
        let addresses = [
            ("authz_sources", self.sources.count() as u64),
            ("authz_destinations", self.destinations.count() as u64),
        ];
        self.sets.fill().into_iter().chain(addresses).collect()
    }

    fn update_node(&mut self, addresses: &[IpAddr]) {
        let next: BTreeSet<IpAddress> = addresses.iter().map(|it| (*it).into()).collect();
        let before = std::mem::replace(&mut self.node_addresses, next.clone());
        let name = self.node_name.clone();
        for gone in before.difference(&next) {
            self.sources.withdraw(*gone, &name);
        }
        for new in next.difference(&before) {
            self.sources.claim(*new, &name, AuthzSource::NO_IDENTITY);
        }
    }

    fn update_shared(&mut self, before: &Snapshot, after: &Snapshot) {
        for node in model::diff(&before.nodes, &after.nodes) {
            for address in node.new.into_iter().flat_map(|facts| &facts.addresses) {
                *self.shared.entry((*address).into()).or_default() += 1;
                self.touch((*address).into());
            }
            for address in node.old.into_iter().flat_map(|facts| &facts.addresses) {
                let address = (*address).into();
                if let Some(nodes) = self.shared.get_mut(&address) {
                    *nodes -= 1;
                    if *nodes == 0 {
                        self.shared.remove(&address);
                    }
                }
                self.touch(address);
            }
        }
    }

    fn touch(&mut self, address: IpAddress) {
        self.sources.touch(address);
        self.destinations.touch(address);
    }

    /// Is it an address that many have in common?
    pub(crate) fn is_shared(&self, address: IpAddress) -> bool {
        self.shared.contains_key(&address)
    }

    fn update_sources(&mut self, before: &Snapshot, after: &Snapshot, touched: &Touched) {
        let mut again = BTreeSet::new();
        for workload in model::diff(&before.workloads, &after.workloads) {
            self.withdraw_source(workload.old);
            self.claim_source(workload.new);
            again.insert(workload.key.clone());
        }
        // What serves a service that became a waypoint is somebody else now.
        let flipped = touched.flipped.iter();
        let flipped = flipped.flat_map(|it| [before.services.get(it), after.services.get(it)]);
        let endpoints = flipped.flatten().flat_map(|service| &service.endpoints);
        for name in endpoints.filter_map(|endpoint| endpoint.workload.as_ref()) {
            if again.insert(name.clone()) {
                self.withdraw_source(before.workloads.get(name));
                self.claim_source(after.workloads.get(name));
            }
        }
    }

    fn withdraw_source(&mut self, workload: Option<&Arc<Workload>>) {
        let Some(workload) = workload else { return };
        for address in &workload.addresses {
            if let Some(number) = self.sources.withdraw((*address).into(), &workload.name) {
                self.subjects.release(number);
            }
        }
    }

    fn claim_source(&mut self, workload: Option<&Arc<Workload>>) {
        let Some(workload) = workload.filter(|it| it.topology.network == self.options.network)
        else {
            return;
        };
        for address in &workload.addresses {
            let waypoints = self.waypoints.served_by(workload);
            let number = self.subjects.hold(Subject::new(Identity::of(workload), waypoints));
            self.sources.claim((*address).into(), &workload.name, number);
        }
    }

    /// Finds the sets of workloads whose set may be another. Returns the sets whose policies changed.
    fn update_destinations(
        &mut self,
        before: &Snapshot,
        after: &Snapshot,
        touched: &Touched,
    ) -> BTreeSet<Arc<SetKey>> {
        let mut moved: BTreeSet<Arc<WorkloadName>> = BTreeSet::new();
        let mut changed = BTreeSet::new();
        for policy in model::diff(&before.policies, &after.policies) {
            self.sets.forget_policy(policy.key, policy.new.is_none());
            let versions = [policy.old, policy.new].into_iter().flatten();
            let versions: Vec<&Arc<Policy>> = versions.collect();
            let namespace = &policy.key.namespace;
            let had_namespace = self.scopes.has_namespace(namespace);
            policy.old.iter().for_each(|old| self.scopes.remove(old));
            policy.new.iter().for_each(|new| self.scopes.add(new));
            if had_namespace != self.scopes.has_namespace(namespace) {
                moved.extend(self.locals.of_namespace(namespace));
            }
            changed.extend(versions.iter().flat_map(|it| self.sets_in_scope(it)));
            for name in self.locals.of_policy(policy.key) {
                changed.extend(self.locals.get(&name).map(|local| local.key.clone()));
                moved.insert(name);
            }
        }
        for workload in model::diff(&before.workloads, &after.workloads) {
            moved.insert(workload.key.clone());
        }
        moved.extend(self.trusting(touched));
        for name in moved {
            self.move_local(&name, after);
        }
        changed
    }

    fn sets_in_scope(&self, policy: &Policy) -> Vec<Arc<SetKey>> {
        match policy.scope {
            PolicyScope::Global => self.sets.keys(),
            PolicyScope::Namespace => self.sets.of_namespace(&policy.name.namespace),
            // Those that name it are moved.
            PolicyScope::WorkloadSelector => Vec::new(),
        }
    }

    /// Workloads that may trust other waypoints now.
    fn trusting(&self, touched: &Touched) -> Vec<Arc<WorkloadName>> {
        if !touched.flipped.is_empty() || !touched.addresses.is_empty() {
            return self.locals.names();
        }
        touched.users.iter().flat_map(|service| self.locals.of_service(service)).collect()
    }

    /// Puts the addresses of a workload under the set that is right for it now.
    fn move_local(&mut self, name: &Arc<WorkloadName>, snapshot: &Snapshot) {
        let workload = snapshot.workloads.get(name).filter(|it| self.is_local(it));
        let key = workload.map(|workload| {
            let trusted = self.waypoints.trusted_by(workload, snapshot);
            Arc::new(self.scopes.key(workload, snapshot, trusted))
        });
        let local = self.locals.get(name);
        let is_same = local.map(|it| (&*it.key, &it.workload.addresses))
            == key.as_deref().zip(workload.map(|it| &it.addresses));
        if let Some(local) = self.locals.remove(name)
            && !is_same
        {
            for address in &local.workload.addresses {
                let address = (*address).into();
                self.destinations.withdraw(address, name);
                let others = self.destinations.claims(address);
                if others.iter().all(|(_, key)| *key != local.key) {
                    self.sets.leave(&local.key, address);
                }
            }
        }
        let (Some(workload), Some(key)) = (workload, key) else { return };
        if !is_same {
            for address in &workload.addresses {
                self.destinations.claim((*address).into(), name, key.clone());
                self.sets.join(&key, (*address).into());
            }
        }
        self.locals.add(workload, key);
    }

    fn is_local(&self, workload: &Workload) -> bool {
        let Options { node, network, .. } = &self.options;
        let runs_on = &workload.topology.node;
        workload.topology.network == *network
            && (runs_on == node || runs_on.is_empty() || node.is_empty())
    }

    fn update_sets(
        &mut self,
        mut changed: BTreeSet<Arc<SetKey>>,
        is_active: bool,
        changes: &mut Vec<Change>,
    ) {
        let new = self.subjects.take_new();
        if is_active {
            self.sets.prepare(&self.others);
        }
        changed.extend(self.sets.unfinished());
        if !new.is_empty() {
            let short = self.sets.add_identities(&new, &self.subjects, &changed, changes);
            changed.extend(short);
        }
        for key in changed {
            let is_used = |set: &crate::sets::Set| !set.members.is_empty();
            let is_used = self.sets.get(&key).is_some_and(is_used);
            if is_used || (is_active && key.is_for_others()) {
                let policies = self.scopes.policies(&key, &self.snapshot);
                self.sets.build(&key, &policies, &self.subjects, changes);
            }
            let members = self.sets.get(&key).into_iter().flat_map(|set| &set.members);
            members.for_each(|address| self.destinations.touch(*address));
        }
    }

    /// Says what judges each address, then who has each.
    fn flip(&mut self, is_active: bool, changes: &mut Vec<Change>) {
        self.destinations.touch(AuthzDestination::OTHERS);
        self.sources.touch(AuthzSource::OTHERS);
        let closed = AuthzDestination { set: AuthzDestination::CLOSED, row: 0 };
        let is_short = !self.destinations.waiting().is_empty();
        let others = &self.others;
        let destinations = self.destinations.settle(|address, claims| match claims {
            _ if address == AuthzDestination::OTHERS => is_active.then(|| match is_short {
                true => closed,
                false => self.sets.destination(others, address, changes),
            }),
            [] => None,
            _ if self.shared.contains_key(&address) => None,
            [(_, key), ..] if agree(claims) => Some(self.sets.destination(key, address, changes)),
            _ => Some(closed),
        });
        self.close_strangers(changes);
        let is_short = !self.sources.waiting().is_empty();
        let sources = self.sources.settle(|address, claims| {
            let is_node = self.node_addresses.contains(&address);
            let identity = match claims {
                _ if address == AuthzSource::OTHERS => {
                    is_short.then_some(AuthzSource::IDENTITY_CLOSED)
                }
                [] => None,
                _ if is_node => Some(AuthzSource::NO_IDENTITY),
                _ if self.shared.contains_key(&address) => None,
                [(_, number), ..] if agree(claims) => Some(*number),
                _ => Some(AuthzSource::IDENTITY_CLOSED),
            };
            let flags = if is_node { AuthzSource::NODE } else { 0 };
            identity.map(|identity| AuthzSource { identity, flags, reserved: 0 })
        });
        write_flips(destinations, sources, changes);
    }

    /// After a restart, identities may be written that nobody has now, so that the new sets can't know
    /// them: who has one is refused, where it matters, until it has its new one.
    fn close_strangers(&self, changes: &mut Vec<Change>) {
        if self.is_active.is_some() {
            return;
        }
        let identity = AuthzSource::IDENTITY_CLOSED;
        let value = AuthzSource { identity, flags: 0, reserved: 0 };
        let is_stranger =
            |it: &AuthzSource| it.identity > identity && self.subjects.get(it.identity).is_none();
        let strangers = self.sources.all_written().filter(|(_, written)| is_stranger(written));
        changes.extend(strangers.map(|(address, _)| Change::Source { address, value }));
    }

    /// What is not judged any more is not judged from the first change on, what is new from the last.
    fn switch(&mut self, is_active: bool, changes: &mut Vec<Change>) {
        if self.is_active == Some(is_active) {
            return;
        }
        let at = if is_active { changes.len() } else { 0 };
        changes.insert(at, Change::Active(is_active));
        self.is_active = Some(is_active);
    }

    /// Services that are waypoints.
    pub(crate) fn trusted_by(&self, key: &SetKey, subject: &Subject) -> Option<ServiceName> {
        key.trusted.intersection(&subject.waypoints).next().cloned()
    }
}

/// The entry for all other addresses goes over after those that leave them, and before those that come
/// to them. Old sets may not know new identities, so nobody gets one before all have gone over.
fn write_flips(
    destinations: Flips<AuthzDestination>,
    sources: Flips<AuthzSource>,
    changes: &mut Vec<Change>,
) {
    let mut set = destinations.set;
    set.sort_by_key(|(address, _)| *address == AuthzDestination::OTHERS);
    changes.extend(set.into_iter().map(|(address, value)| Change::Destination { address, value }));
    let removed = destinations.removed.into_iter();
    changes.extend(removed.map(|address| Change::RemoveDestination { address }));
    let set = sources.set.into_iter();
    changes.extend(set.map(|(address, value)| Change::Source { address, value }));
    let removed = sources.removed.into_iter();
    changes.extend(removed.map(|address| Change::RemoveSource { address }));
}
