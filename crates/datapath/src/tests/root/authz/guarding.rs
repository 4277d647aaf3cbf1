//! Real connections into a namespace under guard, and the life of its link.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abi::authz::{AuthzDestination, Change};
use abi::{ConnectionEvent, Reason};
use testkit::{Pod, Scene, wait_until};

use super::super::{LIMITS, load};
use super::{ALLOW, DENY, EVERY_TERM, FOE, FRIEND, SET, UNDECIDED, set_changes, source};
use crate::{Config, Datapath, EventReader, LinkState, Pins, sys};

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(5);

/// A server under guard, a friend and a foe of it. [`SET`] holds for all addresses.
pub(super) struct Bench {
    pub friend: Pod,
    pub foe: Pod,
    pub server: Pod,
    pub cookie: u64,
    pub datapath: Datapath,
    scene: Scene,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let mut scene = Scene::new(name);
        let (friend, foe) = (scene.pod("friend"), scene.pod("foe"));
        let server = scene.pod("server");
        let datapath = load(&config(&scene));
        let cookie = server.run(crate::netns_cookie).expect("a cookie");
        let mut this = Self { friend, foe, server, cookie, datapath, scene };
        this.write_tables();
        this.datapath.attach().expect("the programs attach");
        this.datapath.maps().enrol(cookie, 0, 0).expect("an enrolment");
        let state = this.datapath.guards().set(this.netns().as_fd(), cookie).expect("a guard");
        assert_eq!(state, LinkState::Created);
        this
    }

    fn write_tables(&self) {
        let others = AuthzDestination { set: SET, row: EVERY_TERM };
        let [friend, foe] = [(&self.friend, FRIEND), (&self.foe, FOE)].map(|(pod, identity)| {
            [source(pod.v4.into(), identity), source(pod.v6.into(), identity)]
        });
        let mut changes = set_changes();
        changes.extend(friend.into_iter().chain(foe));
        changes.push(Change::Destination { address: AuthzDestination::OTHERS, value: others });
        changes.push(Change::Active(true));
        self.apply(&changes);
    }

    pub fn apply(&self, changes: &[Change]) {
        self.datapath.maps().apply_authz(changes).expect("the changes apply");
    }

    pub fn netns(&self) -> File {
        File::open(self.server.netns()).expect("the server's namespace")
    }

    /// A listener in the server's namespace.
    pub fn listen(&self, at: &str) -> TcpListener {
        self.server.run(|| TcpListener::bind(at)).expect("a port")
    }

    /// The server, as it is dialled in both families.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        let of = |address: IpAddr| SocketAddr::new(address, PORT);
        [of(self.server.v4.into()), of(self.server.v6.into())]
    }

    pub fn count(&self, reason: Reason) -> u64 {
        let reasons = self.datapath.maps().reasons().expect("reasons");
        reasons.into_iter().find(|(found, _)| *found == reason).expect("it is listed").1
    }

    /// What a daemon that starts anew does with the programs.
    fn reload(self) -> Self {
        let Self { friend, foe, server, cookie, datapath, scene } = self;
        drop(datapath);
        let mut datapath = load(&config(&scene));
        datapath.attach().expect("the programs attach");
        Self { friend, foe, server, cookie, datapath, scene }
    }

    /// Id of the server's link and of the program that it runs.
    fn guard(&self) -> (u32, u32) {
        let pin = Pins::new(self.scene.bpffs().path()).guard(self.cookie);
        let link = sys::open_pinned(&pin).expect("a pinned link");
        let info = sys::link_info(link.as_fd()).expect("its info");
        (info.id, info.prog_id)
    }

    /// The first event of a refusal to come.
    fn refusal(&self) -> ConnectionEvent {
        let mut reader = EventReader::new(self.datapath.maps()).expect("the ring");
        wait_until("an event", PATIENCE, || {
            let mut events = reader.next_batch(Duration::ZERO).into_iter();
            events.find(|event| event.kind == ConnectionEvent::REFUSED)
        })
    }
}

fn config(scene: &Scene) -> Config {
    let (bpf_fs, cgroup) = (scene.bpffs().path().into(), scene.cgroup().path().into());
    Config { bpf_fs, cgroup, limits: LIMITS }
}

