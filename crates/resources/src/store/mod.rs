//! Which version of each object is in force.
//!
//! An object is in force from the moment that a valid version of it was seen, until a directory that
//! could be read does not have it any more. A version that is not valid, or that claims what belongs
//! to another object, changes nothing: the object stays as it was last good.

mod admission;
mod claims;
mod parsed;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::Outcome;
use crate::object::Object;
use crate::{FileContent, ObjectKey, Options, Problem};

use admission::Candidate;
use parsed::ParsedFile;

/// The objects that are in force, and where each came from.
#[derive(Debug, Default)]
pub struct Store {
    options: Options,
    files: BTreeMap<PathBuf, ParsedFile>,
    in_force: BTreeMap<ObjectKey, InForce>,
}

/// An object that is in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) object: Arc<Object>,
    pub(crate) place: Place,
}

/// Where an object was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    pub(crate) document: usize,
    /// Counts the objects of a document.
    pub(crate) entry: usize,
}

/// An object of a file.
#[derive(Clone, Debug)]
struct Sighting {
    place: Place,
    /// None when it is not valid.
    object: Option<Arc<Object>>,
}

type Sightings = BTreeMap<ObjectKey, Vec<Sighting>>;

impl Store {
    /// An empty store for a mesh of these names.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// The names that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Takes the directory as it is now, and tells everything there is to say about it. Only files
    /// that changed are parsed again. No I/O and no clock.
    pub fn apply(&mut self, files: &BTreeMap<PathBuf, FileContent>) -> Vec<Problem> {
        self.parse(files);
        let sightings = self.sightings();
        let (candidates, places) = self.candidates(&sightings);
        let decision = admission::decide(candidates, &self.options);
        self.in_force = decision
            .in_force
            .into_iter()
            .filter_map(|(key, object)| {
                let place = places.get(&key)?.clone();
                Some((key, InForce { object, place }))
            })
            .collect();
        report::problems(self, &sightings, &places, &decision.refused)
    }

    /// The objects that are in force.
    pub(crate) fn in_force(&self) -> &BTreeMap<ObjectKey, InForce> {
        &self.in_force
    }

    /// The files as they were applied last.
    pub(crate) fn sources(&self) -> BTreeMap<PathBuf, FileContent> {
        self.files.iter().map(|(name, file)| (name.clone(), file.content().clone())).collect()
    }

    fn parse(&mut self, files: &BTreeMap<PathBuf, FileContent>) {
        let mut before = std::mem::take(&mut self.files);
        for (name, content) in files {
            let parsed = ParsedFile::new(name, content, before.remove(name));
            self.files.insert(name.clone(), parsed);
        }
    }

    /// Every place where an object was seen, in the order of the paths.
    fn sightings(&self) -> Sightings {
        let mut sightings = Sightings::new();
        for (place, entry) in self.files.values().flat_map(ParsedFile::entries) {
            let (key, object) = match &entry.outcome {
                Outcome::Accepted(key, object) => (key, Some(object.clone())),
                Outcome::Rejected(key) => (key, None),
                Outcome::Ignored | Outcome::Unidentified => continue,
            };
            sightings.entry(key.clone()).or_default().push(Sighting { place, object });
        }
        sightings
    }

    /// What could be in force for each object, and the place that counts for it.
    fn candidates(
        &self,
        sightings: &Sightings,
    ) -> (BTreeMap<ObjectKey, Candidate>, BTreeMap<ObjectKey, Place>) {
        let mut candidates = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (key, list) in sightings {
            let incumbent = self.in_force.get(key);
            let Some(sighting) = choose(list, incumbent) else { continue };
            let last = incumbent.map(|incumbent| incumbent.object.clone());
            candidates.insert(key.clone(), Candidate { fresh: sighting.object.clone(), last });
            places.insert(key.clone(), sighting.place.clone());
        }
        let doubtful = self.doubtful_files();
        for (key, incumbent) in &self.in_force {
            let is_kept = !candidates.contains_key(key)
                && incumbent.place.file.ancestors().any(|path| doubtful.contains(path));
            if is_kept {
                let last = Some(incumbent.object.clone());
                candidates.insert(key.clone(), Candidate { fresh: None, last });
                places.insert(key.clone(), incumbent.place.clone());
            }
        }
        (candidates, places)
    }

    /// Files, and directories, of which it is not known what they contain now.
    fn doubtful_files(&self) -> BTreeSet<&Path> {
        let files = self.files.iter().filter(|(_, file)| !file.is_understood());
        files.map(|(name, _)| name.as_path()).collect()
    }
}

/// The sighting that counts when an object is in several places: what is in force stays, else the
/// first valid one in the order of the paths.
fn choose<'a>(list: &'a [Sighting], incumbent: Option<&InForce>) -> Option<&'a Sighting> {
    if list.len() < 2 {
        return list.first();
    }
    list.iter().min_by_key(|sighting| {
        let rank = match incumbent {
            Some(incumbent) if sighting.place.file == incumbent.place.file => {
                u8::from(sighting.object.as_ref() != Some(&incumbent.object))
            }
            _ => 2,
        };
        (rank, rank == 2 && sighting.object.is_none())
    })
}
