//! What is passed on, and how it comes back.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::{
    Bench, Upstream, answered, bytes, error_to, ip, ips, parsed, query, reply_to, with_edns,
};
use crate::Counts;
use crate::wire::Transport;

#[tokio::test]
async fn a_query_and_its_answer_pass_unchanged_but_for_the_id() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query, 60, &[]);
        let name = parsed(query).queries[0].name.clone();
        let data =
            RData::Unknown { code: RecordType::Unknown(65000), rdata: NULL::with(vec![1, 2, 3]) };
        reply.add_answer(Record::from_rdata(name, 60, data));
        reply.metadata.authentic_data = true;
        vec![bytes(&reply)]
    })
    .await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let query = with_edns(query("Example.COM.", RecordType::Unknown(65000)), 1400, true);
    let wire = bytes(&query);
    let reply = bench.ask_bytes(&wire).await;
    let seen = upstream.seen.lock().expect("not poisoned").clone();
    assert_eq!(seen[0][2..], wire[2..], "the same but for the id");
    let mut expected = reply_to(&wire, 60, &[]);
    expected.metadata.authentic_data = true;
    let data =
        RData::Unknown { code: RecordType::Unknown(65000), rdata: NULL::with(vec![1, 2, 3]) };
    expected.add_answer(Record::from_rdata(query.queries[0].name.clone(), 60, data));
    assert_eq!(reply, bytes(&expected));
    assert_eq!(bench.resolver.counts(), Counts { forwarded: 1, ..Counts::default() });
}

#[tokio::test]
async fn classes_other_than_the_internet_pass_on() {
    let upstream = Upstream::start(|query, _| vec![error_to(query, ResponseCode::NXDomain)]).await;
    let services = vec![super::entry("shop", "example.com", &["240.240.0.1"])];
    let bench = Bench::start(services, &[upstream.address]).await;
    let mut chaos = query("example.com.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(bench.ask(&chaos).await.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_second_query_is_answered_from_the_cache_until_the_ttl_ends() {
    let upstream = Upstream::counting(60).await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let query = query("example.com.", RecordType::A);
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.0.0.1"]));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    for reply in [bench.ask(&query).await, bench.ask_tcp(&query).await] {
        assert_eq!(answered(&reply), ips(&["10.0.0.1"]));
        assert!((30..=40).contains(&reply.answers[0].ttl), "{}", reply.answers[0].ttl);
    }
    let counts = bench.resolver.counts();
    assert_eq!((counts.forwarded, counts.cache_hit, upstream.count()), (1, 2, 1));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(40)).await;
    tokio::time::resume();
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.0.0.2"]));
}

#[tokio::test]
async fn what_is_not_the_answer_is_passed_over() {
    let upstream = Upstream::start(|wire, _| {
        let mut wrong_id = reply_to(wire, 60, &[ip("192.0.2.66")]);
        wrong_id.metadata.id = wrong_id.metadata.id.wrapping_add(1);
        let mut wrong_name = bytes(&reply_to(wire, 60, &[ip("192.0.2.66")]));
        wrong_name[13] = b'x';
        let right = bytes(&reply_to(wire, 60, &[ip("192.0.2.1")]));
        vec![bytes(&wrong_id), wrong_name, vec![1], Vec::new(), right]
    })
    .await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let reply = bench.ask(&query("example.com.", RecordType::A)).await;
    assert_eq!(answered(&reply), ips(&["192.0.2.1"]));
}

#[tokio::test]
async fn a_resolver_that_is_gone_or_fails_is_passed_over() {
    let gone = super::pair().await.0.local_addr().expect("an address");
    let failing = Upstream::start(|query, _| vec![error_to(query, ResponseCode::ServFail)]).await;
    let good = Upstream::counting(0).await;
    let bench = Bench::start(Vec::new(), &[gone, failing.address, good.address]).await;
    let query = query("example.com.", RecordType::A);
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.0.0.1"]));
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.0.0.2"]));
    assert_eq!((failing.count(), bench.resolver.counts().forwarded), (2, 2));
}

#[tokio::test]
async fn when_all_resolvers_report_a_failure_the_first_report_counts() {
    let refusing = Upstream::start(|query, _| vec![error_to(query, ResponseCode::Refused)]).await;
    let failing = Upstream::start(|query, _| vec![error_to(query, ResponseCode::ServFail)]).await;
    let bench = Bench::start(Vec::new(), &[refusing.address, failing.address]).await;
    let reply = bench.ask(&query("example.com.", RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test(start_paused = true)]
async fn silence_is_servfail_and_a_silent_resolver_is_asked_last_for_a_while() {
    let (silent, good) = (Upstream::silent().await, Upstream::counting(0).await);
    let bench = Bench::start(Vec::new(), &[silent.address, good.address]).await;
    let query = query("example.com.", RecordType::A);
    bench.ask(&query).await;
    bench.ask(&query).await;
    assert_eq!((silent.count(), good.count()), (1, 2));
    tokio::time::advance(Duration::from_secs(11)).await;
    bench.ask(&query).await;
    assert_eq!((silent.count(), good.count()), (2, 3));

    let bench = Bench::start(Vec::new(), &[silent.address]).await;
    let reply = bench.ask(&with_edns(query.clone(), 1232, false)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(reply.queries, query.queries);
    assert!(reply.edns.is_some());
    assert_eq!(bench.resolver.counts().forward_failed, 1);
    let bench = Bench::start(Vec::new(), &[]).await;
    assert_eq!(bench.ask(&query).await.metadata.response_code, ResponseCode::ServFail);
}

/// A hundred addresses by TCP, a cut answer by UDP.
async fn large() -> Upstream {
    Upstream::start(|query, transport| {
        let mut reply = reply_to(query, 60, &ips(&["192.0.2.1"; 100]));
        if transport == Transport::Udp {
            reply.answers.clear();
            reply.metadata.truncation = true;
        }
        vec![bytes(&reply)]
    })
    .await
}

#[tokio::test]
async fn a_client_by_tcp_gets_the_whole_answer_and_one_by_udp_is_told_to_come_by_tcp() {
    let upstream = large().await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let query = query("example.com.", RecordType::A);
    let reply = bench.ask(&query).await;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(upstream.count(), 1);
    let reply = bench.ask_tcp(&query).await;
    assert!(!reply.metadata.truncation);
    assert_eq!(answered(&reply).len(), 100);
    assert_eq!(upstream.count(), 3);
    // The whole answer is known now; it still does not fit.
    let reply = bench.ask(&query).await;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!((upstream.count(), bench.resolver.counts().cache_hit), (3, 1));
    assert_eq!(reply.queries, query.queries);
}
