//! The header to a waypoint, when the daemon and the client both want to send it: real sockets in
//! namespaces.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use abi::{HeaderWait, Reason, SocketMeta, waypoint};
use model::{Service, ServiceName, Waypoint, WaypointTarget};
use plan::Layout;
use testkit::{Pod, Scene, wait_until};

use super::LIMITS;
use super::select::{image, service};
use crate::{Config, Datapath, HeaderReader, HeaderSender, Outcome, sys};

const PATIENCE: Duration = Duration::from_secs(5);
const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)), 80);

/// A client in the mesh, and a pod that is the waypoint of the service at [`VIP`].
struct Bench {
    client: Pod,
    waypoint: Pod,
    listener: TcpListener,
    waits: HeaderReader,
    datapath: Datapath,
    _scene: Scene,
}

impl Bench {
    fn new(name: &str) -> Self {
        let mut scene = Scene::new(name);
        let (client, waypoint) = (scene.pod("client"), scene.pod("waypoint"));
        let (bpf_fs, cgroup) = (scene.bpffs().path().into(), scene.cgroup().path().into());
        let mut datapath =
            Datapath::load(Config { bpf_fs, cgroup, limits: LIMITS }).expect("the programs load");
        let change = Layout::new(LIMITS).change_to(&image(services_by(waypoint.v4.into())));
        datapath.maps().apply(&change.writes).expect("the writes apply");
        datapath.attach().expect("the programs attach");
        let cookie = client.run(crate::netns_cookie).expect("a cookie");
        datapath.maps().enrol(cookie, 0, 0).expect("an enrolment");
        let listener = waypoint.run(|| TcpListener::bind(("::", waypoint::PORT))).expect("a port");
        let waits = HeaderReader::new(datapath.maps()).expect("the ring");
        Self { client, waypoint, listener, waits, datapath, _scene: scene }
    }

    /// A connection by the waypoint: the client's end, the waypoint's end, and what the ring says.
    fn connect(&mut self) -> (TcpStream, TcpStream, HeaderWait) {
        let ours = self.client.run(|| TcpStream::connect(VIP)).expect("connected");
        let (theirs, _) = self.listener.accept().expect("accepted");
        theirs.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let wait = wait_until("the ring to say so", PATIENCE, || {
            self.waits.next_batch(Duration::ZERO).pop().ok_or("nothing")
        });
        (ours, theirs, wait)
    }

