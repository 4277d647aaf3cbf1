//! Who may connect, on the running kernel: what the tests of it share, and the maps themselves.

mod agreement;
mod closing;
mod guarding;
mod judging;

use std::net::IpAddr;

use abi::authz::{
    AuthzBlockKey, AuthzDestination, AuthzRow, AuthzRowKey, AuthzSet, AuthzSource, Change,
    Contents, Term,
};

use super::{LIMITS, Place};
use crate::Error;

/// Numbers of identities that the tests know.
const FRIEND: u64 = 0xf12e;
const FOE: u64 = 0xf0e;
const STRANGER: u64 = 0x57;

/// A set that denies the foe, allows the friend and has a term that decides nothing and matches all
/// sources. Each part is one word, and each term is its first bit.
const SET: u32 = 2;
const DENY: Term = Term { policy: 7, rule: 1 };
const ALLOW: Term = Term { policy: 8, rule: 2 };
const UNDECIDED: Term = Term { policy: 9, rule: 3 };
const WORDS_OF_SET: u32 = 3;
/// The rows of [`SET`]: runs of words.
const EVERY_TERM: u32 = 0;
const TERMS_OF_FOE: u32 = 3;
const TERMS_OF_FRIEND: u32 = 6;
const TERMS_OF_OTHERS: u32 = 9;

fn set() -> AuthzSet {
    AuthzSet {
        flags: AuthzSet::HAS_ALLOW | AuthzSet::USES_IDENTITY,
        words: WORDS_OF_SET,
        deny_words: 1,
        allow_words: 1,
        no_identity_row: TERMS_OF_OTHERS,
        identity_row: TERMS_OF_OTHERS,
        ..AuthzSet::default()
    }
}

/// Everything of [`SET`], but where it holds.
fn set_changes() -> Vec<Change> {
    let mut terms = vec![0; 3 * 64];
    for (word, term) in [DENY, ALLOW, UNDECIDED].into_iter().enumerate() {
        terms[word * 64] = term.into();
    }
    let row = |identity, row| Change::Row {
        key: AuthzRowKey { set: SET, dimension: AuthzRowKey::IDENTITY, value: identity },
        value: AuthzRow { row, flags: 0 },
    };
    vec![
        Change::Words { first: EVERY_TERM, words: vec![1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1] },
        Change::Terms { first: 0, terms },
        Change::Set { index: SET, value: set() },
        row(FOE, TERMS_OF_FOE),
        row(FRIEND, TERMS_OF_FRIEND),
    ]
}

fn source(address: IpAddr, identity: u64) -> Change {
    let value = AuthzSource { identity, ..AuthzSource::default() };
    Change::Source { address: address.into(), value }
}

/// [`SET`] holds for `address`.
fn holds_for(address: IpAddr) -> Change {
    let value = AuthzDestination { set: SET, row: EVERY_TERM };
    Change::Destination { address: address.into(), value }
}

#[test]
fn what_was_written_is_read_back_and_what_was_removed_is_gone() {
    let place = Place::new("authz_contents");
    let datapath = place.load();
    let maps = datapath.maps();
    let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let block = AuthzBlockKey { prefix_bits: 32 + 96 + 8, set: SET, address: here.into() };
    let value = AuthzRow { row: EVERY_TERM, flags: 0 };
    // More than one batch of each.
    let sources = (0..20).map(|last| source([10, 0, 1, last].into(), FRIEND));
    let changes: Vec<_> = set_changes()
        .into_iter()
        .chain(sources)
        .chain([holds_for(here), holds_for(there), Change::Block { key: block, value }])
        .collect();
    maps.apply_authz(&changes).expect("the changes apply");
    let contents = maps.authz_contents().expect("contents");
    assert_eq!(contents.sources.len(), 20);
    assert_eq!(contents.destinations.len(), 2);
    assert_eq!(contents.sets, [(SET, set())]);
    assert_eq!(contents.rows.len(), 2);
    assert_eq!(contents.blocks, [(block, value)]);

    let mut removals: Vec<_> = contents
        .sources
        .iter()
        .map(|(address, _)| Change::RemoveSource { address: *address })
        .chain(contents.rows.iter().map(|(key, _)| Change::RemoveRow { key: *key }))
        .chain([Change::RemoveBlock { key: block }])
        .collect();
    removals.extend([here, there].map(|a| Change::RemoveDestination { address: a.into() }));
    maps.apply_authz(&removals).expect("removed");
    assert_eq!(maps.authz_contents().expect("contents"), Contents::default());
    maps.apply_authz(&removals).expect("what is gone already is removed");
}

#[test]
fn a_full_map_and_an_index_outside_one_are_named() {
    let place = Place::new("authz_full");
    let datapath = place.load();
    let too_many = (0..=LIMITS.authz_sources_max)
        .map(|number| source(std::net::Ipv4Addr::from_bits(number).into(), FRIEND));
    let error = datapath.maps().apply_authz(&too_many.collect::<Vec<_>>()).expect_err("no room");
    assert!(error.to_string().contains("authz_sources"), "{error}");
    let outside = Change::Set { index: LIMITS.authz_sets_max, value: set() };
    let error = datapath.maps().apply_authz(&[outside]).expect_err("no such index");
    assert!(matches!(error, Error::Index { map: "authz_sets", .. }), "{error}");
}

#[test]
fn maps_that_name_entries_of_each_other_are_replaced_together() {
    let place = Place::new("authz_resize");
    let mut before = place.load();
    before.maps().apply_authz(&set_changes()).expect("written");
    before.maps().apply_authz(&[Change::Active(true)]).expect("active");
    before.attach().expect("attached");
    drop(before);
    let larger = abi::limits::Limits { authz_rows_max: 16_384, ..LIMITS };
    let after = place.load_with(larger);
    assert_eq!(after.maps().authz_contents().expect("contents"), Contents::default());
    assert!(after.maps().authz_is_active().expect("the setting"), "one for all");
}
