//! Reading the kernel's connection events: totals, and a log line for each at level debug.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abi::{ConnectionEvent, Reason};
use datapath::{EventReader, Maps};
use runtime::api::Connections;
use runtime::shutdown::Shutdown;

use crate::authz::PolicyNames;

/// How long events may wait in the ring when it is not filling up.
const DRAIN_PERIOD: Duration = Duration::from_millis(100);

/// Endpoints of waypoints that are remembered as refusing; more are only counted.
const REFUSING_WAYPOINTS_MAX: usize = 64;

/// Totals since the daemon started.
#[derive(Default)]
pub struct Totals {
    opened: AtomicU64,
    refused: AtomicU64,
    closed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// Endpoints of waypoints that refused the last connection, with how many they did.
    refusing_waypoints: Mutex<BTreeMap<SocketAddr, u64>>,
}

impl Totals {
    fn add(&self, event: &ConnectionEvent) {
        // The client's side tells of it, too; policies have counters of their own.
        if is_of_policies(event) {
            return;
        }
        let counter = match event.kind {
            ConnectionEvent::OPENED => &self.opened,
            ConnectionEvent::REFUSED => &self.refused,
            ConnectionEvent::CLOSED => &self.closed,
            // Closed besides, if it was opened.
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if event.by_waypoint != 0 {
            self.note_waypoint(event);
        }
        if event.kind == ConnectionEvent::CLOSED {
            self.bytes_sent.fetch_add(event.bytes_sent, Ordering::Relaxed);
            self.bytes_received.fetch_add(event.bytes_received, Ordering::Relaxed);
        }
    }

    fn note_waypoint(&self, event: &ConnectionEvent) {
        let waypoint = SocketAddr::new(event.remote_address.ip(), event.remote_port.get());
        let mut refusing = self.refusing_waypoints.lock().unwrap_or_else(PoisonError::into_inner);
        let is_refused = event.reason == Reason::WaypointRefused as u16;
        let has_room = refusing.len() < REFUSING_WAYPOINTS_MAX || refusing.contains_key(&waypoint);
        match event.kind {
            ConnectionEvent::OPENED => drop(refusing.remove(&waypoint)),
            ConnectionEvent::REFUSED if is_refused && has_room => {
                *refusing.entry(waypoint).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Endpoints of waypoints that refused the last connection that was sent to them, and how many they
    /// refused since the last one that they took.
    pub fn refusing_waypoints(&self) -> BTreeMap<SocketAddr, u64> {
        self.refusing_waypoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the status page; lost events are counted by the kernel.
    pub fn snapshot(&self, events_lost: u64) -> Connections {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Connections {
            opened: load(&self.opened),
            refused: load(&self.refused),
            closed: load(&self.closed),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
            events_lost,
        }
    }
}

/// Reads events on a thread of its own until shutdown.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    maps: Arc<Maps>,
    totals: Arc<Totals>,
    names: PolicyNames,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("events".into()).spawn(move || {
        let mut reader = match EventReader::new(&maps) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::error!(%error, "connection events are not read; traffic is not affected");
                return;
            }
        };
        while !shutdown.is_fired() {
            for event in reader.next_batch(DRAIN_PERIOD) {
                totals.add(&event);
                log(&event, &names);
            }
        }
    })?;
    Ok(())
}

fn log(event: &ConnectionEvent, names: &PolicyNames) {
    if is_of_policies(event) {
        return log_access(event, names);
    }
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let state = match event.kind {
        ConnectionEvent::OPENED => "opened",
        ConnectionEvent::REFUSED => "refused",
        ConnectionEvent::ENDED => "ended",
        _ => "closed",
    };
    let direction =
        if event.direction == ConnectionEvent::OUTBOUND { "outbound" } else { "inbound" };
    tracing::debug!(
        netns_cookie = event.netns_cookie,
        direction,
        local = %format_args!("{}:{}", event.local_address.ip(), event.local_port),
        dialled = %format_args!("{}:{}", event.original_address.ip(), event.original_port),
        by_waypoint = event.by_waypoint != 0,
        remote = %format_args!("{}:{}", event.remote_address.ip(), event.remote_port),
        reason = Reason::from_number(event.reason).map_or("", Reason::name),
        errno = event.error,
        bytes_sent = event.bytes_sent,
        bytes_received = event.bytes_received,
        duration_us = event.time_ns.saturating_sub(event.started_ns) / 1_000,
        "connection {state}"
    );
}

/// Did policies refuse the connection, or end it?
fn is_of_policies(event: &ConnectionEvent) -> bool {
    let reasons =
        [Reason::AuthzDenied, Reason::AuthzNotAllowed, Reason::AuthzClosed, Reason::AuthzEnded];
    reasons.iter().any(|reason| event.reason == *reason as u16)
}

/// The access log: one line for each connection that policies refused, or ended.
fn log_access(event: &ConnectionEvent, names: &PolicyNames) {
    let names = names.read().unwrap_or_else(PoisonError::into_inner);
    let term = event.term();
    let policy = term.and_then(|term| names.get(&term.policy)).map_or("", String::as_str);
    tracing::info!(
        target: "kmesh::access",
        source = %SocketAddr::new(event.remote_address.ip(), event.remote_port.get()),
        destination = %SocketAddr::new(event.local_address.ip(), event.local_port.get()),
        reason = Reason::from_number(event.reason).map_or("", Reason::name),
        policy,
        rule = term.map(|term| term.rule),
        "connection {}",
        if event.kind == ConnectionEvent::ENDED { "ended" } else { "refused" }
    );
}
