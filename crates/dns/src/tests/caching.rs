//! The cache of passed-on answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

use super::{answered, bytes, ip, ips, parsed, query, reply_to, with_edns};
use crate::cache::{ANSWERS_MAX, Cache, Key};
use crate::wire::Request;

struct Bench {
    cache: Cache,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { cache: Cache::default(), start: Instant::now() }
    }

    fn put(&mut self, query: &Message, reply: &Message) {
        let request = request(query);
        self.cache.put(key(&request, 0), &request, &bytes(reply), self.start);
    }

    /// What is there `seconds` after the start.
    fn get(&self, query: &Message, seconds: u64) -> Option<Message> {
        let request = request(query);
        let now = self.start + Duration::from_secs(seconds);
        self.cache.get(&key(&request, 0), &request, now).map(|reply| parsed(&reply))
    }
}

fn request(query: &Message) -> Request {
    Request::parse(&bytes(query)).expect("a query")
}

fn key(request: &Request, scope: u64) -> Key {
    let upstreams: Arc<[SocketAddr]> = ["10.96.0.10:53".parse().expect("an address")].into();
    Key::of(request, scope, &upstreams).expect("a common query")
}

fn positive(query: &Message, ttl: u32) -> Message {
    reply_to(&bytes(query), ttl, &ips(&["192.0.2.1"]))
}

fn negative(query: &Message, soa_ttl: Option<u32>, minimum: u32) -> Message {
    let mut reply = reply_to(&bytes(query), 0, &[]);
    reply.metadata.response_code = ResponseCode::NXDomain;
    if let Some(ttl) = soa_ttl {
        let soa = SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, minimum);
        reply.add_authority(Record::from_rdata(Name::root(), ttl, RData::SOA(soa)));
    }
    reply
}

#[tokio::test]
async fn an_answer_ages_and_ends_with_its_ttl() {
    let mut bench = Bench::new();
    let query = query("example.com.", RecordType::A);
    let mut reply = positive(&query, 60);
    reply.metadata.authoritative = true;
    reply.answers.push(super::address_record(&query.queries[0].name, 90, ip("192.0.2.2")));
    bench.put(&query, &reply);
    let cached = bench.get(&query, 25).expect("it is there");
    assert_eq!([cached.answers[0].ttl, cached.answers[1].ttl], [35, 65]);
    assert!(!cached.metadata.authoritative, "not from the source");
    assert_eq!(bench.get(&query, 59).expect("it is there").answers[0].ttl, 1);
    assert_eq!(bench.get(&query, 60), None);
    assert_eq!(bench.get(&query, 61), None);
}

#[tokio::test]
async fn a_hit_has_the_id_and_the_letters_of_its_own_query() {
    let mut bench = Bench::new();
    bench.put(
        &query("example.com.", RecordType::A),
        &positive(&query("example.com.", RecordType::A), 9),
    );
    let mut other = query("EXAMPLE.com.", RecordType::A);
    other.metadata.id = 7;
    let cached = bench.get(&other, 0).expect("it is there");
    assert_eq!(cached.metadata.id, 7);
    assert!(cached.queries[0].name.eq_case(&other.queries[0].name));
    assert_eq!(answered(&cached), ips(&["192.0.2.1"]));
}

#[tokio::test]
async fn edns_is_written_anew_and_queries_that_differ_do_not_share() {
    let mut bench = Bench::new();
    let plain = query("example.com.", RecordType::A);
    let edns = with_edns(plain.clone(), 1400, false);
    let secure = with_edns(plain.clone(), 1400, true);
    bench.put(&edns, &positive(&edns, 60));
    let cached = bench.get(&edns, 0).expect("it is there");
    assert_eq!(cached.edns.as_ref().map(|edns| edns.max_payload()), Some(1232));
    assert_eq!(answered(&cached).len(), 1);
    assert_eq!(bench.get(&secure, 0), None);
    assert_eq!(bench.get(&plain, 0), None);
    let mut unchecked = edns.clone();
    unchecked.metadata.checking_disabled = true;
    assert_eq!(bench.get(&unchecked, 0), None);
    assert_eq!(
        bench.get(&with_edns(query("example.com.", RecordType::AAAA), 1400, false), 0),
        None
    );
    let request = request(&edns);
    assert_eq!(bench.cache.get(&key(&request, 1), &request, bench.start), None);
}

#[tokio::test]
async fn nothing_there_holds_as_long_as_the_soa_says() {
    let query = query("none.example.com.", RecordType::A);
    for (soa_ttl, minimum, holds) in [(Some(50), 20, 20), (Some(15), 40, 15), (Some(900), 900, 300)]
    {
        let mut bench = Bench::new();
        bench.put(&query, &negative(&query, soa_ttl, minimum));
        let cached = bench.get(&query, holds - 1).expect("it is there");
        assert_eq!(cached.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(cached.authorities[0].ttl, 1);
        assert_eq!(bench.get(&query, holds), None);
    }
    let mut bench = Bench::new();
    bench.put(&query, &negative(&query, None, 0));
    assert_eq!(bench.get(&query, 0), None);
}

#[tokio::test]
async fn errors_and_parts_are_not_kept() {
    let mut bench = Bench::new();
    let query = query("example.com.", RecordType::A);
    let mut failed = positive(&query, 60);
    failed.metadata.response_code = ResponseCode::ServFail;
    let mut cut = positive(&query, 60);
    cut.metadata.truncation = true;
    for reply in [failed, cut, positive(&query, 0), positive(&query, 0x8000_0000)] {
        bench.put(&query, &reply);
        assert_eq!(bench.get(&query, 0), None);
    }
    let many = ips(&vec!["192.0.2.1"; 300]);
    bench.put(&query, &reply_to(&bytes(&query), 60, &many));
    assert_eq!(bench.get(&query, 0), None, "larger than what is kept");
    bench.put(&query, &positive(&query, u32::try_from(i32::MAX).expect("it fits")));
    assert!(bench.get(&query, 3599).is_some());
    assert_eq!(bench.get(&query, 3600), None, "no TTL counts for more than an hour");
}

#[tokio::test]
async fn the_cache_is_bounded_and_what_ends_first_goes_first() {
    let mut bench = Bench::new();
    let name = |n: usize| query(&format!("n{n}.example.com."), RecordType::A);
    for n in 0..=ANSWERS_MAX {
        let ttl = if n == 5 { 10 } else { 60 };
        bench.put(&name(n), &positive(&name(n), ttl));
    }
    assert_eq!(bench.cache.len(), ANSWERS_MAX);
    assert_eq!(bench.get(&name(5), 0), None);
    assert!(bench.get(&name(0), 0).is_some());
    bench.put(&name(0), &positive(&name(0), 30));
    assert_eq!(bench.cache.len(), ANSWERS_MAX);
    assert_eq!(bench.get(&name(0), 0).expect("it is there").answers[0].ttl, 30);
}
