//! The maps as the kernel would hold them, and what its program would say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::IpAddress;
use abi::authz::{
    AuthzBlockKey, AuthzDestination, AuthzRow, AuthzRowKey, AuthzSet, AuthzSource, Change,
    Contents, Term,
};

/// The maps.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    pub(super) is_active: bool,
    pub(super) sources: BTreeMap<IpAddress, AuthzSource>,
    pub(super) destinations: BTreeMap<IpAddress, AuthzDestination>,
    pub(super) sets: BTreeMap<u32, AuthzSet>,
    pub(super) rows: BTreeMap<AuthzRowKey, AuthzRow>,
    pub(super) blocks: BTreeMap<AuthzBlockKey, AuthzRow>,
    words: BTreeMap<u32, u64>,
    terms: BTreeMap<u32, u32>,
    /// Sets that a program could reach since the last grace period.
    reached: BTreeSet<u32>,
}

/// What the program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    NotJudged,
    FromNode,
    Trusted,
    Closed,
    /// Allowed or refused, by which term.
    Judged(bool, Option<Term>),
}

impl Kernel {
    pub(super) fn apply(&mut self, change: &Change) {
        self.note_reached();
        match change.clone() {
            Change::Words { first, words } => {
                let reached = self.reached_words();
                for (index, word) in (first..).zip(words) {
                    assert!(!reached.contains(&index), "word {index} is in use");
                    self.words.insert(index, word);
                }
            }
            Change::Terms { first, terms } => {
                let reached = self.reached_terms();
                for (index, term) in (first..).zip(terms) {
                    assert!(!reached.contains(&index), "term {index} is in use");
                    self.terms.insert(index, term);
                }
            }
            Change::Set { index, value } => {
                assert!(!self.reached.contains(&index), "set {index} is in use");
                self.sets.insert(index, value);
            }
            Change::Row { key, value } => drop(self.rows.insert(key, value)),
            Change::RemoveRow { key } => {
                let is_idle = key.dimension == AuthzRowKey::IDENTITY
                    && !self.sources.values().any(|it| it.identity == key.value);
                assert!(!self.reached.contains(&key.set) || is_idle, "row {key:?} is in use");
                self.rows.remove(&key).expect("a row");
            }
            Change::Block { key, value } => drop(self.blocks.insert(key, value)),
            Change::RemoveBlock { key } => {
                let set = key.set & !AuthzBlockKey::DESTINATION;
                assert!(!self.reached.contains(&set), "block {key:?} is in use");
                self.blocks.remove(&key).expect("a block");
            }
            Change::Source { address, value } => drop(self.sources.insert(address, value)),
            Change::RemoveSource { address } => {
                self.sources.remove(&address).expect("a source");
            }
            Change::Destination { address, value } => {
                self.destinations.insert(address, value);
            }
            Change::RemoveDestination { address } => {
                self.destinations.remove(&address).expect("a destination");
            }
            Change::ResetCount { policy } => assert_ne!(policy, 0),
            Change::Active(is_active) => self.is_active = is_active,
        }
        self.note_reached();
    }

    /// No program is where it was before.
    pub(super) fn grace_period(&mut self) {
        self.reached.clear();
        self.note_reached();
    }

    pub(super) fn contents(&self) -> Contents {
        let named: BTreeSet<u32> = self.destinations.values().map(|it| it.set).collect();
        let sets = self.sets.iter().filter(|(index, _)| named.contains(index));
        Contents {
            sources: self.sources.iter().map(|(k, v)| (*k, *v)).collect(),
            destinations: self.destinations.iter().map(|(k, v)| (*k, *v)).collect(),
            sets: sets.map(|(k, v)| (*k, *v)).collect(),
            rows: self.rows.iter().map(|(k, v)| (*k, *v)).collect(),
            blocks: self.blocks.iter().map(|(k, v)| (*k, *v)).collect(),
        }
    }

