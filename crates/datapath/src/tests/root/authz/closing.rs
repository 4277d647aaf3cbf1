//! Connections that a change of policies forbids: ended, and only they.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use abi::authz::Change;
use abi::{ConnectionEvent, Reason};
use testkit::wait_until;

use super::guarding::{Bench, dial};
use super::{FOE, FRIEND, STRANGER, source};
use crate::{EventReader, Means};

const PATIENCE: Duration = Duration::from_secs(5);

/// Both ends of a connection.
struct Pair {
    dialled: TcpStream,
    accepted: TcpStream,
}

impl Pair {
    fn new(from: &testkit::Pod, to: SocketAddr, listener: &TcpListener) -> Self {
        let dialled = dial(from, to).unwrap_or_else(|error| panic!("{to}: {error}"));
        let (accepted, _) = listener.accept().expect("accepted");
        for end in [&dialled, &accepted] {
            end.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        }
        Self { dialled, accepted }
    }

    /// Bytes go both ways.
    fn lives(&mut self) -> bool {
        let carry = |from: &mut TcpStream, to: &mut TcpStream| {
            from.write_all(b"x").and_then(|()| to.read_exact(&mut [0])).is_ok()
        };
        carry(&mut self.dialled, &mut self.accepted) && carry(&mut self.accepted, &mut self.dialled)
    }

    /// The client is told, and does not hang.
    fn is_reset(&mut self) -> bool {
        self.dialled.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }
}

/// The foe is a friend until further notice.
fn reconcile(bench: &Bench) {
    bench.apply(&[bench.foe.v4.into(), bench.foe.v6.into()].map(|address| source(address, FRIEND)));
}

fn fall_out(bench: &Bench) {
    bench.apply(&[bench.foe.v4.into(), bench.foe.v6.into()].map(|address| source(address, FOE)));
}

fn close(bench: &Bench, means: Means) -> usize {
    bench.datapath.closer().close_by(means, bench.netns().as_fd()).expect("closed")
}

fn what_is_refused_now_is_ended_and_the_rest_goes_on(name: &str, means: Means) {
    let bench = Bench::new(name);
    reconcile(&bench);
    let dual = bench.listen("[::]:8080");
    let own = bench.listen("[::]:9090");
    let outside = bench.foe.run(|| TcpListener::bind("[::]:8080")).expect("a port");
    let addresses = bench.addresses();
    let mut foes = addresses.map(|to| Pair::new(&bench.foe, to, &dual));
    let mut friends = addresses.map(|to| Pair::new(&bench.friend, to, &dual));
    let mut to_itself = [bench.server.v4.into(), bench.server.v6.into(), [127, 0, 0, 1].into()]
        .map(|to| Pair::new(&bench.server, SocketAddr::new(to, 9090), &own));
    // To the foe, from a port on which the server listens, too.
    let mut dialled = [bench.foe.v4.into(), bench.foe.v6.into()]
        .map(|to| Pair::new(&bench.server, SocketAddr::new(to, 8080), &outside));
    assert_eq!(close(&bench, means), 0, "all are allowed");

    fall_out(&bench);
    assert_eq!(close(&bench, means), 2);
    for pair in &mut foes {
        assert!(pair.is_reset());
        assert!(!pair.lives());
    }
    for pair in friends.iter_mut().chain(&mut to_itself).chain(&mut dialled) {
        assert!(pair.lives(), "{:?}", pair.dialled);
    }
    assert_eq!(close(&bench, means), 0, "they are gone");
    assert_eq!(bench.count(Reason::AuthzEnded), 2);
    assert_eq!(bench.count(Reason::AuthzDenied), 0, "nobody was refused");
}

#[test]
fn what_is_refused_now_is_ended_by_a_program() {
    what_is_refused_now_is_ended_and_the_rest_goes_on("close_program", Means::Program);
}

#[test]
fn what_is_refused_now_is_ended_through_diagnostics() {
    what_is_refused_now_is_ended_and_the_rest_goes_on("close_diag", Means::Diagnostics);
}

fn a_connection_from_before_the_enrolment_is_known_by_its_listener(name: &str, means: Means) {
    let bench = Bench::new(name);
    reconcile(&bench);
    bench.datapath.maps().unenrol(bench.cookie).expect("out");
    let (dual, v4) = (bench.listen("[::]:8080"), bench.listen("0.0.0.0:8081"));
    let [to, to_v6] = bench.addresses();
    let mut pairs = [
        Pair::new(&bench.foe, to, &dual),
        Pair::new(&bench.foe, to_v6, &dual),
        Pair::new(&bench.foe, SocketAddr::new(to.ip(), 8081), &v4),
    ];
    bench.datapath.maps().enrol(bench.cookie, 0, 0).expect("in");
    fall_out(&bench);
    assert_eq!(close(&bench, means), 3);
    assert!(pairs.iter_mut().all(Pair::is_reset));
}

#[test]
fn a_connection_from_before_the_enrolment_is_ended_by_a_program() {
    a_connection_from_before_the_enrolment_is_known_by_its_listener("early_prog", Means::Program);
}

#[test]
fn a_connection_from_before_the_enrolment_is_ended_through_diagnostics() {
    a_connection_from_before_the_enrolment_is_known_by_its_listener(
        "early_diag",
        Means::Diagnostics,
    );
}

#[test]
fn nothing_is_ended_while_nothing_is_judged() {
    let bench = Bench::new("close_inactive");
    reconcile(&bench);
    let listener = bench.listen("[::]:8080");
    let mut pair = Pair::new(&bench.foe, bench.addresses()[0], &listener);
    fall_out(&bench);
    bench.apply(&[Change::Active(false)]);
    for means in [Means::Program, Means::Diagnostics] {
        assert_eq!(close(&bench, means), 0);
    }
    assert!(pair.lives());
}

#[test]
fn the_event_of_an_end_says_why_and_the_connection_is_reported_as_closed() {
    let bench = Bench::new("close_event");
    let mut reader = EventReader::new(bench.datapath.maps()).expect("the ring");
    reconcile(&bench);
    let listener = bench.listen("[::]:8080");
    let to = bench.addresses()[0];
    let pair = Pair::new(&bench.foe, to, &listener);
    let from = pair.dialled.local_addr().expect("an address");
    bench.apply(&[source(bench.foe.v4.into(), STRANGER)]);
    assert_eq!(bench.datapath.closer().close_refused(bench.netns().as_fd()).expect("closed"), 1);
    let mut events = Vec::new();
    // Which of the last two comes first depends on the means.
    let kinds = [ConnectionEvent::OPENED, ConnectionEvent::CLOSED, ConnectionEvent::ENDED];
    let [_, _, ended] = wait_until("its end to be told", PATIENCE, || {
        events.extend(reader.next_batch(Duration::ZERO));
        events.sort_by_key(|event| event.kind);
        let found: Vec<u8> = events.iter().map(|event| event.kind).collect();
        let whole = <[ConnectionEvent; 3]>::try_from(&events[..]).ok();
        whole.filter(|_| found == kinds).ok_or_else(|| format!("{events:?}"))
    });
    assert_eq!(SocketAddr::new(ended.remote_address.ip(), ended.remote_port.get()), from);
    assert_eq!(SocketAddr::new(ended.local_address.ip(), ended.local_port.get()), to);
    assert_eq!((ended.reason, ended.term()), (Reason::AuthzNotAllowed as u16, None));
}
