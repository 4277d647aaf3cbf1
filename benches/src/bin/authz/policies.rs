//! Tables of so many ALLOW policies, of which the last allows the client. Every dimension is in use, and
//! no word is decided before the last one.

use std::net::IpAddr;

use abi::authz::{
    AuthzBlockKey, AuthzDestination, AuthzRow, AuthzRowKey, AuthzSet, AuthzSource, Change, Term,
};

const SET: u32 = 2;
const CLIENT: u64 = 0xc11e47;
const BITS_PER_WORD: u32 = 64;

/// What the maps are to hold.
pub fn changes(count: u32, client: IpAddr, port: u16) -> Vec<Change> {
    if count == 0 {
        return vec![Change::Active(false)];
    }
    let words = count.div_ceil(BITS_PER_WORD);
    let (every, none, last) = (0, words, 2 * words);
    let flags = AuthzSet::HAS_ALLOW
        | AuthzSet::USES_IDENTITY
        | AuthzSet::USES_ADDRESS
        | AuthzSet::USES_PORT;
    let value = AuthzSet {
        flags,
        words,
        allow_words: words,
        no_identity_row: none,
        identity_row: none,
        address_row: none,
        port_row: none,
        ..AuthzSet::default()
    };
    let row = |row| AuthzRow { row, flags: 0 };
    let key = |dimension, value| AuthzRowKey { set: SET, dimension, value };
    let block = AuthzBlockKey { prefix_bits: 32 + 96 + 8, set: SET, address: client.into() };
    let address = AuthzDestination::OTHERS;
    vec![
        Change::Words { first: every, words: bits(words, 0..count) },
        Change::Words { first: none, words: bits(words, 0..0) },
        Change::Words { first: last, words: bits(words, count - 1..count) },
        Change::Terms { first: 0, terms: terms(count) },
        Change::Set { index: SET, value },
        Change::Row { key: key(AuthzRowKey::IDENTITY, CLIENT), value: row(last) },
        Change::Row { key: key(AuthzRowKey::PORT, port.into()), value: row(every) },
        Change::Block { key: block, value: row(every) },
        source(client),
        Change::Destination { address, value: AuthzDestination { set: SET, row: every } },
        Change::Active(true),
    ]
}

/// The client has this address.
pub fn source(client: IpAddr) -> Change {
    let value = AuthzSource { identity: CLIENT, ..AuthzSource::default() };
    Change::Source { address: client.into(), value }
}

fn bits(words: u32, set: std::ops::Range<u32>) -> Vec<u64> {
    let mut row = vec![0; words as usize];
    for bit in set {
        row[(bit / BITS_PER_WORD) as usize] |= 1 << (bit % BITS_PER_WORD);
    }
    row
}

fn terms(count: u32) -> Vec<u32> {
    (0..count).map(|policy| Term::new(policy, 0).into()).collect()
}
