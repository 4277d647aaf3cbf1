//! Where an image is in the maps, and the writes that lead from one image to the next.
//!
//! A change builds new slots beside the old ones and then stores one word for each table, so no
//! connection sees half of it. What a change frees may still be read by a program that runs at that
//! moment: it is retired, and used again only after [`Layout::release`], which the caller calls
//! when a grace period has passed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use abi::limits::Limits;
use abi::pool::{Indices, Runs};
use abi::{Backend, Extent, Frontend, FrontendKey, IpAddress, Slot, Write};
use model::{AddressBlock, ServiceName};

use crate::blocks::{Blocks, Held, blocks_of};
use crate::steps::Steps;
use crate::{Action, FrontendImage, Image, ServiceImage, Table, Target};

/// A part of an image that could not be placed. The rest is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The service concerned.
    pub service: ServiceName,
    /// What stood in the way, and what happens now.
    pub message: String,
}

/// The way from one image to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Writes, in the order in which they must be applied.
    pub writes: Vec<Write>,
    /// What could not be placed.
    pub problems: Vec<Problem>,
}

/// One frontend in its place, for dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement<'a> {
    /// The service that owns it.
    pub service: &'a ServiceName,
    /// Where it is dialled.
    pub key: &'a FrontendKey,
    /// What the map says.
    pub value: Frontend,
    /// The slots of its table.
    pub extent: Extent,
    /// What is in those slots, and how one is picked.
    pub table: Option<&'a Table>,
}

/// A table in its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub index: u32,
    pub extent: Extent,
    pub table: Table,
}

#[derive(Clone, Debug)]
struct PlacedService {
    image: Arc<ServiceImage>,
    /// For each table of the image; `None` where there was no room.
    tables: Vec<Option<Placed>>,
    blocks: BTreeSet<AddressBlock>,
}

#[derive(Clone, Debug)]
pub(crate) struct PlacedFrontend {
    pub owner: Option<ServiceName>,
    pub value: Frontend,
}

/// What programs may still be reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retired {
    pub tables: Vec<u32>,
    pub runs: Vec<Extent>,
    pub backends: Vec<u32>,
    pub blocks: Vec<u32>,
    /// Frontends removed or replaced: the kernel may not have let go of their memory yet.
    pub frontends: usize,
}

/// What is where in the maps.
#[derive(Clone, Debug)]
pub struct Layout {
    limits: Limits,
    /// What the maps should say as of the last change.
    image: Image,
    services: BTreeMap<ServiceName, PlacedService>,
    /// Services of which a part had no place: the next change tries again.
    incomplete: BTreeSet<ServiceName>,
    pub(crate) frontends: BTreeMap<FrontendKey, PlacedFrontend>,
    pub(crate) tables: Indices,
    pub(crate) runs: Runs,
    pub(crate) backend_indices: Indices,
    pub(crate) backends: HashMap<IpAddress, BackendUse>,
    /// The next incarnation that a backend index gets; never 0.
    pub(crate) incarnation: u32,
    pub(crate) blocks: Blocks,
    /// Tables that were read back and that no service has claimed yet, by index.
    pub(crate) unclaimed: BTreeMap<u32, Placed>,
    /// After a recovery: what was read back and cannot be used as it is. The next change retires
    /// it together with what no service claimed.
    pub(crate) damaged: Option<Retired>,
    pub(crate) retired: Retired,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendUse {
    pub index: u32,
    pub tables: u32,
}

impl Layout {
    /// Empty maps of these sizes.
    pub fn new(limits: Limits) -> Self {
        Self {
            image: Image::default(),
            services: BTreeMap::new(),
            incomplete: BTreeSet::new(),
            frontends: BTreeMap::new(),
            tables: Indices::new(0, limits.tables_max),
            runs: Runs::new(limits.slots_max),
            backend_indices: Indices::new(1, limits.backends_max),
            backends: HashMap::new(),
            incarnation: 1,
            blocks: Blocks::new(limits.networks_max),
            unclaimed: BTreeMap::new(),
            damaged: None,
            retired: Retired::default(),
            limits,
        }
    }

    /// The writes that lead to `next`, at the cost of what differs from the image before. The layout
    /// is then that of `next`: if a write fails, recover from what the maps hold.
    pub fn change_to(&mut self, next: &Image) -> Change {
        let mut steps = Steps::default();
        let before = std::mem::replace(&mut self.image, next.clone());
        let incomplete = std::mem::take(&mut self.incomplete);
        let mut changed: BTreeMap<&ServiceName, &Arc<ServiceImage>> =
            incomplete.iter().filter_map(|name| next.services.get_key_value(name)).collect();
        for service in model::diff(&before.services, &next.services) {
            match service.new {
                Some(image) => drop(changed.insert(service.key, image)),
                None => self.remove_service(service.key, &mut steps),
            }
        }
        // Frontends that move from one service to another are free before they are taken.
        for (name, image) in &changed {
            self.disown_frontends(name, image, &mut steps);
        }
        for (name, image) in changed {
            self.place_service(name, image, &mut steps);
        }
        if let Some(damaged) = self.damaged.take() {
            self.remove_unclaimed(damaged, &mut steps);
        }
        steps.into_change()
    }

