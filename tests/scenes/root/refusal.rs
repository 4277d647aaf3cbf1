//! What cannot be reached is refused at once and counted; what is unknown is left alone.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use testkit::{Daemon, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, VIP, WEB, WEB6, counter, idle_service, segments_sent, vip,
};

/// No packet is waited for, so a busy machine needs no more.
const AT_ONCE: Duration = Duration::from_secs(1);

fn refused(daemon: &Daemon) -> u64 {
    daemon.status()["connections"]["refused"].as_u64().expect("a number")
}

/// connect() of a blocking socket, refused at once and without any packet.
#[track_caller]
fn assert_refused(bench: &Bench, address: SocketAddr) {
    let (sent, started) = (segments_sent(&bench.client), Instant::now());
    let error = bench.client.run(|| TcpStream::connect(address)).unwrap_err();
    assert!(started.elapsed() < AT_ONCE, "{address}: after {:?}", started.elapsed());
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
    assert_eq!(segments_sent(&bench.client), sent, "{address}: no packet has left");
}

/// The reason is counted, and the daemon tells of the connection and why.
#[track_caller]
fn assert_reported(daemon: &Daemon, reason: &str, before: (u64, u64)) {
    assert_eq!(counter(daemon, reason), before.0 + 1, "{reason}");
    wait_until("the event to arrive", PATIENCE, || refused(daemon) == before.1 + 1);
    wait_until("the event to be logged", PATIENCE, || {
        let logs = daemon.logs();
        let told = |line: &str| line.contains("connection refused") && line.contains(reason);
        if logs.lines().any(told) { Ok(()) } else { Err(logs) }
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let bench = Bench::new("no_endpoint", &["red"]);
    bench.serve(&[]);
    let daemon = bench.start();
    super::bench::success(&daemon.kmeshctl(&["log", "--set", "default:debug"]));
    for address in [WEB, WEB6] {
        let before = (counter(&daemon, "no_endpoint"), refused(&daemon));
        assert_refused(&bench, address);
        assert_reported(&daemon, "no_endpoint", before);
    }
    bench.apply(&daemon, "web.yaml", bench.web(&["red"]));
    assert_eq!(bench.who(WEB), "red", "until it has one");
    assert!(segments_sent(&bench.client) > 0, "packets are counted");
}

#[test]
fn a_port_that_the_service_lacks_is_refused_and_says_so() {
    let bench = Bench::new("no_port", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    super::bench::success(&daemon.kmeshctl(&["log", "--set", "default:debug"]));
    let before = (counter(&daemon, "no_service_port"), refused(&daemon));
    assert_refused(&bench, (VIP, TARGET).into());
    assert_reported(&daemon, "no_service_port", before);
    assert_eq!(bench.who(WEB), "red");
}

#[test]
fn an_unknown_address_passes_untouched() {
    let bench = Bench::new("unknown", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let before = counter(&daemon, "unknown_destination");
    let red = SocketAddr::from((bench.pod("red").v4, TARGET));
    let answer = bench.ask(red).unwrap();
    assert_eq!((answer.pod.as_str(), answer.peer), ("red", red));
    assert_eq!(counter(&daemon, "unknown_destination"), before + 1);
    assert_eq!(bench.error((vip(200), PORT)), ErrorKind::HostUnreachable, "as without a mesh");
    assert_eq!(counter(&daemon, "unknown_destination"), before + 2);
}

#[test]
fn a_port_of_a_service_entry_that_it_lacks_is_left_alone() {
    let bench = Bench::new("entry_address", &["red"]);
    // A real host with other ports than those in the mesh.
    let red = bench.pod("red").v4;
    let entry = yaml::service_entry("host", "host.example.com").address(red);
    bench.scene.config("host.yaml", entry.port("http", PORT, TARGET).endpoint(red, 1, ""));
    let _daemon = bench.start();
    for port in [PORT, TARGET] {
        let answer = bench.ask((red, port)).unwrap();
        assert_eq!((answer.pod.as_str(), answer.peer), ("red", SocketAddr::from((red, port))));
    }
}

#[test]
fn a_socket_that_does_not_block_is_refused_by_connect_itself() {
    let bench = Bench::new("nonblocking", &["red"]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
    let _daemon = bench.start();
    let dial = |address| {
        bench.client.run(|| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
            let address = SockaddrIn::from(SocketAddrV4::new(address, PORT));
            connect(socket.as_raw_fd(), &address)
        })
    };
    assert_eq!(dial(VIP), Err(Errno::EINPROGRESS), "on its way to an endpoint");
    assert_eq!(dial(vip(11)), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_refused_socket_may_dial_again_and_reach_another_service() {
    let bench = Bench::new("dial_again", &["red"]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
    let _daemon = bench.start();
    let peer = bench.client.run(|| -> io::Result<SocketAddr> {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let idle = SockaddrIn::from(SocketAddrV4::new(vip(11), PORT));
        assert_eq!(connect(socket.as_raw_fd(), &idle), Err(Errno::ECONNREFUSED));
        connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(VIP, PORT)))?;
        TcpStream::from(socket).peer_addr()
    });
    assert_eq!(peer.unwrap(), WEB);
}
