//! Everything that can happen to the daemon, in one enum and one loop. The loop owns the state;
//! the admin API asks it questions.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::dns::Addresses;
use anyhow::{Context, bail};
use datapath::Datapath;
use model::Snapshot;
use resources::Touched;
use runtime::api::{
    AuthzExplanation, AuthzRequest, AuthzSetting, AuthzStatus, BpfDump, ConfigDump, EnrolRequest,
    Enrolment, ExplainRequest, Explanation, Status, UnenrolRequest,
};
use runtime::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::authz::Authorization;
use crate::commit::Committer;
use crate::connections::Totals;
use crate::dns::{Dns, NodeHosts};
use crate::enrolments::Enrolments;
use crate::kubernetes::{Changes, PodRequest, Pods};
use crate::provenance::{self, Provenance};
use crate::source::{Mesh, Problem, Source};
use crate::{dump, explain, status};

/// How often enrolled namespaces are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);
/// How often it is looked whether one is not where it was. The sockets of its DNS server keep a
/// namespace alive that everybody else has left, and its addresses with it.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How long after a failed commit it is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Questions that may wait for the loop.
pub const REQUESTS_MAX: usize = 64;

/// An answer to a question that can fail; the text is for the operator.
pub type Answer<T> = oneshot::Sender<Result<T, String>>;

/// What the admin API asks of the loop.
pub enum Request {
    /// Is the first image in force?
    Ready(oneshot::Sender<Result<(), String>>),
    /// Everything on one page.
    Status(oneshot::Sender<Status>),
    /// The configuration as understood.
    ConfigDump(oneshot::Sender<ConfigDump>),
    /// What is in the maps.
    BpfDump(oneshot::Sender<BpfDump>),
    /// What would happen to a connection?
    Explain(ExplainRequest, Answer<Explanation>),
    /// What is enforced of policies.
    Authz(oneshot::Sender<AuthzStatus>),
    /// Enforce them, or not.
    SetAuthz(AuthzSetting, Answer<AuthzStatus>),
    /// Why is a connection allowed or refused?
    ExplainAuthz(AuthzRequest, Answer<AuthzExplanation>),
    /// All enrolments.
    Enrolments(oneshot::Sender<Vec<Enrolment>>),
    /// Put a namespace into the mesh.
    Enrol(EnrolRequest, Answer<Enrolment>),
    /// Take one out.
    Unenrol(UnenrolRequest, Answer<Enrolment>),
    /// Something about a pod.
    Pod(PodRequest),
}

/// Everything that can happen.
enum Event {
    Config(Touched),
    Addresses(Addresses),
    Request(Request),
    Pods,
    Look,
    Sweep,
    Retry,
    Stop,
}

/// What an agent is made of.
pub struct Parts {
    /// Programs and maps, loaded.
    pub datapath: Datapath,
    /// The way into the maps.
    pub committer: Committer,
    /// Who may connect to whom.
    pub authorization: Authorization,
    /// Who is in the mesh.
    pub enrolments: Enrolments,
    /// The configuration.
    pub source: Source,
    /// Connections so far.
    pub totals: Arc<Totals>,
    /// The DNS proxy.
    pub dns: Dns,
    /// Host names of endpoints.
    pub hosts: NodeHosts,
    /// Pods of the node, when a cluster is looked at.
    pub pods: Option<Pods>,
}

/// The daemon's state.
pub struct Agent {
    pub(crate) datapath: Datapath,
    pub(crate) committer: Committer,
    pub(crate) authorization: Authorization,
    pub(crate) enrolments: Enrolments,
    pub(crate) totals: Arc<Totals>,
    pub(crate) dns: Dns,
    pub(crate) hosts: NodeHosts,
    pub(crate) source: Source,
    pub(crate) pods: Option<Pods>,
    /// As it is written.
    configured: Arc<Snapshot>,
    /// With the endpoints that names resolve to.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) problems: Arc<[Problem]>,
    told_of_waypoints: Vec<plan::Problem>,
    attached: bool,
    failure: Option<String>,
    retry_at: Option<Instant>,
}

