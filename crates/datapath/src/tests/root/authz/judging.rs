//! The verdict of the programs' own function on tables that are written by hand.

use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::AsFd;

use abi::authz::{
    AuthzBlockKey, AuthzDestination, AuthzRow, AuthzRowKey, AuthzSet, AuthzSource, Change, Term,
};
use abi::limits::AUTHZ_WORDS_PER_SET_MAX;
use abi::{IpAddress, Reason};
use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::super::{ETHERNET_HEADER_BYTES, Place};
use super::{
    ALLOW, DENY, EVERY_TERM, FOE, FRIEND, SET, STRANGER, UNDECIDED, holds_for, set, set_changes,
    source,
};
use crate::skeleton::test::{KmeshTestSkel, KmeshTestSkelBuilder};
use crate::{Datapath, Maps};

/// Calls that `bpf/tests/authz.bpf.c` `test_judge` takes in one packet.
const CALLS_MAX: usize = 24;

/// One connection in the packet, and the verdict on it.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct JudgeCall {
    source: IpAddress,
    destination: IpAddress,
    port: u32,
    refused: u32,
    reason: u32,
    by_policy: u32,
    term: u32,
    reserved: u32,
}

/// A connection that comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
}

/// What becomes of it, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Passed(Option<Term>),
    Exempt(Reason),
    Refused(Reason, Option<Term>),
}

/// Asks the programs' own function, on the maps of `maps`.
pub(super) struct Judge<'obj> {
    skel: KmeshTestSkel<'obj>,
}

impl<'obj> Judge<'obj> {
    pub fn new(maps: &Maps, storage: &'obj mut MaybeUninit<libbpf_rs::OpenObject>) -> Self {
        let mut open = KmeshTestSkelBuilder::default().open(storage).expect("the object opens");
        let authz = &maps.authz;
        open.maps.authz_sources.reuse_fd(authz.sources.as_fd()).expect("sources");
        open.maps.authz_destinations.reuse_fd(authz.destinations.as_fd()).expect("destinations");
        open.maps.authz_rows.reuse_fd(authz.rows.as_fd()).expect("rows");
        open.maps.authz_blocks.reuse_fd(authz.blocks.as_fd()).expect("blocks");
        open.maps.authz_sets.reuse_fd(authz.sets.map().as_fd()).expect("sets");
        open.maps.authz_words.reuse_fd(authz.words.map().as_fd()).expect("words");
        open.maps.authz_terms.reuse_fd(authz.terms.map().as_fd()).expect("terms");
        open.maps.authz_counts.reuse_fd(authz.counts.as_fd()).expect("counts");
        open.maps.counters.reuse_fd(maps.counters.as_fd()).expect("counters");
        Self { skel: open.load().expect("the object loads") }
    }

    pub fn judge(&self, connections: &[Connection]) -> Vec<Judgement> {
        connections.chunks(CALLS_MAX).flat_map(|some| self.judge_some(some)).collect()
    }

    fn judge_some(&self, connections: &[Connection]) -> Vec<Judgement> {
        let mut packet = vec![0; ETHERNET_HEADER_BYTES];
        for one in connections {
            let call = JudgeCall {
                source: one.source.into(),
                destination: one.destination.into(),
                port: one.port.into(),
                ..JudgeCall::default()
            };
            packet.extend_from_slice(call.as_bytes());
        }
        let mut answer = packet.clone();
        let input = ProgramInput {
            data_in: Some(&packet),
            data_out: Some(&mut answer),
            ..ProgramInput::default()
        };
        self.skel.progs.test_judge.test_run(input).expect("the program runs");
        let calls = answer[ETHERNET_HEADER_BYTES..].chunks_exact(size_of::<JudgeCall>());
        calls.map(|call| verdict(&JudgeCall::read_from_bytes(call).expect("a call"))).collect()
    }
}

fn verdict(call: &JudgeCall) -> Judgement {
    let term = (call.by_policy != 0).then(|| Term::from(call.term));
    let reason = Reason::from_number(call.reason as u16);
    match (call.refused, reason) {
        (0, None) => Judgement::Passed(term),
        (0, Some(reason)) => Judgement::Exempt(reason),
        (_, reason) => Judgement::Refused(reason.expect("a reason"), term),
    }
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const CLOSED: Judgement = Judgement::Refused(Reason::AuthzClosed, None);
const PASSED: Judgement = Judgement::Passed(None);

/// The tables of one test, and the function that judges by them.
struct Court<'a> {
    datapath: &'a Datapath,
    judge: Judge<'a>,
}

