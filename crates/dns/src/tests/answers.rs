//! Answers from the name table, read back by the DNS library.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use model::{Health, Service};

use super::{
    answered, bytes, endpoint, entry, ips, kubernetes, parsed, query, snapshot, with_edns,
};
use crate::resolver::Step;
use crate::wire::Transport;
use crate::{Resolver, TABLE_TTL_SECONDS};

fn ask(services: Vec<Service>, query: &Message, transport: Transport) -> Option<Message> {
    let resolver = Resolver::new("cluster.local");
    resolver.update(&snapshot(services));
    match resolver.begin("shop", &bytes(query), transport) {
        Step::Reply(reply) => {
            assert_eq!(resolver.counts().answered_locally, 1);
            Some(parsed(&reply))
        }
        Step::Silence => panic!("no answer"),
        Step::Forward(_) => None,
    }
}

fn web() -> Vec<Service> {
    vec![
        kubernetes("shop", "web", &["10.96.0.1", "fd00::1"]),
        entry("shop", "example.com", &["240.240.0.1"]),
    ]
}

#[test]
fn each_family_gets_its_own_addresses() {
    for (kind, expected) in
        [(RecordType::A, &["10.96.0.1"][..]), (RecordType::AAAA, &["fd00::1"][..])]
    {
        let query = query("Web.shop.svc.cluster.local.", kind);
        let reply = ask(web(), &query, Transport::Udp).expect("a local answer");
        assert_eq!(answered(&reply), ips(expected));
        assert_eq!(reply.metadata.id, 0x1234);
        assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
        assert!(reply.metadata.recursion_desired);
        assert_eq!(reply.queries, query.queries);
        assert!(reply.queries[0].name.eq_case(&query.queries[0].name));
        assert_eq!(reply.answers[0].name, query.queries[0].name);
        assert_eq!(reply.answers[0].ttl, TABLE_TTL_SECONDS);
        assert_eq!(reply.edns, None);
    }
}

#[test]
fn a_family_that_is_missing_is_no_error_and_no_answer() {
    let query = query("example.com.", RecordType::AAAA);
    let reply = ask(web(), &query, Transport::Udp).expect("a local answer");
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.answers.is_empty());
    let RData::SOA(soa) = &reply.authorities[0].data else { panic!("no SOA") };
    assert_eq!((soa.minimum, reply.authorities[0].ttl), (TABLE_TTL_SECONDS, TABLE_TTL_SECONDS));
}

#[test]
fn an_alias_says_whose_addresses_follow() {
    let query = query("example.com.shop.svc.cluster.local.", RecordType::A);
    let reply = ask(web(), &query, Transport::Udp).expect("a local answer");
    let target = Name::from_ascii("example.com.").expect("a name");
    assert_eq!(reply.answers.len(), 2);
    let RData::CNAME(alias) = &reply.answers[0].data else { panic!("no CNAME") };
    assert_eq!((&reply.answers[0].name, &alias.0), (&query.queries[0].name, &target));
    assert_eq!(reply.answers[1].name, target);
    assert_eq!(answered(&reply), ips(&["240.240.0.1"]));

    let query = super::query("example.com.shop.svc.cluster.local.", RecordType::AAAA);
    let reply = ask(web(), &query, Transport::Udp).expect("a local answer");
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.authorities[0].name, target);
}

#[test]
fn other_types_pass_on_but_for_those_that_carry_addresses() {
    for kind in [RecordType::TXT, RecordType::MX, RecordType::SRV, RecordType::Unknown(65000)] {
        assert_eq!(ask(web(), &query("example.com.", kind), Transport::Udp), None, "{kind}");
    }
    for kind in [RecordType::HTTPS, RecordType::SVCB] {
        let reply = ask(web(), &query("example.com.", kind), Transport::Udp).expect("an answer");
        assert!(reply.answers.is_empty() && !reply.authorities.is_empty());
    }
    let any = query("web.shop.svc.cluster.local.", RecordType::ANY);
    let reply = ask(web(), &any, Transport::Udp).expect("an answer");
    let mut all = answered(&reply);
    all.sort_unstable();
    assert_eq!(all, ips(&["10.96.0.1", "fd00::1"]));
    let unknown = query("unknown.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(ask(web(), &unknown, Transport::Udp), None);
}

#[test]
fn edns_is_answered_with_edns_and_a_later_version_with_badvers() {
    let query = with_edns(query("example.com.", RecordType::A), 1232, true);
    let reply = ask(web(), &query, Transport::Udp).expect("an answer");
    let edns = reply.edns.expect("EDNS");
    assert!(edns.flags().dnssec_ok);
    assert_eq!((edns.version(), edns.max_payload()), (0, 1232));

    let mut later = query.clone();
    later.edns.as_mut().expect("EDNS").set_version(1);
    let reply = ask(web(), &later, Transport::Udp).expect("an answer");
    // BADVERS, which the library takes for the BADSIG of the same number.
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert!(reply.answers.is_empty());
}

#[test]
fn zone_transfers_are_refused() {
    let reply = ask(web(), &query("example.com.", RecordType::AXFR), Transport::Tcp);
    assert_eq!(reply.expect("an answer").metadata.response_code, ResponseCode::Refused);
}

#[test]
fn an_answer_too_large_for_udp_is_cut_and_says_so() {
    let mut db = kubernetes("shop", "db", &[]);
    let address = |n: usize| format!("10.0.{}.{}", n / 250, n % 250 + 1);
    db.endpoints = (0..1000).map(|n| endpoint(None, &address(n), Health::Healthy)).collect();
    let plain = query("db.shop.svc.cluster.local.", RecordType::A);
    // 12 bytes of header, 31 of question, 16 for each address, 11 for EDNS.
    for (query, fit) in [
        (plain.clone(), (512 - 12 - 31) / 16),
        (with_edns(plain.clone(), 100, false), (512 - 12 - 31 - 11) / 16),
        (with_edns(plain.clone(), 1232, false), (1232 - 12 - 31 - 11) / 16),
        (with_edns(plain.clone(), 65535, false), (4096 - 12 - 31 - 11) / 16),
    ] {
        let reply = ask(vec![db.clone()], &query, Transport::Udp).expect("an answer");
        assert!(reply.metadata.truncation);
        assert_eq!(answered(&reply).len(), fit);
        assert_eq!(reply.edns.is_some(), query.edns.is_some());
    }
    let reply = ask(vec![db], &plain, Transport::Tcp).expect("an answer");
    assert!(!reply.metadata.truncation);
    assert_eq!(answered(&reply).len(), 1000);
}

#[test]
fn several_addresses_take_turns_to_be_first() {
    let resolver = Resolver::new("cluster.local");
    resolver.update(&snapshot([kubernetes("shop", "web", &["10.0.0.1", "10.0.0.2"])]));
    let query = bytes(&query("web.", RecordType::A));
    let first = || match resolver.begin("shop", &query, Transport::Udp) {
        Step::Reply(reply) => answered(&parsed(&reply))[0],
        _ => panic!("no answer"),
    };
    assert_eq!([first(), first(), first()].to_vec(), ips(&["10.0.0.1", "10.0.0.2", "10.0.0.1"]));
}