impl Agent {
    /// A daemon whose programs are loaded and not attached yet.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            datapath,
            committer,
            authorization,
            enrolments,
            source,
            totals,
            dns,
            hosts,
            pods,
        } = parts;
        Self {
            snapshot: hosts.snapshot(),
            configured: Arc::default(),
            datapath,
            committer,
            authorization,
            enrolments,
            totals,
            dns,
            hosts,
            pods,
            source,
            problems: Arc::default(),
            told_of_waypoints: Vec::new(),
            attached: false,
            failure: None,
            retry_at: None,
        }
    }

    /// Runs until `shutdown`. The programs stay attached after it: the data path goes on with the
    /// last committed image.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, shutdown: Shutdown) {
        let (mut sweeps, mut looks) = (interval(SWEEP_PERIOD), interval(LOOK_PERIOD));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut addresses = self.hosts.addresses();
        let mut pods = Changes::of(self.pods.as_ref());
        // A directory is read at once; a control plane has news when it has told everything.
        tokio::task::block_in_place(|| self.reload(&Touched::Everything));
        loop {
            let retry_at = self.retry_at;
            let event = tokio::select! {
                () = shutdown.wait() => Event::Stop,
                touched = self.source.changed() => Event::Config(touched),
                Ok(()) = addresses.changed() => {
                    Event::Addresses(addresses.borrow_and_update().clone())
                }
                Some(request) = requests.recv() => Event::Request(request),
                () = pods.changed() => Event::Pods,
                _ = looks.tick() => Event::Look,
                _ = sweeps.tick() => Event::Sweep,
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    Event::Retry
                }
            };
            if matches!(event, Event::Stop) {
                self.dns.stop().await;
                return;
            }
            tokio::task::block_in_place(|| self.handle(event));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Config(touched) => self.reload(&touched),
            Event::Addresses(addresses) => {
                if self.hosts.set_addresses(&addresses) {
                    self.snapshot = self.hosts.snapshot();
                    self.commit(Duration::ZERO);
                }
            }
            Event::Retry => self.commit(Duration::ZERO),
            Event::Request(request) => self.answer(request),
            Event::Pods => self.reconcile_pods(),
            Event::Look => {
                if self.enrolments.any_moved() {
                    self.sweep();
                }
                self.reconcile_pods();
            }
            Event::Sweep => {
                self.sweep();
                if self.authorization.is_node_elsewhere() {
                    self.commit(Duration::ZERO);
                }
            }
            Event::Stop => {}
        }
    }

    fn sweep(&mut self) {
        if let Err(error) = self.enrolments.sweep() {
            tracing::warn!(error = format!("{error:#}"), "enrolments were not swept");
        }
        self.dns.retain(|cookie| self.enrolments.contains(cookie));
        if self.attached {
            self.dns.start(&self.enrolments.list());
        }
    }

    /// Takes up what changed and puts what is good in force.
    fn reload(&mut self, touched: &Touched) {
        let started = Instant::now();
        let Some(Mesh { snapshot, problems, since }) = self.source.take(touched) else { return };
        let read = since.map_or_else(|| started.elapsed(), |since| since.elapsed());
        if !Arc::ptr_eq(&self.problems, &problems) {
            self.log_new_problems(&problems);
            self.problems = problems;
        }
        let changed = !Arc::ptr_eq(&self.configured, &snapshot);
        if changed {
            self.hosts.set_snapshot(&snapshot);
            self.configured = snapshot;
            self.snapshot = self.hosts.snapshot();
        }
        if changed || !self.attached {
            self.commit(read);
        }
    }

    fn log_new_problems(&self, problems: &[Problem]) {
        let known: HashSet<&Problem> = self.problems.iter().collect();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            problem.severity().log(problem);
        }
    }

    /// Brings the kernel to the snapshot, and attaches the programs when this is the first time.
    /// `read` is what it took to get the snapshot, for the log.
    fn commit(&mut self, read: Duration) {
        let started = Instant::now();
        match self.try_commit() {
            Ok(writes) => {
                self.failure = None;
                self.retry_at = None;
                if self.committer.generation() == 1 {
                    // The bytes of the whole mesh are gone, and the allocator holds their memory.
                    datapath::return_free_memory();
                }
                tracing::info!(
                    generation = self.committer.generation(),
                    services = self.snapshot.services.len(),
                    writes,
                    read_us = read.as_micros() as u64,
                    commit_us = started.elapsed().as_micros() as u64,
                    "committed"
                );
                for problem in self.committer.problems() {
                    tracing::error!(service = %problem.service, "{}", problem.message);
                }
                self.take_up_waypoints();
            }
            Err(error) => {
                tracing::error!(%error, "not committed; tried again in {RETRY_DELAY:?}");
                self.failure = Some(error.to_string());
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
        }
        // Names follow their addresses: what DNS tells can be dialled.
        self.dns.update(&self.snapshot);
        if self.attached && !self.dns.is_started() {
            self.dns.start(&self.enrolments.list());
        }
        if self.committer.is_worth_retrying() || self.authorization.is_worth_retrying() {
            self.retry_at = Some(Instant::now() + RETRY_DELAY);
        }
        if let Err(error) = self.committer.settle().and_then(|()| self.authorization.settle()) {
            tracing::warn!(%error, "map entries stay retired until the next commit");
        }
    }

    /// What a commit means for waypoints beside the image: who is one, and what is wrong with them.
    fn take_up_waypoints(&mut self) {
        let addresses = self.committer.waypoint_addresses().into_keys().collect();
        if let Err(error) = self.enrolments.set_waypoints(addresses) {
            tracing::warn!(error = format!("{error:#}"), "a waypoint may be sent to a waypoint");
        }
        for problem in self.committer.waypoint_problems() {
            if !self.told_of_waypoints.contains(problem) {
                tracing::warn!(service = %problem.service, "{}", problem.message);
            }
        }
        self.told_of_waypoints = self.committer.waypoint_problems().to_vec();
    }

    fn try_commit(&mut self) -> datapath::Result<usize> {
        let writes = self.committer.commit(&self.snapshot)?
            + self.authorization.commit(&self.snapshot, self.enrolments.all())?;
        if !self.attached {
            for (program, state) in self.datapath.attach()? {
                tracing::info!(program, ?state, "attached");
            }
            self.attached = true;
            self.enrolments.set_guards(Arc::clone(self.datapath.guards()));
        }
        Ok(writes)
    }

    /// True once the programs are in force.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    /// Why the daemon is not ready, if it is not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        match (&self.failure, self.attached) {
            (_, true) => Ok(()),
            (Some(failure), false) => Err(failure.clone()),
            (None, false) => Err(self
                .source
                .waiting_for()
                .unwrap_or_else(|| "the first image is not committed yet".into())),
        }
    }

    /// True once the first image is in force.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    fn config_dump(&self) -> ConfigDump {
        let mut dump = dump::config(&self.snapshot);
        let Self { snapshot, source, committer, authorization, .. } = self;
        provenance::add(&mut dump, snapshot, source, committer, authorization);
        dump
    }

    fn explain(&self, request: &ExplainRequest) -> anyhow::Result<Explanation> {
        let enrolments = self.enrolments.list();
        let from = explain::find_client(&enrolments, &request.from)?;
        let protocol = explain::protocol(request)?;
        let (host, port) = explain::host_and_port(&request.to)?;
        let address = self.address_of(from, host)?;
        let origins = Provenance::new(&self.snapshot, &self.source);
        let to = SocketAddr::new(address, port);
        let question = explain::Question { from, to, protocol, origins: &origins };
        explain::explain(self.datapath.maps(), self.committer.layout(), &question)
    }

    /// An address, or the first address that DNS tells the client for a name of the mesh.
    fn address_of(&self, client: &Enrolment, host: &str) -> anyhow::Result<IpAddr> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let found = self.dns.lookup(client, host);
        let found = found.with_context(|| format!("no service has the host name {host}"))?;
        let address = found.addresses.first().copied();
        address.with_context(|| format!("{host} has no address now"))
    }

    fn enrol(&mut self, request: &EnrolRequest) -> anyhow::Result<Enrolment> {
        let enrolment = self.enrolments.enrol(request)?;
        if self.attached {
            self.dns.serve(&enrolment);
        }
        Ok(enrolment)
    }

    fn unenrol(&mut self, request: &UnenrolRequest) -> anyhow::Result<Enrolment> {
        let cookie = self.enrolments.find(request)?;
        let wanted = self.enrolments.get(cookie).zip(self.pods.as_ref());
        if let Some(why) = wanted.and_then(|(enrolment, pods)| pods.why_wanted(enrolment)) {
            bail!("it would be enrolled again at once: {why}; change the label instead");
        }
        // First its server: an answer finds its way only while the namespace is in the mesh.
        self.dns.withdraw(cookie);
        let ended = self.enrolments.unenrol(cookie)?;
        self.dns.retain(|cookie| self.enrolments.contains(cookie));
        Ok(ended)
    }

    fn set_authz(&mut self, setting: AuthzSetting) -> anyhow::Result<AuthzStatus> {
        self.authorization.set_enabled(setting.enable)?;
        self.commit(Duration::ZERO);
        match &self.failure {
            Some(failure) => bail!("not in force yet, tried again: {failure}"),
            None => Ok(self.authz_status()),
        }
    }

    pub(crate) fn authz_status(&self) -> AuthzStatus {
        self.authorization.status(&self.snapshot, self.enrolments.guarded())
    }

    /// Answers; a client that has gone away is no matter.
    fn answer(&mut self, request: Request) {
        let failed = |error: anyhow::Error| format!("{error:#}");
        match request {
            Request::Ready(to) => drop(to.send(self.readiness())),
            Request::Status(to) => drop(to.send(status::status(self))),
            Request::ConfigDump(to) => drop(to.send(self.config_dump())),
            Request::BpfDump(to) => {
                drop(to.send(dump::bpf(self.committer.layout(), &self.snapshot)));
            }
            Request::Explain(request, to) => {
                drop(to.send(self.explain(&request).map_err(failed)));
            }
            Request::Authz(to) => drop(to.send(self.authz_status())),
            Request::SetAuthz(setting, to) => {
                drop(to.send(self.set_authz(setting).map_err(failed)));
            }
            Request::ExplainAuthz(request, to) => {
                let explanation = self.authorization.explain(&self.snapshot, &request);
                drop(to.send(explanation.map_err(failed)));
            }
            Request::Enrolments(to) => drop(to.send(self.enrolments.list())),
            Request::Enrol(request, to) => {
                drop(to.send(self.enrol(&request).map_err(failed)));
            }
            Request::Pod(request) => self.answer_pod(request),
            Request::Unenrol(request, to) => {
                drop(to.send(self.unenrol(&request).map_err(failed)));
            }
        }
    }
}