    /// A grace period has passed since the last change was applied: what it freed can be used again.
    pub fn release(&mut self) {
        let retired = std::mem::take(&mut self.retired);
        retired.tables.into_iter().for_each(|index| self.tables.give(index));
        retired.runs.into_iter().for_each(|run| self.runs.give(run.first, run.count));
        retired.backends.into_iter().for_each(|index| self.backend_indices.give(index));
        retired.blocks.into_iter().for_each(|id| self.blocks.give(id));
    }

    /// True when something waits for [`Layout::release`].
    pub fn has_retired(&self) -> bool {
        let retired = &self.retired;
        !(retired.tables.is_empty()
            && retired.runs.is_empty()
            && retired.backends.is_empty()
            && retired.blocks.is_empty()
            && retired.frontends == 0)
    }

    /// Every frontend that a service owns, in the order of its key.
    pub fn placements(&self) -> impl Iterator<Item = Placement<'_>> {
        self.frontends.iter().filter_map(|(key, placed)| {
            let service = placed.owner.as_ref()?;
            let table = self.services.get(service).and_then(|owner| {
                owner.tables.iter().flatten().find(|table| table.index == placed.value.table)
            });
            let balanced = table.filter(|_| placed.value.action == Frontend::BALANCE);
            Some(Placement {
                service,
                key,
                value: placed.value,
                extent: balanced.map(|table| table.extent).unwrap_or_default(),
                table: balanced.map(|placed| &placed.table),
            })
        })
    }

    /// Every backend with its index.
    pub fn backends(&self) -> BTreeMap<u32, IpAddress> {
        self.backends.iter().map(|(address, used)| (used.index, *address)).collect()
    }

    /// The service that answers at `key`.
    pub fn owner(&self, key: &FrontendKey) -> Option<&ServiceName> {
        self.frontends.get(key)?.owner.as_ref()
    }

    /// The waypoints that a table leads to, as text.
    pub fn waypoint_of(&self, table: u32) -> Option<&str> {
        let pseudo = self.services.iter().take_while(|(name, _)| name.namespace.is_empty());
        let mut owners =
            pseudo.filter(|(_, placed)| placed.tables.iter().flatten().any(|it| it.index == table));
        owners.next().map(|(name, _)| name.hostname.as_str())
    }

