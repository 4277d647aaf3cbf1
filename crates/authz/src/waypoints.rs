//! Who is a waypoint, and whom a workload trusts as one. A waypoint dials on behalf of others, whom it
//! judges itself: so what it forwards passes at the workloads that it serves, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::{Service, ServiceName, Snapshot, WaypointTarget, Workload};

/// What leads to waypoints.
#[derive(Debug, Default)]
pub(crate) struct Waypoints {
    /// What services and workloads go by, and how many do.
    targets: BTreeMap<WaypointTarget, usize>,
    /// Whose an address is.
    owners: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    /// The services that targets lead to.
    services: BTreeSet<ServiceName>,
}

/// What a change means for waypoints.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Services that became waypoints, or are none any more.
    pub(crate) flipped: BTreeSet<ServiceName>,
    /// Services that go by other waypoints, or whose waypoints lead elsewhere.
    pub(crate) users: BTreeSet<ServiceName>,
    /// Addresses of waypoints that have another owner.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

// === impl Waypoints ===

impl Waypoints {
    /// Takes another snapshot, at the cost of what differs.
    pub(crate) fn update(&mut self, before: &Snapshot, after: &Snapshot) -> Touched {
        let mut touched = Touched::default();
        let mut targets = BTreeSet::new();
        for service in model::diff(&before.services, &after.services) {
            let (old, new) = (service.old.map(AsRef::as_ref), service.new.map(AsRef::as_ref));
            self.own(service.key, old, new, &mut targets);
            let of = |it: Option<&Service>| it.map(|it| it.waypoints.clone()).unwrap_or_default();
            if of(old) != of(new) {
                touched.users.insert(service.key.clone());
                self.use_targets(&of(old), &of(new), &mut targets);
            }
        }
        for workload in model::diff(&before.workloads, &after.workloads) {
            let of =
                |it: Option<&Arc<Workload>>| it.map(|it| it.waypoints.clone()).unwrap_or_default();
            self.use_targets(&of(workload.old), &of(workload.new), &mut targets);
        }
        for target in &targets {
            touched.addresses.extend(match target {
                WaypointTarget::Address(address) => Some(*address),
                WaypointTarget::Service(_) => None,
            });
        }
        touched.flipped = self.resolve(&targets, before, after);
        touched
    }

    /// The waypoints among the services of a workload.
    pub(crate) fn served_by(&self, workload: &Workload) -> BTreeSet<ServiceName> {
        let is_waypoint = |name: &&ServiceName| self.services.contains(name);
        workload.services.iter().filter(is_waypoint).cloned().collect()
    }

    /// The waypoints that a workload trusts: its own, and those of its services. What is itself a
    /// waypoint goes by none.
    pub(crate) fn trusted_by(
        &self,
        workload: &Workload,
        snapshot: &Snapshot,
    ) -> BTreeSet<ServiceName> {
        if !self.served_by(workload).is_empty() {
            return BTreeSet::new();
        }
        let services = workload.services.iter().filter_map(|name| snapshot.services.get(name));
        let lists = services.map(|service| &service.waypoints).chain([&workload.waypoints]);
        let targets = lists.flat_map(|list| list.iter().map(|waypoint| &waypoint.target));
        targets.filter_map(|target| self.leads_to(target)).cloned().collect()
    }

    /// The service that stands for a waypoint.
    fn leads_to<'a>(&'a self, target: &'a WaypointTarget) -> Option<&'a ServiceName> {
        match target {
            WaypointTarget::Service(name) => Some(name),
            WaypointTarget::Address(address) => self.owners.get(address)?.first(),
        }
    }

    fn own(
        &mut self,
        name: &ServiceName,
        old: Option<&Service>,
        new: Option<&Service>,
        targets: &mut BTreeSet<WaypointTarget>,
    ) {
        let is_known = (old.is_some(), new.is_some());
        let of = |service: Option<&Service>| -> BTreeSet<IpAddr> {
            service.into_iter().flat_map(|it| it.addresses.iter().copied()).collect()
        };
        let (old, new) = (of(old), of(new));
        for address in old.difference(&new) {
            if let Some(owners) = self.owners.get_mut(address) {
                owners.remove(name);
                if owners.is_empty() {
                    self.owners.remove(address);
                }
            }
        }
        for address in new.difference(&old) {
            self.owners.entry(*address).or_default().insert(name.clone());
        }
        let changed = old.symmetric_difference(&new).map(|it| WaypointTarget::Address(*it));
        // One that is not known serves nobody: it becomes a waypoint when it comes.
        let came_or_went = is_known.0 != is_known.1;
        let own = came_or_went.then(|| WaypointTarget::Service(name.clone()));
        targets.extend(changed.chain(own).filter(|target| self.targets.contains_key(target)));
    }

    fn use_targets(
        &mut self,
        old: &model::Waypoints,
        new: &model::Waypoints,
        targets: &mut BTreeSet<WaypointTarget>,
    ) {
        if old == new {
            return;
        }
        for waypoint in new.iter() {
            let users = self.targets.entry(waypoint.target.clone()).or_default();
            *users += 1;
            if *users == 1 {
                targets.insert(waypoint.target.clone());
            }
        }
        for waypoint in old.iter() {
            if let Some(users) = self.targets.get_mut(&waypoint.target) {
                *users -= 1;
                if *users == 0 {
                    self.targets.remove(&waypoint.target);
                    targets.insert(waypoint.target.clone());
                }
            }
        }
    }

    /// Finds out which services are waypoints now. Returns those that are it or not, unlike before.
    fn resolve(
        &mut self,
        targets: &BTreeSet<WaypointTarget>,
        before: &Snapshot,
        after: &Snapshot,
    ) -> BTreeSet<ServiceName> {
        let mut concerned = BTreeSet::new();
        for target in targets {
            match target {
                WaypointTarget::Service(name) => drop(concerned.insert(name.clone())),
                WaypointTarget::Address(address) => {
                    concerned.extend(self.owners.get(address).into_iter().flatten().cloned());
                    let had = |name: &&ServiceName| {
                        let service = before.services.get(*name);
                        service.is_some_and(|service| service.addresses.contains(address))
                    };
                    concerned.extend(self.services.iter().filter(had).cloned());
                }
            }
        }
        let is_other = |name: &ServiceName| {
            let is_waypoint = self.is_target(name, after);
            if is_waypoint {
                self.services.insert(name.clone())
            } else {
                self.services.remove(name)
            }
        };
        concerned.into_iter().filter(is_other).collect()
    }

    fn is_target(&self, name: &ServiceName, snapshot: &Snapshot) -> bool {
        let Some(service) = snapshot.services.get(name) else { return false };
        let leads_here = |address: &IpAddr| {
            let is_used = self.targets.contains_key(&WaypointTarget::Address(*address));
            is_used && self.owners.get(address).and_then(BTreeSet::first) == Some(name)
        };
        self.targets.contains_key(&WaypointTarget::Service(name.clone()))
            || service.addresses.iter().any(leads_here)
    }
}
