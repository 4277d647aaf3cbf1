//! Everything there is to say about the files, once it is decided what is in force.

use std::path::Path;

use super::admission::{Conflict, Decision};
use super::parsed::ParsedFile;
use super::{Candidate, Files, Objects, Place, Sighting};
use crate::document::{Entry, Outcome};
use crate::findings::Finding;
use crate::{FileContent, ObjectKey, Problem, Severity};

const STAYS: &str = "the object stays as it was last good";
const NOT_IN_FORCE: &str = "the object is not in force";
const FILE_STAYS: &str = "objects of this file that are not found now stay as they were last good";

/// What the report is about.
pub(super) struct Report<'a> {
    pub(super) files: &'a Files,
    /// In the order of the keys.
    pub(super) candidates: &'a [Candidate<'a>],
    pub(super) in_force: &'a Objects,
}

fn unreadable(name: &Path, file: &ParsedFile) -> Option<Problem> {
    let FileContent::Unreadable(message) = file.content() else { return None };
    Some(Problem {
        severity: Severity::Error,
        file: name.to_string_lossy().into_owned(),
        document: None,
        object: None,
        field: String::new(),
        message: message.clone(),
        consequence: FILE_STAYS.to_owned(),
    })
}

// === impl Report ===

impl Report<'_> {
    /// The problems, in the order of the files.
    pub(super) fn problems(&self, sightings: &[Sighting<'_>], decision: &Decision) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, file) in self.files {
            problems.extend(unreadable(name, file));
            for (place, entry) in file.entries() {
                let findings = entry.findings.iter();
                problems.extend(findings.map(|finding| self.finding(&place, entry, finding)));
            }
        }
        let groups = sightings.chunk_by(|a, b| a.key == b.key).filter(|group| group.len() > 1);
        problems.extend(groups.flatten().filter_map(|sighting| self.duplicate(sighting)));
        let refused = decision.refused.iter();
        problems.extend(refused.filter_map(|(key, conflict)| self.conflict(key, conflict)));
        problems.sort_by(|a, b| (&a.file, a.document).cmp(&(&b.file, b.document)));
        problems
    }

    /// The place that counts for an object.
    fn place(&self, key: &ObjectKey) -> Option<&Place> {
        let index = self.candidates.binary_search_by_key(&key, |candidate| candidate.key).ok()?;
        Some(&self.candidates[index].place)
    }

    fn finding(&self, place: &Place, entry: &Entry, finding: &Finding) -> Problem {
        let key = match &entry.outcome {
            Outcome::Accepted(key, _) | Outcome::Rejected(key) => Some(key),
            Outcome::Ignored | Outcome::Unidentified => None,
        };
        let consequence = match (finding.severity, key) {
            (Severity::Error, Some(key)) => self.consequence(key, place),
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
    fn consequence(&self, key: &ObjectKey, place: &Place) -> &'static str {
        if self.place(key) != Some(place) {
            "this copy of the object counts for nothing"
        } else if self.in_force.contains_key(key) {
            STAYS
        } else {
            NOT_IN_FORCE
        }
    }

    fn duplicate(&self, sighting: &Sighting<'_>) -> Option<Problem> {
        let counts = self.place(sighting.key).filter(|counts| **counts != sighting.place)?;
        let message =
            format!("the object is also in {} document {}", counts.file.display(), counts.document);
        Some(Problem {
            message,
            consequence: "that one counts, this one does not".to_owned(),
            ..sighting.place.problem(Some(sighting.key))
        })
    }

    fn conflict(&self, key: &ObjectKey, conflict: &Conflict) -> Option<Problem> {
        let place = self.place(key)?;
        let holder = &conflict.holder;
        let origin = self.place(holder).map(|place| place.file.display().to_string());
        let origin = origin.unwrap_or_default();
        Some(Problem {
            field: conflict.claim.field(key).to_owned(),
            message: format!("{} belongs to {holder} ({origin})", conflict.claim),
            consequence: self.consequence(key, place).to_owned(),
            ..place.problem(Some(key))
        })
    }
}

// === impl Place ===

impl Place {
    /// An error at this place that says nothing yet.
    pub(crate) fn problem(&self, key: Option<&ObjectKey>) -> Problem {
        Problem {
            severity: Severity::Error,
            file: self.file.to_string_lossy().into_owned(),
            document: Some(self.document),
            object: key.cloned(),
            field: String::new(),
            message: String::new(),
            consequence: String::new(),
        }
    }
}