    /// What the daemon does for a client that is silent.
    fn send(&self, wait: HeaderWait) -> Vec<Outcome> {
        let sender = HeaderSender::new(Arc::clone(self.datapath.maps())).expect("a sender");
        let outcomes = sender.send(&[wait]).expect("the maps are read");
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// As the daemon's thread at the moment of sending, whatever it knew before: true when the
    /// header came too late.
    fn force(&self, client: &TcpStream) -> std::io::Result<bool> {
        let sender = HeaderSender::new(Arc::clone(self.datapath.maps())).expect("a sender");
        sys::send_through_program(client.as_fd(), &waypoint::header(VIP))?;
        Ok(sender.came_too_late())
    }

    /// What is remembered of the connection.
    fn meta(&self, wait: HeaderWait) -> SocketMeta {
        let meta = self.datapath.maps().socket(wait.socket).expect("the map is read");
        meta.expect("the socket is known")
    }

    /// How many sockets meet the program.
    fn watched(&self) -> usize {
        self.datapath.maps().waypoint_socket_count()
    }
}

/// `s1` at [`VIP`], by `s2`, whose only endpoint is this one.
fn services_by(waypoint: IpAddr) -> Vec<Service> {
    let mut web = service(1, [80].into(), vec![(1, true, 1)], false);
    let target = WaypointTarget::Service(ServiceName::new("ns", "s2"));
    web.waypoints = [Waypoint { target, hbone_port: 15_008, weight: 1 }].into();
    let mut other = service(2, [15_008].into(), vec![(1, true, 1)], false);
    other.endpoints[0].address = waypoint;
    vec![web, other]
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

/// Everything that is left, once the client has ended the connection.
fn rest(ours: TcpStream, theirs: &mut TcpStream) -> Vec<u8> {
    drop(ours);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).expect("the end");
    bytes
}

#[test]
fn the_header_for_a_silent_client_comes_once_and_its_own_bytes_follow_bare() {
    let mut bench = Bench::new("header_silent");
    let (mut ours, mut theirs, wait) = bench.connect();
    assert!(matches!(bench.send(wait)[..], [Outcome::Sent]));
    assert_eq!(read(&mut theirs, waypoint::HEADER_V4_BYTES), waypoint::header(VIP));
    ours.write_all(b"hello").expect("sent");
    assert!(bench.send(wait).is_empty(), "nothing waits any more");
    assert_eq!(rest(ours, &mut theirs), b"hello");
}

#[test]
fn a_header_that_comes_after_the_clients_first_bytes_goes_nowhere_and_harms_nothing() {
    let mut bench = Bench::new("header_late");
    let (mut ours, mut theirs, _) = bench.connect();
    // Nothing is acknowledged from here on, so the socket goes on meeting the program.
    let link = |state: &str| {
        let mut command = bench.waypoint.command("ip");
        let done = command.args(["link", "set", "dev", "eth0", state]).status();
        assert!(done.expect("ip runs").success());
    };
    link("down");
    ours.write_all(b"hello").expect("queued");
    assert_eq!(bench.watched(), 1);
    assert!(bench.force(&ours).expect("the sink takes it"));
    ours.write_all(b", and more").expect("queued, whatever became of the header");
    link("up");
    let mut expected = waypoint::header(VIP);
    expected.extend(b"hello, and more");
    assert_eq!(read(&mut theirs, expected.len()), expected);
    assert_eq!(rest(ours, &mut theirs), b"");
}

/// The kernel passes whatever is sent on the socket of a write that sleeps.
#[test]
fn a_header_does_not_get_into_the_middle_of_a_long_write() {
    let mut bench = Bench::new("header_middle");
    let (ours, theirs, wait) = bench.connect();
    // What the daemon knew a moment before the client spoke.
    let meta = bench.meta(wait);
    let sender = HeaderSender::new(Arc::clone(bench.datapath.maps())).expect("a sender");
    let mut theirs =
        during_long_write(&ours, theirs, |left| match sender.send_on(ours.as_fd(), &wait, &meta) {
            Ok(Outcome::NotNeeded) => {}
            other => panic!("{other:?} with {left} to come"),
        });
    assert_eq!(rest(ours, &mut theirs), b"");
}

/// The client speaks when the daemon has looked and not sent yet.
#[test]
fn a_header_does_not_get_into_a_long_write_that_begins_while_the_daemon_is_at_work() {
    let mut bench = Bench::new("header_claim");
    let (ours, theirs, wait) = bench.connect();
    let sender = HeaderSender::new(Arc::clone(bench.datapath.maps())).expect("a sender");
    let claim = |cookie| bench.datapath.maps().claim_header(cookie).expect("the setting");
    claim(wait.socket_cookie);
    let mut late = 0;
    let mut theirs = during_long_write(&ours, theirs, |left| {
        match sys::send_through_program(ours.as_fd(), &waypoint::header(VIP)) {
            Ok(_) => late += usize::from(sender.came_too_late()),
            // There is no room behind what the client writes.
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{left} to come"),
        }
    });
    assert!(late > 0, "the header was never taken");
    assert_eq!(bench.watched(), 1, "it is looked at while the daemon is at work");
    claim(0);
    (&ours).write_all(b"more").expect("sent");
    assert_eq!(read(&mut theirs, 4), b"more");
    wait_until("the socket to be an ordinary one", PATIENCE, || bench.watched() == 0);
    assert_eq!(rest(ours, &mut theirs), b"");
}

/// Calls `meanwhile` again and again, with the bytes to come, while the client writes more than any buffer
/// holds; what arrives is the header, and what was written.
fn during_long_write(
    ours: &TcpStream,
    theirs: TcpStream,
    mut meanwhile: impl FnMut(usize),
) -> TcpStream {
    const LONG_BYTES: usize = 8_000_000;
    std::thread::scope(|scope| {
        // Closed in here, so that a failure ends the writer, too.
        let (mut theirs, mut writer) = (theirs, ours);
        let write = scope.spawn(move || writer.write_all(&vec![b'x'; LONG_BYTES]));
        let header = waypoint::header(VIP);
        assert_eq!(read(&mut theirs, header.len()), header);
        let mut left = LONG_BYTES;
        while left > 0 {
            let part = left.min(50_000);
            assert!(read(&mut theirs, part).iter().all(|byte| *byte == b'x'), "{left} to come");
            left -= part;
            meanwhile(left);
        }
        write.join().expect("no panic").expect("written");
        theirs
    })
}

/// A `recv()` that is woken for nothing returns with EAGAIN while a program looks at the socket.
#[test]
fn a_client_that_sleeps_until_it_is_answered_is_not_woken_by_its_header() {
    let mut bench = Bench::new("header_asleep");
    let (mut ours, mut theirs, wait) = bench.connect();
    let (says, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            says.send(sys::thread_id()).expect("somebody hears");
            let mut answer = [0; 2];
            ours.read_exact(&mut answer).map(|()| answer)
        });
        let status = format!("/proc/self/task/{}/stat", hears.recv().expect("a thread"));
        let is_asleep = || {
            let stat = std::fs::read_to_string(&status).expect("a thread");
            if stat.contains(") S ") { Ok(()) } else { Err(stat) }
        };
        wait_until("the client to sleep", PATIENCE, is_asleep);
        assert!(matches!(bench.send(wait)[..], [Outcome::Sent]));
        assert_eq!(read(&mut theirs, waypoint::HEADER_V4_BYTES), waypoint::header(VIP));
        wait_until("the client to sleep", PATIENCE, is_asleep);
        theirs.write_all(b"hi").expect("sent");
        assert_eq!(&reader.join().expect("no panic").expect("an answer"), b"hi");
    });
}

