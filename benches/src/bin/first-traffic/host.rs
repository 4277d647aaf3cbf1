//! The topology: one server and two clients on a node, with a daemon whose programs are attached to
//! one of two cgroups.

use std::net::SocketAddr;
use std::path::Path;

use benches::statistics::cpu_us;
use benches::wrk::{self, Figures, Load};
use testkit::{Cgroup, Daemon, Nginx, Pod, Scene, yaml};

use crate::nat;

const SCENE: &str = "first-traffic";
/// The service's address, in the mesh and in the NAT rules.
pub const VIP: &str = "10.96.0.10";
const SERVICE_PORT: u16 = 80;
pub const SERVER_PORT: u16 = 8080;

/// Clients, server, daemon.
pub struct Host {
    /// The daemon.
    pub daemon: Daemon,
    _nginx: Nginx,
    /// A cgroup without programs.
    outside: Cgroup,
    /// The pod that is enrolled or not, as the way asks.
    pub client: Pod,
    /// The same, with kernel NAT and never enrolled.
    nat_client: Pod,
    server: Pod,
    scene: Scene,
}

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without the mesh: not enrolled, in a cgroup without programs, to the server's own address.
    Direct,
    /// Enrolled, through the service's address.
    Mesh,
    /// The same, with the server enrolled as well.
    MeshBothEnds,
    /// Not enrolled, through the service's address, translated by nftables.
    KernelNat,
}

impl Host {
    /// Sets it up.
    pub fn new() -> Self {
        let mut scene = Scene::new(SCENE);
        let outside = Cgroup::new(SCENE);
        let [client, nat_client, server] = ["client", "nat", "server"].map(|name| scene.pod(name));
        for pod in [&client, &nat_client, &server] {
            pod.sysctl("net.ipv4.ip_local_port_range", "1024 65535");
            pod.sysctl("net.ipv4.tcp_tw_reuse", "1");
        }
        nat::install(&nat_client, VIP, SERVICE_PORT, SocketAddr::from((server.v4, SERVER_PORT)));
        let service = yaml::service("web").cluster_ip(VIP).port("http", SERVICE_PORT, SERVER_PORT);
        let slice = yaml::endpoint_slice("web", [(server.v4, true, "", "")]);
        scene.config("web.yaml", yaml::join(&[&service, &slice.port("http", SERVER_PORT)]));
        let nginx = Nginx::start(&server, &[SERVER_PORT]);
        let daemon = scene.start_daemon();
        Self { daemon, _nginx: nginx, outside, client, nat_client, server, scene }
    }

    /// The server's own address.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::from((self.server.v4, SERVER_PORT))
    }

    /// The cgroup that the programs are attached to.
    pub fn inside(&self) -> &Path {
        self.scene.cgroup().path()
    }

    /// The cgroup without programs.
    pub fn outside(&self) -> &Path {
        self.outside.path()
    }

    /// Runs wrk one way; also returns the CPU time of one request, us: all of wrk, nginx and the
    /// daemon, whichever other programs compete with them.
    ///
    /// # Errors
    /// When wrk fails.
    pub fn load(&self, way: Way, load: Load) -> anyhow::Result<(Figures, f64)> {
        let cpu = || anyhow::Ok(cpu_us(self.inside())? + cpu_us(self.outside())?);
        let before = cpu()?;
        let figures = self.wrk(way, load)?;
        let used = cpu()? - before;
        Ok((figures, used / figures.requests as f64))
    }

    fn wrk(&self, way: Way, load: Load) -> anyhow::Result<Figures> {
        let direct = self.server().to_string();
        match way {
            Way::Direct => wrk::run(&self.client, self.outside(), &direct, load),
            Way::KernelNat => wrk::run(&self.nat_client, self.outside(), VIP, load),
            Way::Mesh => {
                self.enrolled(&[&self.client], || wrk::run(&self.client, self.inside(), VIP, load))
            }
            Way::MeshBothEnds => self.enrolled(&[&self.client, &self.server], || {
                wrk::run(&self.client, self.inside(), VIP, load)
            }),
        }
    }

    /// Does `work` while these pods, and no others, are enrolled.
    pub fn enrolled<T>(&self, pods: &[&Pod], work: impl FnOnce() -> T) -> T {
        for pod in pods {
            self.daemon.enrol(pod, None);
        }
        let result = work();
        for pod in pods {
            self.daemon.unenrol(pod);
        }
        result
    }
}
