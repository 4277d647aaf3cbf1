//! Starting, running and removing: each part in the order in which it may fail without a trace.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use datapath::{Datapath, Pins};
use resources::{Directory, Watcher};
use runtime::admin::Admin;
use runtime::signals::StopSignals;
use runtime::{logging, mounts, open_files, shutdown};
use tokio::sync::mpsc;

use crate::agent::{Agent, Parts, REQUESTS_MAX};
use crate::args::Args;
use crate::authz::Authorization;
use crate::commit::Committer;
use crate::connections::{self, Totals};
use crate::dns::{Dns, NodeHosts, NodeResolvers};
use crate::enrolments::Enrolments;
use crate::kubernetes::{self, Kubernetes, Pods};
use crate::source::Source;
use crate::{admin, headers, preflight};

/// Runs the daemon until a signal.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    logging::init(args.log_level)?;
    datapath::init_libbpf_log();
    if !datapath::spare_memory() {
        tracing::warn!("the allocator keeps large buffers: the daemon takes more memory");
    }
    preflight::require(args)?;
    // Each namespace that DNS is served in takes some.
    open_files::raise_limit().context("the limit of open files cannot be raised")?;
    tokio::runtime::Runtime::new()?.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let mut signals = StopSignals::catch()?;
    let (trigger, stop) = shutdown::channel();
    let source = source(args, stop.clone())?;
    std::fs::create_dir_all(&args.state_dir)
        .with_context(|| format!("--state-dir {}", args.state_dir.display()))?;
    // Bound before anything is loaded: a second daemon stops here.
    let listeners = Admin::bind(&args.admin_socket, args.status_addr.0).await?;
    let kubernetes = Kubernetes::prepare(&args.kubernetes, &args.node_name).await?;

    let pods = kubernetes.as_ref().map(Kubernetes::pods);
    let agent = tokio::task::block_in_place(|| build(args, source, pods, stop.clone()))?;
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let cluster = kubernetes.map(|it| it.spawn(sender.clone(), &stop));
    let admin = tokio::spawn(listeners.serve(admin::router(sender), stop.clone()));
    let agent = tokio::spawn(agent.run(requests, stop));
    let signal = signals.wait().await;
    tracing::info!(signal, "stopping; programs stay attached with the last committed image");
    trigger.fire();
    // The plugin's questions need the loop, and are few: it finds nobody from here on.
    if let Some(cluster) = cluster {
        cluster.join_all().await;
    }
    agent.await?;
    admin.await?;
    Ok(())
}

/// Opens the directory, or begins to listen to the control plane.
fn source(args: &Args, stop: shutdown::Shutdown) -> anyhow::Result<Source> {
    if let Some(config) = args.xds_config() {
        let address = config.address.clone();
        return Ok(Source::control_plane(&address, xds::client::spawn(config, stop)));
    }
    let config_dir = args.config_dir.as_deref().context(
        "no configuration: name a directory of YAML by --config-dir, or a control plane by --xds-address",
    )?;
    let unreadable = || format!("--config-dir {}", config_dir.display());
    let directory =
        Directory::open(config_dir, args.resource_options()).with_context(unreadable)?;
    let watcher = Watcher::new(config_dir).with_context(unreadable)?;
    Ok(Source::directory(directory, watcher))
}

/// Loads the programs and recovers what the maps hold; nothing live changes yet.
fn build(
    args: &Args,
    source: Source,
    pods: Option<Pods>,
    stop: shutdown::Shutdown,
) -> anyhow::Result<Agent> {
    prepare_bpffs(&args.bpf_fs_path)?;
    let limits = args.limits.limits();
    let datapath = Datapath::load(datapath::Config {
        bpf_fs: args.bpf_fs_path.clone(),
        cgroup: preflight::cgroup_path(args)?,
        limits,
    })?;
    let maps = Arc::clone(datapath.maps());
    let committer = Committer::new(Arc::clone(&maps), limits, args.node(), args.waypoint_port)?;
    let enrolments = Enrolments::restore(Arc::clone(&maps), &args.state_dir, &args.resolv_conf)?;
    let dns = Dns::new(Arc::clone(&maps), &args.cluster_domain, args.dns_proxy);
    let node_resolvers = NodeResolvers::new(&args.resolv_conf)?;
    let hosts = NodeHosts::new(node_resolvers, &args.state_dir, stop.clone());
    let options = ::authz::Options { node: args.node().name, network: args.node().network, limits };
    let authorization = Authorization::restore(&datapath, options, &args.state_dir)?;
    let totals = Arc::new(Totals::default());
    let names = authorization.names();
    connections::spawn(Arc::clone(&maps), Arc::clone(&totals), names, stop.clone())?;
    headers::spawn(maps, Duration::from_millis(args.waypoint_silence_ms), stop)?;
    Ok(Agent::new(Parts {
        datapath,
        committer,
        authorization,
        enrolments,
        source,
        totals,
        dns,
        hosts,
        pods,
    }))
}

fn prepare_bpffs(path: &Path) -> anyhow::Result<()> {
    if mounts::bpffs_at(path) {
        return std::fs::create_dir_all(path)
            .with_context(|| format!("--bpf-fs-path {}", path.display()));
    }
    mounts::mount_bpffs(path)?;
    tracing::info!(path = %path.display(), "mounted a bpf file system");
    Ok(())
}

/// Removes every pin, which a running daemon keeps, and then the CNI plugin where it is this daemon's.
pub fn uninstall(args: &Args) -> anyhow::Result<ExitCode> {
    let removed = Pins::new(&args.bpf_fs_path).remove_all()?;
    if removed.is_empty() {
        println!("nothing is installed below {}", args.bpf_fs_path.display());
    }
    for path in removed {
        println!("removed {}", path.display());
    }
    if args.kubernetes.uninstalls() {
        for (path, what) in kubernetes::uninstall(&args.kubernetes.places)? {
            println!("{} {what}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
