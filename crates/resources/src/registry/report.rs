//! Everything there is to say about the files, once it is decided what is in force. Nothing is said
//! about most of them, and these are not looked at.

use std::path::Path;

use super::admission::Conflict;
use super::{Place, Registry, Sighting};
use crate::document::Entry;
use crate::findings::Finding;
use crate::{ObjectKey, Problem, Severity};

const STAYS: &str = "the object stays as it was last good";
const NOT_IN_FORCE: &str = "the object is not in force";
const FILE_STAYS: &str = "objects of this file that are not found now stay as they were last good";

/// The problems, in the order of the files.
pub(super) fn problems(registry: &Registry) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in &registry.noted {
        let Some(file) = registry.files.get(name) else { continue };
        problems.extend(file.unreadable().map(|message| unreadable(name, message)));
        for (place, entry) in file.entries() {
            let findings = entry.findings.iter();
            problems.extend(findings.map(|it| finding(registry, &place, entry, it)));
        }
    }
    for key in &registry.records.repeated {
        let sightings = registry.records.get(key).into_iter().flat_map(|record| record.sightings());
        problems.extend(sightings.filter_map(|sighting| duplicate(registry, key, sighting)));
    }
    let refused = registry.refused.iter();
    problems.extend(refused.filter_map(|(key, it)| conflict(registry, key, it)));
    for (key, host) in &registry.without_vip {
        problems.extend(registry.place(key).map(|place| Problem {
            severity: Severity::Warning,
            field: "spec.addresses".to_owned(),
            message: format!("not set, and all of 240.240.0.0/16 is taken: none left for {host}"),
            consequence: "the host has no address to be dialled at".to_owned(),
            ..place.problem(Some(key))
        }));
    }
    problems.sort_by(|a, b| (&a.file, a.document).cmp(&(&b.file, b.document)));
    problems
}

fn unreadable(name: &Path, message: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        file: name.to_string_lossy().into_owned(),
        document: None,
        object: None,
        field: String::new(),
        message: message.to_owned(),
        consequence: FILE_STAYS.to_owned(),
    }
}

fn finding(registry: &Registry, place: &Place, entry: &Entry, finding: &Finding) -> Problem {
    let key = entry.identity().map(|(key, _)| &**key);
    let consequence = match (finding.severity, key) {
        (Severity::Error, Some(key)) => consequence(registry, key, place),
        (Severity::Error, None) => FILE_STAYS,
        _ => finding.consequence,
    };
    Problem {
        severity: finding.severity,
        field: finding.field.clone(),
        message: finding.message.clone(),
        consequence: consequence.to_owned(),
        ..place.problem(key)
    }
}

/// What becomes of an object whose version at this place is refused.
fn consequence(registry: &Registry, key: &ObjectKey, place: &Place) -> &'static str {
    if registry.place(key) != Some(place) {
        "this copy of the object counts for nothing"
    } else if registry.get(key).is_some() {
        STAYS
    } else {
        NOT_IN_FORCE
    }
}

fn duplicate(registry: &Registry, key: &ObjectKey, sighting: &Sighting) -> Option<Problem> {
    let counts = registry.place(key).filter(|counts| **counts != sighting.place)?;
    let message =
        format!("the object is also in {} document {}", counts.file.display(), counts.document);
    Some(Problem {
        message,
        consequence: "that one counts, this one does not".to_owned(),
        ..sighting.place.problem(Some(key))
    })
}

fn conflict(registry: &Registry, key: &ObjectKey, conflict: &Conflict) -> Option<Problem> {
    let place = registry.place(key)?;
    let holder = &conflict.holder;
    let origin = registry.place(holder).map(|place| place.file.display().to_string());
    let origin = origin.unwrap_or_default();
    Some(Problem {
        field: conflict.claim.field(key).to_owned(),
        message: format!("{} belongs to {holder} ({origin})", conflict.claim),
        consequence: consequence(registry, key, place).to_owned(),
        ..place.problem(Some(key))
    })
}

// === impl Place ===

impl Place {
    /// An error at this place that says nothing yet.
    pub(crate) fn problem(&self, key: Option<&ObjectKey>) -> Problem {
        Problem {
            severity: Severity::Error,
            file: self.file.to_string_lossy().into_owned(),
            document: Some(self.document as usize),
            object: key.cloned(),
            field: String::new(),
            message: String::new(),
            consequence: String::new(),
        }
    }
}
