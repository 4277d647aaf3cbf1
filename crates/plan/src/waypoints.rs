//! Which connections go by which waypoints, and the tables that lead there.
//!
//! Everything that goes by the same list of waypoints shares one table for each family, in a pseudo
//! service that no real one can have the name of: a change of a waypoint's endpoints is one table,
//! however many services go by it. What is itself a waypoint, known by what leads to it and not by
//! its name, goes by none: so nothing can go round in circles.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use abi::{FrontendKey, Network, PROTOCOL_TCP, SlotTable};
use model::{
    Algorithm, Endpoint, LoadBalancing, Node, Protocol, Service, ServiceName, Snapshot,
    WaypointTarget, Workload,
};

use crate::image::picking;
use crate::{Action, FrontendImage, Place, Problem, ServiceImage, Table, Target};

/// How finely the shares of several waypoints are reckoned, before they become slots.
const SHARE_BITS: u32 = 20;
/// Families, in the order of the tables of a list.
const FAMILIES: [fn(&IpAddr) -> bool; 2] = [IpAddr::is_ipv4, IpAddr::is_ipv6];

/// What the lists of waypoints lead to.
#[derive(Debug)]
pub struct Waypoints {
    /// Where waypoints are dialled.
    port: u16,
    lists: BTreeMap<model::Waypoints, List>,
    /// The lists that name a service.
    by_service: BTreeMap<ServiceName, BTreeSet<model::Waypoints>>,
    /// The lists that name an address.
    by_address: BTreeMap<IpAddr, BTreeSet<model::Waypoints>>,
    /// Whose an address is.
    owners: HashMap<IpAddr, BTreeSet<ServiceName>>,
    /// The services that lists lead to, and how many do.
    targets: BTreeMap<ServiceName, usize>,
}

#[derive(Debug, Default)]
struct List {
    /// Services and workloads.
    users: usize,
    /// The service of each waypoint, as far as it is known.
    leads_to: Vec<Option<ServiceName>>,
}

/// What a change of the snapshot means for waypoints.
#[derive(Debug, Default)]
pub struct Touched {
    /// Lists that must be compiled anew, or are gone.
    pub lists: BTreeSet<model::Waypoints>,
    /// Services that became waypoints, or are none any more.
    pub services: BTreeSet<ServiceName>,
}

