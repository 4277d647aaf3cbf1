//! The topology: a client, and a server that has the address of every endpoint; beside them sites, each
//! a mesh with a daemon of its own, whose programs are attached to a cgroup of its own. One client can
//! be enrolled in several sites: the cgroup of a process says through which it goes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use benches::commits::Commit;
use benches::mesh::{Mesh, Shape};
use testkit::{Bpffs, Cgroup, Control, Daemon, DaemonOptions, Interrupt, Pod, Scene, wait_until};

const SCENE: &str = "scale";
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// Where the generator puts all endpoints.
const ENDPOINTS: &str = "10.128.0.0/9";
/// Where services are dialled.
const SERVICE_PORT: u16 = 80;
/// Where servers of endpoints listen.
pub const SERVER_PORT: u16 = 8080;

/// What all sites share.
pub struct Host {
    /// The pod that dials.
    pub client: Pod,
    /// The pod whose servers answer for every endpoint.
    pub server: Pod,
    scene: Scene,
}

/// A mesh and its daemon.
pub struct Site {
    /// The daemon.
    pub daemon: Daemon,
    /// The directory that it watches.
    pub mesh: Mesh,
    /// What is in the directory.
    pub shape: Shape,
    /// From its start to its being ready.
    pub ready_after: Duration,
    /// The control plane in front of the directory, where there is one.
    _control: Option<Control>,
    _bpffs: Bpffs,
    cgroup: Cgroup,
}

/// What a daemon listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// To the directory.
    ToFiles,
    /// To kmesh-control, which reads the directory.
    ToControl,
}

// === impl Host ===

impl Host {
    /// Sets it up.
    pub fn new() -> Self {
        let mut scene = Scene::new(SCENE);
        let [client, server] = ["client", "server"].map(|name| scene.pod(name));
        client.sysctl("net.ipv4.ip_local_port_range", "1024 65535");
        client.sysctl("net.ipv4.tcp_tw_reuse", "1");
        // What the kernel remembers of each peer is no cost of the mesh.
        client.sysctl("net.ipv4.tcp_no_metrics_save", "1");
        ip(&client, &["route", "add", ENDPOINTS, "via", &server.v4.to_string()]);
        ip(&server, &["route", "add", "local", ENDPOINTS, "dev", "lo"]);
        Self { client, server, scene }
    }

    /// Writes a mesh and starts a daemon on it, from nothing; the client is enrolled.
    ///
    /// # Errors
    /// When somebody interrupts, or the mesh cannot be written.
    pub fn site(
        &self,
        name: &str,
        shape: Shape,
        listens: Listens,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Site> {
        interrupt.check()?;
        let (services, workloads) = (shape.services, shape.workloads());
        eprintln!("{name}: {services} services, {workloads} workloads: writing files ...");
        let dir = self.folder(name);
        let mesh = Mesh::write(&dir.join("config"), shape).context("write the mesh")?;
        std::fs::create_dir(dir.join("state"))?;
        let bpffs = Bpffs::mount(dir.join("bpf"));
        let cgroup = Cgroup::new(SCENE);
        let mut options = self.options(&dir, &bpffs, &cgroup);
        interrupt.check()?;
        let control =
            (listens == Listens::ToControl).then(|| Control::start(&dir.join("config"), &dir, &[]));
        if let Some(control) = &control {
            eprintln!("{name}: kmesh-control reads ...");
            wait_until("kmesh-control to have read", READY_DEADLINE, || {
                control.logs().contains(": read ")
            });
            options.xds_address = Some(control.url());
        }
        eprintln!("{name}: starting the daemon ...");
        let started = Instant::now();
        let mut daemon = Daemon::spawn(options);
        daemon.wait_ready(READY_DEADLINE);
        let ready_after = started.elapsed();
        daemon.enrol(&self.client, None);
        Ok(Site { daemon, mesh, shape, ready_after, _control: control, _bpffs: bpffs, cgroup })
    }

    /// A folder for a part of the bench.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.scene.dir().join(name)
    }

    /// Of a daemon with everything of its own, below `dir`.
    pub fn options(&self, dir: &Path, bpffs: &Bpffs, cgroup: &Cgroup) -> DaemonOptions {
        let mut options = self.scene.options();
        options.config_dir = dir.join("config");
        options.state_dir = dir.join("state");
        options.bpf_fs_path = bpffs.path().to_owned();
        options.cgroup2_path = cgroup.path().to_owned();
        options
    }

    /// A cgroup that no daemon's programs are attached to.
    pub fn outside(&self) -> &Path {
        self.scene.cgroup().path()
    }
}

// === impl Site ===

impl Site {
    /// The cgroup that the programs are attached to.
    pub fn inside(&self) -> &Path {
        self.cgroup.path()
    }

    /// Where a service is dialled.
    pub fn address(&self, service: usize) -> SocketAddr {
        SocketAddr::from((self.mesh.service_address(service), SERVICE_PORT))
    }

    /// The process of the daemon.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.daemon.pid().context("the daemon has ended")
    }

    /// All commits so far.
    pub fn commits(&self) -> Vec<Commit> {
        Commit::all(&self.daemon.logs())
    }
}

fn ip(pod: &Pod, arguments: &[&str]) {
    let done = pod.command("ip").args(arguments).status();
    let done = done.unwrap_or_else(|e| panic!("run ip: {e}"));
    assert!(done.success(), "ip {} in {}: {done}", arguments.join(" "), pod.name);
}
