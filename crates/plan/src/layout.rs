//! Where an image is in the maps, and the writes that lead from one image to the next.
//!
//! A change builds new slots beside the old ones and then stores one word for each table, so no
//! connection sees half of it. What a change frees may still be read by a program that runs at that
//! moment: it is retired, and used again only after [`Layout::release`], which the caller calls
//! when a grace period has passed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use abi::limits::Limits;
use abi::{Backend, Contents, Extent, Frontend, FrontendKey, IpAddress, Slot, Write};
use model::ServiceName;

use crate::pool::{Indices, Runs};
use crate::{Action, Image, ServiceImage, Target};

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
    /// What is in those slots.
    pub targets: &'a [Target],
}

/// A table in its place.
#[derive(Clone, Debug)]
struct Placed {
    index: u32,
    extent: Extent,
    targets: Vec<Target>,
}

#[derive(Clone, Debug)]
struct PlacedService {
    image: Arc<ServiceImage>,
    /// For each table of the image; `None` where there was no room.
    tables: Vec<Option<Placed>>,
    /// False when a part had no place: the next change tries again.
    complete: bool,
}

#[derive(Clone, Debug)]
struct PlacedFrontend {
    owner: Option<ServiceName>,
    value: Frontend,
}

#[derive(Clone, Debug, Default)]
struct Retired {
    tables: Vec<u32>,
    runs: Vec<Extent>,
    backends: Vec<u32>,
}

/// What is where in the maps.
#[derive(Clone, Debug)]
pub struct Layout {
    limits: Limits,
    services: BTreeMap<ServiceName, PlacedService>,
    frontends: BTreeMap<FrontendKey, PlacedFrontend>,
    tables: Indices,
    runs: Runs,
    backend_indices: Indices,
    backends: HashMap<IpAddress, BackendUse>,
    /// Tables that were read back and that no service has claimed yet, by index.
    unclaimed: BTreeMap<u32, Placed>,
    /// After a recovery: what was read back and cannot be used as it is. The next change retires
    /// it together with what no service claimed.
    damaged: Option<Retired>,
    retired: Retired,
}

#[derive(Clone, Copy, Debug)]
struct BackendUse {
    index: u32,
    tables: u32,
}

impl Layout {
    /// Empty maps of these sizes.
    pub fn new(limits: Limits) -> Self {
        Self {
            services: BTreeMap::new(),
            frontends: BTreeMap::new(),
            tables: Indices::new(0, limits.tables_max),
            runs: Runs::new(limits.slots_max),
            backend_indices: Indices::new(1, limits.backends_max),
            backends: HashMap::new(),
            unclaimed: BTreeMap::new(),
            damaged: None,
            retired: Retired::default(),
            limits,
        }
    }