impl Waypoints {
    /// Nothing goes by a waypoint.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            lists: BTreeMap::new(),
            by_service: BTreeMap::new(),
            by_address: BTreeMap::new(),
            owners: HashMap::new(),
            targets: BTreeMap::new(),
        }
    }

    /// Takes another snapshot, at the cost of what differs.
    pub fn update(&mut self, before: &Snapshot, after: &Snapshot) -> Touched {
        let mut lists = BTreeSet::new();
        for service in model::diff(&before.services, &after.services) {
            let (old, new) = (service.old.map(AsRef::as_ref), service.new.map(AsRef::as_ref));
            self.own(service.key, old, new, &mut lists);
            lists.extend(self.by_service.get(service.key).into_iter().flatten().cloned());
            let of = |it: Option<&Service>| it.map(|it| it.waypoints.clone()).unwrap_or_default();
            self.use_lists(of(old), of(new), &mut lists);
        }
        for workload in model::diff(&before.workloads, &after.workloads) {
            let of =
                |it: Option<&Arc<Workload>>| it.map(|it| it.waypoints.clone()).unwrap_or_default();
            self.use_lists(of(workload.old), of(workload.new), &mut lists);
        }
        let services = self.resolve_all(&lists);
        Touched { lists, services }
    }

    /// The waypoints that connections to a service go by.
    pub fn of_service<'a>(&self, service: &'a Service) -> Option<&'a model::Waypoints> {
        let is_used = !service.waypoints.is_empty() && !self.targets.contains_key(&service.name);
        is_used.then_some(&service.waypoints)
    }

    /// The waypoints that connections to a workload's own addresses go by.
    pub fn of_workload<'a>(&self, workload: &'a Workload) -> Option<&'a model::Waypoints> {
        let is_used = !workload.waypoints.is_empty() && !self.serves_waypoint(workload);
        is_used.then_some(&workload.waypoints)
    }

    /// True for a workload behind a waypoint's service.
    pub fn serves_waypoint(&self, workload: &Workload) -> bool {
        workload.services.iter().any(|service| self.targets.contains_key(service))
    }

    /// The services that are waypoints.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.targets.keys()
    }

    /// All lists that are in use.
    pub fn lists(&self) -> BTreeSet<model::Waypoints> {
        self.lists.keys().cloned().collect()
    }

    /// The tables of a list; none for a list that is not in use any more.
    pub fn compile(
        &self,
        list: &model::Waypoints,
        snapshot: &Snapshot,
        node: &Node,
        slots_max: u32,
    ) -> Option<ServiceImage> {
        let known = self.lists.get(list)?;
        let mut image = ServiceImage::default();
        for (family, is_family) in FAMILIES.into_iter().enumerate() {
            let shares = list.iter().zip(&known.leads_to).filter_map(|(waypoint, service)| {
                let service = snapshot.services.get(service.as_ref()?)?;
                let share = Share::new(service, waypoint.weight, is_family, node, slots_max);
                (!share.slots.is_empty() && share.weight > 0).then_some(share)
            });
            image.tables.push(self.table(&shares.collect::<Vec<_>>(), slots_max));
            image.frontends.push(FrontendImage {
                place: Place::Address(place(list, family)),
                action: Action::Balance(family),
                waypoint: None,
            });
        }
        Some(image)
    }

    /// What is wrong with the waypoints, and what it means.
    pub fn problems(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (list, known) in &self.lists {
            for (waypoint, leads_to) in list.iter().zip(&known.leads_to) {
                let service = leads_to.as_ref().and_then(|name| snapshot.services.get(name));
                let problem = match service {
                    None => "is not known",
                    Some(service) if service.endpoints.is_empty() => "has no endpoint",
                    Some(_) => continue,
                };
                let users = known.users;
                let message = format!(
                    "as a waypoint of {users} services or workloads it {problem}: \
                     connections that would go by it are refused until it is there"
                );
                problems.push(Problem { service: name_of(waypoint), message });
            }
        }
        for name in self.targets.keys() {
            let service = snapshot.services.get(name).filter(|it| !it.waypoints.is_empty());
            problems.extend(service.map(|service| Problem {
                service: name.clone(),
                message: format!(
                    "it is a waypoint itself, so its own waypoint {} is not used: \
                     connections to it go to its endpoints",
                    text(&service.waypoints)
                ),
            }));
        }
        problems
    }

    /// Notes which addresses are whose now.
    fn own(
        &mut self,
        name: &ServiceName,
        old: Option<&Service>,
        new: Option<&Service>,
        lists: &mut BTreeSet<model::Waypoints>,
    ) {
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
        for address in old.union(&new) {
            lists.extend(self.by_address.get(address).into_iter().flatten().cloned());
        }
    }

    /// Counts one user less of `old` and one more of `new`.
    fn use_lists(
        &mut self,
        old: model::Waypoints,
        new: model::Waypoints,
        lists: &mut BTreeSet<model::Waypoints>,
    ) {
        if old == new {
            return;
        }
        if !new.is_empty() {
            if !self.lists.contains_key(&new) {
                self.mention(&new);
                lists.insert(new.clone());
            }
            self.lists.entry(new).or_default().users += 1;
        }
        if let Some(list) = self.lists.get_mut(&old) {
            list.users -= 1;
            if list.users == 0 {
                lists.insert(old);
            }
        }
    }

    fn mention(&mut self, list: &model::Waypoints) {
        for waypoint in list.iter() {
            match &waypoint.target {
                WaypointTarget::Service(name) => {
                    self.by_service.entry(name.clone()).or_default().insert(list.clone());
                }
                WaypointTarget::Address(address) => {
                    self.by_address.entry(*address).or_default().insert(list.clone());
                }
            }
        }
    }

    fn forget(&mut self, list: &model::Waypoints) {
        for waypoint in list.iter() {
            match &waypoint.target {
                WaypointTarget::Service(name) => forget_in(&mut self.by_service, name, list),
                WaypointTarget::Address(address) => forget_in(&mut self.by_address, address, list),
            }
        }
    }

    /// Finds out where lists lead now. Returns the services that became waypoints or are none any more.
    fn resolve_all(&mut self, lists: &BTreeSet<model::Waypoints>) -> BTreeSet<ServiceName> {
        let mut before = BTreeMap::new();
        for list in lists {
            let Some(known) = self.lists.get(list) else { continue };
            let is_used = known.users > 0;
            let old = known.leads_to.clone();
            let new: Vec<_> = list.iter().map(|waypoint| self.owner(&waypoint.target)).collect();
            for name in old.into_iter().flatten() {
                self.count(name, -1, &mut before);
            }
            if !is_used {
                self.forget(list);
                self.lists.remove(list);
                continue;
            }
            for name in new.iter().flatten() {
                self.count(name.clone(), 1, &mut before);
            }
            if let Some(known) = self.lists.get_mut(list) {
                known.leads_to = new;
            }
        }
        let flipped = before.into_iter().filter(|(name, was)| *was != self.is_target(name));
        flipped.map(|(name, _)| name).collect()
    }

    fn is_target(&self, name: &ServiceName) -> bool {
        self.targets.contains_key(name)
    }

    /// Counts lists that lead to a service; `before` learns whether any did.
    fn count(&mut self, name: ServiceName, step: isize, before: &mut BTreeMap<ServiceName, bool>) {
        let was = self.is_target(&name);
        before.entry(name.clone()).or_insert(was);
        let lists = self.targets.entry(name.clone()).or_default();
        *lists = lists.saturating_add_signed(step);
        if *lists == 0 {
            self.targets.remove(&name);
        }
    }

    /// The service of a waypoint: a name is one whether the service is known or not.
    fn owner(&self, target: &WaypointTarget) -> Option<ServiceName> {
        match target {
            WaypointTarget::Service(name) => Some(name.clone()),
            WaypointTarget::Address(address) => self.owners.get(address)?.first().cloned(),
        }
    }

    /// The slots of one family. An only waypoint is balanced as its service says.
    fn table(&self, shares: &[Share<'_>], slots_max: u32) -> Table {
        let target = |endpoint: &Endpoint| {
            let port = endpoint.target_ports.get(&(self.port, Protocol::Tcp));
            let port = port.copied().unwrap_or(self.port);
            Target { address: endpoint.address.into(), port }
        };
        if let [only] = shares {
            let targets = only.slots.iter().map(|index| target(only.endpoints[*index]));
            return Table { targets: targets.collect(), picking: only.picking };
        }
        let members: Vec<(&Endpoint, u64)> = shares.iter().flat_map(Share::weighted).collect();
        let weights: Vec<u64> = members.iter().map(|(_, weight)| *weight).collect();
        let counts = balance::apportion(&weights, slots_max);
        let targets = members.iter().zip(counts).flat_map(|((endpoint, _), count)| {
            std::iter::repeat_n(target(endpoint), count as usize)
        });
        Table { targets: targets.collect(), picking: SlotTable::default() }
    }
}

