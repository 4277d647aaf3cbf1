//! Which WorkloadEntries of a namespace carry certain labels, without looking at all of them.

use std::collections::HashMap;

use crate::ObjectKey;
use crate::object::{Labels, WorkloadEntry};

/// The WorkloadEntries of one namespace.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    entries: Vec<(&'a ObjectKey, &'a WorkloadEntry)>,
    /// Indices of the entries that carry a label, ascending.
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Selection<'a> {
    pub(super) fn add(&mut self, key: &'a ObjectKey, entry: &'a WorkloadEntry) {
        for (name, value) in &entry.labels {
            self.by_label.entry((name, value)).or_default().push(self.entries.len());
        }
        self.entries.push((key, entry));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'a ObjectKey, &'a WorkloadEntry)> {
        self.entries.iter().copied()
    }

    /// The entries that carry every label of the selector; an empty selector selects nothing.
    pub(super) fn select<'s>(
        &'s self,
        selector: &'s Labels,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a WorkloadEntry)> + 's {
        let lists = selector.iter().map(|(name, value)| self.of_label(name, value));
        let rarest = lists.min_by_key(|list| list.len());
        let candidates = rarest.unwrap_or_default().iter().map(|index| self.entries[*index]);
        candidates.filter(|(_, entry)| {
            selector.iter().all(|(name, value)| entry.labels.get(name) == Some(value))
        })
    }

    fn of_label<'s>(&'s self, name: &'s str, value: &'s str) -> &'s [usize] {
        self.by_label.get(&(name, value)).map_or(&[], Vec::as_slice)
    }
}
