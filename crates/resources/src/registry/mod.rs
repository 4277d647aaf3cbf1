//! Which version of each object is in force.
//!
//! An object is in force from the moment that a valid version of it was seen, until a directory that
//! could be read does not have it any more. A version that is not valid, or that claims what belongs
//! to another object, changes nothing: the object stays as it was last good.
//!
//! The work of an update is in proportion to the objects of the files that changed, plus those that
//! are refused: these are looked at each time, because anything may be what they wait for.

mod admission;
mod claims;
mod parallel;
mod parsed;
mod records;
mod report;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::intern::Interner;
use crate::object::{Body, Object};
use crate::{FileContent, ObjectKey, Options, Problem};

use admission::Refused;
use claims::Ledger;
use parsed::{Marker, ParsedFile};
use records::{InForce, Records, Sighting};
use vips::Vips;

pub(crate) use records::Place;
pub(crate) use vips::Vip;

/// Files by name, relative to the directory; none for one that is not there any more.
pub(crate) type FileChanges = BTreeMap<PathBuf, Option<FileContent>>;

/// The objects that are in force, and where each came from.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    options: Options,
    marker: Marker,
    interner: Interner,
    files: BTreeMap<Arc<Path>, ParsedFile>,
    /// Files, and directories, of which it is not known what they contain now.
    doubtful: BTreeSet<Arc<Path>>,
    /// Files about which there is something to say.
    noted: BTreeSet<Arc<Path>>,
    records: Records,
    /// What the objects in force claim.
    ledger: Ledger,
    refused: Refused,
    vips: Vips,
    /// Hosts that should have an address, and there was none left.
    without_vip: BTreeSet<(Arc<ObjectKey>, String)>,
}

/// Something else is in force for an object than was before, or for the first time, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Arc<ObjectKey>,
    pub(crate) old: Option<Arc<Object>>,
    pub(crate) new: Option<Arc<Object>>,
}

/// What could be in force for an object; at least one of the two versions is there, or the object is
/// new and not valid.
#[derive(Clone, Debug)]
struct Candidate {
    key: Arc<ObjectKey>,
    /// The version in the files, if it is valid.
    fresh: Option<Arc<Object>>,
    /// The version that was in force until now.
    last: Option<Arc<Object>>,
    /// The place that counts for it.
    place: Place,
}

// === impl Registry ===

impl Registry {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Takes files as they are now; all others are as they were. Returns what that changed, in the
    /// order of the keys, or nothing at all when it is what the files were before.
    pub(crate) fn update(&mut self, files: FileChanges) -> Option<Vec<Change>> {
        let changed: Vec<_> =
            files.iter().filter(|(name, content)| self.is_other(name, content)).collect();
        if changed.is_empty() {
            return None;
        }
        let touched = self.exchange(&changed);
        // At the start the texts are large; what is made of them next can have their memory.
        drop(files);
        Some(self.settle(touched))
    }

