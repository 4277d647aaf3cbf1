//! Names kept resolved: with a resolver made up by the test and time that stands still, and with
//! real messages.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use runtime::shutdown;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Upstream, address_record, bytes, error_to, ip, ips, parsed, reply_to};
use crate::wire::Transport;
use crate::{Addresses, Ask, HostAsk, LookupFailed, Lookups, OwnSockets, Resolution};

/// Answers what the test put in; nothing for the other names.
#[derive(Clone, Default)]
struct Fake {
    known: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Fake {
    fn set(&self, name: &str, addresses: &[&str]) {
        self.known.lock().expect("not poisoned").insert(name.into(), ips(addresses));
    }

    fn unset(&self, name: &str) {
        self.known.lock().expect("not poisoned").remove(name);
    }

    /// Seconds from `start` at which `name` was asked for.
    fn asked(&self, name: &str, start: Instant) -> Vec<u64> {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter(|(n, _)| n == name).map(|(_, at)| (*at - start).as_secs()).collect()
    }
}

impl Ask for Fake {
    async fn ask(&self, name: &str) -> Resolution {
        self.asked.lock().expect("not poisoned").push((name.into(), Instant::now()));
        let known = self.known.lock().expect("not poisoned").get(name).cloned();
        let v4 = known.ok_or_else(|| LookupFailed::NoAnswer("silence".into()));
        Resolution { v4, v6: Ok(Vec::new()), ttl: Duration::from_secs(30) }
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn next(addresses: &mut watch::Receiver<Addresses>) -> Vec<(String, Vec<IpAddr>)> {
    addresses.changed().await.expect("lookups run");
    addresses.borrow_and_update().clone().into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn names_are_kept_resolved_and_last_good_answers_stay() {
    let fake = Fake::default();
    fake.set("a", &["10.0.0.1"]);
    let (_trigger, shutdown) = shutdown::channel();
    let lookups = Lookups::spawn(fake.clone(), shutdown);
    let mut addresses = lookups.addresses();
    let start = Instant::now();
    lookups.want(names(&["a"]));
    assert_eq!(next(&mut addresses).await, [("a".into(), ips(&["10.0.0.1"]))]);
    fake.unset("a");
    fake.set("b", &["10.0.0.9"]);
    lookups.want(names(&["a", "b"]));
    let both = [("a".into(), ips(&["10.0.0.1"])), ("b".into(), ips(&["10.0.0.9"]))];
    assert_eq!(next(&mut addresses).await, both);
    fake.set("b", &["10.0.0.8"]);
    // Both are due after 30 s; what is known of `a` outlives its failures.
    let both = [("a".into(), ips(&["10.0.0.1"])), ("b".into(), ips(&["10.0.0.8"]))];
    assert_eq!(next(&mut addresses).await, both);
    assert_eq!(start.elapsed().as_secs(), 30);
    lookups.want(names(&["a"]));
    assert_eq!(next(&mut addresses).await, [("a".into(), ips(&["10.0.0.1"]))]);
    fake.set("a", &["10.0.0.2"]);
    assert_eq!(next(&mut addresses).await, [("a".into(), ips(&["10.0.0.2"]))]);
    let asked = fake.asked("a", start);
    assert_eq!(asked[..2], [0, 30], "not while its answer holds");
    assert_eq!(fake.asked("b", start), [0, 30], "not after it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn the_addresses_close_when_the_program_shuts_down() {
    let (trigger, shutdown) = shutdown::channel();
    let lookups = Lookups::spawn(Fake::default(), shutdown);
    let mut addresses = lookups.addresses();
    trigger.fire();
    assert!(addresses.changed().await.is_err());
}

struct Broken;

impl Ask for Broken {
    async fn ask(&self, name: &str) -> Resolution {
        assert!(name != "bad", "made to fail");
        Resolution { v4: Ok(ips(&["10.0.0.1"])), v6: Ok(Vec::new()), ttl: Duration::ZERO }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_breaks_off_does_not_stop_the_others() {
    let (_trigger, shutdown) = shutdown::channel();
    let lookups = Lookups::spawn(Broken, shutdown);
    let mut addresses = lookups.addresses();
    lookups.want(names(&["bad"]));
    tokio::time::advance(Duration::from_secs(3)).await;
    lookups.want(names(&["bad", "good"]));
    assert_eq!(next(&mut addresses).await, [("good".into(), ips(&["10.0.0.1"]))]);
}

#[tokio::test]
async fn real_resolvers_are_asked_for_both_families() {
    let upstream = Upstream::start(|query, transport| {
        let asked = parsed(query);
        let name = &asked.queries[0].name;
        let host = name.to_ascii();
        let v4 = asked.queries[0].query_type == RecordType::A;
        vec![match host.as_str() {
            "both.example.com." if v4 => {
                let mut reply = reply_to(query, 0, &[]);
                let real = Name::from_ascii("real.example.com.").expect("a name");
                let alias = RData::CNAME(CNAME(real.clone()));
                reply.add_answer(Record::from_rdata(name.clone(), 20, alias));
                reply.add_answer(address_record(&real, 60, ip("192.0.2.1")));
                bytes(&reply)
            }
            "both.example.com." => bytes(&reply_to(query, 40, &ips(&["fd00::1"]))),
            "large.example.com." if v4 => {
                let mut reply = reply_to(query, 50, &ips(&["192.0.2.7"]));
                if transport == Transport::Udp {
                    reply.answers.clear();
                    reply.metadata.truncation = true;
                }
                bytes(&reply)
            }
            "large.example.com." => error_to(query, ResponseCode::ServFail),
            _ => error_to(query, ResponseCode::NXDomain),
        }]
    })
    .await;
    let ask = HostAsk::new(&[upstream.address], Arc::new(OwnSockets));
    let both = ask.ask("both.example.com").await;
    assert_eq!((both.v4, both.v6), (Ok(ips(&["192.0.2.1"])), Ok(ips(&["fd00::1"]))));
    assert_eq!(both.ttl, Duration::from_secs(20));
    let large = ask.ask("large.example.com").await;
    assert_eq!((large.v4, large.ttl), (Ok(ips(&["192.0.2.7"])), Duration::from_secs(50)));
    assert!(matches!(large.v6, Err(LookupFailed::Refused(_))), "{:?}", large.v6);
    let none = ask.ask("none.example.com").await;
    assert_eq!((none.v4, none.v6, none.ttl), (Ok(vec![]), Ok(vec![]), Duration::ZERO));
    let name = "x".repeat(64);
    assert_eq!(ask.ask(&name).await.v4, Err(LookupFailed::BadName));
    let nobody = HostAsk::new(&[], Arc::new(OwnSockets)).ask("a").await;
    assert!(matches!(nobody.v4, Err(LookupFailed::NoAnswer(_))));
}
