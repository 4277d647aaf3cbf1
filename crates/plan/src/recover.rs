//! After a restart: the layout of maps that hold something already.

use std::collections::HashMap;

use abi::limits::Limits;
use abi::{Contents, Extent, FrontendKey, IpAddress, Slot, SlotTable, Write};

use crate::layout::{BackendUse, Placed, PlacedFrontend, Retired};
use crate::steps::Steps;
use crate::{Layout, Table, Target};

impl Layout {
    /// The layout of maps that hold `contents`. Whatever is damaged is treated as unknown and
    /// written anew by the next change.
    pub fn recover(limits: Limits, contents: &Contents) -> Self {
        let mut layout = Self::new(limits);
        let mut damaged = Retired::default();
        let slots: HashMap<u32, Slot> = contents.slots.iter().copied().collect();
        let addresses = layout.recover_backends(contents, &mut damaged);
        for (index, table) in &contents.tables {
            if layout.tables.reserve(*index) {
                let placed = layout.recover_table(*index, *table, &slots, &addresses, &mut damaged);
                layout.hold_backends(&placed.table.targets);
                layout.unclaimed.insert(*index, placed);
            }
        }
        for (key, network) in &contents.networks {
            layout.blocks.recover(*key, *network);
        }
        for (key, value) in &contents.frontends {
            layout.frontends.insert(*key, PlacedFrontend { owner: None, value: *value });
        }
        layout.damaged = Some(damaged);
        layout
    }

    /// Takes the backends of `contents`; an address that is there twice counts once.
    fn recover_backends(
        &mut self,
        contents: &Contents,
        damaged: &mut Retired,
    ) -> HashMap<u32, IpAddress> {
        let mut addresses = HashMap::new();
        for (index, backend) in &contents.backends {
            if !self.backend_indices.reserve(*index) {
                continue;
            }
            self.incarnation = self.incarnation.max(backend.incarnation.saturating_add(1));
            if self.backends.contains_key(&backend.address) {
                damaged.backends.push(*index);
                continue;
            }
            self.backends.insert(backend.address, BackendUse { index: *index, tables: 0 });
            addresses.insert(*index, backend.address);
        }
        addresses
    }

    /// Takes one table of `contents`. If its slots are not whole it counts as empty, and the slots
    /// stay untouched until programs have left them.
    fn recover_table(
        &mut self,
        index: u32,
        table: SlotTable,
        slots: &HashMap<u32, Slot>,
        addresses: &HashMap<u32, IpAddress>,
        damaged: &mut Retired,
    ) -> Placed {
        let extent = Extent::from(table.extent);
        if let Some(targets) = targets_of(extent, slots, addresses)
            && self.runs.reserve(extent.first, extent.count)
        {
            let picking = SlotTable { extent: 0, ..table };
            return Placed { index, extent, table: Table { targets, picking } };
        }
        for first in extent.first..extent.first.saturating_add(extent.count) {
            if self.runs.reserve(first, 1) {
                damaged.runs.push(Extent { first, count: 1 });
            }
        }
        Placed { index, extent: Extent::default(), table: Table::default() }
    }

    /// After the first change that follows a recovery, what no service claimed goes.
    pub(crate) fn remove_unclaimed(&mut self, damaged: Retired, steps: &mut Steps) {
        self.retired.runs.extend(damaged.runs);
        self.retired.backends.extend(damaged.backends);
        for (key, id) in self.blocks.drain_unused() {
            steps.removed_networks.push(Write::RemoveNetwork { key });
            self.retired.blocks.push(id);
        }
        let ownerless: Vec<FrontendKey> = self
            .frontends
            .iter()
            .filter(|(_, held)| held.owner.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in ownerless {
            self.frontends.remove(&key);
            self.retired.frontends += 1;
            steps.removed.insert(key);
        }
        for table in std::mem::take(&mut self.unclaimed).into_values() {
            self.retire_table(table);
        }
        let unused: Vec<(IpAddress, u32)> = self
            .backends
            .iter()
            .filter(|(_, used)| used.tables == 0)
            .map(|(address, used)| (*address, used.index))
            .collect();
        for (address, index) in unused {
            self.backends.remove(&address);
            self.retired.backends.push(index);
        }
    }
}

/// What an extent's slots lead to; `None` when a part of it is missing.
fn targets_of(
    extent: Extent,
    slots: &HashMap<u32, Slot>,
    addresses: &HashMap<u32, IpAddress>,
) -> Option<Vec<Target>> {
    (extent.first..extent.first.checked_add(extent.count)?)
        .map(|index| {
            let slot = slots.get(&index)?;
            Some(Target { address: *addresses.get(&slot.backend)?, port: slot.port.get() })
        })
        .collect()
}
