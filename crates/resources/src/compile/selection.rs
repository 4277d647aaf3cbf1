//! Which WorkloadEntries of a namespace carry certain labels, without looking at all of them.

use std::collections::HashMap;

use crate::ObjectKey;
use crate::object::{Labels, WorkloadEntry};

/// A WorkloadEntry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Counts the WorkloadEntries of the mesh.
    pub(super) id: usize,
    pub(super) key: &'a ObjectKey,
    pub(super) entry: &'a WorkloadEntry,
}

/// The WorkloadEntries of one namespace.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    entries: Vec<Entry<'a>>,
    /// Indices of the entries that carry a label, ascending.
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Selection<'a> {
    pub(super) fn add(&mut self, entry: Entry<'a>) {
        for (name, value) in &entry.entry.labels {
            self.by_label.entry((name, value)).or_default().push(self.entries.len());
        }
        self.entries.push(entry);
    }

    /// The entries that carry every label of the selector; an empty selector selects nothing.
    pub(super) fn select<'s>(
        &'s self,
        selector: &'s Labels,
    ) -> impl Iterator<Item = Entry<'a>> + 's {
        let lists = selector.iter().map(|(name, value)| self.of_label(name, value));
        let rarest = lists.min_by_key(|list| list.len());
        let candidates = rarest.unwrap_or_default().iter().map(|index| self.entries[*index]);
        candidates.filter(|candidate| {
            let labels = &candidate.entry.labels;
            selector.iter().all(|(name, value)| labels.get(name) == Some(value))
        })
    }

    fn of_label<'s>(&'s self, name: &'s str, value: &'s str) -> &'s [usize] {
        self.by_label.get(&(name, value)).map_or(&[], Vec::as_slice)
    }
}