pub(super) fn dial(from: &Pod, to: SocketAddr) -> io::Result<TcpStream> {
    from.run(|| TcpStream::connect_timeout(&to, PATIENCE))
}

fn refused(result: io::Result<TcpStream>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// True when nobody has come to the listener.
fn is_alone(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("no waiting");
    listener.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn who_is_refused_hears_it_at_once_and_the_server_accepts_nothing() {
    let bench = Bench::new("guard_refuse");
    for at in ["[::]:8080", "0.0.0.0:8080"] {
        let listener = bench.listen(at);
        for to in bench.addresses().into_iter().filter(|to| to.is_ipv4() || at.starts_with('[')) {
            assert!(refused(dial(&bench.foe, to)), "the foe to {to} at {at}");
            assert!(is_alone(&listener), "{to} at {at}");
            let stream = dial(&bench.friend, to).expect("the friend");
            let (_, from) = wait_until("it to be accepted", PATIENCE, || listener.accept());
            assert_eq!(from.port(), stream.local_addr().expect("an address").port());
        }
    }
    let counts = |term: abi::authz::Term| {
        let count = bench.datapath.maps().authz_count(term.policy).expect("a count");
        (count.allowed, count.denied, count.dry_run)
    };
    assert_eq!(counts(ALLOW), (3, 0, 0));
    assert_eq!(counts(DENY), (0, 3, 0));
    assert_eq!(counts(UNDECIDED), (0, 0, 6), "it matches the foe and the friend");
    assert_eq!(bench.count(Reason::AuthzDenied), 3);
}

#[test]
fn a_refusal_sends_an_event_that_names_policy_and_rule() {
    let bench = Bench::new("guard_event");
    for (from, to) in [
        (IpAddr::from(bench.foe.v4), bench.addresses()[0]),
        (bench.foe.v6.into(), bench.addresses()[1]),
    ] {
        assert!(refused(dial(&bench.foe, to)));
        let event = bench.refusal();
        assert_eq!((event.local_address.ip(), event.local_port.get()), (to.ip(), to.port()));
        assert_eq!(event.remote_address.ip(), from);
        assert_ne!(event.remote_port.get(), 0);
        assert_eq!(event.direction, ConnectionEvent::INBOUND);
        assert_eq!(event.reason, Reason::AuthzDenied as u16);
        assert_eq!(event.term(), Some(DENY));
    }
    bench.apply(&[Change::RemoveSource { address: bench.foe.v4.into() }]);
    assert!(refused(dial(&bench.foe, bench.addresses()[0])));
    let event = bench.refusal();
    assert_eq!((event.reason, event.term()), (Reason::AuthzNotAllowed as u16, None));
}

#[test]
fn what_the_workload_says_to_itself_is_not_judged() {
    let bench = Bench::new("guard_itself");
    let _listener = bench.listen("[::]:8080");
    let loopback = [IpAddr::from([127, 0, 0, 1]), "::1".parse().expect("an address")];
    for to in loopback.map(|at| SocketAddr::new(at, PORT)).into_iter().chain(bench.addresses()) {
        dial(&bench.server, to).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
    assert_eq!(bench.count(Reason::AuthzNotAllowed), 0);
}

#[test]
fn nothing_is_judged_while_nothing_is_active_nor_in_a_namespace_that_was_let_go() {
    let bench = Bench::new("guard_inactive");
    let _listener = bench.listen("[::]:8080");
    let to = bench.addresses()[0];
    assert!(refused(dial(&bench.foe, to)));
    bench.apply(&[Change::Active(false)]);
    dial(&bench.foe, to).expect("nothing is judged");
    bench.apply(&[Change::Active(true)]);
    assert!(refused(dial(&bench.foe, to)));
    let guards = bench.datapath.guards();
    assert_eq!(guards.cookies().expect("cookies"), [bench.cookie].into());
    assert!(guards.remove(bench.cookie).expect("removed"));
    dial(&bench.foe, to).expect("no guard");
    assert!(!guards.remove(bench.cookie).expect("it was not there"));
    guards.set(bench.netns().as_fd(), bench.cookie).expect("a guard");
    assert!(refused(dial(&bench.foe, to)));
}

#[test]
fn the_guard_outlives_the_process_and_gets_the_next_program_in_one_step() {
    let bench = Bench::new("guard_outlives");
    let _listener = bench.listen("[::]:8080");
    let to = bench.addresses()[0];
    let before = bench.guard();
    let bench = bench.reload();
    assert!(refused(dial(&bench.foe, to)));
    let after = bench.guard();
    assert_eq!(after.0, before.0, "the link is the same");
    assert_ne!(after.1, before.1, "the program is new");
    let state = bench.datapath.guards().set(bench.netns().as_fd(), bench.cookie);
    assert_eq!(state.expect("a guard"), LinkState::Updated);
}

const REPLACED: usize = 5;

/// What came of connections, one after the other, until it is over. Each lasts until the server has taken
/// it, so that they do not pile up.
fn outcomes(
    from: &Pod,
    to: SocketAddr,
    is_over: &AtomicBool,
) -> BTreeSet<Result<usize, ErrorKind>> {
    let mut outcomes = BTreeSet::new();
    from.run(|| {
        while !is_over.load(Ordering::Relaxed) {
            let dialled = TcpStream::connect_timeout(&to, PATIENCE);
            let outcome = dialled.and_then(|mut stream| stream.read(&mut [0]));
            outcomes.insert(outcome.map_err(|error| error.kind()));
        }
    });
    outcomes
}

/// Takes connections until it is over.
fn serve(listener: &TcpListener, is_over: &AtomicBool) {
    listener.set_nonblocking(true).expect("nonblocking");
    while !is_over.load(Ordering::Relaxed) {
        if listener.accept().is_err() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn no_connection_is_judged_wrongly_while_the_programs_are_replaced() {
    let mut bench = Bench::new("guard_replace");
    let listener = bench.listen("[::]:8080");
    let (friend, foe, to) = (bench.friend.clone(), bench.foe.clone(), bench.addresses()[0]);
    let [clients_are_done, server_is_done] = [const { AtomicBool::new(false) }; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &server_is_done));
        let friend = scope.spawn(|| outcomes(&friend, to, &clients_are_done));
        let foe = scope.spawn(|| outcomes(&foe, to, &clients_are_done));
        for _ in 0..REPLACED {
            bench = bench.reload();
        }
        clients_are_done.store(true, Ordering::Relaxed);
        let outcomes = [friend.join(), foe.join()].map(|one| one.expect("it dialled"));
        server_is_done.store(true, Ordering::Relaxed);
        assert_eq!(outcomes, [[Ok(0)].into(), [Err(ErrorKind::ConnectionRefused)].into()]);
    });
}

#[test]
fn a_failure_after_the_guards_gives_them_their_program_back() {
    let bench = Bench::new("guard_rollback");
    let before = bench.guard();
    let Bench { datapath, scene, cookie, friend, foe, server } = bench;
    drop(datapath);
    let mut datapath = load(&config(&scene));
    let result = datapath.attach_stepwise(&mut |step| match step {
        "commit" => Err(io::Error::other("injected")),
        _ => Ok(()),
    });
    assert!(result.is_err());
    let bench = Bench { datapath, scene, cookie, friend, foe, server };
    assert_eq!(bench.guard(), before);
}

#[test]
fn what_is_left_of_a_namespace_that_is_gone_is_swept() {
    let mut bench = Bench::new("guard_gone");
    let guards = std::sync::Arc::clone(bench.datapath.guards());
    assert_eq!(guards.sweep().expect("swept"), 0);
    bench.scene.remove_pod(&bench.server);
    wait_until("the namespace to be gone", PATIENCE, || guards.sweep().expect("swept") == 1);
    assert!(guards.cookies().expect("cookies").is_empty());
}

#[test]
fn uninstall_removes_the_guards() {
    let bench = Bench::new("guard_uninstall");
    let _listener = bench.listen("[::]:8080");
    let to = bench.addresses()[0];
    let pins = Pins::new(bench.scene.bpffs().path());
    bench.datapath.uninstall().expect("uninstalled");
    assert!(!pins.exist());
    dial(&bench.foe, to).expect("no guard");
}
