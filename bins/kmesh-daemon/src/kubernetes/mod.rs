//! Enrolment of the node's pods as their labels say: the watch, the server for the CNI plugin, the
//! plugin's installation, and what of it the loop owns. docs/enrolment.md tells what happens when.

mod annotations;
mod args;
mod counters;
mod installer;
mod pauses;
mod process;
mod reconcile;
mod server;
mod view;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use enrolment::plan::Annotation;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use runtime::admin::{self, SocketFile};
use runtime::api::Sandbox;
use runtime::shutdown::Shutdown;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;

pub use args::KubernetesArgs;
pub use installer::uninstall;

use self::counters::Counters;
use self::installer::Installer;
use self::server::Server;
use self::view::SharedView;
use crate::agent::{Answer, Request};
use crate::enrolments::PodEnrolment;

/// What the server for the plugin asks of the loop.
pub enum PodRequest {
    /// Put a pod into the mesh. The answer says whether that is in force.
    Enrol {
        /// The pod.
        pod: Pod,
        /// Where the answer goes.
        to: Answer<bool>,
    },
    /// A pod is not put into the mesh, as far as is known now; that may change before its first
    /// container runs.
    Remember {
        /// The pod.
        pod: Pod,
        /// Where the answer goes.
        to: Answer<()>,
    },
    /// A sandbox ends.
    Release {
        /// What the runtime calls it.
        sandbox: Sandbox,
        /// Where it is, or was.
        netns: PathBuf,
        /// Where the answer goes.
        to: Answer<()>,
    },
    /// Of this network only these are left.
    Collect {
        /// Its name.
        network: String,
        /// What is left.
        valid: BTreeSet<Sandbox>,
        /// Where the answer goes.
        to: Answer<()>,
    },
    /// Is the namespace there in the mesh?
    IsEnrolled {
        /// Its path.
        netns: PathBuf,
        /// Where the answer goes.
        to: Answer<bool>,
    },
    /// Would a pod be taken in?
    Ready(Answer<()>),
}

/// A pod that a runtime has made a sandbox for.
pub struct Pod {
    /// What is enrolled.
    pub enrolment: PodEnrolment,
    /// Its namespace alone has decided: it stays until it is seen.
    pub provisional: bool,
}

/// What the loop knows of pods.
pub struct Pods {
    view: Arc<SharedView>,
    counters: Arc<Counters>,
    cgroup_root: String,
    notes: PathBuf,
    annotations: channel::Sender<Vec<Annotation>>,
    /// Enrolled before anybody had seen them, by their uids.
    provisional: BTreeSet<String>,
    /// Sandboxes that the runtime has told of, by the uids of their pods: the way to a pod before its
    /// first container runs.
    sandboxes: BTreeMap<String, PodEnrolment>,
    /// Pods that belong to the mesh and are found nowhere.
    missing: usize,
    /// What is wrong with a pod, by its uid.
    problems: BTreeMap<String, String>,
}

/// Tells the loop that there is something to do; never when no cluster is looked at.
pub struct Changes(Option<channel::Receiver<u64>>);

/// Everything that is bound and not running yet.
pub struct Kubernetes {
    client: Client,
    node: String,
    view: Arc<SharedView>,
    counters: Arc<Counters>,
    socket: (UnixListener, SocketFile),
    installer: Option<Installer>,
    cgroup_root: String,
    notes: PathBuf,
    annotations: channel::Sender<Vec<Annotation>>,
}

// === impl Changes ===

impl Changes {
    /// Of this view.
    pub fn of(pods: Option<&Pods>) -> Self {
        Self(pods.map(|pods| pods.view.changes()))
    }

    /// Returns at the next change. Safe to drop at any time.
    pub async fn changed(&mut self) {
        // The view lives as long as the loop that waits here.
        let is_told = match &mut self.0 {
            Some(changes) => changes.changed().await.is_ok(),
            None => false,
        };
        if !is_told {
            std::future::pending().await
        }
    }
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Binds and reads what is needed to look at a cluster; nothing when none is to be looked at. The
    /// API server need not answer yet.
    ///
    /// # Errors
    /// What is missing or wrong on this side, with the flag that says so.
    pub async fn prepare(args: &KubernetesArgs, node: &str) -> anyhow::Result<Option<Self>> {
        if !args.watches() {
            ensure!(
                !args.must_install(),
                "--install-cni on, but no cluster is looked at: name one by --kubeconfig"
            );
            return Ok(None);
        }
        ensure!(!node.is_empty(), "pods of which node? name it by --node-name");
        ensure!(
            args.plugin_cni_chained,
            "--plugin-cni-chained=false: only a chained plugin exists"
        );
        let installer = args.installs().then(|| Installer::new(args)).transpose()?;
        let config = config(args).await?;
        let server = config.cluster_url.to_string();
        let client =
            Client::try_from(config).context("the API server cannot be reached that way")?;
        tracing::info!(server, node, install_cni = installer.is_some(), "enrolling by labels");
        let socket = admin::bind_private(&args.cni_socket, "--cni-socket").await?;
        let beside = args.cni_socket.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Some(Self {
            client,
            node: node.to_owned(),
            view: Arc::new(SharedView::new()),
            counters: Arc::new(Counters::default()),
            socket,
            installer,
            cgroup_root: args.kubelet_cgroup_root.clone(),
            notes: beside.join(cni::NOTES),
            annotations: channel::Sender::new(Vec::new()),
        }))
    }

    /// The loop's part.
    pub fn pods(&self) -> Pods {
        Pods {
            view: Arc::clone(&self.view),
            counters: Arc::clone(&self.counters),
            cgroup_root: self.cgroup_root.clone(),
            notes: self.notes.clone(),
            annotations: self.annotations.clone(),
            provisional: BTreeSet::new(),
            sandboxes: BTreeMap::new(),
            missing: 0,
            problems: BTreeMap::new(),
        }
    }

    /// Runs everything else until `stop`.
    pub fn spawn(self, requests: mpsc::Sender<Request>, stop: &Shutdown) -> JoinSet<()> {
        let Self { client, node, view, counters, socket, installer, annotations, .. } = self;
        let mut tasks = JoinSet::new();
        let namespaces = watch::namespaces(client.clone(), Arc::clone(&view), stop.clone());
        tasks.spawn(namespaces);
        let wanted = annotations.subscribe();
        tasks.spawn(annotations::write(client.clone(), wanted, stop.clone()));
        let (pods_view, pods_stop) = (Arc::clone(&view), stop.clone());
        tasks.spawn(async move { watch::pods(client, &node, pods_view, pods_stop).await });
        let (listener, file) = socket;
        tasks.spawn(Server { view, counters, requests }.serve(listener, file, stop.clone()));
        if let Some(installer) = installer {
            tasks.spawn(installer.keep(stop.clone()));
        }
        tasks
    }
}

async fn config(args: &KubernetesArgs) -> anyhow::Result<Config> {
    let Some(path) = &args.kubeconfig else {
        return Config::incluster().context(
            "this is no pod of a cluster with a service account: name a file by --kubeconfig, or \
             say --kubernetes off",
        );
    };
    let wrong = || format!("--kubeconfig {}", path.display());
    let file = Kubeconfig::read_from(path).with_context(wrong)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.with_context(wrong)
}
