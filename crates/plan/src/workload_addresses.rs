//! The addresses of workloads, which REGISTRY_ONLY must let pass, as pseudo services whose names no
//! real one can have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::FrontendKey;
use model::{Service, ServiceName, Snapshot, Workload};

use crate::{Action, FrontendImage, Place, ServiceImage};

/// Pseudo services that the addresses are divided among, so that a change of one workload touches
/// few others.
const GROUPS: u16 = 4096;

/// Who uses which address.
#[derive(Debug, Default)]
pub struct WorkloadAddresses {
    /// Whose addresses these are.
    snapshot: Snapshot,
    groups: BTreeMap<u16, BTreeMap<IpAddr, Uses>>,
}

/// How often an address is used.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    /// As the address of a workload or an endpoint.
    own: u32,
    /// As the virtual address of a service.
    virtual_ip: u32,
}

impl WorkloadAddresses {
    /// Takes the addresses of another snapshot, at the cost of what differs. Returns the pseudo
    /// services that this concerns.
    pub fn update(&mut self, snapshot: &Snapshot) -> Vec<(ServiceName, ServiceImage)> {
        let before = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut touched = BTreeSet::new();
        for service in model::diff(&before.services, &snapshot.services) {
            service.new.iter().for_each(|new| self.count_service(new, 1, &mut touched));
            service.old.iter().for_each(|old| self.count_service(old, -1, &mut touched));
        }
        for workload in model::diff(&before.workloads, &snapshot.workloads) {
            workload.new.iter().for_each(|new| self.count_workload(new, 1, &mut touched));
            workload.old.iter().for_each(|old| self.count_workload(old, -1, &mut touched));
        }
        touched.into_iter().map(|group| (name(group), self.image(group))).collect()
    }

    fn count_service(&mut self, service: &Service, step: i32, touched: &mut BTreeSet<u16>) {
        for address in &service.addresses {
            self.count(*address, touched, |uses| &mut uses.virtual_ip, step);
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
            FrontendImage { place, action: Action::Workload }
        });
        ServiceImage { tables: Vec::new(), frontends: frontends.collect() }
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
