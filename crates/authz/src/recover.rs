//! What a daemon of before left in the maps: in force until all is written anew, then removed.

use std::collections::{BTreeMap, BTreeSet};

use abi::authz::{AuthzBlockKey, AuthzRow, AuthzSet, Change, Contents};

use crate::identity::Subject;
use crate::space::Taken;
use crate::state::{Authz, Options};

impl Authz {
    /// The state of maps that hold this, and that nobody has written to for a grace period. The changes
    /// that are returned remove what nothing leads to; then [`Authz::update`] comes.
    pub fn recover(options: Options, contents: &Contents) -> (Self, Vec<Change>) {
        let sources = contents.sources.iter().copied().collect();
        let destinations = contents.destinations.iter().copied().collect();
        let mut authz = Self::with(options, sources, destinations, Subject::number);
        let known: BTreeMap<u32, AuthzSet> = contents.sets.iter().copied().collect();
        let in_use: BTreeSet<u32> = contents.destinations.iter().map(|(_, it)| it.set).collect();
        let mut changes = Vec::new();
        let is_unused = |set: u32| !in_use.contains(&set) || !known.contains_key(&set);
        let rows = contents.rows.iter().filter(|(key, _)| is_unused(key.set));
        changes.extend(rows.map(|(key, _)| Change::RemoveRow { key: *key }));
        let blocks = contents.blocks.iter().filter(|(key, _)| is_unused(set_of(key)));
        changes.extend(blocks.map(|(key, _)| Change::RemoveBlock { key: *key }));
        for (index, set) in known.iter().filter(|(index, _)| in_use.contains(index)) {
            authz.sets.recover(taken(*index, set, contents));
        }
        (authz, changes)
    }
}

/// What a set of before takes of the maps.
fn taken(index: u32, set: &AuthzSet, contents: &Contents) -> Taken {
    let rows = contents.rows.iter().filter(|(key, _)| key.set == index);
    let blocks = contents.blocks.iter().filter(|(key, _)| set_of(key) == index);
    let destinations = contents.destinations.iter().filter(|(_, value)| value.set == index);
    let own = [set.no_identity_row, set.identity_row, set.address_row, set.port_row];
    let firsts: BTreeSet<u32> = own
        .into_iter()
        .chain(rows.clone().map(|(_, value)| value.row))
        .chain(blocks.clone().map(|(_, value)| value.row))
        .chain(destinations.map(|(_, value)| value.row))
        .filter(|first| *first != AuthzRow::ALL)
        .collect();
    Taken {
        index,
        words: firsts.into_iter().map(|first| (first, set.words)).collect(),
        terms: (set.deny_terms, set.terms),
        rows: rows.map(|(key, _)| *key).collect(),
        blocks: blocks.map(|(key, _)| *key).collect(),
    }
}

fn set_of(key: &AuthzBlockKey) -> u32 {
    key.set & !AuthzBlockKey::DESTINATION
}