    /// What `bpf/include/kmesh/authz.h` says.
    pub(super) fn judge(&self, source: IpAddr, destination: IpAddr, port: u16) -> Answer {
        if !self.is_active {
            return Answer::NotJudged;
        }
        let from = self.sources.get(&source.into());
        let from = from.or_else(|| self.sources.get(&AuthzSource::OTHERS));
        let from = from.copied().unwrap_or_default();
        if from.flags & AuthzSource::NODE != 0 {
            return Answer::FromNode;
        }
        let own = self.destinations.get(&destination.into());
        let Some(to) = own.or_else(|| self.destinations.get(&AuthzDestination::OTHERS)) else {
            return Answer::Closed;
        };
        if to.set == AuthzDestination::CLOSED {
            return Answer::Closed;
        }
        let set = &self.sets[&to.set];
        let uses = |flag: u32| set.flags & flag != 0;
        let identity = self.identity(to.set, set, from.identity);
        if uses(AuthzSet::HAS_TRUSTED) && identity.flags & AuthzRow::TRUSTED != 0 {
            return Answer::Trusted;
        }
        if uses(AuthzSet::USES_IDENTITY) && from.identity == AuthzSource::IDENTITY_CLOSED {
            return Answer::Closed;
        }
        let row = |is_used: bool, row: u32| if is_used { row } else { AuthzRow::ALL };
        let to_row = match own {
            None if uses(AuthzSet::USES_DESTINATION) => {
                self.block(to.set | AuthzBlockKey::DESTINATION, destination, to.row)
            }
            _ => to.row,
        };
        let rows = [
            row(uses(AuthzSet::USES_IDENTITY), identity.row),
            row(uses(AuthzSet::USES_ADDRESS), self.block(to.set, source, set.address_row)),
            row(uses(AuthzSet::USES_PORT), self.port(to.set, set, port)),
            to_row,
        ];
        self.decide(set, rows)
    }

    fn decide(&self, set: &AuthzSet, rows: [u32; 4]) -> Answer {
        let word = |row: u32, at: u32| match row {
            AuthzRow::ALL => u64::MAX,
            first => self.words[&(first + at)],
        };
        let held = |at: u32| rows.iter().fold(u64::MAX, |held, row| held & word(*row, at));
        let first = |mut words: std::ops::Range<u32>, terms: u32| {
            words.find(|at| held(*at) != 0).map(|at| {
                let bit = at * u64::BITS + held(at).trailing_zeros();
                Term::from(self.terms[&terms.wrapping_add(bit)])
            })
        };
        let allow_end = set.deny_words + set.allow_words;
        if let Some(term) = first(0..set.deny_words, set.deny_terms) {
            return Answer::Judged(false, Some(term));
        }
        if set.flags & AuthzSet::HAS_ALLOW == 0 {
            return Answer::Judged(true, None);
        }
        let allowed = first(set.deny_words..allow_end, set.allow_terms);
        Answer::Judged(allowed.is_some(), allowed)
    }

    fn identity(&self, index: u32, set: &AuthzSet, identity: u64) -> AuthzRow {
        if identity == AuthzSource::NO_IDENTITY {
            return AuthzRow { row: set.no_identity_row, flags: 0 };
        }
        let key = AuthzRowKey { set: index, dimension: AuthzRowKey::IDENTITY, value: identity };
        let default = AuthzRow { row: set.identity_row, flags: 0 };
        self.rows.get(&key).copied().unwrap_or(default)
    }

    fn port(&self, index: u32, set: &AuthzSet, port: u16) -> u32 {
        let key = AuthzRowKey { set: index, dimension: AuthzRowKey::PORT, value: u64::from(port) };
        self.rows.get(&key).map_or(set.port_row, |row| row.row)
    }

    fn block(&self, set: u32, address: IpAddr, default: u32) -> u32 {
        let address = u128::from_be_bytes(IpAddress::from(address).word);
        let found = self.blocks.iter().filter(|(key, _)| {
            let other = u128::from_be_bytes(key.address.word);
            let bits = key.prefix_bits - AuthzBlockKey::SET_BITS;
            key.set == set && (address ^ other).leading_zeros() >= bits
        });
        found.max_by_key(|(key, _)| key.prefix_bits).map_or(default, |(_, row)| row.row)
    }

    fn note_reached(&mut self) {
        self.reached.extend(self.destinations.values().map(|it| it.set).filter(|set| *set != 0));
    }

    fn reached_words(&self) -> BTreeSet<u32> {
        let mut words = BTreeSet::new();
        for index in &self.reached {
            let set = &self.sets[index];
            let rows = self.rows.iter().filter(|(key, _)| key.set == *index).map(|(_, it)| it.row);
            let blocks = self.blocks.iter();
            let blocks = blocks.filter(|(key, _)| key.set & !AuthzBlockKey::DESTINATION == *index);
            let own = [set.no_identity_row, set.identity_row, set.address_row, set.port_row];
            let to = self.destinations.values().filter(|it| it.set == *index).map(|it| it.row);
            let rows = rows.chain(blocks.map(|(_, it)| it.row)).chain(own).chain(to);
            for first in rows.filter(|first| *first != AuthzRow::ALL) {
                words.extend(first..first + set.words);
            }
        }
        words
    }

    fn reached_terms(&self) -> BTreeSet<u32> {
        let sets = self.reached.iter().map(|index| &self.sets[index]);
        sets.flat_map(|set| set.deny_terms..set.deny_terms + set.terms).collect()
    }
}
