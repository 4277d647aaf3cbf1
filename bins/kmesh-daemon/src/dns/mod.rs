//! The DNS proxy of the node: one server inside each enrolled namespace, for the queries that the
//! kernel programs send it while its heart beats.

mod namespace;
mod node_hosts;
mod resolv_conf;
mod servers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datapath::Maps;
use dns::{ClientIdentity, Found, Resolver};
use model::Snapshot;
use runtime::api::{DnsCapture, DnsQueries, DnsStatus, Enrolment};
use runtime::shutdown::{self, Shutdown, Trigger};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

pub use node_hosts::{NodeHosts, NodeResolvers};
pub use resolv_conf::{RESOLVERS_OF_NAMESPACE_MAX, resolvers_of};

use self::servers::Servers;

/// How long a server still takes queries that programs had sent it before they were told not to.
const LAST_CALL: Duration = Duration::from_millis(50);
/// Namespace of a workload that nobody named, as in Kubernetes.
const DEFAULT_NAMESPACE: &str = "default";

/// All servers, and the name table that they answer from.
pub struct Dns {
    maps: Arc<Maps>,
    enabled: bool,
    resolver: Arc<Resolver>,
    servers: Arc<Servers>,
    heartbeat: Option<JoinHandle<()>>,
    /// Why a namespace is not served, by its cookie.
    problems: BTreeMap<u64, String>,
    shutdown: Shutdown,
    _trigger: Trigger,
}

impl Dns {
    /// Nothing is served before [`Dns::start`]. Without `enabled` nothing is ever.
    pub fn new(maps: Arc<Maps>, cluster_domain: &str, enabled: bool) -> Self {
        let (trigger, shutdown) = shutdown::channel();
        Self {
            servers: Arc::new(Servers::new(Arc::clone(&maps))),
            maps,
            enabled,
            resolver: Arc::new(Resolver::new(cluster_domain)),
            heartbeat: None,
            problems: BTreeMap::new(),
            shutdown,
            _trigger: trigger,
        }
    }

    /// Answers from `snapshot` from now on, in all namespaces at once.
    pub fn update(&self, snapshot: &Snapshot) {
        self.resolver.update(snapshot);
    }

    /// Serves `enrolments` and lets the heart beat; what a daemon before this one captured and this one
    /// does not serve goes to its resolver again. To be called when the name table is filled, and again
    /// as often as one likes: it does what is left to do.
    pub fn start(&mut self, enrolments: &[Enrolment]) {
        if self.enabled {
            enrolments.iter().for_each(|enrolment| self.serve(enrolment));
        }
        if self.is_started() {
            return;
        }
        self.release_strangers();
        self.heartbeat = Some(tokio::spawn(servers::heartbeat(Arc::clone(&self.servers))));
    }

