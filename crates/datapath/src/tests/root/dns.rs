//! Whose queries reach the DNS proxy, and what a client sees of it: real sockets in namespaces.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use abi::Reason;
use abi::authz::Change;
use nix::sys::socket::{setsockopt, sockopt};
use testkit::{Pod, Scene, wait_until};

use super::LIMITS;
use crate::{Config, Datapath, Maps};

const PATIENCE: Duration = Duration::from_secs(5);
/// Many fit into [`abi::dns::SILENCE_MAX`], also where the processor is emulated.
const BEAT_PERIOD: Duration = Duration::from_millis(50);

/// A client in the mesh, a pod that listens on port 53, and the programs.
struct Bench {
    client: Pod,
    server: Pod,
    cookie: u64,
    datapath: Datapath,
    _scene: Scene,
}

/// The sockets of a DNS proxy on loopback in the client's namespace.
struct Proxy {
    udp: [UdpSocket; 2],
    tcp: [TcpListener; 2],
}

/// Beats until it is dropped.
struct Heart {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    fn new(name: &str) -> Self {
        let mut scene = Scene::new(name);
        let (client, server) = (scene.pod("client"), scene.pod("server"));
        let (bpf_fs, cgroup) = (scene.bpffs().path().into(), scene.cgroup().path().into());
        let mut datapath =
            Datapath::load(Config { bpf_fs, cgroup, limits: LIMITS }).expect("the programs load");
        datapath.attach().expect("the programs attach");
        let cookie = client.run(crate::netns_cookie).expect("a cookie");
        datapath.maps().enrol(cookie, 0, 0).expect("an enrolment");
        Self { client, server, cookie, datapath, _scene: scene }
    }

    fn maps(&self) -> &Maps {
        self.datapath.maps()
    }

    /// The server at port 53, in both families and v4-mapped.
    fn resolvers(&self) -> [SocketAddr; 3] {
        let addresses: [IpAddr; 3] =
            [self.server.v4.into(), self.server.v6.into(), self.server.v4.to_ipv6_mapped().into()];
        addresses.map(|address| (address, abi::dns::PORT).into())
    }

    /// Captures queries to the server, as long as what comes back is kept.
    #[must_use]
    fn capture(&self) -> Heart {
        for address in [self.server.v4.into(), self.server.v6.into()] {
            self.maps().capture_dns(self.cookie, address).expect("a resolver");
        }
        Heart::new(self.datapath.maps())
    }

    fn proxy(&self) -> Proxy {
        let at = ["127.0.0.1", "::1"].map(|address| {
            SocketAddr::new(address.parse().expect("an address"), abi::dns::PROXY_PORT)
        });
        self.client.run(|| Proxy {
            udp: at.map(|at| patient(UdpSocket::bind(at).expect("a UDP socket"))),
            tcp: at.map(|at| TcpListener::bind(at).expect("a TCP socket")),
        })
    }

    fn socket(&self, to: SocketAddr) -> UdpSocket {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        patient(self.client.run(|| UdpSocket::bind(any)).expect("a socket"))
    }

    fn count(&self, reason: Reason) -> u64 {
        let reasons = self.maps().reasons().expect("reasons");
        reasons.into_iter().find(|(found, _)| *found == reason).expect("it is listed").1
    }
}

impl Heart {
    fn new(maps: &Arc<Maps>) -> Self {
        maps.beat().expect("a beat");
        let (stop, stopped) = mpsc::channel();
        let maps = Arc::clone(maps);
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(BEAT_PERIOD) == Err(RecvTimeoutError::Timeout) {
                maps.beat().expect("a beat");
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Proxy {
    /// The listener for queries to `resolver`.
    fn at<'a, T>(&self, sockets: &'a [T; 2], resolver: SocketAddr) -> &'a T {
        &sockets[usize::from(!resolver.ip().to_canonical().is_ipv4())]
    }
}

fn patient(socket: UdpSocket) -> UdpSocket {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Takes a datagram and sends it back.
fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer)?;
    socket.send_to(&buffer[..length], from).map(drop)
}

/// Who sent the next datagram.
fn sender(socket: &UdpSocket) -> SocketAddr {
    socket.recv_from(&mut [0; 64]).expect("a reply").1
}

