//! Host names of endpoints: looked up on the node beside the path of the configuration, remembered
//! in the state directory, so that a restart takes no endpoint away.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dns::{Addresses, Ask, HostAsk, Hosts, LookupFailed, Lookups, NetnsSockets, Resolution};
use model::Snapshot;
use runtime::api::HostStatus;
use runtime::files;
use runtime::netns::Held;
use runtime::shutdown::Shutdown;
use tokio::sync::watch;

/// Name of the file in the state directory.
const FILE: &str = "hosts.json";
const FILE_MODE: u32 = 0o600;
/// The namespace that the daemon lives in.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// Names, their addresses, and the snapshot with both in it.
pub struct NodeHosts {
    hosts: Hosts,
    lookups: Lookups,
    file: PathBuf,
}

/// Asks the resolvers of the node's `resolv.conf` as it is at the time.
pub struct NodeResolvers {
    resolv_conf: PathBuf,
    sockets: Arc<NetnsSockets>,
    last: Mutex<Option<(String, Arc<HostAsk>)>>,
}

// === impl NodeHosts ===

impl NodeHosts {
    /// Begins with what a daemon before this one knew. Needs a tokio runtime.
    pub fn new(ask: impl Ask, state_dir: &Path, shutdown: Shutdown) -> Self {
        let file = state_dir.join(FILE);
        let remembered = read(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "addresses of hosts are not remembered");
            Addresses::new()
        });
        let mut hosts = Hosts::default();
        hosts.set_addresses(&remembered);
        Self { hosts, lookups: Lookups::spawn(ask, remembered, shutdown), file }
    }

    /// What lookups find, from now on.
    pub fn addresses(&self) -> watch::Receiver<Addresses> {
        self.lookups.addresses()
    }

    /// Takes a new configuration.
    pub fn set_snapshot(&mut self, snapshot: &Snapshot) {
        if self.hosts.set_snapshot(snapshot) {
            self.lookups.want(self.hosts.names());
        }
    }

    /// Takes what lookups found. Returns true when an endpoint changed.
    pub fn set_addresses(&mut self, addresses: &Addresses) -> bool {
        if let Err(error) = self.save(addresses) {
            tracing::warn!(file = %self.file.display(), %error, "addresses of hosts are not saved");
        }
        self.hosts.set_addresses(addresses)
    }

    /// The mesh, with every endpoint that is known.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.hosts.snapshot().clone())
    }

    /// Every name, its addresses, and why it has none.
    pub fn status(&self) -> Vec<HostStatus> {
        let addresses = self.lookups.addresses().borrow().clone();
        let failures = self.lookups.failures();
        let host = |name: String| HostStatus {
            addresses: addresses.get(&name).cloned().unwrap_or_default(),
            failure: failures.get(&name).map(ToString::to_string),
            name,
        };
        self.hosts.names().into_iter().map(host).collect()
    }

    fn save(&self, addresses: &Addresses) -> io::Result<()> {
        let sorted: BTreeMap<&String, &Vec<IpAddr>> = addresses.iter().collect();
        files::write_atomically(&self.file, &serde_json::to_vec_pretty(&sorted)?, FILE_MODE)
    }
}

fn read(file: &Path) -> io::Result<Addresses> {
    match std::fs::read(file) {
        Ok(text) => {
            let known: BTreeMap<String, Vec<IpAddr>> = serde_json::from_slice(&text)?;
            Ok(known.into_iter().collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Addresses::new()),
        Err(error) => Err(error),
    }
}

// === impl NodeResolvers ===

impl NodeResolvers {
    /// Through sockets of the daemon's own namespace, which are not captured even if it is enrolled.
    pub fn new(resolv_conf: &Path) -> anyhow::Result<Self> {
        let own = Held::open(Path::new(OWN_NETNS))?;
        Ok(Self {
            resolv_conf: resolv_conf.into(),
            sockets: Arc::new(NetnsSockets::new(own, abi::dns::PROXY_MARK)),
            last: Mutex::default(),
        })
    }

    /// Whom to ask; the same as before while the file says the same.
    async fn current(&self) -> io::Result<Arc<HostAsk>> {
        let text = tokio::fs::read_to_string(&self.resolv_conf).await?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, ask)) = last.as_ref()
            && *known == text
        {
            return Ok(Arc::clone(ask));
        }
        let ask = Arc::new(HostAsk::new(&dns::nameservers(&text), self.sockets.clone()));
        *last = Some((text, Arc::clone(&ask)));
        Ok(ask)
    }
}

impl Ask for NodeResolvers {
    async fn ask(&self, name: &str) -> Resolution {
        match self.current().await {
            Ok(resolvers) => resolvers.ask(name).await,
            Err(error) => {
                let why = format!("{}: {error}", self.resolv_conf.display());
                let failed = Err(LookupFailed::NoAnswer(why));
                let ttl = std::time::Duration::ZERO;
                Resolution { v4: failed.clone(), v6: failed, ttl }
            }
        }
    }
}
