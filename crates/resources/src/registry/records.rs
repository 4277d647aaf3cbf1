//! What is known of each object: where it was seen, and what is in force of it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::ObjectKey;
use crate::object::Object;

/// Where an object was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) document: u32,
    /// Counts the objects of a document.
    pub(crate) entry: u32,
}

/// An object of a file.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) place: Place,
    /// None when it is not valid.
    pub(super) object: Option<Arc<Object>>,
}

/// An object that is in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) object: Arc<Object>,
    pub(crate) place: Place,
}

/// One object.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// In the order of the places. Nearly always one, which is why it has a room of its own.
    first: Option<Sighting>,
    others: Vec<Sighting>,
    pub(super) in_force: Option<InForce>,
}

/// All objects that were seen or are in force.
#[derive(Debug, Default)]
pub(super) struct Records {
    by_key: HashMap<Arc<ObjectKey>, Record>,
    /// Those that were seen more than once.
    pub(super) repeated: BTreeSet<Arc<ObjectKey>>,
    /// Those that are in force and were seen nowhere.
    pub(super) unseen: BTreeSet<Arc<ObjectKey>>,
}

// === impl Record ===

impl Record {
    pub(super) fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        self.first.iter().chain(&self.others)
    }

    pub(super) fn is_seen(&self) -> bool {
        self.first.is_some()
    }

    /// The sighting that counts when an object is in several places: what is in force stays, in its
    /// file if it is still there; else the first valid one in the order of the paths, in that file
    /// first. The answer is the same when it is asked again, whether the sighting was refused or not.
    pub(super) fn choice(&self) -> Option<&Sighting> {
        if self.others.is_empty() {
            return self.first.as_ref();
        }
        self.sightings().min_by_key(|sighting| {
            let incumbent = self.in_force.as_ref();
            let is_elsewhere = incumbent.is_none_or(|it| sighting.place.file != it.place.file);
            let is_other = incumbent.is_none_or(|it| sighting.object.as_ref() != Some(&it.object));
            (is_elsewhere, is_other, sighting.object.is_none())
        })
    }

    /// The place that counts.
    pub(super) fn place(&self) -> Option<&Place> {
        match &self.in_force {
            Some(in_force) => Some(&in_force.place),
            None => self.choice().map(|sighting| &sighting.place),
        }
    }

    fn add(&mut self, sighting: Sighting) {
        let mut list: Vec<_> = self.first.take().into_iter().collect();
        list.append(&mut self.others);
        list.push(sighting);
        list.sort_by(|a, b| a.place.cmp(&b.place));
        self.put(list);
    }

    fn forget(&mut self, file: &Path) {
        let mut list: Vec<_> = self.first.take().into_iter().collect();
        list.append(&mut self.others);
        list.retain(|sighting| &*sighting.place.file != file);
        self.put(list);
    }

    fn put(&mut self, list: Vec<Sighting>) {
        let mut list = list.into_iter();
        self.first = list.next();
        self.others = list.collect();
    }
}

// === impl Records ===

impl Records {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Record> {
        self.by_key.get(key)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &Record)> {
        self.by_key.iter()
    }

    /// The object is in this place.
    pub(super) fn see(&mut self, key: &Arc<ObjectKey>, sighting: Sighting) {
        let record = self.by_key.entry(key.clone()).or_default();
        record.add(sighting);
        if !record.others.is_empty() {
            self.repeated.insert(key.clone());
        }
        self.unseen.remove(key);
    }

    /// The object is not in this file any more.
    pub(super) fn forget(&mut self, key: &Arc<ObjectKey>, file: &Path) {
        let Some(record) = self.by_key.get_mut(key) else { return };
        record.forget(file);
        if record.others.is_empty() {
            self.repeated.remove(key);
        }
        if !record.is_seen() && record.in_force.is_some() {
            self.unseen.insert(key.clone());
        }
    }

    /// From now on this is in force. Returns what was before.
    pub(super) fn set(&mut self, key: &Arc<ObjectKey>, new: Option<InForce>) -> Option<InForce> {
        let record = self.by_key.entry(key.clone()).or_default();
        let is_needed = record.is_seen() || new.is_some();
        if !record.is_seen() && new.is_some() {
            self.unseen.insert(key.clone());
        } else {
            self.unseen.remove(key);
        }
        let old = std::mem::replace(&mut record.in_force, new);
        if !is_needed {
            self.by_key.remove(key);
        }
        old
    }
}
