//! DNS: what clients in the mesh are told, by whom, and what happens when somebody fails.

mod hosts;
mod names;
mod outage;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use testkit::{Daemon, NameServer, Pod, wait_until};

use super::bench::{Bench, PATIENCE};

/// The service `web` as its whole name.
const WEB_NAME: &str = "web.default.svc.cluster.local";
/// What the resolver says of `web`: it is seen when the mesh does not answer.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// A name that the resolver alone knows.
const FOREIGN_NAME: &str = "foreign.example.com";
const FOREIGN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

/// A client whose resolver is a real server in a pod.
struct DnsBench {
    // Dropped before the network that it lives in.
    upstream: Option<NameServer>,
    resolver: Pod,
    bench: Bench,
}

impl DnsBench {
    fn new(name: &str, servers: &[&str]) -> Self {
        let mut bench = Bench::new(name, servers);
        let resolver = bench.scene.pod("resolver");
        bench.serve(servers);
        let mut this = Self { upstream: None, resolver, bench };
        this.start_upstream(&[]);
        this
    }

    /// Starts the resolver, with further records of name, address and TTL.
    fn start_upstream(&mut self, further: &[(&str, IpAddr, u32)]) {
        self.upstream = None;
        let own = [(WEB_NAME, OUTSIDE.into(), 60), (FOREIGN_NAME, FOREIGN.into(), 60)];
        let records: Vec<_> = own.iter().chain(further).copied().collect();
        self.upstream = Some(NameServer::start(&self.resolver, &records));
    }

    fn upstream(&self) -> &NameServer {
        self.upstream.as_ref().expect("the resolver runs")
    }

    /// The resolver's addresses.
    fn resolvers(&self) -> [IpAddr; 2] {
        [self.resolver.v4.into(), self.resolver.v6.into()]
    }

    /// Starts a daemon, and enrols the client with the resolver.
    fn start(&self) -> Daemon {
        let daemon = self.bench.scene.start_daemon();
        self.enrol(&daemon);
        daemon
    }

    fn enrol(&self, daemon: &Daemon) {
        daemon.enrol_with_resolvers(&self.bench.client, "default/client", &self.resolvers());
        self.wait_captured();
    }

    /// Waits until the mesh answers the client.
    fn wait_captured(&self) {
        wait_until("the mesh to answer", PATIENCE, || self.web() != [OUTSIDE.to_string()]);
    }

    /// What the client is told of `web`.
    fn web(&self) -> Vec<String> {
        self.dig(self.resolver.v4.into(), &[WEB_NAME])
    }

    /// What the client is told, line by line: `dig +short`.
    #[track_caller]
    fn dig(&self, server: IpAddr, args: &[&str]) -> Vec<String> {
        dig(&self.bench.client, server, args)
    }
}

#[track_caller]
fn dig(pod: &Pod, server: IpAddr, args: &[&str]) -> Vec<String> {
    let mut command = pod.command("dig");
    command.arg(format!("@{server}")).args(["+short", "+tries=2", "+time=3"]).args(args);
    let output = command.output().expect("dig runs: cargo xtask deps");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text.lines().map(str::to_owned).collect()
}

/// One query for the IPv4 address of `name`, from a fresh socket that is not connected: the address,
/// who sent it, and how long it took.
fn query(name: &str, server: SocketAddr, patience: Duration) -> io::Result<(Ipv4Addr, Duration)> {
    let started = Instant::now();
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(patience))?;
    let mut wire = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        wire.push(label.len() as u8);
        wire.extend(label.bytes());
    }
    wire.extend([0, 0, 1, 0, 1]);
    socket.send_to(&wire, server)?;
    let mut reply = [0; 512];
    let (length, from) = socket.recv_from(&mut reply)?;
    let wrong = |what: String| Err(io::Error::new(ErrorKind::InvalidData, what));
    if from != server {
        return wrong(format!("the answer is from {from}, not from {server}"));
    }
    // Servers point at the question for the name, so the last four bytes of a record are its address.
    let record = wire.len() + 12;
    if reply[6..8] != [0, 1] || length < record + 4 {
        return wrong(format!("not one address: {:?}", &reply[..length]));
    }
    let mut address = [0; 4];
    address.copy_from_slice(&reply[record..record + 4]);
    Ok((address.into(), started.elapsed()))
}
