//! The daemon is killed, hangs, or restarts: no pod loses its DNS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Daemon, wait_until};

use super::super::bench::{PATIENCE, VIP};
use super::{DnsBench, OUTSIDE, WEB_NAME, query};

/// What the programs promise.
const FALLBACK_DEADLINE: Duration = Duration::from_secs(1);
/// Longer than an answer takes on a busy machine, shorter than the promise.
const QUERY_PATIENCE: Duration = Duration::from_millis(400);

/// What a client that asks without pause was told: when, and what.
#[derive(Default)]
struct Diary {
    stop: AtomicBool,
    entries: Mutex<Vec<(Instant, Result<Ipv4Addr, String>)>>,
}

impl Diary {
    fn write(&self, dns: &DnsBench) {
        let server = SocketAddr::from((dns.resolver.v4, 53));
        dns.bench.client.run(|| {
            while !self.stop.load(Ordering::Relaxed) {
                let sent = Instant::now();
                let told = query(WEB_NAME, server, QUERY_PATIENCE);
                let told = told.map(|(address, _)| address).map_err(|e| e.to_string());
                self.entries.lock().unwrap().push((sent, told));
            }
        });
    }

    /// Waits for an answer with this address to a query sent from now on.
    fn wait_for(&self, address: Ipv4Addr) -> Instant {
        let from = Instant::now();
        let found = |(sent, told): &&(Instant, Result<Ipv4Addr, String>)| {
            *sent >= from && *told == Ok(address)
        };
        wait_until(&format!("an answer of {address}"), PATIENCE, || {
            self.entries.lock().unwrap().iter().find(found).map(|(sent, _)| *sent)
        })
    }

    fn lost(&self) -> Vec<String> {
        self.entries.lock().unwrap().iter().filter_map(|(_, told)| told.clone().err()).collect()
    }
}

/// Lets a client ask without pause while `work` goes on, and returns what it was told.
fn while_asking(dns: &DnsBench, work: impl FnOnce(&Diary)) -> Diary {
    let diary = Diary::default();
    std::thread::scope(|scope| {
        scope.spawn(|| diary.write(dns));
        // Stops the client even if the work panics.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&diary.stop);
        diary.wait_for(VIP);
        work(&diary);
    });
    diary
}

fn restart(dns: &DnsBench, daemon: &mut Daemon, diary: &Diary) {
    daemon.start();
    daemon.wait_ready(PATIENCE);
    dns.wait_captured();
    diary.wait_for(VIP);
}

#[test]
fn a_killed_daemon_costs_no_pod_its_dns() {
    let dns = DnsBench::new("dns_kill", &["red"]);
    let mut daemon = dns.start();
    let server = SocketAddr::from((dns.resolver.v4, 53));
    let mut waits = Vec::new();
    let diary = while_asking(&dns, |diary| {
        for _ in 0..5 {
            let killed = Instant::now();
            daemon.kill9();
            // No heartbeat needs to be missed: the first query that comes after it is answered.
            let told = dns.bench.client.run(|| query(WEB_NAME, server, QUERY_PATIENCE));
            assert_eq!(told.expect("an answer").0, OUTSIDE);
            waits.push(killed.elapsed());
            diary.wait_for(OUTSIDE);
            restart(&dns, &mut daemon, diary);
        }
    });
    let asked = diary.entries.lock().unwrap().len();
    let lost = diary.lost();
    println!("kill -9: the resolver answers after {waits:?}; {} of {asked} lost", lost.len());
    assert!(waits.iter().all(|wait| *wait < FALLBACK_DEADLINE), "{waits:?}");
    // The query that the daemon took with it, and no other.
    assert!(lost.len() <= waits.len(), "{lost:?}");
}

#[test]
fn a_daemon_that_hangs_is_passed_over_within_a_second() {
    let dns = DnsBench::new("dns_hang", &["red"]);
    let daemon = dns.start();
    let pid = Pid::from_raw(daemon.pid().expect("it runs") as i32);
    let mut waits = Vec::new();
    while_asking(&dns, |diary| {
        for _ in 0..3 {
            let stopped = Instant::now();
            kill(pid, Signal::SIGSTOP).unwrap();
            let answered = diary.wait_for(OUTSIDE);
            waits.push(answered - stopped);
            kill(pid, Signal::SIGCONT).unwrap();
            diary.wait_for(VIP);
        }
    });
    println!("SIGSTOP: queries go to the resolver after {waits:?}");
    // A query of before has to be given up first.
    assert!(waits.iter().all(|wait| *wait < FALLBACK_DEADLINE + QUERY_PATIENCE), "{waits:?}");
}

#[test]
fn a_daemon_that_stops_in_order_loses_no_query() {
    let dns = DnsBench::new("dns_stop", &["red"]);
    let mut daemon = dns.start();
    let diary = while_asking(&dns, |diary| {
        for _ in 0..3 {
            daemon.stop().expect("it ran");
            diary.wait_for(OUTSIDE);
            restart(&dns, &mut daemon, diary);
        }
    });
    assert_eq!(diary.lost(), Vec::<String>::new());
}
