//! What all servers of a node share: the name table, the cache and the counters; and the way of one
//! query through them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use hickory_proto::rr::RecordType;
use model::Snapshot;
use tokio::time::Instant;

use crate::answer;
use crate::cache::{Cache, Key};
use crate::counters::{Counters, Counts};
use crate::forward::Forwarder;
use crate::names::{Found, NameTable};
use crate::wire::{Rcode, Rejected, Request, Transport};

/// Shared by all servers of a node.
#[derive(Debug)]
pub struct Resolver {
    table: RwLock<NameTable>,
    cache: Mutex<Cache>,
    pub(crate) counters: Counters,
    turn: AtomicUsize,
    scopes: AtomicU64,
}

/// What is to be done with a message from a client.
pub(crate) enum Step {
    /// Send this.
    Reply(Vec<u8>),
    /// Nothing.
    Silence,
    /// Pass it on.
    Forward(Request),
}

// === impl Resolver ===

impl Resolver {
    /// A resolver whose name table is empty. `cluster_domain` is that of Services.
    pub fn new(cluster_domain: &str) -> Self {
        Self {
            table: RwLock::new(NameTable::new(cluster_domain)),
            cache: Mutex::default(),
            counters: Counters::default(),
            turn: AtomicUsize::new(0),
            scopes: AtomicU64::new(0),
        }
    }

    /// Brings the name table to `snapshot`, for all servers at once; returns how many services
    /// changed. Work is in proportion to that.
    pub fn update(&self, snapshot: &Snapshot) -> usize {
        self.table.write().unwrap_or_else(PoisonError::into_inner).update(snapshot)
    }

    /// What `name` means to a client in `namespace`, as [`NameTable::lookup`].
    pub fn lookup(&self, namespace: &str, name: &str) -> Option<Found> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).lookup(namespace, name)
    }

    /// What became of queries so far.
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// What can be done without waiting.
    pub(crate) fn begin(&self, namespace: &str, wire: &[u8], transport: Transport) -> Step {
        let request = match Request::parse(wire) {
            Ok(request) => request,
            Err(rejected) => {
                self.counters.malformed.add();
                return match rejected {
                    Rejected::Silently => Step::Silence,
                    Rejected::With(reply) => Step::Reply(reply),
                };
            }
        };
        match self.answer_locally(namespace, &request, transport) {
            Some(reply) => {
                self.counters.answered_locally.add();
                Step::Reply(reply)
            }
            None => Step::Forward(request),
        }
    }

    /// What upstream resolvers said before.
    pub(crate) fn remembered(
        &self,
        forwarder: &Forwarder,
        scope: u64,
        request: &Request,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let key = Key::of(request, scope, forwarder.upstreams())?;
        let reply = self.cache().get(&key, request, Instant::now())?;
        self.counters.cache_hit.add();
        Some(request.fit(reply, transport))
    }

    /// What upstream resolvers say now.
    pub(crate) async fn forward(
        &self,
        forwarder: &Forwarder,
        scope: u64,
        request: &Request,
        transport: Transport,
    ) -> Vec<u8> {
        match forwarder.exchange(request, transport).await {
            Ok(reply) => {
                self.counters.forwarded.add();
                if let Some(key) = Key::of(request, scope, forwarder.upstreams()) {
                    self.cache().put(key, request, &reply, Instant::now());
                }
                request.fit(reply, transport)
            }
            Err(error) => {
                tracing::debug!(%error, question = %request.question, "a query was not answered");
                self.counters.forward_failed.add();
                request.empty_reply(Rcode::ServFail)
            }
        }
    }

    /// A number for a server that shares its cached answers with no other.
    pub(crate) fn new_scope(&self) -> u64 {
        self.scopes.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn answer_locally(
        &self,
        namespace: &str,
        request: &Request,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        // RFC 6891 section 6.1.3.
        if request.edns.is_some_and(|edns| edns.version != 0) {
            return Some(request.empty_reply(Rcode::BadVersion));
        }
        let kind = request.question.query_type;
        // Zone transfers are several messages, and no business of a pod's resolver.
        if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return Some(request.empty_reply(Rcode::Refused));
        }
        if !request.is_internet_class() || !answer::is_ours(kind) {
            return None;
        }
        let found = self.lookup(namespace, &request.host()?)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Some(answer::from_table(request, &found, turn, transport))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
