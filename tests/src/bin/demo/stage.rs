//! Everything the demo makes: pods, servers, a daemon. Removed on Drop, and the removal is checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::{Daemon, Ident, Nginx, Pod, Scene};

use crate::screen::{print, short};
use crate::shop;

/// Of everything that is made, so that it is found again.
pub const SCENE: &str = "demo";
/// How long a daemon may take to start.
pub const READY_DEADLINE: Duration = Duration::from_secs(60);

/// The pods and the processes in them.
pub struct Stage {
    /// The mesh's daemon.
    pub daemon: Option<Daemon>,
    servers: Vec<Nginx>,
    /// The pod that curl runs in.
    pub client: Pod,
    /// The pods that nginx runs in.
    pub webs: Vec<Pod>,
    scene: Option<Scene>,
}

/// What there is to remove.
struct Made {
    processes: usize,
    namespaces: Vec<PathBuf>,
    cgroup: PathBuf,
    bpffs: PathBuf,
    dir: PathBuf,
}

/// Removes what earlier demos left.
pub fn clean() {
    let removed = sweep();
    if removed.is_empty() {
        print("Nothing to remove.\n");
    }
}

/// As [`clean`], without a word when there is nothing.
pub fn sweep() -> Vec<String> {
    let removed = testkit::sweep(Ident::new(SCENE).scene());
    for path in &removed {
        print(&format!("removed: {path} (left by an earlier demo)\n"));
    }
    removed
}

// === impl Stage ===

impl Stage {
    /// Three pods with nginx in two of them, and the example in the directory that the daemon will
    /// watch.
    pub fn set(files: &[(String, String)]) -> Self {
        let mut scene = Scene::new(SCENE);
        for (name, text) in files {
            scene.config(name, text);
        }
        let client = scene.pod("client");
        let webs: Vec<Pod> = shop::ENDPOINTS.iter().map(|(name, _)| scene.pod(name)).collect();
        // From here on Drop removes it all.
        let mut stage =
            Self { daemon: None, servers: Vec::new(), client, webs, scene: Some(scene) };
        for (pod, (_, ports)) in stage.webs.iter().zip(shop::ENDPOINTS) {
            stage.servers.push(Nginx::start(pod, ports));
        }
        stage
    }

    /// The scene: it is there until Drop.
    pub fn scene(&self) -> &Scene {
        self.scene.as_ref().unwrap_or_else(|| unreachable!("only Drop and keep take it"))
    }

    /// Starts the daemon and returns how long it took until the example was in the kernel.
    pub fn start_daemon(&mut self) -> Duration {
        let started = Instant::now();
        let daemon = Daemon::spawn(self.scene().options());
        self.daemon.insert(daemon).wait_ready(READY_DEADLINE);
        started.elapsed()
    }

    /// The daemon, once started.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap_or_else(|| unreachable!("started by an earlier step"))
    }

    /// An address of web-2 that no object of the example names.
    pub fn unnamed(&self) -> SocketAddr {
        let pod = self.webs.last().unwrap_or(&self.client);
        SocketAddr::from((pod.v4, shop::UNNAMED_PORT))
    }

    /// Leaves everything up when this process ends.
    pub fn keep(mut self) {
        self.servers.drain(..).for_each(Nginx::keep);
        self.daemon.take().into_iter().for_each(Daemon::keep);
        self.scene.take().into_iter().for_each(Scene::keep);
    }

    fn made(&self, scene: &Scene) -> Made {
        let procs = std::fs::read_to_string(scene.cgroup().path().join("cgroup.procs"));
        // This process is one of them.
        let processes = procs.unwrap_or_default().lines().count().saturating_sub(1);
        let network = scene.network();
        let pods = network.pods().iter().chain([network.node()]);
        Made {
            processes,
            namespaces: pods.map(|pod| pod.netns().to_owned()).collect(),
            cgroup: scene.cgroup().path().to_owned(),
            bpffs: scene.bpffs().path().to_owned(),
            dir: scene.dir().to_owned(),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let Some(scene) = self.scene.take() else { return };
        let made = self.made(&scene);
        print("\n");
        self.daemon = None;
        self.servers.clear();
        drop(scene);
        made.report();
    }
}

// === impl Made ===

impl Made {
    /// Says what is gone, and what is not.
    fn report(&self) {
        let Self { processes, namespaces, cgroup, bpffs, dir } = self;
        print(&format!(
            "removed: {processes} processes, {} network namespaces with their links, the programs and maps\n\
             removed: {} (bpffs)\nremoved: {} (cgroup)\nremoved: {}\n",
            namespaces.len(),
            bpffs.display(),
            cgroup.display(),
            dir.display(),
        ));
        for path in namespaces.iter().chain([cgroup, bpffs, dir]).filter(|path| path.exists()) {
            let own = std::env::current_exe().unwrap_or_default();
            let path = path.display();
            print(&format!("STILL THERE: {path}; {} --clean removes it\n", short(&own)));
        }
    }
}
