//! When which name is looked up, and what is known of it: the state of [`crate::Lookups`], without
//! I/O and without a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::lookups::{Addresses, LookupFailed, Resolution};

/// Names that are looked up at the same time; the others wait.
pub(crate) const CONCURRENT_MAX: usize = 16;
/// An answer holds at least so long, whatever its TTL says.
pub(crate) const REFRESH_MIN: Duration = Duration::from_secs(5);
/// An answer holds at most so long.
pub(crate) const REFRESH_MAX: Duration = Duration::from_secs(3600);
/// The first wait after a failure; it doubles with each.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// All wanted names.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    names: BTreeMap<String, State>,
    /// Names that wait for their time.
    due: BTreeSet<(Instant, String)>,
    running: usize,
    next_ticket: u64,
    known: Addresses,
}

/// One lookup under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) name: String,
    number: u64,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    failures: u32,
    /// The last good answer of each family.
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Waiting(Instant),
    Running(u64),
}

// === impl Schedule ===

impl Schedule {
    /// Sets which names are wanted. New ones are due at once; those that are not wanted any more
    /// are forgotten; nothing changes for the others. True when [`Self::known`] changed.
    pub(crate) fn want(&mut self, wanted: &BTreeSet<String>, now: Instant) -> bool {
        let gone: Vec<String> =
            self.names.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        let mut changed = false;
        for name in gone {
            if let Some(State { phase: Phase::Waiting(at), .. }) = self.names.remove(&name) {
                self.due.remove(&(at, name.clone()));
            }
            changed |= self.known.remove(&name).is_some();
        }
        for name in wanted {
            if !self.names.contains_key(name) {
                let (v4, v6) = (Vec::new(), Vec::new());
                let state = State { phase: Phase::Waiting(now), failures: 0, v4, v6 };
                self.names.insert(name.clone(), state);
                self.due.insert((now, name.clone()));
            }
        }
        changed
    }

    /// The lookups to start now.
    pub(crate) fn start(&mut self, now: Instant) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while self.running < CONCURRENT_MAX {
            match self.due.first() {
                Some((at, _)) if *at <= now => {}
                _ => break,
            }
            let Some((_, name)) = self.due.pop_first() else { break };
            let Some(state) = self.names.get_mut(&name) else { continue };
            let number = self.next_ticket;
            self.next_ticket += 1;
            state.phase = Phase::Running(number);
            self.running += 1;
            tickets.push(Ticket { name, number });
        }
        tickets
    }

    /// When [`Self::start`] has something to do next, if nothing else happens before.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.running < CONCURRENT_MAX).then(|| self.due.first().map(|(at, _)| *at))?
    }

    /// Takes the result of a lookup. `chance` is a random number from 0 to 1. True when
    /// [`Self::known`] changed.
    pub(crate) fn finish(
        &mut self,
        ticket: &Ticket,
        result: Resolution,
        chance: f64,
        now: Instant,
    ) -> bool {
        self.running -= 1;
        let Some(state) = self.names.get_mut(&ticket.name) else { return false };
        // It was forgotten meanwhile, and wanted again: that made another ticket.
        if state.phase != Phase::Running(ticket.number) {
            return false;
        }
        let good = state.take(result.v4, result.v6);
        let wait = if good {
            state.failures = 0;
            result.ttl.clamp(REFRESH_MIN, REFRESH_MAX)
        } else {
            state.failures = state.failures.saturating_add(1);
            backoff(state.failures, chance)
        };
        state.phase = Phase::Waiting(now + wait);
        self.due.insert((now + wait, ticket.name.clone()));
        if !good {
            return false;
        }
        let addresses: Vec<IpAddr> = state.v4.iter().chain(&state.v6).copied().collect();
        if self.known.get(&ticket.name) == Some(&addresses) {
            return false;
        }
        self.known.insert(ticket.name.clone(), addresses);
        true
    }

    /// The last good answers.
    pub(crate) fn known(&self) -> &Addresses {
        &self.known
    }
}

// === impl State ===

impl State {
    /// Takes over what was found. A family that failed keeps its last good answer. False when
    /// nothing was found: then everything stays as it was.
    fn take(
        &mut self,
        v4: Result<Vec<IpAddr>, LookupFailed>,
        v6: Result<Vec<IpAddr>, LookupFailed>,
    ) -> bool {
        let found = [&v4, &v6].iter().any(|r| r.as_ref().is_ok_and(|found| !found.is_empty()));
        if found {
            for (last, new) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
                if let Ok(mut new) = new {
                    // Servers turn the order with each answer; that is no change.
                    new.sort_unstable();
                    new.dedup();
                    *last = new;
                }
            }
        }
        found
    }
}

/// How long to wait after so many failures: from half the step to the whole, so that names that
/// failed together are not tried together.
fn backoff(failures: u32, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let step = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    step.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0)).max(BACKOFF_MIN)
}
