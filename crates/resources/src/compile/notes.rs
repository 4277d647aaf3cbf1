//! What there is to say about objects that are in force, because of other objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::WorkloadName;

use super::Compiler;
use super::affected::owner;
use super::waypoints::Note;
use crate::object::Body;
use crate::registry::Registry;
use crate::{ObjectKey, Problem, Severity};

/// What is remembered about slices; what there is to say about rules, they know themselves.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Slices whose Service does not exist.
    dangling: BTreeSet<Arc<ObjectKey>>,
    /// The slices that mean a pod by the name of a WorkloadEntry.
    twins: BTreeMap<WorkloadName, BTreeSet<Arc<ObjectKey>>>,
}

// === impl Notes ===

impl Notes {
    /// Looks whether a slice has a Service.
    pub(super) fn slice(&mut self, registry: &Registry, key: &Arc<ObjectKey>) {
        if missing_owner(registry, key).is_some() {
            self.dangling.insert(key.clone());
        } else {
            self.dangling.remove(key);
        }
    }

    /// These are all slices that mean a pod by this name in vain.
    pub(super) fn twins(&mut self, name: &WorkloadName, slices: BTreeSet<Arc<ObjectKey>>) {
        if slices.is_empty() {
            self.twins.remove(name);
        } else {
            self.twins.insert(name.clone(), slices);
        }
    }
}

/// The Service of a slice in force, if it does not exist.
fn missing_owner(registry: &Registry, key: &ObjectKey) -> Option<ObjectKey> {
    let Body::EndpointSlice(slice) = &registry.get(key)?.body else { return None };
    owner(key, slice).filter(|owner| registry.get(owner).is_none())
}

// === impl Compiler ===

impl Compiler {
    /// Everything there is to say, in the order of the objects.
    pub(crate) fn problems(&self, registry: &Registry) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |severity, key: &ObjectKey, field: &str, message, consequence: &str| {
            problems.extend(registry.place(key).map(|place| Problem {
                severity,
                field: field.to_owned(),
                message,
                consequence: consequence.to_owned(),
                ..place.problem(Some(key))
            }));
        };
        for key in &self.notes.dangling {
            let Some(owner) = missing_owner(registry, key) else { continue };
            let message = format!("{owner} does not exist");
            say(Severity::Info, key, "metadata.labels", message, "the slice has no effect");
        }
        for (loser, winner) in self.rules.losers() {
            let message = format!("{winner} is about the same host");
            let consequence = "that rule counts, this does not";
            say(Severity::Error, loser, "spec.host", message, consequence);
        }
        for (twin, slices) in &self.notes.twins {
            for key in slices {
                let message = format!("pod {twin} has the name of a WorkloadEntry");
                let consequence = "the workload is described by the WorkloadEntry";
                say(Severity::Warning, key, "endpoints", message, consequence);
            }
        }
        for Note { key, field, message, consequence } in self.waypoint_notes(registry) {
            say(Severity::Warning, &key, &field, message, consequence);
        }
        for key in self.rules.unused() {
            let message = "no service has this host".to_owned();
            say(Severity::Info, key, "spec.host", message, "the rule has no effect");
        }
        problems.sort_by(|a, b| (&a.object, &a.message).cmp(&(&b.object, &b.message)));
        problems
    }
}
