//! What became of queries, counted over all servers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start. Each query is in exactly one of them, but for those that are no query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered from the name table, or refused by rule.
    pub answered_locally: u64,
    /// Answered by an upstream resolver.
    pub forwarded: u64,
    /// No upstream resolver answered; the client got SERVFAIL.
    pub forward_failed: u64,
    /// Over a limit: the client got SERVFAIL, or its connection was closed.
    pub dropped_overload: u64,
    /// Not a query that can be read; the client got FORMERR or NOTIMP, or nothing.
    pub malformed: u64,
    /// Answered with what an upstream resolver said before.
    pub cache_hit: u64,
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answered_locally: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) forward_failed: Counter,
    pub(crate) dropped_overload: Counter,
    pub(crate) malformed: Counter,
    pub(crate) cache_hit: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

// === impl Counters ===

impl Counters {
    pub(crate) fn snapshot(&self) -> Counts {
        Counts {
            answered_locally: self.answered_locally.get(),
            forwarded: self.forwarded.get(),
            forward_failed: self.forward_failed.get(),
            dropped_overload: self.dropped_overload.get(),
            malformed: self.malformed.get(),
            cache_hit: self.cache_hit.get(),
        }
    }
}

// === impl Counter ===

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
