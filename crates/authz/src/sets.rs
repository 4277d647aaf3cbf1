//! The sets: which there are, where they are, and those that programs may still be reading.
//!
//! A set is never changed where it is, but for rows of identities that nothing has yet: one that must
//! say something else is built beside the old one, and addresses go over to it one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use abi::IpAddress;
use abi::authz::{AuthzDestination, Change};
use abi::limits::Limits;
use abi::pool::Indices;
use model::{Policy, PolicyName};

use crate::bits::Bits;
use crate::image::{Excess, Image, Purpose};
use crate::matching::Dimension;
use crate::rows::NoWords;
use crate::scopes::SetKey;
use crate::space::{Placed, Space, Taken};
use crate::subjects::{Directory, Subjects};
use crate::term::Compiled;

/// All sets.
#[derive(Debug)]
pub(crate) struct Sets {
    space: Space,
    sets: BTreeMap<Arc<SetKey>, Set>,
    /// Terms of policies that sets have.
    compiled: HashMap<PolicyName, Arc<Compiled>>,
    slots: Slots,
    /// What a daemon of before placed, and what leads there.
    recovered: Vec<Taken>,
    /// What programs may still be reading.
    retired: Vec<Taken>,
}

/// One set.
#[derive(Debug)]
pub(crate) struct Set {
    /// Addresses that are judged by it.
    pub(crate) members: BTreeSet<IpAddress>,
    placed: Option<Placed>,
    /// Why there is none, or why it is that of before.
    pub(crate) problem: Option<Problem>,
}

/// What is wrong with a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// There may be room another time.
    is_about_room: bool,
}

/// Numbers of policies, by which they are counted.
#[derive(Debug)]
struct Slots {
    free: Indices,
    by_name: BTreeMap<PolicyName, u32>,
    retired: Vec<u32>,
}

/// The number of all policies that have none of their own.
const NO_SLOT: u32 = 0;

// === impl Sets ===

