//! What the scenes share: one enrolled client, servers by name, a service in front of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use testkit::yaml::{self, EndpointSlice, Service};
use testkit::{Answer, Daemon, Family, Pod, Scene, Servers, ask, wait_until};

/// The service `web`.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The service `web`.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 0x10);
/// What clients dial.
pub const PORT: u16 = 80;
/// Where the servers listen.
pub const TARGET: u16 = 8080;
/// What clients dial by UDP.
pub const UDP_PORT: u16 = 53;
/// Where the UDP servers listen.
pub const UDP_TARGET: u16 = 5353;
/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `VIP:PORT`.
pub const WEB: SocketAddr = SocketAddr::new(IpAddr::V4(VIP), PORT);
/// `[VIP6]:PORT`.
pub const WEB6: SocketAddr = SocketAddr::new(IpAddr::V6(VIP6), PORT);

/// A client and servers. Make the daemon after it, so that it is dropped before it.
pub struct Bench {
    pub client: Pod,
    pub servers: BTreeMap<String, Servers>,
    pub scene: Scene,
}

impl Bench {
    /// A client, and a pod with a TCP name server and a UDP server for each name.
    #[track_caller]
    pub fn new(scene: &str, servers: &[&str]) -> Self {
        let mut scene = Scene::new(scene);
        let client = scene.pod("client");
        refuse_services(&client);
        let servers = servers.iter().map(|name| {
            let pod = scene.pod(name);
            let servers =
                Servers::new(&pod).tcp(TARGET, Family::Dual).udp(UDP_TARGET, Family::Dual);
            ((*name).to_owned(), servers)
        });
        Self { client, servers: servers.collect(), scene }
    }

    /// Starts a daemon that is ready, and enrols the client.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        let daemon = self.scene.start_daemon();
        daemon.enrol(&self.client, None);
        daemon
    }

    /// A pod by name.
    #[track_caller]
    pub fn pod(&self, name: &str) -> &Pod {
        self.scene.network().find(name).expect("the scene has the pod")
    }

    /// Writes a file that changes the configuration, and waits until the change is in force.
    #[track_caller]
    pub fn apply(&self, daemon: &Daemon, file: &str, text: impl ToString) {
        committed(daemon, || self.scene.config(file, text));
    }

    /// The service `web` in front of the pods of these names, written to `web.yaml`.
    #[track_caller]
    pub fn serve(&self, names: &[&str]) {
        self.scene.config("web.yaml", self.web(names));
    }

    /// The service `web`, dual stack, TCP and UDP, and its slices.
    pub fn web(&self, names: &[&str]) -> String {
        let slices = [Family::V4, Family::V6].map(|family| self.slice(names, family));
        yaml::join(&[&web_service(), &slices[0], &slices[1]])
    }

    fn slice(&self, names: &[&str], family: Family) -> EndpointSlice {
        let address = |name: &str| match family {
            Family::V6 => self.pod(name).v6.to_string(),
            _ => self.pod(name).v4.to_string(),
        };
        let slice = yaml::endpoint_slice("web", names.iter().map(|n| (address(n), true, "", "")))
            .port("http", TARGET)
            .udp_port("dns", UDP_TARGET);
        match family {
            // An empty slice does not show its family.
            Family::V6 => slice.name("web-v6"),
            _ => names.iter().fold(slice, |slice, name| slice.pod(address(name), name)),
        }
    }

    /// Connects from the client and asks who answers.
    pub fn ask(&self, address: impl Into<SocketAddr>) -> io::Result<Answer> {
        let address = address.into();
        self.client.run(|| ask(address))
    }

    /// The pod that answers the client; it must be one.
    #[track_caller]
    pub fn who(&self, address: impl Into<SocketAddr>) -> String {
        self.ask(address).expect("an answer").pod
    }

    /// Who answers how often. Every connect must succeed.
    #[track_caller]
    pub fn answers(&self, address: impl Into<SocketAddr>, times: u64) -> BTreeMap<String, u64> {
        let address = address.into();
        self.client.run(|| {
            let mut counts = BTreeMap::new();
            for _ in 0..times {
                *counts.entry(ask(address).expect("an answer").pod).or_default() += 1;
            }
            counts
        })
    }

    /// What connect() to a port of the client's says: must be an error.
    #[track_caller]
    pub fn error(&self, address: impl Into<SocketAddr>) -> io::ErrorKind {
        self.ask(address).expect_err("no answer").kind()
    }
}

