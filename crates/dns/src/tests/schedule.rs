//! When names are looked up, step by step.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::ips;
use crate::schedule::{CONCURRENT_MAX, Schedule, Ticket};
use crate::{LookupFailed, Resolution};

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn good(addresses: &[&str], ttl: u64) -> Resolution {
    let (v4, v6) = ips(addresses).into_iter().partition(IpAddr::is_ipv4);
    Resolution { v4: Ok(v4), v6: Ok(v6), ttl: Duration::from_secs(ttl) }
}

fn failed() -> Result<Vec<IpAddr>, LookupFailed> {
    Err(LookupFailed::NoAnswer("silence".into()))
}

fn bad() -> Resolution {
    Resolution { v4: failed(), v6: failed(), ttl: Duration::ZERO }
}

/// A schedule that wants these names, and the moment it did.
fn wanting(wanted: &[&str]) -> (Schedule, Instant) {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    assert!(!schedule.want(&names(wanted), now));
    (schedule, now)
}

fn start_one(schedule: &mut Schedule, now: Instant) -> Ticket {
    let mut tickets = schedule.start(now);
    assert_eq!(tickets.len(), 1);
    tickets.remove(0)
}

#[tokio::test]
async fn an_answer_is_refreshed_when_its_ttl_ends_within_bounds() {
    for (ttl, wait) in [(0, 5), (4, 5), (30, 30), (86400, 3600)] {
        let (mut schedule, now) = wanting(&["a"]);
        assert_eq!(schedule.next(), Some(now));
        let ticket = start_one(&mut schedule, now);
        assert_eq!(schedule.next(), None);
        assert!(schedule.finish(&ticket, good(&["10.0.0.1"], ttl), 0.0, now));
        let due = now + Duration::from_secs(wait);
        assert_eq!(schedule.next(), Some(due), "TTL {ttl}");
        assert!(schedule.start(due - Duration::from_millis(1)).is_empty());
        let ticket = start_one(&mut schedule, due);
        let same = good(&["10.0.0.1"], ttl);
        assert!(!schedule.finish(&ticket, same, 0.0, due), "the same again is no change");
    }
}

#[tokio::test]
async fn failures_wait_longer_each_time_and_the_last_good_answer_stays() {
    let (mut schedule, mut now) = wanting(&["a"]);
    let ticket = start_one(&mut schedule, now);
    assert!(schedule.finish(&ticket, good(&["10.0.0.1"], 5), 0.0, now));
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        now = schedule.next().expect("something is due");
        let ticket = start_one(&mut schedule, now);
        assert!(!schedule.finish(&ticket, bad(), 1.0, now));
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(wait)));
        assert_eq!(schedule.known().get("a"), Some(&ips(&["10.0.0.1"])));
    }
    now = schedule.next().expect("something is due");
    let ticket = start_one(&mut schedule, now);
    assert!(schedule.finish(&ticket, good(&["10.0.0.2"], 5), 0.0, now));
    now = schedule.next().expect("something is due");
    let ticket = start_one(&mut schedule, now);
    assert!(!schedule.finish(&ticket, good(&[], 5), 1.0, now), "finding nothing is a failure");
    assert_eq!(schedule.next(), Some(now + Duration::from_secs(1)), "the count began anew");
    assert_eq!(schedule.known().get("a"), Some(&ips(&["10.0.0.2"])));
}

#[tokio::test]
async fn chance_takes_up_to_half_of_a_wait() {
    let (mut schedule, mut now) = wanting(&["a"]);
    for (chance, millis) in [(0.0, 1000), (0.0, 1000), (0.5, 3000), (1.0, 8000)] {
        let ticket = start_one(&mut schedule, now);
        schedule.finish(&ticket, bad(), chance, now);
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(millis)));
        now = schedule.next().expect("something is due");
    }
}

#[tokio::test]
async fn a_family_that_fails_keeps_its_last_addresses_and_order_does_not_matter() {
    let (mut schedule, mut now) = wanting(&["a"]);
    let ticket = start_one(&mut schedule, now);
    assert!(schedule.finish(&ticket, good(&["fd00::1", "10.0.0.2", "10.0.0.1"], 5), 0.0, now));
    let all = ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
    assert_eq!(schedule.known().get("a"), Some(&all));
    for (half, changed) in [
        (Resolution { v6: failed(), ..good(&["10.0.0.1", "10.0.0.2", "10.0.0.2"], 5) }, false),
        (Resolution { v4: failed(), ..good(&["fd00::2"], 5) }, true),
    ] {
        now = schedule.next().expect("something is due");
        let ticket = start_one(&mut schedule, now);
        assert_eq!(schedule.finish(&ticket, half, 0.0, now), changed);
    }
    assert_eq!(schedule.known().get("a"), Some(&ips(&["10.0.0.1", "10.0.0.2", "fd00::2"])));
    now = schedule.next().expect("something is due");
    let ticket = start_one(&mut schedule, now);
    assert!(schedule.finish(&ticket, good(&["10.0.0.1"], 5), 0.0, now));
    assert_eq!(schedule.known().get("a"), Some(&ips(&["10.0.0.1"])), "no such record");
}

#[tokio::test]
async fn forgetting_a_name_changes_nothing_for_the_others() {
    let (mut schedule, now) = wanting(&["a", "b", "c"]);
    let tickets = schedule.start(now);
    for (ticket, ttl) in tickets.iter().zip([10, 20, 30]) {
        schedule.finish(ticket, good(&["10.0.0.1"], ttl), 0.0, now);
    }
    assert!(schedule.want(&names(&["b", "c", "d"]), now));
    assert_eq!(schedule.known().keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(start_one(&mut schedule, now).name, "d");
    assert_eq!(schedule.next(), Some(now + Duration::from_secs(20)));
    assert!(schedule.want(&names(&[]), now));
    assert!(!schedule.want(&names(&[]), now));
    assert_eq!(schedule.next(), None);
}

#[tokio::test]
async fn a_late_result_of_a_forgotten_name_is_dropped() {
    let (mut schedule, now) = wanting(&["a"]);
    let late = start_one(&mut schedule, now);
    schedule.want(&names(&[]), now);
    schedule.want(&names(&["a"]), now);
    let fresh = start_one(&mut schedule, now);
    assert!(!schedule.finish(&late, good(&["10.0.0.1"], 5), 0.0, now));
    assert!(schedule.known().is_empty());
    assert!(schedule.finish(&fresh, good(&["10.0.0.2"], 5), 0.0, now));
    let again = start_one(&mut schedule, now + Duration::from_secs(5));
    schedule.want(&names(&[]), now);
    assert!(!schedule.finish(&again, good(&["10.0.0.3"], 5), 0.0, now));
    assert!(schedule.known().is_empty());
}

#[tokio::test]
async fn only_so_many_lookups_run_at_a_time() {
    let all: BTreeSet<String> = (0..CONCURRENT_MAX + 3).map(|n| format!("n{n:02}")).collect();
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    schedule.want(&all, now);
    let tickets = schedule.start(now);
    assert_eq!(tickets.len(), CONCURRENT_MAX);
    assert_eq!(schedule.next(), None, "nothing can start before another ends");
    schedule.finish(&tickets[0], bad(), 1.0, now);
    schedule.finish(&tickets[1], bad(), 1.0, now);
    assert_eq!(schedule.next(), Some(now));
    assert_eq!(schedule.start(now).len(), 2);
}
