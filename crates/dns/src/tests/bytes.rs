//! Reading queries.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};

use super::{bytes, error_to, parsed, query, reply_to, with_edns};
use crate::wire::{Rejected, Request, Transport};

fn rejected(wire: &[u8]) -> Message {
    match Request::parse(wire) {
        Err(Rejected::With(reply)) => parsed(&reply),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_query_gets_no_answer() {
    let reply = bytes(&reply_to(&bytes(&query("a.", RecordType::A)), 1, &[]));
    for wire in [&[][..], &[0; 11], &reply] {
        assert_eq!(Request::parse(wire).map(|_| ()), Err(Rejected::Silently));
    }
}

#[test]
fn what_cannot_be_read_gets_formerr() {
    let good = bytes(&query("a.example.com.", RecordType::A));
    let mut two = query("a.", RecordType::A);
    two.add_query(Query::query(Name::root(), RecordType::A));
    let mut none = query("a.", RecordType::A);
    none.queries.clear();
    let edns = bytes(&with_edns(query("a.", RecordType::A), 1232, false));
    let mut two_opts = edns.clone();
    two_opts[11] = 2;
    two_opts.extend_from_slice(&edns[edns.len() - 11..]);
    let mut named_opt = edns.clone();
    let at = named_opt.len() - 11;
    named_opt.splice(at..=at, [1, b'a', 0]);
    let mut pointer = good[..12].to_vec();
    pointer.extend([0xc0, 0x04, 0, 1, 0, 1]);
    let mut large = edns.clone();
    large.resize(4097, 0);
    let cases = [
        good[..good.len() - 1].to_vec(),
        bytes(&two),
        bytes(&none),
        two_opts,
        named_opt,
        edns[..edns.len() - 1].to_vec(),
        pointer,
        large,
    ];
    for wire in cases {
        let reply = rejected(&wire);
        assert_eq!(reply.metadata.response_code, ResponseCode::FormErr, "{wire:02x?}");
        assert_eq!(reply.metadata.id, 0x1234);
        assert!(reply.queries.is_empty());
    }
}

#[test]
fn operations_other_than_queries_get_notimp() {
    let mut update = query("a.", RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    let reply = rejected(&bytes(&update));
    assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
    assert_eq!(reply.metadata.op_code, OpCode::Notify);
}

#[test]
fn a_query_says_how_large_its_answer_may_be() {
    let plain = query("a.", RecordType::A);
    let size = |message: &Message, transport| {
        Request::parse(&bytes(message)).expect("a query").answer_bytes_max(transport)
    };
    assert_eq!(size(&plain, Transport::Udp), 512);
    assert_eq!(size(&plain, Transport::Tcp), 65535);
    assert_eq!(size(&with_edns(plain.clone(), 1400, false), Transport::Udp), 1400);
}

#[test]
fn options_that_may_change_the_answer_make_a_query_particular() {
    let common = |code: u16| {
        let mut message = with_edns(query("a.", RecordType::A), 1232, false);
        let options = message.edns.as_mut().expect("EDNS").options_mut();
        options.insert(EdnsOption::Unknown(code, vec![1; 8]));
        Request::parse(&bytes(&message)).expect("a query").common
    };
    assert!(common(u16::from(EdnsCode::Cookie)));
    assert!(common(u16::from(EdnsCode::Padding)));
    assert!(!common(65001));
    assert!(Request::parse(&bytes(&query("a.", RecordType::A))).expect("a query").common);
}

#[test]
fn names_that_no_host_has_are_not_looked_up() {
    let host = |labels: &[&[u8]]| {
        let mut message = query("a.", RecordType::A);
        message.queries[0].name = Name::from_labels(labels.to_vec()).expect("a name");
        Request::parse(&bytes(&message)).expect("a query").host()
    };
    assert_eq!(host(&[b"_a", b"Example", b"COM"]).as_deref(), Some("_a.example.com"));
    assert_eq!(host(&[b"a.b", b"com"]), None);
    assert_eq!(host(&[b"a b", b"com"]), None);
    assert_eq!(host(&[b"\xc3\xa4", b"com"]), None);
    assert_eq!(host(&[]), None);
}

#[test]
fn only_an_answer_to_the_very_query_counts() {
    let wire = bytes(&query("a.example.com.", RecordType::A));
    let request = Request::parse(&wire).expect("a query");
    let id = [0x12, 0x34];
    let good = bytes(&reply_to(&bytes(&query("A.Example.COM.", RecordType::A)), 1, &[]));
    assert!(request.is_answered_by(&good, id));
    assert!(!request.is_answered_by(&good, [0x12, 0x35]));
    assert!(!request.is_answered_by(&wire, id), "a query");
    assert!(!request.is_answered_by(&good[..11], id));
    for other in [query("b.example.com.", RecordType::A), query("a.example.com.", RecordType::MX)] {
        let other = bytes(&reply_to(&bytes(&other), 1, &[]));
        assert!(!request.is_answered_by(&other, id));
    }
    let mut bare = error_to(&wire, ResponseCode::Refused)[..12].to_vec();
    bare[5] = 0;
    assert!(request.is_answered_by(&bare, id), "an error without its question");
    bare[3] &= 0xf0;
    assert!(!request.is_answered_by(&bare, id));
}