#[test]
fn a_header_for_a_socket_that_no_program_looks_at_any_more_is_refused_by_tcp_itself() {
    let mut bench = Bench::new("header_gone");
    let (mut ours, mut theirs, _) = bench.connect();
    ours.write_all(b"hello").expect("sent");
    read(&mut theirs, waypoint::HEADER_V4_BYTES + 5);
    wait_until("the socket to be an ordinary one", PATIENCE, || bench.watched() == 0);
    let error = bench.force(&ours).expect_err("nothing goes out behind the program's back");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    ours.write_all(b"again").expect("sent");
    assert_eq!(rest(ours, &mut theirs), b"again");
}

#[test]
fn bytes_that_look_like_the_header_are_the_clients_own() {
    let mut bench = Bench::new("header_twin");
    let (mut ours, mut theirs, _) = bench.connect();
    let header = waypoint::header(VIP);
    ours.write_all(&header).expect("sent");
    assert_eq!(read(&mut theirs, header.len()), header);
    assert_eq!(rest(ours, &mut theirs), header, "behind the header that was put before them");
}

#[test]
fn a_socket_that_another_process_has_is_not_found_and_not_guessed() {
    let mut bench = Bench::new("header_lost");
    let (ours, mut theirs, mut wait) = bench.connect();
    wait.inode += 1;
    let outcomes = bench.send(wait);
    assert!(
        matches!(&outcomes[..], [Outcome::Failed(error)] if error.kind() == ErrorKind::NotFound)
    );
    assert_eq!(rest(ours, &mut theirs), b"");
    drop(theirs);
    wait_until("it to be counted", PATIENCE, || {
        let reasons = bench.datapath.maps().reasons().expect("counters");
        reasons.contains(&(Reason::WaypointHeaderUnsent, 1))
    });
}
