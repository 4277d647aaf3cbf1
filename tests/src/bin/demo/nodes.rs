//! The part about several nodes: one directory, one control plane, a daemon on each node.

use anyhow::ensure;
use testkit::{Bpffs, Cgroup, Control, Daemon, Interrupt};

use crate::curl;
use crate::screen::{say, step, table};
use crate::shop;
use crate::stage::{READY_DEADLINE, SCENE, Stage};

/// Requests on each node.
const REQUESTS: u64 = 100;
const NODES: [&str; 2] = ["node-1", "node-2"];

/// A node of its own: what a daemon pins and what it is attached to.
struct Node {
    // Dropped in this order.
    daemon: Daemon,
    cgroup: Cgroup,
    _bpffs: Bpffs,
    name: &'static str,
}

/// Tells it.
///
/// # Errors
/// When something does not behave as told, or somebody interrupts.
pub fn tell(stage: &Stage, interrupt: &Interrupt) -> anyhow::Result<()> {
    step("Two nodes under one control plane: kmesh-control serves the same directory");
    let scene = stage.scene();
    let mut control = Control::start(&scene.config_dir(), scene.dir(), &[]);
    let nodes = NODES.map(|name| Node::start(stage, name, &control));
    // From here on the nodes know what there is.
    control.kill9();
    let mut rows = Vec::new();
    for mut node in nodes {
        interrupt.check()?;
        // A process is on the node whose cgroup it is in.
        node.cgroup.enter();
        let answers = curl::get(&stage.client, shop::WEB[0], REQUESTS)?;
        ensure!(answers.failed == 0, "{} requests failed on {}", answers.failed, node.name);
        let status = node.daemon.status();
        let source = status["config"]["source"].as_str().unwrap_or_default().to_owned();
        let services = status["config"]["services"].to_string();
        rows.push([node.name.to_owned(), source, services, answers.pods()]);
    }
    table(["NODE", "LISTENS TO", "SERVICES", "ANSWERED BY"], &rows);
    say("kmesh-control was killed before the requests: the nodes go on with what they know.");
    Ok(())
}

// === impl Node ===

impl Node {
    fn start(stage: &Stage, name: &'static str, control: &Control) -> Self {
        let place = |what: &str| stage.scene().dir().join(format!("{name}-{what}"));
        let (bpffs, cgroup) = (Bpffs::mount(place("bpf")), Cgroup::new(SCENE));
        let mut options = stage.scene().options();
        options.xds_address = Some(control.url());
        options.bpf_fs_path = bpffs.path().to_owned();
        options.cgroup2_path = cgroup.path().to_owned();
        options.state_dir = place("state");
        options.node_name = name.to_owned();
        let mut daemon = Daemon::spawn(options);
        daemon.wait_ready(READY_DEADLINE);
        daemon.enrol(&stage.client, "shop/client");
        Self { daemon, cgroup, _bpffs: bpffs, name }
    }
}