impl Sets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            slots: Slots {
                free: Indices::new(NO_SLOT + 1, limits.authz_policies_max),
                by_name: BTreeMap::new(),
                retired: Vec::new(),
            },
            space: Space::new(limits),
            sets: BTreeMap::new(),
            compiled: HashMap::new(),
            recovered: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// A set that programs read when this daemon started.
    pub(crate) fn recover(&mut self, taken: Taken) {
        self.recovered.extend(self.space.reserve(taken));
    }

    /// There must be this set, whether an address is judged by it or not.
    pub(crate) fn prepare(&mut self, key: &Arc<SetKey>) {
        self.entry(key);
    }

    /// An address is judged by this set.
    pub(crate) fn join(&mut self, key: &Arc<SetKey>, address: IpAddress) {
        self.entry(key).members.insert(address);
    }

    /// It is not any more.
    pub(crate) fn leave(&mut self, key: &Arc<SetKey>, address: IpAddress) {
        if let Some(set) = self.sets.get_mut(key) {
            set.members.remove(&address);
        }
    }

    /// A policy changed or went: what was made of it is not used again.
    pub(crate) fn forget_policy(&mut self, name: &PolicyName, is_gone: bool) {
        self.compiled.remove(name);
        if is_gone {
            self.slots.retire(name);
        }
    }

    /// The keys of all sets.
    pub(crate) fn keys(&self) -> Vec<Arc<SetKey>> {
        self.sets.keys().cloned().collect()
    }

    /// The sets of a namespace that has policies.
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<Arc<SetKey>> {
        let first = SetKey { namespace: namespace.to_owned(), ..SetKey::default() };
        let from = self.sets.range(first..).map(|(key, _)| key);
        from.take_while(|key| key.namespace == namespace).cloned().collect()
    }

    /// Sets that have no place yet, or wait for room.
    pub(crate) fn unfinished(&self) -> Vec<Arc<SetKey>> {
        let waits = |set: &Set| match &set.problem {
            Some(problem) => problem.is_about_room,
            None => set.placed.is_none(),
        };
        self.sets.iter().filter(|(_, set)| waits(set)).map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn get(&self, key: &SetKey) -> Option<&Set> {
        self.sets.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<SetKey>, &Set)> {
        self.sets.iter()
    }

    /// Builds a set anew. Where there is no room, the one of before stays while there will be some
    /// soon; else nothing passes.
    pub(crate) fn build(
        &mut self,
        key: &Arc<SetKey>,
        policies: &[&Arc<Policy>],
        subjects: &Subjects,
        changes: &mut Vec<Change>,
    ) {
        let compiled = policies.iter().map(|policy| self.compile(policy, changes)).collect();
        let purpose = Purpose {
            trusted: &key.trusted,
            is_for_others: key.is_for_others(),
            words_max: self.space.limits().authz_words_max,
        };
        let image = Image::new(Bits::new(compiled), &purpose, subjects);
        let image = image.map_err(|excess| Problem { message: excess.0, is_about_room: false });
        let placed = image.and_then(|image| {
            let placed = self.space.place(image, changes);
            placed.map_err(|excess| Problem { message: excess.0, is_about_room: true })
        });
        let may_wait = !(self.retired.is_empty() && self.recovered.is_empty());
        let set = self.entry(key);
        let old = match placed {
            Ok(placed) => {
                set.problem = None;
                set.placed.replace(placed)
            }
            Err(problem) => {
                // Once: what is freed meanwhile may be taken by others, again and again.
                let waits = problem.is_about_room && may_wait && set.problem.is_none();
                set.problem = Some(problem);
                if waits { None } else { set.placed.take() }
            }
        };
        self.retired.extend(old.map(Placed::into_taken));
    }

    /// Adds rows for identities that came, to all sets but those that are built anew. Returns the
    /// sets that had no room for them, which nothing passes now.
    pub(crate) fn add_identities(
        &mut self,
        new: &Directory,
        subjects: &Subjects,
        built_anew: &BTreeSet<Arc<SetKey>>,
        changes: &mut Vec<Change>,
    ) -> Vec<Arc<SetKey>> {
        let mut short = Vec::new();
        for (key, set) in self.sets.iter_mut().filter(|(key, _)| !built_anew.contains(*key)) {
            let Some(placed) = &mut set.placed else { continue };
            let added = placed.image.identities_of(new, subjects);
            let added = added.map_err(|NoWords| Excess("no room for their words".to_owned()));
            let done = added.and_then(|added| self.space.place_rows(placed, added, changes));
            if let Err(excess) = done {
                set.problem = Some(Problem { message: excess.0, is_about_room: true });
                self.retired.extend(set.placed.take().map(Placed::into_taken));
                short.push(key.clone());
            }
        }
        short
    }

    /// What judges an address.
    pub(crate) fn destination(
        &mut self,
        key: &SetKey,
        address: IpAddress,
        changes: &mut Vec<Change>,
    ) -> AuthzDestination {
        let closed = AuthzDestination { set: AuthzDestination::CLOSED, row: 0 };
        let Some(set) = self.sets.get_mut(key) else { return closed };
        let Some(placed) = &mut set.placed else { return closed };
        let row = match address {
            AuthzDestination::OTHERS => Ok(placed.image.destination),
            _ => placed.image.destination_row(address.ip()),
        };
        let row =
            row.ok().filter(|_| self.space.place_rows(placed, BTreeMap::new(), changes).is_ok());
        let Some(row) = row else {
            let message = format!("no room for the row of {}", address.ip());
            set.problem = Some(Problem { message, is_about_room: true });
            return closed;
        };
        AuthzDestination { set: placed.index, row: placed.first(row) }
    }

    /// Forgets sets that judge nothing, and those of before, to which nothing leads any more.
    pub(crate) fn retire_unused(&mut self, is_used: impl Fn(&SetKey) -> bool) {
        let is_idle = |key: &SetKey, set: &Set| set.members.is_empty() && !is_used(key);
        let idle = self.sets.extract_if(.., |key, set| is_idle(key, set));
        let placed = idle.filter_map(|(_, set)| set.placed);
        self.retired.extend(placed.map(Placed::into_taken));
        self.retired.append(&mut self.recovered);
    }

    /// True when something waits for [`Sets::release`].
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty() || !self.slots.retired.is_empty()
    }

    /// No program reads what was retired, nor rows of these identities: removes it.
    pub(crate) fn release(&mut self, forgotten: &BTreeSet<u64>) -> Vec<Change> {
        let mut changes = Vec::new();
        for taken in std::mem::take(&mut self.retired) {
            changes.extend(taken.rows.iter().map(|key| Change::RemoveRow { key: *key }));
            changes.extend(taken.blocks.iter().map(|key| Change::RemoveBlock { key: *key }));
            self.space.give(taken);
        }
        for placed in self.sets.values_mut().filter_map(|set| set.placed.as_mut()) {
            for number in forgotten {
                if placed.image.identities.remove(number).is_some() {
                    changes.push(Change::RemoveRow { key: placed.identity_key(*number) });
                    self.space.give_rows(1);
                }
            }
        }
        self.slots.release();
        changes
    }

    /// Numbers of policies, as events and counters name them.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &PolicyName)> {
        self.slots.by_name.iter().map(|(name, slot)| (*slot, name))
    }

    /// Policies that have no number of their own.
    pub(crate) fn without_slot(&self) -> impl Iterator<Item = &PolicyName> {
        self.slots().filter(|(slot, _)| *slot == NO_SLOT).map(|(_, name)| name)
    }

    /// Entries in use.
    pub(crate) fn fill(&self) -> [(&'static str, u64); 5] {
        let placed = self.sets.values().filter(|set| set.placed.is_some()).count();
        self.space.fill(placed + self.retired.len())
    }

    fn entry(&mut self, key: &Arc<SetKey>) -> &mut Set {
        let empty = || Set { members: BTreeSet::new(), placed: None, problem: None };
        self.sets.entry(key.clone()).or_insert_with(empty)
    }

    fn compile(&mut self, policy: &Arc<Policy>, changes: &mut Vec<Change>) -> Arc<Compiled> {
        if let Some(compiled) = self.compiled.get(&policy.name) {
            return compiled.clone();
        }
        let slot = self.slots.hold(&policy.name, changes);
        let compiled = Arc::new(Compiled::new(policy.clone(), slot));
        self.compiled.insert(policy.name.clone(), compiled.clone());
        compiled
    }
}

