//! What the daemon tells of connections: opened, closed, refused, and payload to the byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use testkit::{Daemon, Family, Servers, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, WEB, assert_has, counter, idle_service, success, vip,
};

/// More than any buffer on the way.
const PAYLOAD: usize = 3_000_000;

/// Totals: opened, closed, refused, bytes sent, bytes received.
fn totals(daemon: &Daemon) -> [u64; 5] {
    let connections = &daemon.status()["connections"];
    assert_eq!(connections["eventsLost"], 0);
    ["opened", "closed", "refused", "bytesSent", "bytesReceived"]
        .map(|key| connections[key].as_u64().expect("a number"))
}

#[track_caller]
fn wait_totals(daemon: &Daemon, expected: [u64; 5]) {
    wait_until("the totals to be exact", PATIENCE, || {
        let found = totals(daemon);
        if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
    });
}

/// Sends the payload to an echo server and reads it back.
fn echo(bench: &Bench) {
    let mut stream = bench.client.run(|| TcpStream::connect(WEB)).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let back = std::thread::spawn(move || {
        let mut back = Vec::new();
        reader.read_to_end(&mut back).map(|_| back.len())
    });
    stream.write_all(&vec![7; PAYLOAD]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(back.join().unwrap().unwrap(), PAYLOAD);
}

#[test]
fn payload_is_counted_to_the_byte_on_each_enrolled_side() {
    let mut bench = Bench::new("bytes", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    assert_eq!(totals(&daemon), [0; 5]);
    let answer = bench.ask(WEB).unwrap();
    let line = format!("red {}\n", answer.seen_from).len() as u64;
    wait_totals(&daemon, [1, 1, 0, 0, line]);
    bench.servers.clear();
    let _echo = Servers::new(bench.pod("red")).echo(TARGET, Family::Dual);
    daemon.enrol(bench.pod("red"), "default/red");
    echo(&bench);
    let payload = PAYLOAD as u64;
    wait_totals(&daemon, [3, 3, 0, 2 * payload, 2 * payload + line]);
    daemon.unenrol(&bench.client);
    let direct = (bench.pod("red").v4, TARGET);
    let _half = bench.client.run(|| TcpStream::connect(direct)).unwrap();
    wait_totals(&daemon, [4, 3, 0, 2 * payload, 2 * payload + line]);
}

#[test]
fn a_connection_outlives_the_daemon_and_its_end_is_told() {
    let mut bench = Bench::new("outlive", &["red"]);
    bench.servers.clear();
    let _echo = Servers::new(bench.pod("red")).echo(TARGET, Family::Dual);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let mut stream = bench.client.run(|| TcpStream::connect(WEB)).unwrap();
    let mut unseen = bench.client.run(|| TcpStream::connect(WEB)).unwrap();
    let exchange = |stream: &mut TcpStream| {
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        assert_eq!((&back, stream.peer_addr().unwrap()), (b"hello", WEB));
    };
    exchange(&mut stream);
    wait_totals(&daemon, [2, 0, 0, 0, 0]);
    daemon.kill9();
    exchange(&mut stream);
    exchange(&mut unseen);
    drop(unseen);
    daemon.start();
    daemon.wait_ready(PATIENCE);
    exchange(&mut stream);
    wait_totals(&daemon, [0, 1, 0, 5, 5]);
    drop(stream);
    wait_totals(&daemon, [0, 2, 0, 20, 20]);
}

#[test]
fn a_connect_that_the_peer_refuses_is_a_refused_event() {
    let bench = Bench::new("peer_refuses", &["red"]);
    let dead = yaml::endpoint_slice("dead", [(bench.pod("red").v4, true, "", "")]);
    // Nobody listens there.
    let dead = dead.port("http", 9);
    bench.scene.config("dead.yaml", yaml::join(&[&idle_service("dead", vip(11)), &dead]));
    let daemon = bench.start();
    success(&daemon.kmeshctl(&["log", "--set", "default:debug"]));
    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::ConnectionRefused);
    wait_totals(&daemon, [0, 0, 1, 0, 0]);
    for reason in ["no_endpoint", "no_service_port"] {
        assert_eq!(counter(&daemon, reason), 0, "the peer refused, not the mesh");
    }
    let logs = wait_until("the event to be logged", PATIENCE, || {
        Some(daemon.logs()).filter(|logs| logs.contains("connection refused"))
    });
    let line = logs.lines().find(|line| line.contains("connection refused")).unwrap();
    let remote = format!("remote={}:9", bench.pod("red").v4);
    assert_has(line, &["direction=\"outbound\"", "dialled=10.96.0.11:80", &remote, "errno=111"]);
}

#[test]
fn connections_of_an_outsider_are_no_events() {
    let bench = Bench::new("outsider", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.scene.start_daemon();
    let red = (bench.pod("red").v4, TARGET);
    assert_eq!(bench.who(red), "red");
    assert_eq!(bench.error(WEB), ErrorKind::HostUnreachable);
    daemon.enrol(&bench.client, None);
    assert_eq!(bench.who(red), "red");
    // The one connection since the enrolment; an earlier one would have come first.
    wait_until("the last connection to be told", PATIENCE, || totals(&daemon)[1] > 0);
    assert_eq!(totals(&daemon)[..3], [1, 1, 0]);
    let told: u64 = ["unknown_destination", "no_endpoint", "no_service_port"]
        .iter()
        .map(|reason| counter(&daemon, reason))
        .sum();
    assert_eq!(told, 1);
}
