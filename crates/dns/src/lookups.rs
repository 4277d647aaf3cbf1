//! Keeping the addresses of names that the configuration mentions, beside the path of the
//! configuration: nothing waits for a lookup.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use model::Map;
use runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::forward::Forwarder;
use crate::schedule::{Schedule, Ticket};
use crate::sockets::SocketFactory;
use crate::wire::{Request, Transport};

/// The last good answers by name, IPv4 before IPv6 and sorted within. A name that has had none yet
/// is absent. A clone costs nothing, and `diff` only what differs.
pub type Addresses = Map<String, Vec<IpAddr>>;

/// Why one lookup has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupFailed {
    /// It is no name.
    #[error("not a DNS name")]
    BadName,
    /// No resolver answered.
    #[error("{0}")]
    NoAnswer(String),
    /// A resolver answered with an error.
    #[error("the resolver says {0}")]
    Refused(String),
}

/// What a lookup found, for each family. No such name, or no such record, is an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// IPv4 addresses.
    pub v4: Result<Vec<IpAddr>, LookupFailed>,
    /// IPv6 addresses.
    pub v6: Result<Vec<IpAddr>, LookupFailed>,
    /// How long the addresses hold.
    pub ttl: Duration,
}

/// Looks a name up once.
pub trait Ask: Send + Sync + 'static {
    /// The addresses of `name`, which is absolute: no search list counts.
    fn ask(&self, name: &str) -> impl Future<Output = Resolution> + Send;
}

/// Asks resolvers, such as those of the host's `resolv.conf`.
pub struct HostAsk(Forwarder);

/// Keeps wanted names resolved until it is dropped or the program shuts down.
///
/// An answer is asked for again when its TTL ends, which counts as at least 5 s and at most an
/// hour. A failed lookup, and one that finds nothing, is tried again after 1 s, then after twice as
/// long, up to a minute, less a random part; the last good answer stays meanwhile. At most 16 names
/// are looked up at the same time.
#[derive(Debug)]
pub struct Lookups {
    task: JoinHandle<()>,
    wanted: watch::Sender<BTreeSet<String>>,
    known: watch::Receiver<Addresses>,
}

// === impl HostAsk ===

impl HostAsk {
    /// Asks `resolvers` in order, the first three, through sockets that `sockets` makes.
    pub fn new(resolvers: &[SocketAddr], sockets: Arc<dyn SocketFactory>) -> Self {
        Self(Forwarder::new(resolvers, sockets))
    }

    async fn family(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<(Vec<IpAddr>, u32), LookupFailed> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), kind));
        let wire = query.to_vec().map_err(|_| LookupFailed::BadName)?;
        let request = Request::parse(&wire).map_err(|_| LookupFailed::BadName)?;
        let no_answer = |error: String| LookupFailed::NoAnswer(error);
        let reply = self.0.exchange(&request, Transport::Tcp).await;
        let reply = reply.map_err(|error| no_answer(error.to_string()))?;
        let reply = Message::from_vec(&reply).map_err(|error| no_answer(error.to_string()))?;
        match reply.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => return Err(LookupFailed::Refused(code.to_string())),
        }
        // The resolver has followed aliases; all records on the way count for the TTL.
        let ttl = reply.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        let addresses = reply.answers.iter().filter(|record| record.record_type() == kind);
        let addresses = addresses.filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        Ok((addresses.collect(), ttl))
    }
}

impl Ask for HostAsk {
    async fn ask(&self, name: &str) -> Resolution {
        let Ok(mut name) = Name::from_ascii(name) else {
            let failed = Err(LookupFailed::BadName);
            return Resolution { v4: failed.clone(), v6: failed, ttl: Duration::ZERO };
        };
        name.set_fqdn(true);
        let (v4, v6) =
            tokio::join!(self.family(&name, RecordType::A), self.family(&name, RecordType::AAAA));
        let with_addresses = |found: &&(Vec<IpAddr>, u32)| !found.0.is_empty();
        let ttls = [&v4, &v6].into_iter().filter_map(|r| r.as_ref().ok().filter(with_addresses));
        let ttl = ttls.map(|(_, ttl)| *ttl).min().unwrap_or(0);
        Resolution {
            v4: v4.map(|(addresses, _)| addresses),
            v6: v6.map(|(addresses, _)| addresses),
            ttl: Duration::from_secs(ttl.into()),
        }
    }
}

// === impl Lookups ===

impl Lookups {
    /// Starts with no names. Needs a tokio runtime.
    pub fn spawn(ask: impl Ask, shutdown: Shutdown) -> Self {
        let (wanted, wants) = watch::channel(BTreeSet::new());
        let (publish, known) = watch::channel(Addresses::new());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = run(Arc::new(ask), wants, publish) => {}
            }
        });
        Self { task, wanted, known }
    }

    /// Sets which names are wanted. Those that were wanted before go on as they are; those that are
    /// not any more are forgotten. Returns at once.
    pub fn want(&self, names: BTreeSet<String>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != names;
            *wanted = names;
            changed
        });
    }

    /// The last good answers, now and whenever they change. Closed once the lookups have ended.
    pub fn addresses(&self) -> watch::Receiver<Addresses> {
        self.known.clone()
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<A: Ask>(
    ask: Arc<A>,
    mut wants: watch::Receiver<BTreeSet<String>>,
    publish: watch::Sender<Addresses>,
) {
    let mut schedule = Schedule::default();
    let mut tasks: JoinSet<Resolution> = JoinSet::new();
    let mut tickets: HashMap<task::Id, Ticket> = HashMap::new();
    loop {
        for ticket in schedule.start(Instant::now()) {
            let (ask, name) = (ask.clone(), ticket.name.clone());
            let handle = tasks.spawn(async move { ask.ask(&name).await });
            tickets.insert(handle.id(), ticket);
        }
        let next = schedule.next();
        let changed = tokio::select! {
            wanted = wants.changed() => {
                if wanted.is_err() {
                    return;
                }
                let wanted = wants.borrow_and_update().clone();
                schedule.want(&wanted, Instant::now())
            }
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let (id, resolution) = ended.unwrap_or_else(|error| (error.id(), broken(&error)));
                tickets.remove(&id).is_some_and(|ticket| {
                    log(&ticket, &resolution);
                    schedule.finish(&ticket, resolution, rand::random(), Instant::now())
                })
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => false,
        };
        if changed {
            publish.send_replace(schedule.known().clone());
        }
    }
}

/// The result of a lookup that ended early.
fn broken(error: &task::JoinError) -> Resolution {
    let failed = Err(LookupFailed::NoAnswer(error.to_string()));
    Resolution { v4: failed.clone(), v6: failed, ttl: Duration::ZERO }
}

fn log(ticket: &Ticket, resolution: &Resolution) {
    for error in [&resolution.v4, &resolution.v6].into_iter().filter_map(|r| r.as_ref().err()) {
        tracing::warn!(name = ticket.name, %error, "a name was not resolved; its last addresses stay");
    }
}
