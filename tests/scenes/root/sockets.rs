//! What is remembered of sockets: as long as they live, and no longer.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use testkit::{Daemon, Family, Servers, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, UDP_PORT, VIP, WEB, WEB6, assert_has, counter, idle_service, vip,
};

/// In the range that the client has no route to, and no service's.
const NOWHERE: [u8; 4] = [10, 96, 0, 250];
/// In the pods' network, and nobody's: no answer to the SYN.
const SILENT: ([u8; 4], u16) = ([10, 77, 0, 253], 80);

fn remembered(daemon: &Daemon) -> u64 {
    let status = daemon.status();
    let mut maps = status["maps"].as_array().expect("an array").iter();
    let sockets = maps.find(|map| map["name"] == "sockets").expect("the map is listed");
    sockets["entries"].as_u64().expect("a number")
}

#[track_caller]
fn wait_remembered(daemon: &Daemon, expected: u64) {
    wait_until("the sockets that are remembered", PATIENCE, || match remembered(daemon) {
        found if found == expected => Ok(()),
        found => Err(format!("{found}, not {expected}")),
    });
}

/// An open connection to a server that keeps it open.
fn held(bench: &Bench, address: SocketAddr) -> TcpStream {
    bench.client.run(|| TcpStream::connect(address)).unwrap()
}

/// A client, and one server that echoes until the client ends the connection.
fn echo_bench(name: &str) -> (Bench, Servers) {
    let mut bench = Bench::new(name, &["red"]);
    bench.servers.clear();
    let servers = Servers::new(bench.pod("red")).echo(TARGET, Family::Dual);
    bench.serve(&["red"]);
    (bench, servers)
}

/// A connect() that fails before any SYN; the socket is still open.
fn unroutable(bench: &Bench) -> OwnedFd {
    bench.client.run(|| {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        let [a, b, c, d] = NOWHERE;
        connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 80)).unwrap_err();
        socket
    })
}

#[test]
fn a_socket_is_forgotten_however_it_ends() {
    let (bench, _servers) = echo_bench("forgotten");
    let closed = yaml::endpoint_slice("closed", [(bench.pod("red").v4, true, "", "")]);
    let closed = closed.port("http", TARGET + 1);
    bench.scene.config("closed.yaml", yaml::join(&[&idle_service("closed", vip(11)), &closed]));
    let daemon = bench.start();
    daemon.enrol(bench.pod("red"), None);
    // Both ends of each are on this node and enrolled.
    let streams = [held(&bench, WEB), held(&bench, WEB6), held(&bench, WEB)];
    wait_remembered(&daemon, 6);
    let datagrams = bench.client.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    datagrams.connect((VIP, UDP_PORT)).unwrap();
    let unrouted = unroutable(&bench);
    wait_remembered(&daemon, 8);

    streams[0].shutdown(Shutdown::Both).unwrap();
    wait_remembered(&daemon, 6);
    drop(streams);
    wait_remembered(&daemon, 2);
    drop((datagrams, unrouted));
    wait_remembered(&daemon, 0);

    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::ConnectionRefused, "by the pod's kernel");
    let silent = SocketAddr::from(SILENT);
    let moment = Duration::from_millis(20);
    bench.client.run(|| TcpStream::connect_timeout(&silent, moment)).unwrap_err();
    wait_remembered(&daemon, 0);
}

#[test]
fn a_datagram_socket_that_turns_to_an_address_outside_the_mesh_is_forgotten() {
    let bench = Bench::new("turned", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let socket = bench.client.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.connect((VIP, UDP_PORT)).unwrap();
    wait_remembered(&daemon, 1);
    socket.connect((bench.pod("red").v4, 9)).unwrap();
    wait_remembered(&daemon, 0);
}

#[test]
fn a_process_that_is_killed_leaves_no_socket_behind() {
    let (bench, _servers) = echo_bench("killed");
    let daemon = bench.start();
    let script = format!("exec 3<>/dev/tcp/{VIP}/{PORT}; exec 4<>/dev/udp/{VIP}/{UDP_PORT}; read");
    let mut child = bench.client.command("bash");
    child.args(["-c", &script]).stdin(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    wait_remembered(&daemon, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_remembered(&daemon, 0);
}

#[test]
fn a_map_of_connections_keeps_its_size_and_says_so() {
    let (bench, _servers) = echo_bench("sockets_resize");
    let mut daemon = bench.start();
    let streams = [held(&bench, WEB), held(&bench, WEB)];
    wait_remembered(&daemon, 2);
    daemon.options().args = vec!["--sockets-max".into(), "1000".into()];
    daemon.restart();
    assert_has(&daemon.logs(), &["map sockets keeps its 262144 entries and does not get 1000"]);
    assert_eq!(remembered(&daemon), 2);
    assert_eq!(streams[0].peer_addr().unwrap(), WEB);
    drop(streams);
    wait_remembered(&daemon, 0);
    wait_until("both to be told as closed", PATIENCE, || {
        daemon.status()["connections"]["closed"] == 2
    });
}

#[test]
fn a_connection_without_room_is_balanced_and_counted() {
    let (bench, _servers) = echo_bench("sockets_full");
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--sockets-max".into(), "2".into()];
    });
    daemon.enrol(&bench.client, None);
    let streams = [held(&bench, WEB), held(&bench, WEB)];
    assert_eq!(counter(&daemon, "sockets_full"), 0);
    let third = held(&bench, WEB);
    assert_eq!(third.peer_addr().unwrap(), SocketAddr::from((bench.pod("red").v4, TARGET)));
    wait_until("it to be counted", PATIENCE, || counter(&daemon, "sockets_full") == 1);
    drop((streams, third));
    wait_remembered(&daemon, 0);
    assert_eq!(held(&bench, WEB).peer_addr().unwrap(), WEB, "there is room again");
}