/// True when a query from a fresh socket reaches the proxy and not the server.
fn is_captured(bench: &Bench, proxy: &Proxy, server: &UdpSocket, resolver: SocketAddr) -> bool {
    bench.socket(resolver).send_to(b"q", resolver).expect("sent");
    let proxy = proxy.at(&proxy.udp, resolver);
    let look = |socket: &UdpSocket| {
        socket.set_nonblocking(true).expect("no waiting");
        let received = socket.recv_from(&mut [0; 64]).is_ok();
        socket.set_nonblocking(false).expect("waiting");
        received
    };
    wait_until("the query to arrive", PATIENCE, || match (look(proxy), look(server)) {
        (false, false) => None,
        (captured, _) => Some(captured),
    })
}

#[test]
fn a_query_to_a_resolver_reaches_the_proxy_and_its_answer_comes_from_the_resolver() {
    let bench = Bench::new("dns_udp");
    let proxy = bench.proxy();
    let _heart = bench.capture();
    for resolver in bench.resolvers() {
        let connected = bench.socket(resolver);
        connected.connect(resolver).expect("connected");
        assert_eq!(connected.peer_addr().expect("a peer"), resolver, "getpeername()");
        let free = bench.socket(resolver);
        for _ in 0..2 {
            connected.send(b"q").expect("sent");
            echo(proxy.at(&proxy.udp, resolver)).expect("the proxy has the query");
            assert_eq!(sender(&connected), resolver, "connected");
            free.send_to(b"q", resolver).expect("sent");
            echo(proxy.at(&proxy.udp, resolver)).expect("the proxy has the query");
            assert_eq!(sender(&free), resolver, "not connected");
        }
    }
}

#[test]
fn a_tcp_connection_to_a_resolver_reaches_the_proxy() {
    let bench = Bench::new("dns_tcp");
    let proxy = bench.proxy();
    let _heart = bench.capture();
    for resolver in bench.resolvers() {
        let stream = bench.client.run(|| TcpStream::connect(resolver)).expect("connected");
        assert_eq!(stream.peer_addr().expect("a peer"), resolver, "getpeername()");
        let accepted = proxy.at(&proxy.tcp, resolver).accept().expect("accepted");
        assert_eq!(accepted.1.port(), stream.local_addr().expect("an address").port());
    }
}

#[test]
fn the_proxy_is_found_in_a_namespace_whose_guard_refuses_everything() {
    let bench = Bench::new("dns_guard");
    let proxy = bench.proxy();
    let _heart = bench.capture();
    let netns = File::open(bench.client.netns()).expect("the client's namespace");
    bench.datapath.guards().set(netns.as_fd(), bench.cookie).expect("a guard");
    bench.maps().apply_authz(&[Change::Active(true)]).expect("active");
    for resolver in bench.resolvers() {
        bench.client.run(|| TcpStream::connect(resolver)).expect("connected");
        proxy.at(&proxy.tcp, resolver).accept().expect("accepted");
    }
    assert_eq!(bench.count(Reason::DnsProxySilent), 0);
    assert_eq!(bench.count(Reason::AuthzClosed), 0);
}

#[test]
fn only_port_53_of_the_namespaces_own_resolvers_is_captured() {
    let bench = Bench::new("dns_others");
    let proxy = bench.proxy();
    let at = |address: IpAddr, port| bench.server.run(|| UdpSocket::bind((address, port)));
    let server = patient(at(bench.server.v4.into(), abi::dns::PORT).expect("a server"));
    let resolver = bench.resolvers()[0];
    let _heart = Heart::new(bench.datapath.maps());
    assert!(!is_captured(&bench, &proxy, &server, resolver), "a server that is no resolver");
    bench.maps().capture_dns(bench.cookie + 1, resolver.ip()).expect("another namespace's");
    assert!(!is_captured(&bench, &proxy, &server, resolver), "another namespace's resolver");
    let _capture = bench.capture();
    assert!(is_captured(&bench, &proxy, &server, resolver));
    let other = patient(at(bench.server.v4.into(), 5353).expect("a server"));
    let elsewhere = SocketAddr::new(resolver.ip(), 5353);
    assert!(!is_captured(&bench, &proxy, &other, elsewhere), "another port of a resolver");
    assert!(bench.maps().release_dns(bench.cookie, resolver.ip()).expect("released"));
    assert!(!is_captured(&bench, &proxy, &server, resolver), "released");
    assert_eq!(bench.count(Reason::DnsProxySilent), 0);
}

