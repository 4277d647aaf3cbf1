//! The maps as the kernel would hold them, and what its programs would choose.

use super::*;

/// The maps as the kernel would hold them.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) frontends: BTreeMap<FrontendKey, Frontend>,
    pub(super) tables: BTreeMap<u32, SlotTable>,
    pub(super) networks: BTreeMap<NetworkKey, Network>,
    pub(super) slots: BTreeMap<u32, Slot>,
    pub(super) backends: BTreeMap<u32, Backend>,
}

impl Kernel {
    /// Slots and backends that a program can reach now.
    fn reachable(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let mut slots = BTreeSet::new();
        let mut backends = BTreeSet::new();
        for index in self.frontends.values().flat_map(tables_of) {
            let table = self.tables.get(&index).copied().unwrap_or_default();
            let extent = Extent::from(table.extent);
            for index in extent.first..extent.first + extent.count {
                slots.insert(index);
                backends.insert(self.slots[&index].backend);
            }
        }
        (slots, backends)
    }

    pub(super) fn apply(&mut self, write: &Write) {
        let (slots, backends) = self.reachable();
        match write {
            Write::Backend { index, value } => {
                assert!(!backends.contains(index), "backend {index} is in use");
                self.backends.insert(*index, *value);
            }
            Write::Slots { first, slots: values } => {
                for (index, value) in (*first..).zip(values) {
                    assert!(!slots.contains(&index), "slot {index} is in use");
                    self.slots.insert(index, *value);
                }
            }
            Write::Table { index, extent, picking } => {
                let extent = (*extent).into();
                self.tables.insert(*index, SlotTable { extent, ..*picking });
            }
            Write::Network { key, value } => {
                self.networks.insert(*key, *value);
            }
            Write::RemoveNetwork { key } => {
                self.networks.remove(key);
            }
            Write::Frontend { key, value } => {
                self.frontends.insert(*key, *value);
            }
            Write::RemoveFrontend { key } => {
                self.frontends.remove(key);
            }
        }
        self.assert_whole();
    }

    fn assert_whole(&self) {
        let named = |(key, frontend)| tables_of(frontend).map(move |table| (key, table));
        for (key, table) in self.frontends.iter().flat_map(named) {
            let table = self.tables.get(&table).unwrap_or_else(|| panic!("{key}: table"));
            let extent = Extent::from(table.extent);
            for index in extent.first..extent.first + extent.count {
                let slot = self.slots.get(&index).unwrap_or_else(|| panic!("{key}: slot {index}"));
                assert_ne!(slot.backend, 0);
                assert_eq!(self.backends[&slot.backend].flags, Backend::LIVE, "{key}");
            }
        }
    }

    /// What `select_backend` of the kernel programs does, for tables with a random source.
    pub(super) fn select(&self, key: &FrontendKey, random: u32) -> Selection {
        let Some(frontend) = self.find(key) else {
            return Selection::Passed(Reason::UnknownDestination);
        };
        if frontend.waypoint > 0 {
            let target = self.target(frontend.waypoint - 1, random);
            let refused = Selection::Refused(Reason::WaypointUnavailable);
            return target.map_or(refused, Selection::ByWaypoint);
        }
        match frontend.action {
            Frontend::BALANCE => {
                let refused = Selection::Refused(Reason::NoEndpoint);
                self.target(frontend.table, random).map_or(refused, Selection::Balanced)
            }
            Frontend::REFUSE_PORT => Selection::Refused(Reason::NoServicePort),
            Frontend::WORKLOAD => Selection::Passed(Reason::WorkloadAddress),
            _ => Selection::Passed(Reason::ServicePassthrough),
        }
    }

    fn target(&self, table: u32, random: u32) -> Option<crate::Target> {
        let extent = Extent::from(self.tables.get(&table)?.extent);
        let index = (u64::from(random) * u64::from(extent.count)) >> 32;
        let slot = (extent.count > 0).then(|| self.slots[&(extent.first + index as u32)])?;
        let address = self.backends[&slot.backend].address;
        Some(crate::Target { address, port: slot.port.get() })
    }

    fn find(&self, key: &FrontendKey) -> Option<&Frontend> {
        let whole = FrontendKey::whole_address(key.address.ip());
        let at_address = self.frontends.get(key).or_else(|| self.frontends.get(&whole));
        at_address.or_else(|| {
            let address = u128::from_be_bytes(key.address.word);
            let network = self
                .networks
                .iter()
                .filter(|(block, _)| {
                    let other = u128::from_be_bytes(block.address.word);
                    (address ^ other).leading_zeros() >= block.prefix_bits
                })
                .max_by_key(|(block, _)| block.prefix_bits)?;
            let pseudo = Network::address(network.1.id).into();
            self.frontends.get(&FrontendKey::port(pseudo, key.port.get(), key.protocol))
        })
    }

    pub(super) fn contents(&self) -> Contents {
        Contents {
            frontends: self.frontends.iter().map(|(k, v)| (*k, *v)).collect(),
            tables: self.tables.iter().map(|(k, v)| (*k, *v)).collect(),
            networks: self.networks.iter().map(|(k, v)| (*k, *v)).collect(),
            slots: self.slots.iter().map(|(k, v)| (*k, *v)).collect(),
            backends: self.backends.iter().map(|(k, v)| (*k, *v)).collect(),
        }
    }
}

/// The tables that a frontend leads to.
fn tables_of(frontend: &Frontend) -> impl Iterator<Item = u32> + use<> {
    let own = (frontend.action == Frontend::BALANCE).then_some(frontend.table);
    let waypoint = frontend.waypoint.checked_sub(1);
    own.into_iter().chain(waypoint.filter(|_| frontend.waypoint != Frontend::WAYPOINT_MISSING))
}