impl Court<'_> {
    fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let changes: Vec<_> = changes.into_iter().collect();
        self.datapath.maps().apply_authz(&changes).expect("the changes apply");
    }

    /// The verdict on a connection from [`CLIENT`] to [`SERVER`] at port 80.
    fn verdict(&self) -> Judgement {
        self.on(Connection { source: CLIENT, destination: SERVER, port: 80 })
    }

    fn on(&self, connection: Connection) -> Judgement {
        self.judge.judge(&[connection])[0]
    }

    fn count(&self, term: Term) -> (u64, u64, u64) {
        let count = self.datapath.maps().authz_count(term.policy).expect("a count");
        (count.allowed, count.denied, count.dry_run)
    }
}

/// Runs a test on tables with [`SET`] for [`SERVER`].
fn in_court(name: &str, test: impl FnOnce(&Court<'_>)) {
    let place = Place::new(name);
    let datapath = place.load();
    let mut storage = MaybeUninit::uninit();
    let judge = Judge::new(datapath.maps(), &mut storage);
    let court = Court { datapath: &datapath, judge };
    court.apply(set_changes());
    court.apply([holds_for(SERVER)]);
    test(&court);
}

#[test]
fn deny_comes_before_allow_and_the_verdict_names_policy_and_rule() {
    in_court("authz_order", |court| {
        let both = vec![1, 1, 1];
        court.apply([source(CLIENT, FOE)]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzDenied, Some(DENY)));
        court.apply([Change::Words { first: super::TERMS_OF_FOE, words: both }]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzDenied, Some(DENY)));
        court.apply([source(CLIENT, FRIEND)]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
    });
}

#[test]
fn what_no_allow_policy_matches_is_refused_also_where_there_is_no_such_term() {
    in_court("authz_allow", |court| {
        let refused = Judgement::Refused(Reason::AuthzNotAllowed, None);
        court.apply([source(CLIENT, STRANGER)]);
        assert_eq!(court.verdict(), refused);
        let empty = AuthzSet { allow_words: 0, words: 1, ..set() };
        court.apply([Change::Set { index: SET, value: empty }]);
        assert_eq!(court.verdict(), refused);
        let only_deny = AuthzSet { flags: AuthzSet::USES_IDENTITY, ..empty };
        court.apply([Change::Set { index: SET, value: only_deny }]);
        assert_eq!(court.verdict(), PASSED);
    });
}

#[test]
fn an_unknown_source_has_no_identity_unless_all_others_have_one() {
    in_court("authz_unknown", |court| {
        let friendly = AuthzSet { no_identity_row: super::TERMS_OF_FRIEND, ..set() };
        court.apply([Change::Set { index: SET, value: friendly }]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
        court.apply([source(AuthzSource::OTHERS.ip(), STRANGER)]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzNotAllowed, None));
        court.apply([source(CLIENT, AuthzSource::NO_IDENTITY)]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)), "known to have none");
    });
}

#[test]
fn what_cannot_be_judged_is_refused() {
    in_court("authz_closed", |court| {
        court.apply([source(CLIENT, FRIEND)]);
        let elsewhere = Connection { source: CLIENT, destination: CLIENT, port: 80 };
        assert_eq!(court.on(elsewhere), CLOSED, "nothing says what holds there");
        let at = |set, row| Change::Destination {
            address: SERVER.into(),
            value: AuthzDestination { set, row },
        };
        court.apply([at(AuthzDestination::CLOSED, EVERY_TERM)]);
        assert_eq!(court.verdict(), CLOSED, "the set that refuses everything");
        court.apply([at(super::LIMITS.authz_sets_max, EVERY_TERM)]);
        assert_eq!(court.verdict(), CLOSED, "no such set");
        court.apply([at(SET, super::LIMITS.authz_words_max)]);
        assert_eq!(court.verdict(), CLOSED, "no such row");
        court.apply([at(SET, EVERY_TERM), source(CLIENT, AuthzSource::IDENTITY_CLOSED)]);
        assert_eq!(court.verdict(), CLOSED, "an identity that could be two");
        let without_identities = AuthzSet { flags: AuthzSet::HAS_ALLOW, ..set() };
        court.apply([Change::Set { index: SET, value: without_identities }]);
        let denied = Judgement::Refused(Reason::AuthzDenied, Some(DENY));
        assert_eq!(court.verdict(), denied, "it does not matter who dials");
        let closed = AuthzSet { flags: AuthzSet::CLOSED, ..AuthzSet::default() };
        court.apply([source(CLIENT, FRIEND), Change::Set { index: SET, value: closed }]);
        assert_eq!(court.verdict(), CLOSED, "a set that is closed");
        let words = AUTHZ_WORDS_PER_SET_MAX + 1;
        let too_long = AuthzSet { words, deny_words: words, ..set() };
        court.apply([Change::Words { first: 0, words: vec![0; words as usize] }]);
        court.apply([Change::Set { index: SET, value: too_long }]);
        assert_eq!(court.verdict(), CLOSED, "more words than are looked at");
    });
}