/// One waypoint of a list, with what of it is usable.
struct Share<'a> {
    weight: u32,
    endpoints: Vec<&'a Endpoint>,
    /// Indices into `endpoints`, each equally likely.
    slots: Vec<usize>,
    picking: SlotTable,
}

impl<'a> Share<'a> {
    fn new(
        service: &'a Service,
        weight: u32,
        is_family: fn(&IpAddr) -> bool,
        node: &Node,
        slots_max: u32,
    ) -> Self {
        let endpoints = service.endpoints.iter().filter(|it| is_family(&it.address));
        let endpoints: Vec<&Endpoint> = endpoints.collect();
        let mut balancing: LoadBalancing = service.load_balancing.clone();
        if balancing.algorithm == Algorithm::Passthrough {
            balancing.algorithm = Algorithm::default();
        }
        let slots = balance::slots(&endpoints, &balancing, node, slots_max);
        Self { weight, slots, picking: picking(&balancing), endpoints }
    }

    /// Each endpoint with its part of this waypoint's weight.
    fn weighted(&self) -> impl Iterator<Item = (&'a Endpoint, u64)> {
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        self.slots.iter().for_each(|index| *counts.entry(*index).or_default() += 1);
        let whole = u64::from(self.weight) << SHARE_BITS;
        let of = self.slots.len() as u64;
        counts.into_iter().map(move |(index, count)| {
            // No part of a weight is lost altogether.
            (self.endpoints[index], (whole * count / of).max(1))
        })
    }
}

/// Where the table of a list is to be found among the frontends: at an address that is made from the
/// list, and which is never a real destination. See [`Network::address`] for the other such addresses.
pub fn place(list: &model::Waypoints, family: usize) -> FrontendKey {
    let mut hasher = DefaultHasher::new();
    (list, family).hash(&mut hasher);
    let high = (hasher.finish() >> 32) as u32 | 1 << 31;
    let low = hasher.finish() as u32;
    FrontendKey::port(Network::pseudo_address(high, low).into(), 0, PROTOCOL_TCP)
}

/// The table that connections to an address go by.
pub fn place_for(list: &model::Waypoints, address: IpAddr) -> FrontendKey {
    place(list, usize::from(address.is_ipv6()))
}

/// The pseudo service of a list.
pub fn pseudo_service(list: &model::Waypoints) -> ServiceName {
    ServiceName::new("", format!("waypoint {}", text(list)))
}

/// The list as text, from which it can be told from every other.
fn text(list: &model::Waypoints) -> String {
    let parts = list.iter().map(|it| match list.len() {
        1 => format!("{it}:{}", it.hbone_port),
        _ => format!("{it}:{}={}", it.hbone_port, it.weight),
    });
    parts.collect::<Vec<_>>().join(",")
}

fn name_of(waypoint: &model::Waypoint) -> ServiceName {
    match &waypoint.target {
        WaypointTarget::Service(name) => name.clone(),
        WaypointTarget::Address(address) => ServiceName::new("", address.to_string()),
    }
}

fn forget_in<K: Ord>(
    index: &mut BTreeMap<K, BTreeSet<model::Waypoints>>,
    key: &K,
    list: &model::Waypoints,
) {
    if let Some(lists) = index.get_mut(key) {
        lists.remove(list);
        if lists.is_empty() {
            index.remove(key);
        }
    }
}