    /// The layout of maps that hold `contents`, after a restart. Whatever is damaged is treated as
    /// unknown and written anew by the next change.
    pub fn recover(limits: Limits, contents: &Contents) -> Self {
        let mut layout = Self::new(limits);
        let mut damaged = Retired::default();
        let slots: HashMap<u32, Slot> = contents.slots.iter().copied().collect();
        let addresses = layout.recover_backends(contents, &mut damaged);
        for (index, extent) in &contents.tables {
            if layout.tables.reserve(*index) {
                let placed =
                    layout.recover_table(*index, *extent, &slots, &addresses, &mut damaged);
                layout.hold_backends(&placed.targets);
                layout.unclaimed.insert(*index, placed);
            }
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
        extent: Extent,
        slots: &HashMap<u32, Slot>,
        addresses: &HashMap<u32, IpAddress>,
        damaged: &mut Retired,
    ) -> Placed {
        if let Some(targets) = targets_of(extent, slots, addresses)
            && self.runs.reserve(extent.first, extent.count)
        {
            return Placed { index, extent, targets };
        }
        for first in extent.first..extent.first.saturating_add(extent.count) {
            if self.runs.reserve(first, 1) {
                damaged.runs.push(Extent { first, count: 1 });
            }
        }
        Placed { index, extent: Extent::default(), targets: Vec::new() }
    }

    /// The writes that lead to `next`. The layout is then that of `next`: if a write fails, recover
    /// from what the maps hold.
    pub fn change_to(&mut self, next: &Image) -> Change {
        let mut steps = Steps::default();
        let gone: Vec<ServiceName> = self
            .services
            .keys()
            .filter(|name| !next.services.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.remove_service(&name, &mut steps);
        }
        let changed: Vec<_> =
            next.services.iter().filter(|(name, image)| !self.is_placed(name, image)).collect();
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
    }

    /// True when something waits for [`Layout::release`].
    pub fn has_retired(&self) -> bool {
        let retired = &self.retired;
        !(retired.tables.is_empty() && retired.runs.is_empty() && retired.backends.is_empty())
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
                targets: balanced.map(|table| table.targets.as_slice()).unwrap_or_default(),
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

    /// Entries in use: frontends, tables, slots, backends.
    pub fn fill(&self) -> [(&'static str, u64); 4] {
        let tables = self.services.values().flat_map(|service| service.tables.iter().flatten());
        [
            ("frontends", self.frontends.len() as u64),
            ("tables", tables.count() as u64),
            ("slots", u64::from(self.limits.slots_max) - self.runs.free()),
            ("backends", self.backends.len() as u64),
        ]
    }

    fn is_placed(&self, name: &ServiceName, image: &Arc<ServiceImage>) -> bool {
        self.services.get(name).is_some_and(|placed| {
            (Arc::ptr_eq(&placed.image, image) || placed.image == *image) && placed.complete
        })
    }

    fn remove_service(&mut self, name: &ServiceName, steps: &mut Steps) {
        self.disown_frontends(name, &ServiceImage::default(), steps);
        if let Some(placed) = self.services.remove(name) {
            placed.tables.into_iter().flatten().for_each(|table| self.retire_table(table));
        }
    }

    /// Takes from `name` every frontend that is not in `image`.
    fn disown_frontends(&mut self, name: &ServiceName, image: &ServiceImage, steps: &mut Steps) {
        let Some(placed) = self.services.get(name) else { return };
        let kept: BTreeSet<FrontendKey> = image.frontends.iter().map(|f| f.key).collect();
        for frontend in &placed.image.frontends {
            let key = frontend.key;
            let owned =
                self.frontends.get(&key).is_some_and(|held| held.owner.as_ref() == Some(name));
            if owned && !kept.contains(&key) {
                self.frontends.remove(&key);
                steps.removed.insert(key);
            }
        }
    }

    fn place_service(&mut self, name: &ServiceName, image: &Arc<ServiceImage>, steps: &mut Steps) {
        let mut old: BTreeMap<u32, Placed> = self
            .services
            .remove(name)
            .into_iter()
            .flat_map(|placed| placed.tables.into_iter().flatten())
            .map(|table| (table.index, table))
            .collect();
        let problems_before = steps.problems.len();
        let mut tables = Vec::with_capacity(image.tables.len());
        for (number, targets) in image.tables.iter().enumerate() {
            let before = self.table_before(image, number, &mut old);
            tables.push(self.place_table(name, before, targets, steps));
        }
        old.into_values().for_each(|table| self.retire_table(table));
        for frontend in &image.frontends {
            self.place_frontend(name, frontend.key, frontend.action, &tables, steps);
        }
        let complete = steps.problems.len() == problems_before;
        let placed = PlacedService { image: Arc::clone(image), tables, complete };
        self.services.insert(name.clone(), placed);
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
        let held = self.frontends.get(&frontend.key)?;
        if held.value.action != Frontend::BALANCE {
            return None;
        }
        old.remove(&held.value.table).or_else(|| self.unclaimed.remove(&held.value.table))
    }

    /// Puts `targets` in force in the table `before`, or in a new one.
    fn place_table(
        &mut self,
        name: &ServiceName,
        before: Option<Placed>,
        targets: &[Target],
        steps: &mut Steps,
    ) -> Option<Placed> {
        if let Some(placed) = before.as_ref().filter(|placed| placed.targets == targets) {
            // In force already. A table that was damaged counts as empty and gets its word anew.
            steps.tables.push(Write::Table { index: placed.index, extent: placed.extent });
            return before;
        }
        let index = match &before {
            Some(before) => Some(before.index),
            None => self.tables.take(),
        };
        let Some(index) = index else {
            steps.problem(
                name,
                format!(
                    "no room for a service port: tables_max is {}; it is not in the mesh",
                    self.limits.tables_max
                ),
            );
            return None;
        };
        match self.place_targets(targets, steps) {
            Ok(extent) => {
                steps.tables.push(Write::Table { index, extent });
                if let Some(before) = before {
                    self.retire_targets(&before);
                }
                Some(Placed { index, extent, targets: targets.to_vec() })
            }
            Err(limit) => {
                let kept = if before.is_some() {
                    "its last good endpoints stay"
                } else {
                    "the port is not in the mesh"
                };
                steps
                    .problem(name, format!("no room for {} slots: {limit}; {kept}", targets.len()));
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
            steps.backends.push(Write::Backend { index, value: Backend::live(address) });
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

    fn place_frontend(
        &mut self,
        name: &ServiceName,
        key: FrontendKey,
        action: Action,
        tables: &[Option<Placed>],
        steps: &mut Steps,
    ) {
        let value = match action {
            Action::Pass => frontend(Frontend::PASS, 0),
            Action::RefusePort => frontend(Frontend::REFUSE_PORT, 0),
            Action::Balance(table) => match &tables[table] {
                Some(placed) => frontend(Frontend::BALANCE, placed.index),
                None => return,
            },
        };
        let held = self.frontends.get(&key);
        if let Some(owner) = held.and_then(|held| held.owner.as_ref())
            && owner != name
        {
            let message = format!("{key} belongs to {owner}, which keeps it");
            return steps.problem(name, message);
        }
        if held.is_none() && self.frontends.len() >= self.limits.frontends_max as usize {
            let limit = self.limits.frontends_max;
            return steps.problem(
                name,
                format!("no room for {key}: frontends_max is {limit}; it is not in the mesh"),
            );
        }
        if held.is_none_or(|held| held.value != value) {
            steps.frontends.push(Write::Frontend { key, value });
        }
        steps.removed.remove(&key);
        self.frontends.insert(key, PlacedFrontend { owner: Some(name.clone()), value });
    }

    /// After the first change that follows a recovery, what no service claimed goes.
    fn remove_unclaimed(&mut self, damaged: Retired, steps: &mut Steps) {
        self.retired.runs.extend(damaged.runs);
        self.retired.backends.extend(damaged.backends);
        let ownerless: Vec<FrontendKey> = self
            .frontends
            .iter()
            .filter(|(_, held)| held.owner.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in ownerless {
            self.frontends.remove(&key);
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

    fn retire_table(&mut self, table: Placed) {
        self.retire_targets(&table);
        self.retired.tables.push(table.index);
    }

    fn retire_targets(&mut self, table: &Placed) {
        self.retired.runs.push(table.extent);
        for address in distinct(&table.targets) {
            let Some(used) = self.backends.get_mut(&address) else { continue };
            used.tables -= 1;
            if used.tables == 0 {
                let index = used.index;
                self.backends.remove(&address);
                self.retired.backends.push(index);
            }
        }
    }

    fn hold_backends(&mut self, targets: &[Target]) {
        for address in distinct(targets) {
            if let Some(used) = self.backends.get_mut(&address) {
                used.tables += 1;
            }
        }
    }
}

/// The writes of one change, by the order in which programs may see them: what is pointed to
/// before what points to it.
#[derive(Default)]
struct Steps {
    backends: Vec<Write>,
    slots: Vec<Write>,
    tables: Vec<Write>,
    frontends: Vec<Write>,
    removed: BTreeSet<FrontendKey>,
    problems: Vec<Problem>,
}

impl Steps {
    fn problem(&mut self, service: &ServiceName, message: String) {
        self.problems.push(Problem { service: service.clone(), message });
    }

    fn into_change(self) -> Change {
        let removals = self.removed.into_iter().map(|key| Write::RemoveFrontend { key });
        let ordered = [self.backends, self.slots, self.tables, self.frontends];
        let writes = ordered.into_iter().flatten().chain(removals).collect();
        Change { writes, problems: self.problems }
    }
}

fn frontend(action: u8, table: u32) -> Frontend {
    Frontend { table, action, reserved: [0; 11] }
}

fn distinct(targets: &[Target]) -> BTreeSet<IpAddress> {
    targets.iter().map(|target| target.address).collect()
}

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