    /// True after the first [`Dns::start`].
    pub fn is_started(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// Serves one namespace, or no longer, as its enrolment says.
    pub fn serve(&mut self, enrolment: &Enrolment) {
        let cookie = enrolment.netns_cookie;
        if !self.enabled || enrolment.dns == DnsCapture::Off {
            self.problems.remove(&cookie);
            return self.withdraw(cookie);
        }
        if enrolment.awaits_resolvers() {
            return;
        }
        let client = client_of(enrolment);
        if self.servers.serves(cookie, &client, &enrolment.resolvers) {
            return;
        }
        self.withdraw(cookie);
        match self.open(enrolment, client) {
            Ok(None) => drop(self.problems.remove(&cookie)),
            Ok(Some(problem)) => self.complain(enrolment, problem),
            Err(error) => self.complain(enrolment, format!("{error:#}")),
        }
    }

    /// Returns what is not served all the same.
    fn open(
        &self,
        enrolment: &Enrolment,
        client: ClientIdentity,
    ) -> anyhow::Result<Option<String>> {
        let cookie = enrolment.netns_cookie;
        let opened = namespace::open(Path::new(&enrolment.netns), &enrolment.resolvers)?;
        let problem = opened.problem.clone();
        let resolvers = enrolment.resolvers.clone();
        let server = opened.serve(client.clone(), Arc::clone(&self.resolver), &self.shutdown)?;
        self.servers.insert(cookie, server, client, resolvers)?;
        Ok(problem)
    }

    fn complain(&mut self, enrolment: &Enrolment, problem: String) {
        let who = client_of(enrolment).name;
        let text = format!("DNS queries of {who} are left alone: {problem}");
        if self.problems.get(&enrolment.netns_cookie) != Some(&text) {
            tracing::warn!("{text}");
        }
        self.problems.insert(enrolment.netns_cookie, text);
    }

    /// Serves a namespace no longer; queries under way are answered. Blocks until its sockets are closed.
    pub fn withdraw(&mut self, cookie: u64) {
        self.withdraw_all(&[cookie]);
    }

    /// As [`Dns::withdraw`] for several at once, in the time that one takes.
    pub fn withdraw_all(&mut self, cookies: &[u64]) {
        let servers: Vec<_> = cookies.iter().filter_map(|it| self.servers.remove(*it)).collect();
        if servers.is_empty() {
            return;
        }
        Handle::current().block_on(async {
            sleep(LAST_CALL).await;
            let mut ends: JoinSet<()> = servers.into_iter().map(dns::Server::stop).collect();
            while ends.join_next().await.is_some() {}
        });
    }

    /// Lets go of namespaces that are not enrolled any more.
    pub fn retain(&mut self, enrolled: impl Fn(u64) -> bool) {
        for cookie in self.servers.cookies().into_iter().filter(|cookie| !enrolled(*cookie)) {
            // Nobody is left there to answer.
            drop(self.servers.remove(cookie));
        }
        self.problems.retain(|cookie, _| enrolled(*cookie));
    }

    /// Sends queries to their resolvers again, answers those under way, and ends.
    pub async fn stop(&mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
            // Its end by abort is what it is about.
            let _ = heartbeat.await;
        }
        if let Err(error) = self.maps.stop_beating() {
            tracing::warn!(%error, "the DNS proxy ends without a word");
        }
        let servers = self.servers.take_all();
        if servers.is_empty() {
            return;
        }
        sleep(LAST_CALL).await;
        let mut ends: JoinSet<()> = servers.into_iter().map(dns::Server::stop).collect();
        while ends.join_next().await.is_some() {}
    }

    /// What `name` means to a client.
    pub fn lookup(&self, client: &Enrolment, name: &str) -> Option<Found> {
        self.resolver.lookup(&client_of(client).namespace, name)
    }

    /// For the status page.
    pub fn status(&self, hosts: &NodeHosts) -> DnsStatus {
        let counts = self.resolver.counts();
        DnsStatus {
            enabled: self.enabled,
            served: self.servers.cookies().len(),
            resolvers: self.servers.captured(),
            names: self.resolver.names(),
            queries: DnsQueries {
                answered: counts.answered_locally,
                cached: counts.cache_hit,
                forwarded: counts.forwarded,
                failed: counts.forward_failed,
                overloaded: counts.dropped_overload,
                malformed: counts.malformed,
            },
            hosts: hosts.status(),
            problems: self.problems.values().cloned().chain(self.servers.problems()).collect(),
        }
    }

    fn release_strangers(&self) {
        for (cookie, resolver) in self.maps.captured_dns() {
            if !self.servers.captures(cookie, resolver)
                && let Err(error) = self.maps.release_dns(cookie, resolver)
            {
                tracing::warn!(cookie, %resolver, %error, "a resolver stays captured");
            }
        }
    }
}

fn client_of(enrolment: &Enrolment) -> ClientIdentity {
    let workload = enrolment.workload.as_deref();
    let namespace = workload.and_then(|workload| workload.split_once('/')).map(|parts| parts.0);
    ClientIdentity {
        namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned(),
        name: workload.unwrap_or(&enrolment.netns).to_owned(),
    }
}
