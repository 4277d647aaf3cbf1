//! Bytes that nobody wrote on purpose.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Bench, answered, bytes, entry, ips, kubernetes, parsed, query, reply_to, snapshot};
use super::{endpoint, with_edns};
use crate::Resolver;
use crate::cache::{Cache, Key};
use crate::resolver::Step;
use crate::wire::{Request, Transport};

fn resolver() -> Resolver {
    let resolver = Resolver::new("cluster.local");
    let mut db = kubernetes("shop", "db", &[]);
    db.endpoints = (1..200)
        .map(|n| endpoint(Some("db-0"), &format!("fd00::{n:x}"), model::Health::Healthy))
        .collect();
    resolver.update(&snapshot([
        db,
        kubernetes("shop", "web", &["10.96.0.1", "fd00::1"]),
        entry("shop", "*.example.com", &["240.240.0.1"]),
    ]));
    resolver
}

/// A good query with some bytes changed, cut or added.
fn bent_query() -> impl Strategy<Value = Vec<u8>> {
    let names = prop_oneof![
        Just("web.shop.svc.cluster.local."),
        Just("a.example.com.shop.svc.cluster.local."),
        Just("db."),
        Just("."),
    ];
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (
        names,
        any::<u16>(),
        any::<bool>(),
        changes,
        any::<prop::sample::Index>(),
        vec(any::<u8>(), 0..4),
    )
        .prop_map(|(name, kind, edns, changes, cut, more)| {
            let mut message = query(name, RecordType::from(kind % 70));
            if edns {
                message = with_edns(message, kind, true);
            }
            let mut wire = bytes(&message);
            for (index, value) in changes {
                let at = index.index(wire.len());
                wire[at] = value;
            }
            if !more.is_empty() {
                wire.truncate(cut.index(wire.len()));
            }
            wire.extend(more);
            wire
        })
}

fn check(wire: &[u8]) {
    let resolver = resolver();
    for transport in [Transport::Udp, Transport::Tcp] {
        match resolver.begin("shop", wire, transport) {
            Step::Silence => assert!(wire.len() < 12 || wire[2] & 0x80 != 0),
            Step::Forward(request) => {
                assert_eq!(request.wire, wire);
                parsed(&request.empty_reply(crate::wire::Rcode::ServFail));
            }
            Step::Reply(reply) => {
                let request = Request::parse(wire);
                let limit = request.as_ref().map_or(512, |r| r.answer_bytes_max(transport));
                assert!(reply.len() <= limit);
                let message = parsed(&reply);
                assert_eq!(reply[..2], wire[..2]);
                let readable = request.is_ok();
                let refused = [ResponseCode::FormErr, ResponseCode::NotImp];
                assert_eq!(!readable, refused.contains(&message.metadata.response_code));
            }
        }
    }
}

/// An answer with some bytes changed or cut.
fn bent_reply() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (any::<bool>(), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(negative, changes, cut, whole)| {
            let query = bytes(&with_edns(query("example.com.", RecordType::A), 1232, true));
            let addresses = if negative { vec![] } else { ips(&["192.0.2.1", "192.0.2.2"]) };
            let mut reply = reply_to(&query, 60, &addresses);
            let soa = SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, 5);
            reply.add_authority(Record::from_rdata(Name::root(), 30, RData::SOA(soa)));
            let mut wire = bytes(&reply);
            for (index, value) in changes {
                let at = index.index(wire.len());
                wire[at] = value;
            }
            if !whole {
                wire.truncate(cut.index(wire.len()));
            }
            wire
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_get_an_error_or_nothing(wire in vec(any::<u8>(), 0..600)) {
        check(&wire);
    }

    #[test]
    fn any_bytes_that_begin_like_a_query_are_survived(rest in vec(any::<u8>(), 0..100), extra in 0u8..3) {
        let mut wire = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, extra];
        wire.extend(rest);
        check(&wire);
    }

    #[test]
    fn bent_queries_are_survived(wire in bent_query()) {
        check(&wire);
    }

    #[test]
    fn bent_answers_are_survived(reply in bent_reply()) {
        let wire = bytes(&with_edns(query("example.com.", RecordType::A), 1232, true));
        let request = Request::parse(&wire).expect("a query");
        if request.is_answered_by(&reply, [0x12, 0x34]) {
            let mut adopted = reply.clone();
            request.adopt(&mut adopted);
            let now = Instant::now();
            let mut cache = Cache::default();
            let key = Key::of(&request, 0, &[].into()).expect("a common query");
            cache.put(key.clone(), &request, &adopted, now);
            if let Some(cached) = cache.get(&key, &request, now) {
                assert_eq!(cached[12..request.question_end], wire[12..request.question_end]);
                assert!(crate::wire::records(&cached, request.question_end).is_some());
            }
            assert!(request.fit(adopted, Transport::Udp).len() <= 1232);
        }
    }
}

#[tokio::test]
async fn a_server_that_got_rubbish_answers_the_next_query() {
    let bench = Bench::start(vec![kubernetes("shop", "web", &["10.96.0.1"])], &[]).await;
    let socket = bench.client().await;
    let good = bytes(&query("web.", RecordType::A));
    for at in 0..good.len() {
        for value in [0, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
            let mut wire = good.clone();
            wire[at] = value;
            socket.send(&wire).await.expect("sent");
        }
        // At its own pace, or the kernel drops what does not fit.
        assert_eq!(answered(&bench.ask(&query("web.", RecordType::A)).await), ips(&["10.96.0.1"]));
    }
}
