//! Equal parts of many objects, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::object::{Body, Labels, Object, Site};

/// How many values a pool has at least before it looks for some that nobody uses any more.
const SWEEP_MIN: usize = 1024;

/// What the objects of workloads tend to have in common.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    labels: Pool<Labels>,
    sites: Pool<Site>,
    names: Pool<str>,
}

/// Equal values, each kept once.
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

// === impl Interner ===

impl Interner {
    /// Replaces parts of an object, which nobody else refers to yet, by equal ones.
    pub(crate) fn intern(&mut self, object: &mut Arc<Object>) {
        let Some(object) = Arc::get_mut(object) else { return };
        match &mut object.body {
            Body::WorkloadEntry(entry) => {
                self.labels.intern(&mut entry.labels);
                if let Some(destination) = &mut entry.destination {
                    self.sites.intern(&mut destination.site);
                }
            }
            Body::EndpointSlice(slice) => {
                for endpoint in &mut slice.endpoints {
                    self.names.intern(&mut endpoint.node);
                    self.names.intern(&mut endpoint.zone);
                }
            }
            Body::ServiceEntry(entry) => {
                entry.endpoints.iter_mut().for_each(|it| self.sites.intern(&mut it.site));
            }
            _ => {}
        }
    }
}

// === impl Pool ===

impl<T: Eq + Hash + ?Sized> Pool<T> {
    /// Replaces a value by an equal one, if there is one.
    pub(crate) fn intern(&mut self, value: &mut Arc<T>) {
        if let Some(known) = self.values.get(value) {
            *value = known.clone();
            return;
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = SWEEP_MIN.max(2 * self.values.len());
        }
        self.values.insert(value.clone());
    }
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: SWEEP_MIN }
    }
}
