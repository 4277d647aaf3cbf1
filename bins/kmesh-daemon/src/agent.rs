//! Everything that can happen to the daemon, in one enum and one loop. The loop owns the state;
//! the admin API asks it questions.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use datapath::Datapath;
use model::Snapshot;
use resources::{Directory, Problem, Severity, Touched, Update, Watcher};
use runtime::api::{
    BpfDump, ConfigDump, EnrolRequest, Enrolment, ExplainRequest, Explanation, Status,
    UnenrolRequest,
};
use runtime::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::commit::Committer;
use crate::connections::Totals;
use crate::enrolments::Enrolments;
use crate::{dump, explain, status};

/// How often enrolled namespaces are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);
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
    /// All enrolments.
    Enrolments(oneshot::Sender<Vec<Enrolment>>),
    /// Put a namespace into the mesh.
    Enrol(EnrolRequest, Answer<Enrolment>),
    /// Take one out.
    Unenrol(UnenrolRequest, Answer<Enrolment>),
}

/// Everything that can happen.
enum Event {
    Config(Touched),
    Request(Request),
    Sweep,
    Retry,
    Stop,
}

/// The daemon's state.
pub struct Agent {
    pub(crate) datapath: Datapath,
    pub(crate) committer: Committer,
    pub(crate) enrolments: Enrolments,
    pub(crate) totals: Arc<Totals>,
    directory: Directory,
    pub(crate) source: String,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) problems: Arc<[Problem]>,
    attached: bool,
    failure: Option<String>,
    retry_at: Option<Instant>,
}

impl Agent {
    /// A daemon whose programs are loaded and not attached yet.
    pub fn new(
        datapath: Datapath,
        committer: Committer,
        enrolments: Enrolments,
        directory: Directory,
        totals: Arc<Totals>,
    ) -> Self {
        Self {
            source: directory.path().display().to_string(),
            snapshot: directory.snapshot(),
            datapath,
            committer,
            enrolments,
            totals,
            directory,
            problems: Arc::default(),
            attached: false,
            failure: None,
            retry_at: None,
        }
    }

    /// Runs until `shutdown`. The programs stay attached after it: the data path goes on with the
    /// last committed image.
    pub async fn run(
        mut self,
        mut watcher: Watcher,
        mut requests: mpsc::Receiver<Request>,
        shutdown: Shutdown,
    ) {
        let mut sweeps = interval(SWEEP_PERIOD);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::task::block_in_place(|| self.reload(&Touched::Everything));
        loop {
            let retry_at = self.retry_at;
            let event = tokio::select! {
                () = shutdown.wait() => Event::Stop,
                touched = watcher.changed() => Event::Config(touched),
                Some(request) = requests.recv() => Event::Request(request),
                _ = sweeps.tick() => Event::Sweep,
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    Event::Retry
                }
            };
            if matches!(event, Event::Stop) {
                return;
            }
            tokio::task::block_in_place(|| self.handle(event));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Config(touched) => self.reload(&touched),
            Event::Retry => self.commit(),
            Event::Request(request) => self.answer(request),
            Event::Sweep => {
                if let Err(error) = self.enrolments.sweep() {
                    tracing::warn!(error = format!("{error:#}"), "enrolments were not swept");
                }
            }
            Event::Stop => {}
        }
    }

    /// Reads what was touched and puts what is good in force.
    fn reload(&mut self, touched: &Touched) {
        let Update { snapshot, problems } = self.directory.refresh(touched);
        if !Arc::ptr_eq(&self.problems, &problems) {
            self.log_new_problems(&problems);
            self.problems = problems;
        }
        let changed = !Arc::ptr_eq(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        if changed || !self.attached {
            self.commit();
        }
    }

    fn log_new_problems(&self, problems: &[Problem]) {
        let known: HashSet<&Problem> = self.problems.iter().collect();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
                Severity::Info => tracing::info!("{problem}"),
            }
        }
    }

    /// Brings the kernel to the snapshot, and attaches the programs when this is the first time.
    fn commit(&mut self) {
        let started = Instant::now();
        match self.try_commit() {
            Ok(writes) => {
                self.failure = None;
                self.retry_at = None;
                tracing::info!(
                    generation = self.committer.generation(),
                    services = self.snapshot.services.len(),
                    writes,
                    elapsed_us = started.elapsed().as_micros() as u64,
                    "committed"
                );
                for problem in self.committer.problems() {
                    tracing::error!(service = %problem.service, "{}", problem.message);
                }
            }
            Err(error) => {
                tracing::error!(%error, "not committed; tried again in {RETRY_DELAY:?}");
                self.failure = Some(error.to_string());
                self.retry_at = Some(Instant::now() + RETRY_DELAY);
            }
        }
        if self.committer.is_worth_retrying() {
            self.retry_at = Some(Instant::now() + RETRY_DELAY);
        }
        if let Err(error) = self.committer.settle() {
            tracing::warn!(%error, "map entries stay retired until the next commit");
        }
    }

    fn try_commit(&mut self) -> datapath::Result<usize> {
        let writes = self.committer.commit(&self.snapshot)?;
        if !self.attached {
            for (program, state) in self.datapath.attach()? {
                tracing::info!(program, ?state, "attached");
            }
            self.attached = true;
        }
        Ok(writes)
    }

    fn readiness(&self) -> Result<(), String> {
        match (&self.failure, self.attached) {
            (_, true) => Ok(()),
            (Some(failure), false) => Err(failure.clone()),
            (None, false) => Err("the first image is not committed yet".into()),
        }
    }

    /// True once the first image is in force.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    fn explain(&self, request: &ExplainRequest) -> anyhow::Result<Explanation> {
        let enrolments = self.enrolments.list();
        let from = explain::find_client(&enrolments, &request.from)?;
        let protocol = explain::protocol(request)?;
        let (host, port) = explain::host_and_port(&request.to)?;
        let address = self.address_of(host)?;
        let question = explain::Question { from, to: SocketAddr::new(address, port), protocol };
        explain::explain(self.datapath.maps(), self.committer.layout(), &question)
    }

    /// An address, or the first virtual address of the service with that host name.
    fn address_of(&self, host: &str) -> anyhow::Result<IpAddr> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let named = self.snapshot.services.values().find(|service| service.name.hostname == host);
        let service = named.with_context(|| format!("no service has the host name {host}"))?;
        let address = service.addresses.first().copied();
        address.with_context(|| format!("{host} has no virtual address: name one of its endpoints"))
    }

    /// Answers; a client that has gone away is no matter.
    fn answer(&mut self, request: Request) {
        let failed = |error: anyhow::Error| format!("{error:#}");
        match request {
            Request::Ready(to) => drop(to.send(self.readiness())),
            Request::Status(to) => drop(to.send(status::status(self))),
            Request::ConfigDump(to) => drop(to.send(dump::config(&self.snapshot))),
            Request::BpfDump(to) => {
                drop(to.send(dump::bpf(self.committer.layout(), &self.snapshot)));
            }
            Request::Explain(request, to) => {
                drop(to.send(self.explain(&request).map_err(failed)));
            }
            Request::Enrolments(to) => drop(to.send(self.enrolments.list())),
            Request::Enrol(request, to) => {
                drop(to.send(self.enrolments.enrol(&request).map_err(failed)));
            }
            Request::Unenrol(request, to) => {
                drop(to.send(self.enrolments.unenrol(&request).map_err(failed)));
            }
        }
    }
}
