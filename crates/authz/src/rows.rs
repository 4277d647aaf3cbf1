//! The rows of a set: one bit for each term. Rows that are equal are kept once, and a row is made of
//! another and the bits in which it differs, so that its cost is that of a copy.

use std::collections::{BTreeMap, HashMap};

use abi::authz::{AuthzRow, Change};
use abi::pool::Runs;

/// Bits of a word.
pub(crate) const WORD_BITS: usize = u64::BITS as usize;

/// A row of a set, which need not have a place yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId(u32);

/// There are no more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoWords;

/// All rows of a set.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Words of a row.
    width: usize,
    /// Words that may be waiting for a place.
    words_max: usize,
    /// First word of each row that has a place.
    firsts: Vec<u32>,
    /// The rows after those, which have none yet.
    waiting: Vec<u64>,
    /// Rows that others can be made of when they have a place, too.
    kept: BTreeMap<RowId, Vec<u64>>,
    known: HashMap<(RowId, Box<[Bit]>), RowId>,
    runs: Vec<(u32, u32)>,
}

/// A bit of a row, and what it is.
type Bit = (u32, bool);

// === impl RowId ===

impl RowId {
    /// The row of ones, which is not stored.
    pub(crate) const ALL: Self = Self(AuthzRow::ALL);
}

// === impl Rows ===

impl Rows {
    pub(crate) fn new(width: usize, words_max: u32) -> Self {
        Self {
            width,
            words_max: words_max as usize,
            firsts: Vec::new(),
            waiting: Vec::new(),
            kept: BTreeMap::new(),
            known: HashMap::new(),
            runs: Vec::new(),
        }
    }

    /// A row of these words, of which others can be made at any time.
    pub(crate) fn base(&mut self, words: Vec<u64>) -> Result<RowId, NoWords> {
        let same = self.kept.iter().find(|(_, kept)| **kept == words);
        let id = match same {
            Some((id, _)) => *id,
            None if words.iter().all(|word| *word == u64::MAX) => RowId::ALL,
            None => self.add(&words)?,
        };
        self.kept.insert(id, words);
        Ok(id)
    }

    /// A row as `base`, but for these bits.
    pub(crate) fn differing(&mut self, base: RowId, bits: Vec<Bit>) -> Result<RowId, NoWords> {
        let words = self.content(base);
        let bits: Box<[Bit]> =
            bits.into_iter().filter(|(bit, is_set)| has(words, *bit) != *is_set).collect();
        if bits.is_empty() {
            return Ok(base);
        }
        let key = (base, bits);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let id = self.copy(base)?;
        let end = self.waiting.len();
        let words = &mut self.waiting[end - self.width..];
        key.1.iter().for_each(|(bit, is_set)| put(words, *bit, *is_set));
        self.known.insert(key, id);
        Ok(id)
    }

    /// There will be so many more rows.
    pub(crate) fn expect(&mut self, rows: usize) {
        let words = rows.saturating_mul(self.width);
        self.waiting.reserve(words.min(self.words_max - self.waiting.len()));
        self.known.reserve(rows);
    }

    /// Where a row is; it has a place.
    pub(crate) fn first(&self, id: RowId) -> u32 {
        if id == RowId::ALL { AuthzRow::ALL } else { self.firsts[id.0 as usize] }
    }

    /// Words that wait for a place.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Gives a place to all rows. Returns the write, if any is needed.
    pub(crate) fn place(&mut self, free: &mut Runs) -> Result<Option<Change>, NoWords> {
        let length = self.waiting();
        if length == 0 {
            return Ok(None);
        }
        let first = free.take(length).ok_or(NoWords)?;
        self.runs.push((first, length));
        self.firsts.extend((first..first + length).step_by(self.width));
        Ok(Some(Change::Words { first, words: std::mem::take(&mut self.waiting) }))
    }

    /// The runs of words that the rows take.
    pub(crate) fn into_runs(self) -> Vec<(u32, u32)> {
        self.runs
    }

    fn add(&mut self, words: &[u64]) -> Result<RowId, NoWords> {
        let id = self.next()?;
        self.waiting.extend_from_slice(words);
        Ok(id)
    }

    /// A row of the same words.
    fn copy(&mut self, row: RowId) -> Result<RowId, NoWords> {
        let id = self.next()?;
        match self.kept.get(&row) {
            Some(words) => self.waiting.extend_from_slice(words),
            None => {
                let first = self.first_waiting(row);
                self.waiting.extend_from_within(first..first + self.width);
            }
        }
        Ok(id)
    }

    fn next(&self) -> Result<RowId, NoWords> {
        if self.waiting.len() + self.width > self.words_max {
            return Err(NoWords);
        }
        Ok(RowId((self.firsts.len() + self.waiting.len() / self.width) as u32))
    }

    fn content(&self, id: RowId) -> &[u64] {
        let waiting = || {
            let first = self.first_waiting(id);
            &self.waiting[first..first + self.width]
        };
        self.kept.get(&id).map_or_else(waiting, Vec::as_slice)
    }

    fn first_waiting(&self, id: RowId) -> usize {
        (id.0 as usize - self.firsts.len()) * self.width
    }
}

/// Is a bit set?
pub(crate) fn has(words: &[u64], bit: u32) -> bool {
    words[bit as usize / WORD_BITS] >> (bit as usize % WORD_BITS) & 1 == 1
}

/// Sets or clears a bit.
pub(crate) fn put(words: &mut [u64], bit: u32, is_set: bool) {
    let mask = 1 << (bit as usize % WORD_BITS);
    let word = &mut words[bit as usize / WORD_BITS];
    *word = if is_set { *word | mask } else { *word & !mask };
}
