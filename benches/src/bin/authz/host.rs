//! The topology: a client, and a server that is under guard or not.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abi::authz::Change;
use abi::limits::Limits;
use anyhow::Context;
use benches::statistics::cpu_us;
use benches::wrk::{self, Load};
use datapath::{Config, Datapath, EventReader};
use testkit::{Cgroup, Nginx, Pod, Scene};

use crate::policies;

const SCENE: &str = "authz-bench";
const SERVER_PORT: u16 = 8080;
const OTHER_PORT: u16 = 8081;
const DRAIN_PERIOD: Duration = Duration::from_millis(100);

/// Client, server, programs.
pub struct Host {
    pub client: Pod,
    /// Another client, whom no policy names.
    pub outsider: Pod,
    datapath: Datapath,
    netns: File,
    cookie: u64,
    server: Pod,
    _nginx: Nginx,
    /// A cgroup without programs, for the client.
    outside: Cgroup,
    scene: Scene,
}

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is not in the mesh.
    Direct,
    /// It is enrolled: its connections are reported, and not judged.
    Enrolled,
    /// It is enrolled and under guard, by so many policies.
    Judged(u32),
}

impl Host {
    /// Sets it up.
    ///
    /// # Errors
    /// When the programs cannot be loaded.
    pub fn new() -> anyhow::Result<Self> {
        let mut scene = Scene::new(SCENE);
        let outside = Cgroup::new(SCENE);
        let [client, outsider, server] =
            ["client", "outsider", "server"].map(|name| scene.pod(name));
        for pod in [&client, &server] {
            pod.sysctl("net.ipv4.ip_local_port_range", "1024 65535");
            pod.sysctl("net.ipv4.tcp_tw_reuse", "1");
        }
        let nginx = Nginx::start(&server, &[SERVER_PORT, OTHER_PORT]);
        let (bpf_fs, cgroup) = (scene.bpffs().path().into(), scene.cgroup().path().into());
        let mut datapath = Datapath::load(Config { bpf_fs, cgroup, limits: Limits::DEFAULT })?;
        datapath.attach()?;
        let netns = File::open(server.netns()).context("the server's namespace")?;
        let cookie = server.run(datapath::netns_cookie)?;
        Ok(Self {
            client,
            outsider,
            datapath,
            netns,
            cookie,
            server,
            _nginx: nginx,
            outside,
            scene,
        })
    }

    /// The server's address.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::from((self.server.v4, SERVER_PORT))
    }

    /// The server at a port that no load was sent to: a client that has used up its ports towards one looks
    /// long for one that is free.
    pub fn other_port(&self) -> SocketAddr {
        SocketAddr::from((self.server.v4, OTHER_PORT))
    }

    /// Puts the server into this state.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn arrange(&self, way: Way) -> anyhow::Result<()> {
        let (maps, guards) = (self.datapath.maps(), self.datapath.guards());
        match way {
            Way::Direct => drop(maps.unenrol(self.cookie)?),
            Way::Enrolled | Way::Judged(_) => maps.enrol(self.cookie, 0, 0)?,
        }
        let Way::Judged(count) = way else {
            guards.remove(self.cookie)?;
            return Ok(());
        };
        guards.set(self.netns.as_fd(), self.cookie)?;
        maps.apply_authz(&policies::changes(count, self.client.v4.into(), SERVER_PORT))?;
        Ok(())
    }

    /// Makes the client one that no policy names, or one that the last one allows.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn introduce(&self, allowed: bool) -> anyhow::Result<()> {
        let address = self.client.v4.into();
        let known = policies::source(address);
        let change = if allowed { known } else { Change::RemoveSource { address: address.into() } };
        Ok(self.datapath.maps().apply_authz(&[change])?)
    }

    /// Does `work` while somebody reads the events, as the daemon does.
    pub fn while_events_are_read<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut reader = EventReader::new(self.datapath.maps());
                while let (false, Ok(reader)) = (done.load(Ordering::Relaxed), &mut reader) {
                    reader.next_batch(DRAIN_PERIOD);
                }
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Ends the connections of the server that are refused now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn close_refused(&self) -> anyhow::Result<usize> {
        Ok(self.datapath.closer().close_refused(self.netns.as_fd())?)
    }

    /// Does `work` again and again while wrk runs: connections/s of wrk, and what `work` returned.
    ///
    /// # Errors
    /// When wrk fails, or `work`.
    pub fn beside_load<T: Send>(
        &self,
        load: Load,
        work: impl Fn() -> anyhow::Result<T> + Sync,
    ) -> anyhow::Result<(f64, Vec<T>)> {
        let target = self.server().to_string();
        let is_over = AtomicBool::new(false);
        self.while_events_are_read(|| {
            std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    let mut results = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        results.push(work()?);
                    }
                    anyhow::Ok(results)
                });
                let figures = wrk::run(&self.client, self.outside.path(), &target, load);
                is_over.store(true, Ordering::Relaxed);
                let results = worker.join().map_err(|_| anyhow::anyhow!("the work panicked"))??;
                Ok((figures?.per_second, results))
            })
        })
    }

    /// Runs wrk one way: its rate, and the CPU time of one request, us: all of wrk and nginx.
    ///
    /// # Errors
    /// When wrk fails.
    pub fn load(&self, way: Way, load: Load) -> anyhow::Result<(f64, f64)> {
        self.arrange(way)?;
        let cpu = || anyhow::Ok(cpu_us(self.scene.cgroup().path())? + cpu_us(self.outside.path())?);
        let before = cpu()?;
        let target = self.server().to_string();
        let figures = self
            .while_events_are_read(|| wrk::run(&self.client, self.outside.path(), &target, load))?;
        Ok((figures.per_second, (cpu()? - before) / figures.requests as f64))
    }
}
