//! The whole: two nodes, control plane, istiod and images, made in order and removed in reverse.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::{Ident, binary, require_root, sweep, wait_until};

use crate::control_plane::ControlPlane;
use crate::dns::ClusterDns;
use crate::image::{IMAGE, Image};
use crate::istiod::Istiod;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::programs::Programs;
use crate::proxy::KubeProxy;
use crate::worker::{self, Worker};
use crate::{cgroups, network};

const NODES: u8 = 2;
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// What is wanted.
#[derive(Debug)]
pub struct Options {
    /// Where the logs go; kept when this process ends.
    pub logs: PathBuf,
    /// Whether istiod is part of it.
    pub istiod: bool,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    /// istiod, when it was asked for.
    pub istiod: Option<Istiod>,
    /// Runtime and kubelet of each node.
    pub workers: Vec<Worker>,
    /// Answers what the mesh does not know.
    pub dns: ClusterDns,
    control_plane: ControlPlane,
    /// The nodes, in order.
    pub nodes: Vec<Node>,
    kubectl: Kubectl,
    programs: Programs,
    logs: PathBuf,
    dir: TempDir,
}

impl Cluster {
    /// Brings it up, and returns when all nodes are ready. Says on standard output how long each part took.
    ///
    /// # Panics
    /// Without root, or when something does not start: the logs are named.
    #[track_caller]
    pub fn start(options: &Options) -> Self {
        require_root();
        let ident = Ident::new("e2e");
        sweep_clusters(ident.scene());
        let programs = Programs::from_env();
        std::fs::create_dir_all(&options.logs).unwrap();
        let dir = tempfile::Builder::new().prefix(&ident.part("")).tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("make a temp dir: {e}"));
        let mut clock = Clock(Instant::now());
        let node = |index| {
            let name = format!("node{index}");
            Node::start(index, &ident.part(&name), &dir.path().join(&name))
        };
        let nodes: Vec<Node> = (1..=NODES).map(node).collect();
        network::connect(&nodes);
        clock.lap("two nodes as namespaces");
        let images = [write_test_image(dir.path())];
        clock.lap("image of the test pods");
        let first = &nodes[0];
        let folder = dir.path().join("control-plane");
        let control_plane = ControlPlane::start(first, &programs, &folder, &options.logs);
        let kubeconfig = &control_plane.kubeconfig;
        clock.lap("API server ready");
        let start = |node| Worker::start(node, &programs, kubeconfig, &options.logs, &images);
        let workers = nodes.iter().map(start).collect();
        let kubectl = Kubectl::new(first, &programs, kubeconfig);
        clock.lap("containerd and kubelets started");
        let dns = ClusterDns::start(first, &kubectl, &folder, &options.logs);
        let start = || Istiod::start(first, &programs, &kubectl, kubeconfig, &options.logs);
        let istiod = options.istiod.then(start);
        clock.lap("istiod ready");
        let logs = options.logs.clone();
        let mut cluster =
            Self { istiod, workers, dns, control_plane, nodes, kubectl, programs, logs, dir };
        cluster.wait_nodes_ready();
        clock.lap("nodes ready");
        cluster
    }

    /// `kubectl` of its administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// For programs that talk to the API server.
    pub fn kubeconfig(&self) -> &Path {
        &self.control_plane.kubeconfig
    }

    /// A folder that goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes an image and makes it known on every node.
    #[track_caller]
    pub fn add_image(&self, image: &Image<'_>) {
        let archive = image.write(self.dir.path());
        for node in &self.nodes {
            worker::import(node, &archive);
        }
    }

    /// Starts kube-proxy on every node.
    pub fn start_kube_proxy(&self) -> Vec<KubeProxy> {
        let start = |node| KubeProxy::start(node, &self.programs, self.kubeconfig(), &self.logs);
        self.nodes.iter().map(start).collect()
    }

    /// Kills the API server and starts it again, and returns when it is ready. In order, it would wait a
    /// minute for its watchers.
    #[track_caller]
    pub fn restart_api_server(&mut self) {
        self.control_plane.api_server.kill();
        self.control_plane.api_server.resume();
        self.wait_api_server();
    }

    /// Waits until the API server answers.
    #[track_caller]
    pub fn wait_api_server(&mut self) {
        wait_until("the API server", READY_DEADLINE, || {
            self.control_plane.api_server.check();
            self.kubectl.try_run(&["get", "--raw", "/readyz"], "")
        });
    }

    /// Ends the controller manager, for tests that write what it would remove.
    pub fn stop_controllers(&mut self) {
        self.control_plane.controllers.stop();
    }

    /// Ends istiod.
    #[track_caller]
    pub fn stop_istiod(&mut self) {
        self.istiod.as_mut().unwrap_or_else(|| panic!("the cluster has no istiod")).process.stop();
    }

    /// Starts it again.
    #[track_caller]
    pub fn start_istiod(&mut self) {
        let istiod = self.istiod.as_mut().unwrap_or_else(|| panic!("the cluster has no istiod"));
        istiod.process.resume();
        istiod.wait_ready(&self.nodes[0]);
    }

    #[track_caller]
    fn wait_nodes_ready(&mut self) {
        let (kubectl, workers) = (&self.kubectl, &mut self.workers);
        wait_until("the nodes to be ready", READY_DEADLINE, || {
            for worker in &mut *workers {
                worker.kubelet.check();
                worker.containerd.check();
            }
            let path = "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let text = kubectl.try_run(&["get", "nodes", path], "")?;
            let ready = text.split_whitespace().filter(|word| *word == "True").count();
            if ready == usize::from(NODES) { Ok(()) } else { Err(format!("ready: {text:?}")) }
        });
    }
}

/// Writes the image of test pods, with the programs that they may run, below `folder`.
#[track_caller]
pub fn write_test_image(folder: &Path) -> PathBuf {
    let programs = [
        (binary("cluster-app"), "/cluster-app"),
        ("/usr/sbin/nginx".into(), "/usr/sbin/nginx"),
        ("/usr/bin/curl".into(), "/usr/bin/curl"),
    ];
    let image = Image {
        name: IMAGE,
        programs: &programs,
        files: &[
            ("/etc/passwd", "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"),
            ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
            ("/etc/nsswitch.conf", "hosts: files dns\n"),
        ],
        entrypoint: &["/cluster-app"],
        cmd: &["pause"],
    };
    image.write(folder)
}

/// Removes what clusters left whose process was killed: files and empty cgroups, for all else ended with it.
fn sweep_clusters(prefix: &str) {
    sweep(prefix);
    for hierarchy in cgroups::hierarchies().unwrap_or_default() {
        for entry in std::fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if testkit::is_leftover(&name, prefix) {
                let _ = cgroups::remove(&name);
            }
        }
    }
}

/// Says how long each part took.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{:>7.1} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}