#[test]
fn the_node_passes_whatever_the_policies_say_and_so_does_a_waypoint_that_is_trusted() {
    in_court("authz_exempt", |court| {
        let node = AuthzSource { identity: FOE, flags: AuthzSource::NODE, reserved: 0 };
        court.apply([Change::Source { address: CLIENT.into(), value: node }]);
        assert_eq!(court.verdict(), Judgement::Exempt(Reason::AuthzNode));
        let trusted = AuthzRow { row: super::TERMS_OF_FOE, flags: AuthzRow::TRUSTED };
        let key = AuthzRowKey { set: SET, dimension: AuthzRowKey::IDENTITY, value: FOE };
        court.apply([source(CLIENT, FOE), Change::Row { key, value: trusted }]);
        assert_eq!(court.verdict(), Judgement::Exempt(Reason::AuthzTrustedWaypoint));
        // A set without identities in its policies looks for waypoints alone.
        let flags = AuthzSet::HAS_ALLOW | AuthzSet::HAS_TRUSTED;
        court.apply([Change::Set { index: SET, value: AuthzSet { flags, ..set() } }]);
        assert_eq!(court.verdict(), Judgement::Exempt(Reason::AuthzTrustedWaypoint));
        court.apply([source(CLIENT, FRIEND)]);
        let denied = Judgement::Refused(Reason::AuthzDenied, Some(DENY));
        assert_eq!(court.verdict(), denied, "its row does not count: every term holds");
    });
}

#[test]
fn ports_and_blocks_of_sources_have_rows_of_their_own() {
    in_court("authz_dimensions", |court| {
        let flags = AuthzSet::HAS_ALLOW | AuthzSet::USES_PORT | AuthzSet::USES_ADDRESS;
        let (port_row, address_row) = (super::TERMS_OF_OTHERS, super::TERMS_OF_FRIEND);
        let value = AuthzSet { flags, port_row, address_row, ..set() };
        let key = AuthzRowKey { set: SET, dimension: AuthzRowKey::PORT, value: 80 };
        let row = |row| AuthzRow { row, flags: 0 };
        court.apply([Change::Set { index: SET, value }]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzNotAllowed, None));
        court.apply([Change::Row { key, value: row(super::TERMS_OF_FRIEND) }]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));

        let block = |set, bits: u32, address: IpAddr, value| Change::Block {
            key: AuthzBlockKey { prefix_bits: 32 + bits, set, address: address.into() },
            value: row(value),
        };
        let v6 = "fd00::1".parse().expect("an address");
        court.apply([
            block(SET, 96 + 8, CLIENT, super::TERMS_OF_OTHERS),
            block(SET + 1, 128, CLIENT, super::TERMS_OF_FRIEND),
            block(SET | AuthzBlockKey::DESTINATION, 128, CLIENT, super::TERMS_OF_FRIEND),
            block(SET, 16, v6, super::TERMS_OF_OTHERS),
        ]);
        let from = |source| court.on(Connection { source, destination: SERVER, port: 80 });
        let refused = Judgement::Refused(Reason::AuthzNotAllowed, None);
        assert_eq!(from(CLIENT), refused, "10.0.0.0/8");
        assert_eq!(from(v6), refused, "fd00::/16");
        assert_eq!(from([11, 0, 0, 1].into()), Judgement::Passed(Some(ALLOW)), "in no block");
        court.apply([block(SET, 128, CLIENT, super::TERMS_OF_FRIEND)]);
        assert_eq!(from(CLIENT), Judgement::Passed(Some(ALLOW)), "the smallest block counts");
    });
}

#[test]
fn an_address_without_an_entry_is_judged_by_that_of_all_others_and_by_its_block() {
    in_court("authz_others", |court| {
        let flags = AuthzSet::HAS_ALLOW | AuthzSet::USES_DESTINATION;
        court.apply([
            Change::Set { index: SET, value: AuthzSet { flags, ..set() } },
            Change::Destination {
                address: AuthzDestination::OTHERS,
                value: AuthzDestination { set: SET, row: super::TERMS_OF_FRIEND },
            },
            Change::Block {
                key: AuthzBlockKey {
                    prefix_bits: 32 + 96 + 24,
                    set: SET | AuthzBlockKey::DESTINATION,
                    address: IpAddr::from([10, 7, 0, 0]).into(),
                },
                value: AuthzRow { row: super::TERMS_OF_FOE, flags: 0 },
            },
        ]);
        let to = |destination| court.on(Connection { source: CLIENT, destination, port: 80 });
        let denied = Judgement::Refused(Reason::AuthzDenied, Some(DENY));
        assert_eq!(to([10, 8, 0, 1].into()), Judgement::Passed(Some(ALLOW)));
        assert_eq!(to([10, 7, 0, 1].into()), denied);
        court.apply([Change::Destination {
            address: IpAddr::from([10, 7, 0, 1]).into(),
            value: AuthzDestination { set: SET, row: super::TERMS_OF_FRIEND },
        }]);
        assert_eq!(to([10, 7, 0, 1].into()), Judgement::Passed(Some(ALLOW)), "no block counts");
    });
}