    /// Entries in use: frontends, tables, slots, backends, networks.
    pub fn fill(&self) -> [(&'static str, u64); 5] {
        let tables = self.services.values().flat_map(|service| service.tables.iter().flatten());
        [
            ("frontends", self.frontends.len() as u64),
            ("tables", tables.count() as u64),
            ("slots", u64::from(self.limits.slots_max) - self.runs.free()),
            ("backends", self.backends.len() as u64),
            ("networks", self.blocks.count() as u64),
        ]
    }

    fn remove_service(&mut self, name: &ServiceName, steps: &mut Steps) {
        self.disown_frontends(name, &ServiceImage::default(), steps);
        if let Some(placed) = self.services.remove(name) {
            placed.tables.into_iter().flatten().for_each(|table| self.retire_table(table));
            self.drop_blocks(&placed.blocks, &BTreeSet::new(), steps);
        }
    }

    /// Takes from `name` every frontend that is not in `image`.
    fn disown_frontends(&mut self, name: &ServiceName, image: &ServiceImage, steps: &mut Steps) {
        let Some(placed) = self.services.get(name) else { return };
        let key_of = |place| self.blocks.key(place);
        let kept: BTreeSet<FrontendKey> =
            image.frontends.iter().filter_map(|f| key_of(&f.place)).collect();
        let before: Vec<FrontendKey> =
            placed.image.frontends.iter().filter_map(|f| key_of(&f.place)).collect();
        for key in before {
            let owned =
                self.frontends.get(&key).is_some_and(|held| held.owner.as_ref() == Some(name));
            if owned && !kept.contains(&key) {
                self.frontends.remove(&key);
                self.retired.frontends += 1;
                steps.removed.insert(key);
            }
        }
    }

    fn place_service(&mut self, name: &ServiceName, image: &Arc<ServiceImage>, steps: &mut Steps) {
        let before = self.services.remove(name);
        let (old_tables, old_blocks) =
            before.map(|placed| (placed.tables, placed.blocks)).unwrap_or_default();
        let mut old: BTreeMap<u32, Placed> =
            old_tables.into_iter().flatten().map(|table| (table.index, table)).collect();
        let problems_before = steps.problems.len();
        let blocks = self.hold_blocks(name, image, &old_blocks, steps);
        let mut tables = Vec::with_capacity(image.tables.len());
        for (number, table) in image.tables.iter().enumerate() {
            let before = self.table_before(image, number, &mut old);
            tables.push(self.place_table(name, before, table, steps));
        }
        old.into_values().for_each(|table| self.retire_table(table));
        for frontend in &image.frontends {
            // A block that has no number is a problem that is named already.
            if let Some(key) = self.blocks.key(&frontend.place) {
                self.place_frontend(name, key, frontend, &tables, steps);
            }
        }
        self.drop_blocks(&old_blocks, &blocks, steps);
        if steps.problems.len() > problems_before {
            self.incomplete.insert(name.clone());
        }
        let placed = PlacedService { image: Arc::clone(image), tables, blocks };
        self.services.insert(name.clone(), placed);
    }

    /// Gives every block of `image` a number. Returns those that have one.
    fn hold_blocks(
        &mut self,
        name: &ServiceName,
        image: &ServiceImage,
        before: &BTreeSet<AddressBlock>,
        steps: &mut Steps,
    ) -> BTreeSet<AddressBlock> {
        let mut held = BTreeSet::new();
        for block in blocks_of(image) {
            if before.contains(&block) {
                held.insert(block);
                continue;
            }
            match self.blocks.hold(block) {
                Some(Held::Known) => {}
                Some(Held::Fresh(key, value)) => steps.networks.push(Write::Network { key, value }),
                None => {
                    let limit = self.limits.networks_max;
                    steps.problem(
                        name,
                        format!(
                            "no room for {block}: networks_max is {limit}; it is not in the mesh"
                        ),
                    );
                    continue;
                }
            }
            held.insert(block);
        }
        held
    }

    fn drop_blocks(
        &mut self,
        before: &BTreeSet<AddressBlock>,
        kept: &BTreeSet<AddressBlock>,
        steps: &mut Steps,
    ) {
        for block in before.difference(kept) {
            if let Some((key, id)) = self.blocks.drop(*block) {
                steps.removed_networks.push(Write::RemoveNetwork { key });
                self.retired.blocks.push(id);
            }
        }
    }

    /// The table that table `number` of `image` continues: the one its first frontend has now,
    /// whether this service placed it or it was read back.
    fn table_before(
        &mut self,
        image: &ServiceImage,
        number: usize,
        old: &mut BTreeMap<u32, Placed>,
    ) -> Option<Placed> {
        let frontend = image.frontends.iter().find(|f| f.action == Action::Balance(number))?;
        let held = self.frontends.get(&self.blocks.key(&frontend.place)?)?;
        if held.value.action != Frontend::BALANCE {
            return None;
        }
        old.remove(&held.value.table).or_else(|| self.unclaimed.remove(&held.value.table))
    }

    /// Puts `table` in force in the place of `before`, or in a new one.
    fn place_table(
        &mut self,
        name: &ServiceName,
        before: Option<Placed>,
        table: &Table,
        steps: &mut Steps,
    ) -> Option<Placed> {
        if let Some(placed) = before.as_ref().filter(|placed| placed.table == *table) {
            // In force already. A table that was damaged counts as empty and gets its words anew.
            let (index, extent, picking) = (placed.index, placed.extent, table.picking);
            steps.tables.push(Write::Table { index, extent, picking });
            return before;
        }
        let Some(index) = before.as_ref().map(|placed| placed.index).or_else(|| self.tables.take())
        else {
            let limit = self.limits.tables_max;
            let message =
                format!("no room for a service port: tables_max is {limit}; it is not served");
            steps.problem(name, message);
            return None;
        };
        match self.place_targets(&table.targets, steps) {
            Ok(extent) => {
                steps.tables.push(Write::Table { index, extent, picking: table.picking });
                if let Some(before) = before {
                    self.retire_targets(&before);
                }
                Some(Placed { index, extent, table: table.clone() })
            }
            Err(limit) => {
                let count = table.targets.len();
                let now = match before {
                    Some(_) => "its last good endpoints stay",
                    None => "the port is not served",
                };
                steps.problem(name, format!("no room for {count} slots: {limit}; {now}"));
                if before.is_none() {
                    self.tables.give(index);
                }
                before
            }
        }
    }

    /// Gives `targets` slots and backends. On a limit nothing is taken.
    fn place_targets(&mut self, targets: &[Target], steps: &mut Steps) -> Result<Extent, String> {
        let distinct = distinct(targets);
        let fresh: Vec<IpAddress> =
            distinct.iter().filter(|a| !self.backends.contains_key(a)).copied().collect();
        let first = self
            .runs
            .take(targets.len() as u32)
            .ok_or_else(|| format!("slots_max is {}", self.limits.slots_max))?;
        let extent = Extent { first, count: targets.len() as u32 };
        let indices: Vec<u32> = fresh.iter().map_while(|_| self.backend_indices.take()).collect();
        if indices.len() < fresh.len() {
            indices.into_iter().for_each(|index| self.backend_indices.give(index));
            self.runs.give(extent.first, extent.count);
            return Err(format!("backends_max is {}", self.limits.backends_max));
        }
        for (address, index) in fresh.into_iter().zip(indices) {
            self.backends.insert(address, BackendUse { index, tables: 0 });
            let value = Backend::live(address, self.next_incarnation());
            steps.backends.push(Write::Backend { index, value });
        }
        self.hold_backends(targets);
        let slots: Vec<Slot> = targets
            .iter()
            .map(|target| Slot {
                backend: self.backends[&target.address].index,
                port: target.port.into(),
                reserved: 0,
            })
            .collect();
        if !slots.is_empty() {
            steps.slots.push(Write::Slots { first: extent.first, slots });
        }
        Ok(extent)
    }

    /// A number that no live backend has: connections counted for an index's last address must not
    /// count for its next.
    fn next_incarnation(&mut self) -> u32 {
        let incarnation = self.incarnation;
        self.incarnation = incarnation.checked_add(1).unwrap_or(1);
        incarnation
    }

    fn place_frontend(
        &mut self,
        name: &ServiceName,
        key: FrontendKey,
        image: &FrontendImage,
        tables: &[Option<Placed>],
        steps: &mut Steps,
    ) {
        let mut value = match image.action {
            Action::Pass => frontend(Frontend::PASS, 0),
            Action::RefusePort => frontend(Frontend::REFUSE_PORT, 0),
            Action::Workload => frontend(Frontend::WORKLOAD, 0),
            Action::Balance(table) => match &tables[table] {
                Some(placed) => frontend(Frontend::BALANCE, placed.index),
                None => return,
            },
        };
        if let Some(place) = &image.waypoint {
            value.waypoint = self.waypoint_table(name, place, steps);
        }
        let held = self.frontends.get(&key);
        if let Some(owner) = held.and_then(|held| held.owner.as_ref())
            && owner != name
        {
            let message = format!("{key} belongs to {owner}, which keeps it");
            return steps.problem(name, message);
        }
        let in_map = self.frontends.len() + self.retired.frontends;
        if held.is_none() && in_map >= self.limits.frontends_max as usize {
            let limit = self.limits.frontends_max;
            return steps.problem(
                name,
                format!("no room for {key}: frontends_max is {limit}; it is not in the mesh"),
            );
        }
        // A key that another service gave up in this change is still in the map.
        let given_up = steps.removed.remove(&key);
        match held {
            Some(held) if held.value == value => {}
            None if !given_up => steps.frontends.push(Write::Frontend { key, value }),
            _ => {
                steps.replaced.push(Write::Frontend { key, value });
                self.retired.frontends += usize::from(!given_up);
            }
        }
        self.frontends.insert(key, PlacedFrontend { owner: Some(name.clone()), value });
    }

    /// What stands in a frontend for the table of waypoints at `place`. The pseudo services of these are
    /// placed before all others.
    fn waypoint_table(&self, name: &ServiceName, place: &FrontendKey, steps: &mut Steps) -> u32 {
        let held = self.frontends.get(place).filter(|it| it.value.action == Frontend::BALANCE);
        if let Some(held) = held {
            return held.value.table + 1;
        }
        let message = "no room for the table of its waypoint: connections are refused".into();
        steps.problem(name, message);
        Frontend::WAYPOINT_MISSING
    }

    pub(crate) fn retire_table(&mut self, table: Placed) {
        self.retire_targets(&table);
        self.retired.tables.push(table.index);
    }

    fn retire_targets(&mut self, table: &Placed) {
        self.retired.runs.push(table.extent);
        for address in distinct(&table.table.targets) {
            let Some(used) = self.backends.get_mut(&address) else { continue };
            used.tables -= 1;
            if used.tables == 0 {
                let index = used.index;
                self.backends.remove(&address);
                self.retired.backends.push(index);
            }
        }
    }

    pub(crate) fn hold_backends(&mut self, targets: &[Target]) {
        for address in distinct(targets) {
            if let Some(used) = self.backends.get_mut(&address) {
                used.tables += 1;
            }
        }
    }
}

fn frontend(action: u8, table: u32) -> Frontend {
    Frontend { table, action, ..Frontend::default() }
}

fn distinct(targets: &[Target]) -> BTreeSet<IpAddress> {
    targets.iter().map(|target| target.address).collect()
}
