//! Where sets are in the maps, and what room there is.

use std::collections::BTreeMap;

use abi::authz::{AuthzBlockKey, AuthzRow, AuthzRowKey, AuthzSet, Change};
use abi::limits::Limits;
use abi::pool::{Indices, Runs};

use crate::block::Block;
use crate::image::{Excess, IdentityRow, Image};
use crate::rows::{NoWords, RowId};

/// What of the maps is free.
#[derive(Debug)]
pub(crate) struct Space {
    limits: Limits,
    sets: Indices,
    words: Runs,
    terms: Runs,
    /// Entries that are free; below zero where a smaller map has less than it holds.
    rows: i64,
    blocks: i64,
}

/// A set in its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) index: u32,
    pub(crate) image: Image,
    /// Index and count of its terms.
    terms: (u32, u32),
}

/// What a set takes of the maps.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) index: u32,
    pub(crate) words: Vec<(u32, u32)>,
    pub(crate) terms: (u32, u32),
    pub(crate) rows: Vec<AuthzRowKey>,
    pub(crate) blocks: Vec<AuthzBlockKey>,
}

// === impl Space ===

impl Space {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            sets: Indices::new(1, limits.authz_sets_max),
            words: Runs::new(limits.authz_words_max),
            terms: Runs::new(limits.authz_terms_max),
            rows: limits.authz_rows_max.into(),
            blocks: limits.authz_blocks_max.into(),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Entries in use: sets, words, terms, rows, blocks.
    pub(crate) fn fill(&self, sets: usize) -> [(&'static str, u64); 5] {
        let used = |max: u32, free: u64| u64::from(max).saturating_sub(free);
        let free = |count: i64| u64::try_from(count).unwrap_or(0);
        let limits = &self.limits;
        [
            ("authz_sets", sets as u64),
            ("authz_words", used(limits.authz_words_max, self.words.free())),
            ("authz_terms", used(limits.authz_terms_max, self.terms.free())),
            ("authz_rows", used(limits.authz_rows_max, free(self.rows))),
            ("authz_blocks", used(limits.authz_blocks_max, free(self.blocks))),
        ]
    }

    /// Finds a place for an image, and notes the writes that put it there. Where there is no room
    /// nothing is taken.
    pub(crate) fn place(
        &mut self,
        mut image: Image,
        changes: &mut Vec<Change>,
    ) -> Result<Placed, Excess> {
        let entries = image.bits.entries();
        let terms_count = entries.len() as u32;
        self.check_entries(&image)?;
        let index = self
            .sets
            .take()
            .ok_or_else(|| excess("sets", "authz_sets_max", self.limits.authz_sets_max))?;
        let Some(first_term) = self.terms.take(terms_count) else {
            self.sets.give(index);
            return Err(excess("terms", "authz_terms_max", self.limits.authz_terms_max));
        };
        let words = match image.rows.place(&mut self.words) {
            Ok(words) => words,
            Err(NoWords) => {
                self.sets.give(index);
                self.terms.give(first_term, terms_count);
                return Err(self.no_words());
            }
        };
        changes.extend(words);
        if terms_count > 0 {
            changes.push(Change::Terms { first: first_term, terms: entries });
        }
        let placed = Placed { index, image, terms: (first_term, terms_count) };
        changes.push(Change::Set { index, value: placed.value() });
        changes.extend(placed.rows().map(|(key, value)| Change::Row { key, value }));
        changes.extend(placed.blocks().map(|(key, value)| Change::Block { key, value }));
        self.rows -= placed.rows().count() as i64;
        self.blocks -= placed.blocks().count() as i64;
        Ok(placed)
    }

    /// Finds a place for rows that came to a set, and notes the writes.
    pub(crate) fn place_rows(
        &mut self,
        placed: &mut Placed,
        identities: BTreeMap<u64, IdentityRow>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Excess> {
        if identities.len() as i64 > self.rows {
            return Err(excess("rows", "authz_rows_max", self.limits.authz_rows_max));
        }
        let words = placed.image.rows.place(&mut self.words).map_err(|NoWords| self.no_words())?;
        changes.extend(words);
        self.rows -= identities.len() as i64;
        for (number, row) in identities {
            let (key, value) = placed.identity_row(number, &row);
            changes.push(Change::Row { key, value });
            placed.image.identities.insert(number, row);
        }
        Ok(())
    }

    /// What a set took is free again.
    pub(crate) fn give(&mut self, taken: Taken) {
        self.sets.give(taken.index);
        taken.words.into_iter().for_each(|(first, length)| self.words.give(first, length));
        self.terms.give(taken.terms.0, taken.terms.1);
        self.rows += taken.rows.len() as i64;
        self.blocks += taken.blocks.len() as i64;
    }

    /// Entries of `authz_rows` are free again.
    pub(crate) fn give_rows(&mut self, count: usize) {
        self.rows += count as i64;
    }

    /// Takes what a set of before has, as far as that is free; what is not, is another's, too.
    pub(crate) fn reserve(&mut self, mut taken: Taken) -> Option<Taken> {
        if !self.sets.reserve(taken.index) {
            return None;
        }
        taken.words.retain(|(first, length)| self.words.reserve(*first, *length));
        if !self.terms.reserve(taken.terms.0, taken.terms.1) {
            taken.terms = (0, 0);
        }
        self.rows -= taken.rows.len() as i64;
        self.blocks -= taken.blocks.len() as i64;
        Some(taken)
    }

    fn check_entries(&self, image: &Image) -> Result<(), Excess> {
        let rows = image.identities.len() + image.ports.len();
        if rows as i64 > self.rows {
            return Err(excess("rows", "authz_rows_max", self.limits.authz_rows_max));
        }
        let blocks = image.source_blocks.len() + image.destination_blocks.len();
        if blocks as i64 > self.blocks {
            return Err(excess("blocks", "authz_blocks_max", self.limits.authz_blocks_max));
        }
        Ok(())
    }

    fn no_words(&self) -> Excess {
        excess("words", "authz_words_max", self.limits.authz_words_max)
    }
}

fn excess(what: &str, limit: &str, max: u32) -> Excess {
    Excess(format!("no room for their {what}: {limit} is {max}"))
}

// === impl Placed ===

impl Placed {
    /// What it takes of the maps.
    pub(crate) fn into_taken(self) -> Taken {
        Taken {
            index: self.index,
            rows: self.rows().map(|(key, _)| key).collect(),
            blocks: self.blocks().map(|(key, _)| key).collect(),
            terms: self.terms,
            words: self.image.rows.into_runs(),
        }
    }

    /// The place of one of its rows.
    pub(crate) fn first(&self, row: RowId) -> u32 {
        self.image.rows.first(row)
    }

    /// The key of an identity.
    pub(crate) fn identity_key(&self, number: u64) -> AuthzRowKey {
        AuthzRowKey { set: self.index, dimension: AuthzRowKey::IDENTITY, value: number }
    }

    fn value(&self) -> AuthzSet {
        let Self { image, terms: (first_term, terms), .. } = self;
        let place = |offset: u32| first_term.wrapping_add(offset);
        let [deny_terms, allow_terms, undecided_terms] = image.bits.offsets.map(place);
        AuthzSet {
            flags: image.flags(),
            words: image.bits.words() as u32,
            deny_words: image.bits.deny_words as u32,
            allow_words: image.bits.allow_words as u32,
            no_identity_row: self.first(image.no_identity),
            identity_row: self.first(image.identity),
            address_row: self.first(image.source_address),
            port_row: self.first(image.port),
            deny_terms,
            allow_terms,
            undecided_terms,
            terms: *terms,
            reserved: [0; 4],
        }
    }

    fn identity_row(&self, number: u64, row: &IdentityRow) -> (AuthzRowKey, AuthzRow) {
        let flags = if row.is_trusted { AuthzRow::TRUSTED } else { 0 };
        (self.identity_key(number), AuthzRow { row: self.first(row.row), flags })
    }

    fn rows(&self) -> impl Iterator<Item = (AuthzRowKey, AuthzRow)> {
        let identities = self.image.identities.iter();
        let identities = identities.map(|(number, row)| self.identity_row(*number, row));
        let ports = self.image.ports.iter().map(|(port, row)| {
            let value = u64::from(*port);
            let key = AuthzRowKey { set: self.index, dimension: AuthzRowKey::PORT, value };
            (key, AuthzRow { row: self.first(*row), flags: 0 })
        });
        identities.chain(ports)
    }

    fn blocks(&self) -> impl Iterator<Item = (AuthzBlockKey, AuthzRow)> {
        let key = |side: u32, block: &Block| AuthzBlockKey {
            prefix_bits: AuthzBlockKey::SET_BITS + block.bits(),
            set: self.index | side,
            address: block.address(),
        };
        let value = |row: &RowId| AuthzRow { row: self.first(*row), flags: 0 };
        let sources = self.image.source_blocks.iter();
        let destinations = self.image.destination_blocks.iter();
        sources.map(move |(block, row)| (key(0, block), value(row))).chain(
            destinations
                .map(move |(block, row)| (key(AuthzBlockKey::DESTINATION, block), value(row))),
        )
    }
}
