//! The addresses of workloads, which REGISTRY_ONLY must let pass and which may have waypoints, as pseudo
//! services whose names no real one can have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use abi::FrontendKey;
use model::{Service, ServiceName, Snapshot, Workload, WorkloadName};

use crate::waypoints::{self, Waypoints};
use crate::{Action, FrontendImage, Place, ServiceImage};

/// Pseudo services that the addresses are divided among, so that a change of one workload touches
/// few others.
const GROUPS: u16 = 4096;

/// Who uses which address.
#[derive(Debug, Default)]
pub struct WorkloadAddresses {
    /// Whose addresses these are.
    snapshot: Snapshot,
    /// Those of all workloads, or only of those with waypoints.
    all: bool,
    groups: BTreeMap<u16, BTreeMap<IpAddr, Uses>>,
    /// The workloads that have waypoints, with what was counted for each.
    routed: BTreeMap<Arc<WorkloadName>, Routed>,
    /// The waypoints of each address. Several workloads may have one address in common.
    routes: BTreeMap<IpAddr, BTreeMap<FrontendKey, u32>>,
}

/// How often an address is used.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    /// As the address of a workload or an endpoint.
    own: u32,
    /// As the virtual address of a service.
    virtual_ip: u32,
}

/// Addresses, and the waypoints' table of each.
type Routed = Vec<(IpAddr, FrontendKey)>;

impl WorkloadAddresses {
    /// Takes the addresses of another snapshot, at the cost of what differs: those of all workloads, or
    /// only those of workloads with waypoints. `flipped` are the services that became waypoints or are
    /// none any more. Returns the pseudo services that this concerns.
    pub fn update(
        &mut self,
        snapshot: &Snapshot,
        all: bool,
        waypoints: &Waypoints,
        flipped: &BTreeSet<ServiceName>,
    ) -> Vec<(ServiceName, ServiceImage)> {
        let mut touched = BTreeSet::new();
        if all != self.all {
            touched.extend(self.groups.keys());
            *self = Self { all, ..Self::default() };
        }
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        for service in model::diff(&before.services, &snapshot.services) {
            service.new.iter().for_each(|new| self.count_service(new, 1, &mut touched));
            service.old.iter().for_each(|old| self.count_service(old, -1, &mut touched));
        }
        for workload in model::diff(&before.workloads, &snapshot.workloads) {
            if all {
                workload.new.iter().for_each(|new| self.count_workload(new, 1, &mut touched));
                workload.old.iter().for_each(|old| self.count_workload(old, -1, &mut touched));
            }
            let new = workload.new.map(AsRef::as_ref);
            self.route(workload.key, new, waypoints, &mut touched);
        }
        for service in flipped.iter().filter_map(|name| snapshot.services.get(name)) {
            for name in service.endpoints.iter().filter_map(|it| it.workload.as_ref()) {
                let workload = snapshot.workloads.get(name).map(AsRef::as_ref);
                self.route(name, workload, waypoints, &mut touched);
            }
        }
        touched.into_iter().map(|group| (name(group), self.image(group))).collect()
    }

    /// Notes the waypoints of one workload in the place of what was noted before.
    fn route(
        &mut self,
        name: &Arc<WorkloadName>,
        workload: Option<&Workload>,
        waypoints: &Waypoints,
        touched: &mut BTreeSet<u16>,
    ) {
        let routed: Routed = workload
            .and_then(|workload| Some((workload, waypoints.of_workload(workload)?)))
            .map(|(workload, list)| {
                let addresses = workload.addresses.iter();
                addresses.map(|it| (*it, waypoints::place_for(list, *it))).collect()
            })
            .unwrap_or_default();
        for (address, place) in self.routed.remove(name).unwrap_or_default() {
            self.count_route(address, place, -1, touched);
        }
        for (address, place) in &routed {
            self.count_route(*address, *place, 1, touched);
        }
        if !routed.is_empty() {
            self.routed.insert(name.clone(), routed);
        }
    }

    fn count_route(
        &mut self,
        address: IpAddr,
        place: FrontendKey,
        step: i32,
        touched: &mut BTreeSet<u16>,
    ) {
        let places = self.routes.entry(address).or_default();
        let users = places.entry(place).or_default();
        *users = users.saturating_add_signed(step);
        if *users == 0 {
            places.remove(&place);
        }
        if places.is_empty() {
            self.routes.remove(&address);
        }
        self.count(address, touched, |uses| &mut uses.own, step);
        touched.insert(group_of(address));
    }

    fn count_service(&mut self, service: &Service, step: i32, touched: &mut BTreeSet<u16>) {
        for address in &service.addresses {
            self.count(*address, touched, |uses| &mut uses.virtual_ip, step);
        }
        if !self.all {
            return;
        }
        for endpoint in &service.endpoints {
            self.count(endpoint.address, touched, |uses| &mut uses.own, step);
        }
    }

    fn count_workload(&mut self, workload: &Workload, step: i32, touched: &mut BTreeSet<u16>) {
        for address in &workload.addresses {
            self.count(*address, touched, |uses| &mut uses.own, step);
        }
    }

    fn count(
        &mut self,
        address: IpAddr,
        touched: &mut BTreeSet<u16>,
        counter: fn(&mut Uses) -> &mut u32,
        step: i32,
    ) {
        let number = group_of(address);
        let group = self.groups.entry(number).or_default();
        let uses = group.entry(address).or_default();
        let was_known = uses.is_known();
        *counter(uses) = counter(uses).saturating_add_signed(step);
        if uses.is_known() != was_known {
            touched.insert(number);
        }
        if uses.own == 0 && uses.virtual_ip == 0 {
            group.remove(&address);
        }
    }

    fn image(&self, group: u16) -> ServiceImage {
        let addresses = self.groups.get(&group).into_iter().flatten();
        let frontends = addresses.filter(|(_, uses)| uses.is_known()).map(|(address, _)| {
            let place = Place::Address(FrontendKey::whole_address(*address));
            FrontendImage { place, action: Action::Workload, waypoint: self.waypoint(*address) }
        });
        ServiceImage { tables: Vec::new(), frontends: frontends.collect() }
    }
}

impl WorkloadAddresses {
    /// The waypoints of an address, if all workloads that have it agree.
    fn waypoint(&self, address: IpAddr) -> Option<FrontendKey> {
        let places = self.routes.get(&address).filter(|places| places.len() == 1)?;
        places.keys().next().copied()
    }
}

impl Uses {
    /// A virtual address is its service's.
    fn is_known(self) -> bool {
        self.own > 0 && self.virtual_ip == 0
    }
}

fn group_of(address: IpAddr) -> u16 {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    };
    bits as u16 % GROUPS
}

fn name(group: u16) -> ServiceName {
    ServiceName::new("", format!("workload addresses {group}"))
}
