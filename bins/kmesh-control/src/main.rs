//! A control plane for several nodes: reads a directory of YAML, and serves it over delta xDS to many
//! daemons. Arguments and wiring; the files are read by `resources`, the protocol is spoken by `xds`.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Parser;
use resources::{Directory, Problem, Touched, Watcher};
use runtime::logging;
use runtime::shutdown::{self, Shutdown};
use runtime::signals::StopSignals;
use tokio::net::TcpListener;
use tokio::sync::watch;
use xds::Finding;
use xds::encode::{EncodeOptions, Encoder};
use xds::server::{self, Served, State, Tls};

/// A control plane for several nodes: a directory of YAML, served over delta xDS.
#[derive(Debug, Parser)]
#[command(name = "kmesh-control", version)]
struct Args {
    /// Directory of Kubernetes and Istio YAML; watched for changes.
    #[arg(long, env = "KMESH_CONFIG_DIR")]
    config_dir: PathBuf,
    /// Where daemons connect. Whoever can connect can read the mesh: keep it on a network of nodes.
    #[arg(long, default_value = "127.0.0.1:15010")]
    listen: SocketAddr,
    /// Certificate chain (PEM), for TLS.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Name of the cluster, the first part of a workload's uid. The daemons' must be the same.
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    cluster_id: String,
    /// Namespace whose policies are for the whole mesh.
    #[arg(long, env = "ROOT_NAMESPACE", default_value = "istio-system")]
    root_namespace: String,
    /// Trust domain of the mesh, in which its workloads have their identities.
    #[arg(long, env = "TRUST_DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// Network of the mesh. The daemons' must be the same.
    #[arg(long, env = "ISTIO_META_NETWORK", default_value = "")]
    network: String,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, default_value = "info", value_parser = logging::Level::from_str)]
    log_level: logging::Level,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kmesh-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    logging::init(args.log_level)?;
    tokio::runtime::Runtime::new()?.block_on(serve(args))
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let mut signals = StopSignals::catch()?;
    let unreadable = || format!("--config-dir {}", args.config_dir.display());
    let options = resources::Options {
        cluster_domain: args.cluster_domain.clone(),
        cluster: args.cluster_id.clone(),
        root_namespace: args.root_namespace.clone(),
        trust_domain: args.trust_domain.clone(),
        network: args.network.clone(),
    };
    let directory = Directory::open(&args.config_dir, options).with_context(unreadable)?;
    let watcher = Watcher::new(&args.config_dir).with_context(unreadable)?;
    let tls = tls(args)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("--listen {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "serving delta xDS");

    let (trigger, stop) = shutdown::channel();
    let (resources_to, resources) = watch::channel(None);
    let (state_to, _) = watch::channel(State::default());
    let encode = EncodeOptions { cluster: args.cluster_id.clone(), network: args.network.clone() };
    let encoder = Encoder::new(encode);
    let follower = Follower { directory, encoder, known: HashSet::new(), untold: Vec::new() };
    let following = tokio::spawn(follower.run(watcher, resources_to, stop.clone()));
    let serving = tokio::spawn(server::serve(listener, tls, resources, state_to, stop));
    let signal = signals.wait().await;
    tracing::info!(signal, "stopping; the daemons keep what they know");
    trigger.fire();
    following.await?;
    serving.await??;
    Ok(())
}

fn tls(args: &Args) -> anyhow::Result<Option<Tls>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
    Ok(Some(Tls { certificate: read(certificate)?, key: read(key)? }))
}

/// Keeps the resources in step with the directory.
struct Follower {
    directory: Directory,
    encoder: Encoder,
    /// Problems that were logged.
    known: HashSet<Problem>,
    /// What is known not to be told.
    untold: Vec<Finding>,
}

// === impl Follower ===

impl Follower {
    async fn run(
        mut self,
        mut watcher: Watcher,
        resources: watch::Sender<Option<Served>>,
        stop: Shutdown,
    ) {
        let mut touched = Touched::Everything;
        loop {
            tokio::task::block_in_place(|| self.follow(&touched));
            resources.send_if_modified(|served| {
                let addresses = self.encoder.resources().clone();
                let policies = self.encoder.policies().clone();
                // A copy is the same map until something is written.
                let is_news = served.as_ref().is_none_or(|served| {
                    !(served.addresses.ptr_eq(&addresses) && served.policies.ptr_eq(&policies))
                });
                *served = Some(Served { addresses, policies });
                is_news
            });
            tokio::select! {
                () = stop.wait() => return,
                changed = watcher.changed() => touched = changed,
            }
        }
    }

    fn follow(&mut self, touched: &Touched) {
        let update = self.directory.refresh(touched);
        for problem in update.problems.iter().filter(|it| !self.known.contains(it)) {
            problem.severity.log(problem);
        }
        self.known = update.problems.iter().cloned().collect();
        self.encoder.update(&update.snapshot);
        let findings = self.encoder.findings();
        for finding in findings.iter().filter(|it| !self.untold.contains(it)) {
            tracing::warn!("{finding}");
        }
        self.untold = findings;
        tracing::info!(
            services = update.snapshot.services.len(),
            workloads = update.snapshot.workloads.len(),
            policies = update.snapshot.policies.len(),
            resources = self.encoder.resources().len(),
            "read"
        );
    }
}
