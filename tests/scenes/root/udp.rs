//! Datagrams to a service, from connected and from unconnected sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use testkit::{ask_udp, patient, wait_until};

use super::bench::{Bench, PORT, TARGET, UDP_PORT, UDP_TARGET, VIP, VIP6, counter, vip};

const REPLY_DEADLINE: Duration = Duration::from_secs(5);
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(VIP), UDP_PORT);
const DNS6: SocketAddr = SocketAddr::new(IpAddr::V6(VIP6), UDP_PORT);

/// A socket of the client's, of the family of `address`.
fn socket(bench: &Bench, address: SocketAddr) -> UdpSocket {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = bench.client.run(|| UdpSocket::bind((any, 0))).unwrap();
    socket.set_read_timeout(Some(patient(REPLY_DEADLINE))).unwrap();
    socket
}

/// The next datagram, and from whom.
fn receive(socket: &UdpSocket) -> io::Result<(String, SocketAddr)> {
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
}

fn mapped() -> SocketAddr {
    (VIP.to_ipv6_mapped(), UDP_PORT).into()
}

#[test]
fn a_connected_socket_talks_to_the_service_alone() {
    let bench = Bench::new("udp_connected", &["red"]);
    bench.serve(&["red"]);
    let _daemon = bench.start();
    for address in [DNS, DNS6, mapped()] {
        let socket = socket(&bench, address);
        socket.connect(address).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address, "getpeername()");
        for word in ["one", "two"] {
            socket.send(word.as_bytes()).unwrap();
            assert_eq!(receive(&socket).unwrap(), (format!("red {word}"), address));
        }
    }
    assert_eq!(bench.servers["red"].datagrams(), 6);
}

#[test]
fn a_connected_socket_may_be_connected_elsewhere_and_back() {
    let bench = Bench::new("udp_reconnect", &["red", "blue"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let direct = SocketAddr::from((bench.pod("blue").v4, UDP_TARGET));
    let (connected, free) = (socket(&bench, DNS), socket(&bench, DNS));
    for (address, reply) in [(DNS, "red x"), (direct, "blue x"), (DNS, "red x")] {
        connected.connect(address).unwrap();
        assert_eq!(connected.peer_addr().unwrap(), address);
        connected.send(b"x").unwrap();
        assert_eq!(receive(&connected).unwrap(), (reply.to_owned(), address));
        free.send_to(b"x", address).unwrap();
        assert_eq!(receive(&free).unwrap(), (reply.to_owned(), address));
        daemon.restart();
    }
}

#[test]
fn a_reply_to_an_unconnected_socket_comes_from_the_address_it_sent_to() {
    let bench = Bench::new("udp_unconnected", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.scene.start_daemon();
    let error = bench.client.run(|| ask_udp(DNS, "x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable, "not enrolled yet");
    daemon.enrol(&bench.client, None);
    for address in [DNS, DNS6, mapped()] {
        let socket = socket(&bench, address);
        for word in ["one", "two"] {
            socket.send_to(word.as_bytes(), address).unwrap();
            assert_eq!(receive(&socket).unwrap(), (format!("red {word}"), address));
        }
    }
}

#[test]
fn one_socket_may_talk_to_a_service_and_to_its_pod() {
    let bench = Bench::new("udp_both", &["red", "blue"]);
    bench.serve(&["red"]);
    let _daemon = bench.start();
    let socket = socket(&bench, DNS);
    for (address, reply) in
        [(DNS, "red x"), ((bench.pod("blue").v4, UDP_TARGET).into(), "blue x"), (DNS, "red x")]
    {
        socket.send_to(b"x", address).unwrap();
        assert_eq!(receive(&socket).unwrap(), (reply.to_owned(), address));
    }
}

#[test]
fn a_reply_that_waits_while_the_daemon_restarts_comes_from_the_dialled_address() {
    let bench = Bench::new("udp_waiting", &["red"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let send = || {
        let before = bench.servers["red"].datagrams();
        let socket = socket(&bench, DNS);
        socket.send_to(b"x", DNS).unwrap();
        wait_until("the server to reply", REPLY_DEADLINE, || {
            bench.servers["red"].datagrams() == before + 1
        });
        socket
    };
    let waiting = send();
    daemon.restart();
    assert_eq!(receive(&waiting).unwrap(), ("red x".to_owned(), DNS));
    let waiting = send();
    daemon.options().args = vec!["--udp-flows-max".into(), "1000".into()];
    daemon.restart();
    assert_eq!(receive(&waiting).unwrap(), ("red x".to_owned(), DNS), "the map has a new size");
}

#[test]
fn a_socket_stays_with_its_backend_and_sockets_spread_over_all() {
    let bench = Bench::new("udp_flows", &["red", "blue"]);
    bench.serve(&["red", "blue"]);
    let daemon = bench.start();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut sockets = Vec::new();
    for _ in 0..40 {
        let socket = socket(&bench, DNS);
        let mut answered = Vec::new();
        for _ in 0..5 {
            socket.send_to(b"x", DNS).unwrap();
            answered.push(receive(&socket).unwrap().0);
        }
        answered.dedup();
        assert_eq!(answered.len(), 1, "one socket, one backend: {answered:?}");
        *counts.entry(answered.remove(0)).or_default() += 1;
        sockets.push(socket);
    }
    assert_eq!(counts.len(), 2, "{counts:?}");
    bench.apply(&daemon, "web.yaml", bench.web(&["blue"]));
    for socket in &sockets {
        socket.send_to(b"y", DNS).unwrap();
        assert_eq!(receive(socket).unwrap(), ("blue y".to_owned(), DNS), "red is gone");
    }
}

#[test]
fn a_datagram_to_a_service_without_endpoints_or_port_is_refused() {
    let bench = Bench::new("udp_refused", &["red"]);
    bench.serve(&[]);
    let daemon = bench.start();
    for address in [DNS, DNS6] {
        let (none, no_port) =
            (counter(&daemon, "no_endpoint"), counter(&daemon, "no_service_port"));
        let socket = socket(&bench, address);
        let lacking = SocketAddr::new(address.ip(), TARGET);
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(socket.send_to(b"x", address).map(drop)), ErrorKind::ConnectionRefused);
        assert_eq!(kind(socket.connect(address)), ErrorKind::ConnectionRefused);
        assert_eq!(counter(&daemon, "no_endpoint"), none + 2);
        assert_eq!(kind(socket.send_to(b"x", lacking).map(drop)), ErrorKind::ConnectionRefused);
        assert_eq!(counter(&daemon, "no_service_port"), no_port + 1);
    }
    assert_eq!(bench.servers["red"].datagrams(), 0);
    bench.apply(&daemon, "web.yaml", bench.web(&["red"]));
    assert_eq!(bench.client.run(|| ask_udp(DNS, "x")).unwrap().0, "red x");
}

#[test]
fn a_tcp_port_is_no_udp_port() {
    let bench = Bench::new("udp_tcp", &["red"]);
    bench.serve(&["red"]);
    let _daemon = bench.start();
    let error = bench.client.run(|| ask_udp((VIP, PORT).into(), "x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let error = bench.client.run(|| ask_udp((vip(200), UDP_PORT).into(), "x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnreachable, "an unknown address is left alone");
}