// === impl Set ===

impl Set {
    /// True when nothing passes.
    pub(crate) fn is_closed(&self) -> bool {
        self.placed.is_none()
    }

    /// True when who dials matters.
    pub(crate) fn asks_for_identity(&self) -> bool {
        let asking = |placed: &Placed| placed.image.bits.asking(Dimension::Identity).is_empty();
        !self.placed.as_ref().is_none_or(asking)
    }
}

// === impl Slots ===

impl Slots {
    fn hold(&mut self, name: &PolicyName, changes: &mut Vec<Change>) -> u32 {
        let known = self.by_name.get(name).copied().filter(|slot| *slot != NO_SLOT);
        if let Some(slot) = known {
            return slot;
        }
        let slot = self.free.take();
        changes.extend(slot.map(|policy| Change::ResetCount { policy }));
        let slot = slot.unwrap_or(NO_SLOT);
        self.by_name.insert(name.clone(), slot);
        slot
    }

    fn retire(&mut self, name: &PolicyName) {
        let slot = self.by_name.remove(name);
        self.retired.extend(slot.filter(|slot| *slot != NO_SLOT));
    }

    fn release(&mut self) {
        let retired = std::mem::take(&mut self.retired);
        retired.into_iter().for_each(|slot| self.free.give(slot));
    }
}