    /// The names of the files that it was given.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(|name| &**name)
    }

    /// The object that is in force.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        Some(&self.records.get(key)?.in_force.as_ref()?.object)
    }

    /// The file and document that count for an object.
    pub(crate) fn place(&self, key: &ObjectKey) -> Option<&Place> {
        self.records.get(key)?.place()
    }

    /// The addresses that were allocated for a host of a ServiceEntry.
    pub(crate) fn vip(&self, owner: &ObjectKey, host: &str) -> Option<Vip> {
        self.vips.get(owner, host)
    }

    /// Everything there is to say about the files.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        report::problems(self)
    }

    fn is_other(&self, name: &Path, content: &Option<FileContent>) -> bool {
        match (self.files.get(name), content) {
            (Some(file), Some(content)) => !file.has(&self.marker, content),
            (None, None) => false,
            _ => true,
        }
    }

    /// Replaces the files. Returns the objects that may be concerned.
    fn exchange(&mut self, files: &[(&PathBuf, &Option<FileContent>)]) -> BTreeSet<Arc<ObjectKey>> {
        let parsed = parallel::parse(&self.marker, &self.files, files);
        let mut touched = BTreeSet::new();
        let mut is_doubt_other = false;
        for ((name, _), new) in files.iter().zip(parsed) {
            if let Some(old) = self.files.remove(name.as_path()) {
                is_doubt_other |= self.doubtful.remove(old.name());
                self.noted.remove(old.name());
                for (key, _) in old.entries().filter_map(|(_, entry)| entry.identity()) {
                    self.records.forget(key, name);
                    touched.insert(key.clone());
                }
            }
            let Some(mut new) = new else { continue };
            new.intern(&mut self.interner);
            for (place, entry) in new.entries() {
                let Some((key, object)) = entry.identity() else { continue };
                self.records.see(key, Sighting { place, object: object.cloned() });
                touched.insert(key.clone());
            }
            if !new.is_understood() {
                is_doubt_other |= self.doubtful.insert(new.name().clone());
            }
            if !new.is_silent() {
                self.noted.insert(new.name().clone());
            }
            self.files.insert(new.name().clone(), new);
        }
        if is_doubt_other {
            touched.extend(self.records.unseen.iter().cloned());
        }
        touched.extend(self.refused.keys().cloned());
        touched
    }

    /// Decides what is in force of these objects now.
    fn settle(&mut self, touched: BTreeSet<Arc<ObjectKey>>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut candidates = Vec::new();
        for key in touched {
            match self.candidate(&key) {
                Some(candidate) => candidates.push(candidate),
                None => changes.extend(self.remove(key)),
            }
        }
        self.refused = admission::decide(&candidates, &mut self.ledger, &self.options, &self.vips);
        for candidate in candidates {
            changes.extend(self.put_in_force(candidate));
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        self.allocate(&changes);
        changes
    }

    /// None when the object is gone.
    fn candidate(&self, key: &Arc<ObjectKey>) -> Option<Candidate> {
        let record = self.records.get(key)?;
        let last = record.in_force.as_ref();
        let (fresh, place) = match record.choice() {
            Some(sighting) => (sighting.object.clone(), &sighting.place),
            None => {
                let place = &last?.place;
                let mut places = place.file.ancestors();
                places.find(|path| self.doubtful.contains(*path))?;
                (None, place)
            }
        };
        let last = last.map(|in_force| in_force.object.clone());
        Some(Candidate { key: key.clone(), fresh, last, place: place.clone() })
    }

    fn remove(&mut self, key: Arc<ObjectKey>) -> Option<Change> {
        let old = self.records.set(&key, None)?.object;
        self.ledger.strike(&key, &claims::claims(&key, &old, &self.options, &self.vips));
        Some(Change { key, old: Some(old), new: None })
    }

    fn put_in_force(&mut self, candidate: Candidate) -> Option<Change> {
        let Candidate { key, fresh, last, place } = candidate;
        let fresh = fresh.filter(|_| !self.refused.contains_key(&key));
        let object = fresh.or_else(|| last.clone());
        let is_same = object == last;
        let in_force = object.clone().map(|object| InForce { object, place });
        self.records.set(&key, in_force);
        if is_same { None } else { Some(Change { key, old: last, new: object }) }
    }

    /// Sees to it that each host that needs an address of ours has one, and no other.
    fn allocate(&mut self, changes: &[Change]) {
        let mut wanting = std::mem::take(&mut self.without_vip);
        for Change { key, new, .. } in changes {
            let hosts: BTreeSet<&String> = wanted(new.as_deref()).collect();
            wanting.retain(|(owner, _)| owner != key);
            let surplus: Vec<_> =
                self.vips.of(key).filter(|(host, _)| !hosts.contains(host)).collect();
            let surplus: Vec<(String, Vip)> =
                surplus.into_iter().map(|(host, vip)| (host.clone(), *vip)).collect();
            for (host, vip) in surplus {
                self.ledger.strike(key, &vip.map(claims::whole));
                self.vips.release(key, &host);
            }
            let missing = hosts.into_iter().filter(|host| self.vips.get(key, host).is_none());
            wanting.extend(missing.map(|host| (key.clone(), host.clone())));
        }
        let mut wanting: Vec<_> = wanting.into_iter().collect();
        // After a restart the older ones come first again.
        let created = |key: &ObjectKey| self.get(key).and_then(|object| object.created.clone());
        wanting.sort_by_cached_key(|(key, _)| created(key));
        for (key, host) in wanting {
            let ledger = &self.ledger;
            let is_free = |address| ledger.is_free(&claims::whole(address));
            match self.vips.allocate(&key, &host, is_free) {
                Some(vip) => self.ledger.enter(&key, &vip.map(claims::whole)),
                None => {
                    self.without_vip.insert((key, host));
                }
            }
        }
    }
}

/// The hosts of an object that need an address of ours.
fn wanted(object: Option<&Object>) -> impl Iterator<Item = &String> {
    let entry = match object.map(|object| &object.body) {
        Some(Body::ServiceEntry(entry)) => Some(entry),
        _ => None,
    };
    entry.into_iter().flat_map(|entry| entry.hosts_to_allocate())
}

#[cfg(test)]
impl Registry {
    /// The objects that are in force, in the order of the keys.
    pub(crate) fn in_force(&self) -> BTreeMap<Arc<ObjectKey>, Arc<Object>> {
        let records = self.records.iter();
        let in_force = records.filter_map(|(key, record)| Some((key, record.in_force.as_ref()?)));
        in_force.map(|(key, in_force)| (key.clone(), in_force.object.clone())).collect()
    }

    /// As `update` with all files, but nothing that was found out before is used, but for what is in
    /// force. Returns everything that is in force then, as if all of it were new.
    pub(crate) fn update_slowly(&mut self, files: &BTreeMap<PathBuf, FileContent>) -> Vec<Change> {
        let old: Vec<PathBuf> = self.file_names().map(Path::to_owned).collect();
        let old: Vec<_> = old.iter().map(|name| (name, &None)).collect();
        self.exchange(&old);
        let new: FileChanges =
            files.iter().map(|(name, content)| (name.clone(), Some(content.clone()))).collect();
        let new: Vec<_> = new.iter().collect();
        self.exchange(&new);
        let all = self.records.iter().map(|(key, _)| key.clone()).collect();
        self.ledger = Ledger::default();
        self.settle(all);
        let in_force = self.in_force().into_iter();
        in_force.map(|(key, object)| Change { key, old: None, new: Some(object) }).collect()
    }
}
