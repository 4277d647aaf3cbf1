//! Who may use which index: single indices, and contiguous runs. What is given back must be kept
//! from reuse by the caller until no program can still be reading it.

use std::collections::{BTreeMap, BTreeSet};

/// Single indices below a limit, lowest first.
#[derive(Clone, Debug)]
pub struct Indices {
    next: u32,
    end: u32,
    free: BTreeSet<u32>,
}

impl Indices {
    /// All indices from `first` up to `end`, excluded.
    pub fn new(first: u32, end: u32) -> Self {
        Self { next: first, end, free: BTreeSet::new() }
    }

    /// An index that nobody uses.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop_first() {
            return Some(index);
        }
        (self.next < self.end).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Takes this very index; false when it is outside or in use.
    pub fn reserve(&mut self, index: u32) -> bool {
        if index >= self.end {
            return false;
        }
        if index >= self.next {
            self.free.extend(self.next..index);
            self.next = index + 1;
            return true;
        }
        self.free.remove(&index)
    }

    /// Gives an index back.
    pub fn give(&mut self, index: u32) {
        self.free.insert(index);
    }
}

/// Contiguous runs below a limit: best fit, neighbours joined when given back.
#[derive(Clone, Debug)]
pub struct Runs {
    by_first: BTreeMap<u32, u32>,
    by_length: BTreeSet<(u32, u32)>,
}

impl Runs {
    /// One free run of `length`, starting at 0.
    pub fn new(length: u32) -> Self {
        let mut runs = Self { by_first: BTreeMap::new(), by_length: BTreeSet::new() };
        runs.add(0, length);
        runs
    }

    fn add(&mut self, first: u32, length: u32) {
        if length > 0 {
            self.by_first.insert(first, length);
            self.by_length.insert((length, first));
        }
    }

    fn remove(&mut self, first: u32, length: u32) {
        self.by_first.remove(&first);
        self.by_length.remove(&(length, first));
    }

    /// The first index of a free run of `length`; a run of 0 is at 0 and costs nothing.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        let (found, first) = *self.by_length.range((length, 0)..).next()?;
        self.remove(first, found);
        self.add(first + length, found - length);
        Some(first)
    }

    /// Takes this very run; false when a part of it is outside or in use.
    pub fn reserve(&mut self, first: u32, length: u32) -> bool {
        if length == 0 {
            return true;
        }
        let Some((&start, &found)) = self.by_first.range(..=first).next_back() else {
            return false;
        };
        if u64::from(first) + u64::from(length) > u64::from(start) + u64::from(found) {
            return false;
        }
        self.remove(start, found);
        self.add(start, first - start);
        self.add(first + length, start + found - first - length);
        true
    }

    /// Gives a run back.
    pub fn give(&mut self, mut first: u32, mut length: u32) {
        if length == 0 {
            return;
        }
        if let Some((&before, &found)) = self.by_first.range(..first).next_back()
            && before + found == first
        {
            self.remove(before, found);
            (first, length) = (before, found + length);
        }
        if let Some(&found) = self.by_first.get(&(first + length)) {
            self.remove(first + length, found);
            length += found;
        }
        self.add(first, length);
    }

    /// How much is free in all.
    pub fn free(&self) -> u64 {
        self.by_first.values().map(|length| u64::from(*length)).sum()
    }
}