#[test]
fn a_row_and_terms_are_found_where_they_cross_from_one_window_of_the_mapping_into_the_next() {
    in_court("authz_window", |court| {
        // Windows are of 256 KiB.
        let last = (256 << 10) / size_of::<u64>() as u32 - 1;
        let set = AuthzSet {
            flags: AuthzSet::HAS_ALLOW,
            words: 2,
            deny_words: 1,
            allow_words: 1,
            deny_terms: last,
            // Bit 64 is the second term.
            allow_terms: last + 1 - 64,
            terms: 2,
            ..AuthzSet::default()
        };
        court.apply([
            Change::Words { first: last, words: vec![0, 1] },
            Change::Terms { first: last, terms: vec![DENY.into(), ALLOW.into()] },
            Change::Set { index: SET, value: set },
            Change::Destination {
                address: SERVER.into(),
                value: AuthzDestination { set: SET, row: last },
            },
        ]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
        court.apply([Change::Words { first: last, words: vec![1, 0] }]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzDenied, Some(DENY)));
    });
}

#[test]
fn the_last_bit_of_the_longest_set_is_found() {
    in_court("authz_longest", |court| {
        let words = AUTHZ_WORDS_PER_SET_MAX;
        let last = words as usize - 1;
        let first_term = 1_000;
        let mut row = vec![0; words as usize];
        row[last] = 1 << 63;
        let place = |parts: (u32, u32)| AuthzSet {
            flags: AuthzSet::HAS_ALLOW,
            words,
            deny_words: parts.0,
            allow_words: parts.1,
            deny_terms: first_term,
            allow_terms: first_term,
            undecided_terms: first_term,
            ..AuthzSet::default()
        };
        let term = first_term + words * 64 - 1;
        court.apply([
            Change::Words { first: 0, words: row },
            Change::Terms { first: term, terms: vec![ALLOW.into()] },
            Change::Set { index: SET, value: place((1, words - 1)) },
        ]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
        court.apply([Change::Set { index: SET, value: place((0, words)) }]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
        court.apply([Change::Set { index: SET, value: place((words, 0)) }]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzDenied, Some(ALLOW)));
        court.apply([Change::Set { index: SET, value: place((0, 0)) }]);
        assert_eq!(court.verdict(), Judgement::Refused(Reason::AuthzNotAllowed, None));
        assert_eq!(court.count(ALLOW), (2, 1, 1), "the last one decided nothing");
    });
}

#[test]
fn a_row_that_is_not_named_is_not_read_and_every_term_holds_in_it() {
    in_court("authz_all", |court| {
        let value = AuthzDestination { set: SET, row: AuthzRow::ALL };
        court.apply([source(CLIENT, FRIEND)]);
        court.apply([Change::Destination { address: SERVER.into(), value }]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
    });
}

#[test]
fn policies_are_counted_once_for_each_connection() {
    in_court("authz_counts", |court| {
        // Two terms of one policy, and one of another, that decide nothing.
        let other = Term { policy: 10, rule: 0 };
        let undecided = 2 * 64;
        court.apply([
            Change::Terms { first: undecided, terms: vec![UNDECIDED.into(); 3] },
            Change::Terms { first: undecided + 3, terms: vec![other.into()] },
            Change::Words { first: EVERY_TERM + 2, words: vec![0b1101] },
            Change::Words { first: super::TERMS_OF_FRIEND + 2, words: vec![0b1111] },
            source(CLIENT, FRIEND),
        ]);
        assert_eq!(court.verdict(), Judgement::Passed(Some(ALLOW)));
        court.apply([source(CLIENT, FOE)]);
        court.verdict();
        court.verdict();
        assert_eq!(court.count(ALLOW), (1, 0, 0));
        assert_eq!(court.count(DENY), (0, 2, 0));
        assert_eq!(court.count(UNDECIDED), (0, 0, 3), "the foe matches its first term");
        assert_eq!(court.count(other), (0, 0, 1));
        court.apply([Change::ResetCount { policy: DENY.policy }]);
        assert_eq!(court.count(DENY), (0, 0, 0));
        let reasons = court.datapath.maps().reasons().expect("reasons");
        assert!(reasons.contains(&(Reason::AuthzDenied, 2)), "{reasons:?}");
    });
}
