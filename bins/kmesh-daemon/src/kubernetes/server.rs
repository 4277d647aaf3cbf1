//! Answers the CNI plugin. Whether a pod belongs to the mesh is taken from the view; the loop does what
//! follows from it. Nothing here asks the API server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use cni::wire::{Answer, REQUEST_BYTES_MAX, Request, Sandbox};
use enrolment::{Known, Mode, Verdict};
use runtime::admin::SocketFile;
use runtime::api::{self, EnrolmentOrigin};
use runtime::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::counters::Counters;
use super::view::SharedView;
use super::{Pod, PodRequest};
use crate::agent;
use crate::enrolments::PodEnrolment;

/// How long a pod is waited for that the runtime asks for and the watch has not told of yet. Shorter
/// than the plugin waits for an answer.
const POD_PATIENCE: Duration = Duration::from_secs(1);
/// How long a plugin may take to ask.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);
/// Questions answered at the same time; more wait to be accepted.
const QUESTIONS_MAX: usize = 128;
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that an answer takes.
#[derive(Clone)]
pub struct Server {
    pub(super) view: Arc<SharedView>,
    pub(super) counters: Arc<Counters>,
    pub(super) requests: mpsc::Sender<agent::Request>,
}

impl Server {
    /// Answers until `stop`; then questions under way are answered.
    pub async fn serve(self, listener: UnixListener, file: SocketFile, stop: Shutdown) {
        let room = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut questions = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.wait() => break,
                Some(_) = questions.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (Ok((stream, _)), Ok(turn)) = (accepted, Arc::clone(&room).acquire_owned().await)
            else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let server = self.clone();
            questions.spawn(async move {
                server.answer(stream).await;
                drop(turn);
            });
        }
        // From here on the plugin finds nobody.
        drop((listener, file));
        while questions.join_next().await.is_some() {}
    }

    async fn answer(&self, mut stream: UnixStream) {
        let answer = match timeout(QUESTION_PATIENCE, read(&mut stream)).await {
            Ok(Ok(request)) => self.decide(request).await,
            Ok(Err(error)) => self.malformed(format!("{error:#}")),
            Err(_) => self.malformed(format!("no whole question within {QUESTION_PATIENCE:?}")),
        };
        tracing::debug!(?answer, "answered the CNI plugin");
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        // One that has gone away follows its policy.
        let _ = timeout(QUESTION_PATIENCE, stream.write_all(&text)).await;
    }

    fn malformed(&self, why: String) -> Answer {
        self.counters.malformed.add();
        Answer::Failed { why }
    }

    async fn decide(&self, request: Request) -> Answer {
        match request {
            Request::Add(sandbox) => self.add(sandbox).await,
            Request::Check(sandbox) => self.check(sandbox).await,
            Request::Del(sandbox) => {
                self.counters.released.add();
                let netns = PathBuf::from(sandbox.netns);
                let sandbox = sandbox_of(sandbox.attachment);
                done(self.ask(|to| PodRequest::Release { sandbox, netns, to }).await)
            }
            Request::Gc { network, valid } => {
                let valid = valid.into_iter().map(sandbox_of).collect();
                done(self.ask(|to| PodRequest::Collect { network, valid, to }).await)
            }
            Request::Status => done(self.ask(PodRequest::Ready).await),
        }
    }

    async fn add(&self, sandbox: Sandbox) -> Answer {
        if sandbox.pod_name.is_empty() {
            self.counters.left_alone.add();
            return left_alone("the runtime names no pod");
        }
        let (known, uid) = self.known(&sandbox, POD_PATIENCE).await;
        let unknown = unknown(&sandbox);
        let pod = |provisional| {
            let uid = uid.clone().filter(|_| !sandbox.netns.is_empty())?;
            Some(Pod { enrolment: enrolment(sandbox.clone(), uid), provisional })
        };
        match known {
            Known::Decided(Verdict::In(why)) => self.enrol(pod(false), Ok(why.sentence())).await,
            Known::Decided(Verdict::Out(why)) => {
                self.remember(pod(false)).await;
                self.counters.left_alone.add();
                left_alone(why.sentence())
            }
            // The pod itself may say otherwise; the watch puts that right.
            Known::Unknown(Some(Mode::Kmesh)) => self.enrol(pod(true), Err(unknown)).await,
            Known::Decided(Verdict::NeedsNamespace) | Known::Unknown(_) => {
                self.remember(pod(false)).await;
                self.counters.undecided.add();
                Answer::Undecided { why: unknown }
            }
        }
    }

    /// Puts a pod into the mesh; `why` is what decided, or what is missing to decide.
    async fn enrol(&self, pod: Option<Pod>, why: Result<&str, String>) -> Answer {
        let counters = &self.counters;
        let Some(pod) = pod else {
            counters.undecided.add();
            return Answer::Undecided { why: "the runtime does not tell the pod's uid".into() };
        };
        let undecided = |why| {
            counters.undecided.add();
            Answer::Undecided { why }
        };
        match (self.ask(|to| PodRequest::Enrol { pod, to }).await, why) {
            (Err(why), _) => {
                counters.failed.add();
                Answer::Failed { why }
            }
            (Ok(_), Err(why)) => undecided(why),
            (Ok(false), Ok(_)) => undecided("enrolled, but no program is attached yet".into()),
            (Ok(true), Ok(why)) => {
                counters.enrolled.add();
                Answer::Done { enrolled: true, why: why.to_owned() }
            }
        }
    }

    /// Where the pod lives, in case that labels put it in before its first container runs.
    async fn remember(&self, pod: Option<Pod>) {
        let Some(pod) = pod else { return };
        if let Err(error) = self.ask(|to| PodRequest::Remember { pod, to }).await {
            tracing::debug!(error, "a sandbox is not remembered");
        }
    }

    async fn check(&self, sandbox: Sandbox) -> Answer {
        let (known, _) = self.known(&sandbox, Duration::ZERO).await;
        let netns = PathBuf::from(&sandbox.netns);
        let enrolled = match self.ask(|to| PodRequest::IsEnrolled { netns, to }).await {
            Ok(enrolled) => enrolled,
            Err(why) => return Answer::Wrong { why },
        };
        match known {
            Known::Decided(Verdict::In(why)) if !enrolled => {
                Answer::Wrong { why: format!("not enrolled, although {}", why.sentence()) }
            }
            // One that was enrolled by hand may be in the mesh without a label.
            _ => Answer::Done { enrolled, why: String::new() },
        }
    }

    /// What is known of the pod of a sandbox, and its uid: that of the runtime, or else that of the pod
    /// that has the name now.
    async fn known(&self, sandbox: &Sandbox, patience: Duration) -> (Known, Option<String>) {
        let (namespace, name) = (&sandbox.pod_namespace, &sandbox.pod_name);
        let uid = sandbox.pod_uid.as_deref();
        let known = self.view.await_pod(namespace, name, uid, patience).await;
        let view = self.view.lock();
        let mut pods = view.pods();
        let by_name = pods.find(|pod| pod.namespace == *namespace && pod.name == *name);
        (known, sandbox.pod_uid.clone().or_else(|| by_name.map(|pod| pod.uid.clone())))
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, String>>) -> PodRequest,
    ) -> Result<T, String> {
        let stopping = || "the daemon is stopping".to_owned();
        let (to, answer) = oneshot::channel();
        let request = agent::Request::Pod(request(to));
        self.requests.send(request).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

async fn read(stream: &mut UnixStream) -> anyhow::Result<Request> {
    let mut text = Vec::new();
    let max = REQUEST_BYTES_MAX as u64;
    stream.take(max + 1).read_to_end(&mut text).await.context("the question cannot be read")?;
    ensure!(text.len() <= REQUEST_BYTES_MAX, "the question has more than {max} bytes");
    serde_json::from_slice(&text).context("the question has no meaning")
}

fn enrolment(sandbox: Sandbox, uid: String) -> PodEnrolment {
    PodEnrolment {
        netns: PathBuf::from(&sandbox.netns),
        workload: format!("{}/{}", sandbox.pod_namespace, sandbox.pod_name),
        uid,
        origin: EnrolmentOrigin::Cni,
        sandbox: Some(sandbox_of(sandbox.attachment)),
        resolvers: sandbox.resolvers,
    }
}

fn sandbox_of(attachment: cni::Attachment) -> api::Sandbox {
    let cni::Attachment { network, container_id, ifname } = attachment;
    api::Sandbox { network, container_id, ifname }
}

fn left_alone(why: &str) -> Answer {
    Answer::Done { enrolled: false, why: why.to_owned() }
}

fn unknown(sandbox: &Sandbox) -> String {
    let (namespace, name) = (&sandbox.pod_namespace, &sandbox.pod_name);
    format!("pod {namespace}/{name}: the API server has not told of it within {POD_PATIENCE:?}")
}

fn done(result: Result<(), String>) -> Answer {
    match result {
        Ok(()) => Answer::Done { enrolled: false, why: String::new() },
        Err(why) => Answer::Failed { why },
    }
}