#[test]
fn a_silent_proxy_is_passed_over_and_counted() {
    let bench = Bench::new("dns_silent");
    let proxy = bench.proxy();
    let resolver = bench.resolvers()[0];
    let server = patient(bench.server.run(|| UdpSocket::bind(resolver)).expect("a server"));
    let heart = bench.capture();
    assert!(is_captured(&bench, &proxy, &server, resolver));
    // It ends in order.
    drop(heart);
    bench.maps().stop_beating().expect("stopped");
    assert_eq!(bench.maps().heartbeat_age().expect("an age"), None);
    assert!(!is_captured(&bench, &proxy, &server, resolver));
    assert_eq!(bench.count(Reason::DnsProxySilent), 1);
    // It hangs: the socket is there, the heart does not beat.
    bench.maps().beat().expect("a beat");
    wait_until("the heartbeat to be too old", PATIENCE, || {
        !is_captured(&bench, &proxy, &server, resolver)
    });
    assert!(bench.maps().heartbeat_age().expect("an age") >= Some(abi::dns::SILENCE_MAX));
    // It is killed: the kernel closes its sockets at once. No heartbeat is missed yet.
    let _heart = Heart::new(bench.datapath.maps());
    assert!(is_captured(&bench, &proxy, &server, resolver));
    let silent = bench.count(Reason::DnsProxySilent);
    drop(proxy);
    bench.socket(resolver).send_to(b"q", resolver).expect("sent");
    server.recv_from(&mut [0; 64]).expect("the resolver has the query");
    let refused = bench.client.run(|| TcpStream::connect(resolver)).expect_err("no server");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "by the resolver's pod");
    assert_eq!(bench.count(Reason::DnsProxySilent), silent + 2);
}

#[test]
fn a_resolver_is_reached_under_registry_only_whoever_asks_it() {
    let bench = Bench::new("dns_registry");
    let resolver = bench.resolvers()[0];
    let server = patient(bench.server.run(|| UdpSocket::bind(resolver)).expect("a server"));
    bench.maps().set_flag(abi::Settings::REGISTRY_ONLY, true).expect("flags");
    let refused = bench.socket(resolver).send_to(b"q", resolver).expect_err("not in the registry");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let _heart = bench.capture();
    bench.socket(resolver).send_to(b"q", resolver).expect("there is no proxy: sent as it is");
    server.recv_from(&mut [0; 64]).expect("the resolver has the query");
    let elsewhere = SocketAddr::new(resolver.ip(), 80);
    bench.socket(elsewhere).send_to(b"q", elsewhere).expect_err("another port is still foreign");
}

#[test]
fn the_proxys_own_queries_and_those_bound_to_a_device_go_to_the_resolver() {
    let bench = Bench::new("dns_mark");
    let _proxy = bench.proxy();
    let resolver = bench.resolvers()[0];
    let server = patient(bench.server.run(|| UdpSocket::bind(resolver)).expect("a server"));
    let _heart = bench.capture();
    let marked = bench.socket(resolver);
    setsockopt(&marked, sockopt::Mark, &abi::dns::PROXY_MARK).expect("a mark");
    let bound = bench.socket(resolver);
    let device = std::ffi::OsString::from("eth0");
    bench.client.run(|| setsockopt(&bound, sockopt::BindToDevice, &device)).expect("a device");
    for (socket, counted) in [(&marked, 0), (&bound, 2)] {
        socket.send_to(b"q", resolver).expect("sent");
        assert_eq!(echo(&server).map_err(|e| e.kind()), Ok(()));
        assert_eq!(sender(socket), resolver);
        socket.connect(resolver).expect("connected");
        socket.send(b"q").expect("sent");
        echo(&server).expect("the resolver has the query");
        assert_eq!(bench.count(Reason::DnsSocketBound), counted);
    }
    assert_eq!(bench.count(Reason::DnsProxySilent), 0);
}
