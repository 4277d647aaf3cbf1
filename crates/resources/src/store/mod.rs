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

use parsed::ParsedFile;
use report::Report;

/// The objects that are in force, and where each came from.
#[derive(Debug, Default)]
pub struct Store {
    options: Options,
    files: Files,
    in_force: Objects,
    problems: Vec<Problem>,
    generation: u64,
}

type Files = BTreeMap<PathBuf, ParsedFile>;
type Objects = BTreeMap<ObjectKey, InForce>;

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
struct Sighting<'a> {
    key: &'a ObjectKey,
    place: Place,
    /// None when it is not valid.
    object: Option<&'a Arc<Object>>,
}

/// What could be in force for an object; at least one of the two versions is there, or the object is
/// new and not valid.
#[derive(Clone, Debug)]
struct Candidate<'a> {
    key: &'a ObjectKey,
    /// The version in the files, if it is valid.
    fresh: Option<&'a Arc<Object>>,
    /// The version that was in force until now.
    last: Option<&'a Arc<Object>>,
    /// The place that counts for it.
    place: Place,
}

impl Store {
    /// An empty store for a mesh of these names.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// The names that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Takes the directory as it is now, and tells everything there is to say about it. Only what
    /// changed is parsed again. No I/O and no clock.
    pub fn apply(&mut self, files: &BTreeMap<PathBuf, FileContent>) -> Vec<Problem> {
        if self.is_same(files) {
            return self.problems.clone();
        }
        self.generation += 1;
        self.parse(files);
        let sightings = sightings(&self.files);
        let candidates = candidates(&sightings, &self.in_force, &doubtful_files(&self.files));
        let decision = admission::decide(&candidates, &self.options);
        let in_force = decision.in_force(&candidates);
        let report = Report { files: &self.files, candidates: &candidates, in_force: &in_force };
        self.problems = report.problems(&sightings, &decision);
        self.in_force = in_force;
        self.problems.clone()
    }

    /// The objects that are in force.
    pub(crate) fn in_force(&self) -> &BTreeMap<ObjectKey, InForce> {
        &self.in_force
    }

    /// Another number means that other objects may be in force.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The files as they were applied last.
    pub(crate) fn sources(&self) -> BTreeMap<PathBuf, FileContent> {
        self.files.iter().map(|(name, file)| (name.clone(), file.content().clone())).collect()
    }

    fn is_same(&self, files: &BTreeMap<PathBuf, FileContent>) -> bool {
        let pairs = || self.files.iter().zip(files);
        self.files.len() == files.len()
            && pairs().all(|((old_name, old), (name, content))| {
                old_name == name && old.content() == content
            })
    }

    fn parse(&mut self, files: &BTreeMap<PathBuf, FileContent>) {
        let mut before = std::mem::take(&mut self.files);
        for (name, content) in files {
            let parsed = ParsedFile::new(name, content, before.remove(name));
            self.files.insert(name.clone(), parsed);
        }
    }
}

/// Every object of every file; those of one object side by side, in the order of the paths.
fn sightings(files: &Files) -> Vec<Sighting<'_>> {
    let entries = files.values().flat_map(ParsedFile::entries);
    let sightings = entries.filter_map(|(place, entry)| {
        let (key, object) = match &entry.outcome {
            Outcome::Accepted(key, object) => (key, Some(object)),
            Outcome::Rejected(key) => (key, None),
            Outcome::Ignored | Outcome::Unidentified => return None,
        };
        Some(Sighting { key, place, object })
    });
    let mut sightings: Vec<_> = sightings.collect();
    sightings.sort_by_key(|sighting| sighting.key);
    sightings
}

/// One candidate for each object that was seen, or that may still be there; in the order of the keys.
fn candidates<'a>(
    sightings: &[Sighting<'a>],
    in_force: &'a Objects,
    doubtful: &BTreeSet<&Path>,
) -> Vec<Candidate<'a>> {
    let groups = sightings.chunk_by(|a, b| a.key == b.key);
    let mut candidates: Vec<Candidate<'a>> = groups
        .filter_map(|group| {
            let incumbent = in_force.get(group.first()?.key);
            let Sighting { key, place, object } = choose(group, incumbent)?.clone();
            let last = incumbent.map(|incumbent| &incumbent.object);
            Some(Candidate { key, fresh: object, last, place })
        })
        .collect();
    let kept = in_force.iter().filter(|(key, incumbent)| {
        incumbent.place.file.ancestors().any(|path| doubtful.contains(path))
            && sightings.binary_search_by_key(key, |sighting| sighting.key).is_err()
    });
    candidates.extend(kept.map(|(key, incumbent)| Candidate {
        key,
        fresh: None,
        last: Some(&incumbent.object),
        place: incumbent.place.clone(),
    }));
    candidates.sort_by_key(|candidate| candidate.key);
    candidates
}

/// Files, and directories, of which it is not known what they contain now.
fn doubtful_files(files: &Files) -> BTreeSet<&Path> {
    let files = files.iter().filter(|(_, file)| !file.is_understood());
    files.map(|(name, _)| name.as_path()).collect()
}

/// The sighting that counts when an object is in several places: what is in force stays, else the
/// first valid one in the order of the paths.
fn choose<'s, 'a>(
    group: &'s [Sighting<'a>],
    incumbent: Option<&InForce>,
) -> Option<&'s Sighting<'a>> {
    if group.len() < 2 {
        return group.first();
    }
    group.iter().min_by_key(|sighting| match incumbent {
        Some(incumbent) if sighting.place.file == incumbent.place.file => {
            (u8::from(sighting.object != Some(&incumbent.object)), false)
        }
        _ => (2, sighting.object.is_none()),
    })
}