/// The service `web` without its endpoints.
pub fn web_service() -> Service {
    yaml::service("web")
        .cluster_ip(VIP)
        .cluster_ip(VIP6)
        .port("http", PORT, TARGET)
        .udp_port("dns", UDP_PORT, UDP_TARGET)
}

/// An IPv4 service without endpoints.
pub fn idle_service(name: &str, vip: Ipv4Addr) -> Service {
    yaml::service(name).cluster_ip(vip).port("http", PORT, TARGET)
}

/// `10.96.0.<last>`.
pub fn vip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 96, 0, last)
}

/// Without the mesh a service address leads nowhere, and says so at once.
#[track_caller]
pub fn refuse_services(pod: &Pod) {
    for range in ["10.96.0.0/16", "fd96::/64"] {
        let mut command = pod.command("ip");
        success(&command.args(["route", "add", "unreachable", range]).output().expect("ip runs"));
    }
}

/// Makes a change that alters the configuration, and waits until it is in the kernel.
#[track_caller]
pub fn committed(daemon: &Daemon, change: impl FnOnce()) {
    let before = generation(daemon);
    change();
    wait_until("the change to be committed", PATIENCE, || generation(daemon) > before);
}

/// Commits since the daemon started.
#[track_caller]
pub fn generation(daemon: &Daemon) -> u64 {
    daemon.status()["generation"].as_u64().expect("a number")
}

/// How often the programs gave this reason.
#[track_caller]
pub fn counter(daemon: &Daemon, reason: &str) -> u64 {
    let status = daemon.status();
    let counters = status["counters"].as_array().expect("an array").iter();
    let mut named = counters.filter(|counter| counter["reason"] == reason);
    named.next().expect("the reason is listed")["count"].as_u64().expect("a number")
}

/// Problems of the configuration.
#[track_caller]
pub fn problems(daemon: &Daemon) -> Vec<String> {
    serde_json::from_value(daemon.status()["config"]["problems"].take()).expect("texts")
}

/// Waits until the problems are as `look` wants them.
#[track_caller]
pub fn wait_problems(daemon: &Daemon, what: &str, look: impl Fn(&[String]) -> bool) -> Vec<String> {
    wait_until(what, PATIENCE, || {
        let problems = problems(daemon);
        if look(&problems) { Ok(problems) } else { Err(format!("{problems:#?}")) }
    })
}

/// `(name, id)` of each link.
#[track_caller]
pub fn links(daemon: &Daemon) -> Vec<(String, u64)> {
    ids(&daemon.status()["links"])
}

/// `(name, id)` of each program.
#[track_caller]
pub fn programs(daemon: &Daemon) -> Vec<(String, u64)> {
    ids(&daemon.status()["programs"])
}

fn ids(list: &Value) -> Vec<(String, u64)> {
    let entry = |entry: &Value| {
        let name = entry["name"].as_str().expect("a name").to_owned();
        (name, entry["id"].as_u64().expect("an id"))
    };
    list.as_array().expect("an array").iter().map(entry).collect()
}

/// TCP segments that the pod has sent so far: none leaves without being counted here.
pub fn segments_sent(pod: &Pod) -> u64 {
    let text = pod.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "OutSegs").expect("OutSegs").1.parse().expect("a number")
}

/// The standard output of a program that must have succeeded.
#[track_caller]
pub fn success(output: &Output) -> String {
    let text = text_of(output);
    assert!(output.status.success(), "{}: {text}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Both outputs of a program that must have failed.
#[track_caller]
pub fn failure(output: &Output) -> String {
    let text = text_of(output);
    assert!(!output.status.success(), "it should have failed: {text}");
    text
}

fn text_of(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// `kmesh-daemon ARGS`, run to its end.
#[track_caller]
pub fn daemon_command<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let mut command = Command::new(testkit::binary("kmesh-daemon"));
    command.args(args).output().expect("kmesh-daemon runs")
}

/// `kmesh-daemon uninstall` for the pins below `bpf_fs`.
#[track_caller]
pub fn uninstall(bpf_fs: &Path) -> Output {
    daemon_command(["uninstall".as_ref(), "--bpf-fs-path".as_ref(), bpf_fs.as_os_str()])
}

/// Asserts that `text` has each of `parts`.
#[track_caller]
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}
