//! The running servers, shared by the loop and the heartbeat: which of them answer, so that queries
//! are sent to those alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datapath::Maps;
use dns::{ClientIdentity, Server};
use tokio::time::{MissedTickBehavior, interval};

use super::namespace::Opening;

/// Several fit into [`abi::dns::SILENCE_MAX`].
const BEAT_PERIOD: Duration = Duration::from_millis(100);

/// All servers by the cookie of their namespace.
pub struct Servers {
    maps: Arc<Maps>,
    by_cookie: Mutex<BTreeMap<u64, Served>>,
}

struct Served {
    server: Server,
    client: ClientIdentity,
    /// As enrolled.
    resolvers: Vec<IpAddr>,
    /// Those whose queries reach the server.
    reachable: Vec<IpAddr>,
    captured: bool,
}

impl Servers {
    /// None yet.
    pub fn new(maps: Arc<Maps>) -> Self {
        Self { maps, by_cookie: Mutex::default() }
    }

    /// Takes a server in and sends it the queries of its namespace.
    ///
    /// # Errors
    /// When the map has no room: the server is dropped, and queries go where they went.
    pub fn insert(
        &self,
        cookie: u64,
        opening: Opening,
        client: ClientIdentity,
        resolvers: Vec<IpAddr>,
    ) -> anyhow::Result<()> {
        let Opening { server, reachable } = opening;
        let mut served = Served { server, client, resolvers, reachable, captured: false };
        if let Err(error) = served.capture(&self.maps, cookie) {
            served.release(&self.maps, cookie);
            return Err(error.into());
        }
        self.lock().insert(cookie, served);
        Ok(())
    }

    /// Sends the queries of a namespace to its resolvers again and gives its server out.
    pub fn remove(&self, cookie: u64) -> Option<Server> {
        let mut served = self.lock().remove(&cookie)?;
        served.release(&self.maps, cookie);
        Some(served.server)
    }

    /// Gives all servers out; their entries in the map stay, for a daemon that starts soon.
    pub fn take_all(&self) -> Vec<Server> {
        std::mem::take(&mut *self.lock()).into_values().map(|served| served.server).collect()
    }

    /// True when the namespace is served so, as far as it can be.
    pub fn serves(&self, cookie: u64, client: &ClientIdentity, resolvers: &[IpAddr]) -> bool {
        let so = |served: &Served| served.client == *client && served.resolvers == resolvers;
        self.lock().get(&cookie).is_some_and(so)
    }

    /// True when the queries of a namespace to this resolver reach a server.
    pub fn captures(&self, cookie: u64, resolver: IpAddr) -> bool {
        let lock = self.lock();
        lock.get(&cookie).is_some_and(|s| s.captured && s.reachable.contains(&resolver))
    }

    /// All namespaces that are served.
    pub fn cookies(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    /// Resolvers whose queries are captured.
    pub fn captured(&self) -> usize {
        let lock = self.lock();
        lock.values().filter(|served| served.captured).map(|served| served.reachable.len()).sum()
    }

    /// Servers that do not answer now.
    pub fn problems(&self) -> Vec<String> {
        let lock = self.lock();
        let silent = lock.values().filter(|served| !served.captured);
        silent
            .map(|s| {
                format!("the DNS server of {} does not answer and is passed over", s.client.name)
            })
            .collect()
    }

    /// Takes servers that do not answer out of the way, and those that answer again in.
    fn look(&self) {
        for (cookie, served) in self.lock().iter_mut() {
            let answers = served.server.is_answering(abi::dns::SILENCE_MAX);
            if answers == served.captured {
                continue;
            }
            tracing::warn!(client = served.client.name, answers, "a DNS server changed");
            if !answers {
                served.release(&self.maps, *cookie);
            } else if let Err(error) = served.capture(&self.maps, *cookie) {
                tracing::warn!(client = served.client.name, %error, "it is passed over");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Served>> {
        self.by_cookie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    fn capture(&mut self, maps: &Maps, cookie: u64) -> datapath::Result<()> {
        for resolver in &self.reachable {
            maps.capture_dns(cookie, *resolver)?;
        }
        self.captured = true;
        Ok(())
    }

    fn release(&mut self, maps: &Maps, cookie: u64) {
        self.captured = false;
        for resolver in &self.reachable {
            if let Err(error) = maps.release_dns(cookie, *resolver) {
                tracing::warn!(cookie, %resolver, %error, "a resolver stays captured");
            }
        }
    }
}

/// Shows the programs that the servers live, until it is aborted.
pub async fn heartbeat(servers: Arc<Servers>) {
    let mut beats = interval(BEAT_PERIOD);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        servers.look();
        if let Err(error) = servers.maps.beat() {
            tracing::error!(%error, "the DNS proxy cannot show that it lives");
        }
    }
}
