//! Loading, upgrading and selecting on the running kernel, in a cgroup and a bpf file system of the
//! test's own.

mod dns;
mod headers;

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use abi::limits::Limits;
use abi::{Frontend, FrontendKey, Reason, Write};
use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use model::{
    AddressBlock, Algorithm, Endpoint, Health, LoadBalancing, Node, Protocol, Service, ServiceName,
    ServicePort, Snapshot, Source, Waypoint, WaypointTarget,
};
use plan::{Circumstances, Image, Layout, Planner, Selection, Target, select};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use testkit::{Bpffs, Cgroup, wait_until};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::skeleton::test::KmeshTestSkelBuilder;
use crate::{Config, Datapath, Error, LinkState, Maps, Pins, sys};

const LIMITS: Limits = Limits {
    enrolments_max: 16,
    frontends_max: 512,
    tables_max: 256,
    // Room for 24 Maglev tables of 2 039 slots, old and new side by side.
    slots_max: 131_072,
    backends_max: 1_024,
    sockets_max: 256,
    udp_flows_max: 256,
    affinities_max: 256,
    networks_max: 64,
    event_ring_bytes: 4_096,
    waypoint_sockets_max: 256,
    header_ring_bytes: 4_096,
    map_batch_entries: 8,
    ..Limits::DEFAULT
};

const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// A cgroup and a bpf file system that vanish with the test.
struct Place {
    bpffs: Bpffs,
    cgroup: Cgroup,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Self {
        testkit::require_root();
        let folder = tempfile::tempdir().expect("a folder");
        let bpffs = Bpffs::mount(folder.path().join("bpf"));
        Self { bpffs, cgroup: Cgroup::new(name), _folder: folder }
    }

    fn config(&self, limits: Limits) -> Config {
        let (bpf_fs, cgroup) = (self.bpffs.path().into(), self.cgroup.path().into());
        Config { bpf_fs, cgroup, limits }
    }

    fn load(&self) -> Datapath {
        self.load_with(LIMITS)
    }

    /// A program that another test starts has the lock of a load before until its exec.
    fn load_with(&self, limits: Limits) -> Datapath {
        wait_until("the lock", LOCK_DEADLINE, || match Datapath::load(self.config(limits)) {
            Err(Error::Locked { path }) => Err(format!("{} is locked", path.display())),
            other => Ok(other.expect("the programs load")),
        })
    }
}

/// The program that each link runs, by the link's name.
fn running(place: &Place) -> BTreeMap<String, (u32, u32)> {
    let links = Pins::new(place.bpffs.path()).links();
    let files = links.read_dir().expect("the links folder");
    files
        .map(|file| {
            let path = file.expect("a link").path();
            let link = sys::open_pinned(&path).expect("a pinned link");
            let info = sys::link_info(link.as_fd()).expect("its info");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, (info.id, info.prog_id))
        })
        .collect()
}

fn frontend_write(last: u8) -> Write {
    Write::Frontend {
        key: FrontendKey::port(IpAddr::from([10, 96, 0, last]), 80, abi::PROTOCOL_TCP),
        value: Frontend { table: u32::from(last), action: Frontend::PASS, ..Frontend::default() },
    }
}

#[test]
fn an_upgrade_keeps_the_links_and_the_maps_and_changes_the_programs() {
    let place = Place::new("upgrade");
    let mut first = place.load();
    first.maps().apply(&[frontend_write(1)]).expect("a write");
    first.maps().enrol(7, 1, 0).expect("an enrolment");
    let states = first.attach().expect("attached");
    assert!(states.iter().all(|(_, state)| *state == LinkState::Created), "{states:?}");
    let before = running(&place);
    drop(first);

    let mut second = place.load();
    assert_eq!(running(&place), before, "loading touches nothing that is live");
    assert_eq!(second.maps().contents().expect("contents").frontends.len(), 1);
    assert!(second.maps().enrolled().contains(&7));
    let states = second.attach().expect("attached again");
    assert!(states.iter().all(|(_, state)| *state == LinkState::Updated), "{states:?}");
    for (name, (link, program)) in running(&place) {
        assert_eq!(link, before[&name].0, "{name}: the link is the same");
        assert_ne!(program, before[&name].1, "{name}: the program is new");
    }
}

#[test]
fn a_failure_at_any_step_leaves_the_old_programs_in_force() {
    let place = Place::new("rollback");
    let mut first = place.load();
    let steps: Vec<&str> = first.attach().expect("attached").into_iter().map(|s| s.0).collect();
    drop(first);
    let before = running(&place);
    for failing in steps.into_iter().chain(["commit"]) {
        let mut next = place.load();
        let result = next.attach_stepwise(&mut |step| match step == failing {
            true => Err(io::Error::other("injected")),
            false => Ok(()),
        });
        assert!(matches!(result, Err(Error::Path { .. })), "{failing}: {result:?}");
        assert_eq!(running(&place), before, "after a failure at {failing}");
    }
}

#[test]
fn a_first_attach_that_fails_leaves_no_link() {
    let place = Place::new("first");
    let mut datapath = place.load();
    let result = datapath.attach_stepwise(&mut |step| match step {
        "kmesh_connect4" => Err(io::Error::other("injected")),
        _ => Ok(()),
    });
    assert!(result.is_err());
    assert_eq!(running(&place), BTreeMap::new());
}

#[test]
fn a_cgroup_that_was_replaced_gets_new_links() {
    let mut place = Place::new("cgroup");
    place.load().attach().expect("attached");
    place.cgroup = Cgroup::new("cgroup-2");
    let states = place.load().attach().expect("attached elsewhere");
    assert!(states[1..].iter().all(|(_, state)| *state == LinkState::Recreated), "{states:?}");
}

#[test]
fn only_one_process_may_write() {
    let place = Place::new("lock");
    let _first = place.load();
    let second = Datapath::load(place.config(LIMITS));
    assert!(matches!(second, Err(Error::Locked { .. })));
    assert!(matches!(Pins::new(place.bpffs.path()).remove_all(), Err(Error::Locked { .. })));
}

#[test]
fn a_resized_map_takes_the_pin_only_at_the_commit() {
    let place = Place::new("resize");
    place.load().attach().expect("attached");
    let pinned_size = || {
        let pin = Pins::new(place.bpffs.path()).map("frontends");
        sys::map_info(sys::open_pinned(&pin).expect("a pin").as_fd()).expect("info").max_entries
    };
    let larger = Limits { frontends_max: 1_024, ..LIMITS };
    let mut next = place.load_with(larger);
    assert_eq!(pinned_size(), 512);
    next.attach().expect("attached");
    assert_eq!(pinned_size(), 1_024);
    next.maps().apply(&[frontend_write(1)]).expect("a write");
    drop(next);
    let again = place.load_with(larger);
    assert_eq!(again.maps().contents().expect("contents").frontends.len(), 1);
}

#[test]
fn a_pin_of_another_schema_is_refused_by_name() {
    let place = Place::new("schema");
    let pins = Pins::new(place.bpffs.path());
    pins.create().expect("folders");
    let map = libbpf_rs::MapHandle::create(
        libbpf_rs::MapType::Hash,
        Some("frontends"),
        4,
        4,
        8,
        &libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as u64,
            ..Default::default()
        },
    )
    .expect("a map");
    sys::pin(map.as_fd(), &pins.map("frontends")).expect("pinned");
    let Err(error) = Datapath::load(place.config(LIMITS)) else { panic!("it loaded") };
    let text = error.to_string();
    assert!(text.contains("maps/frontends") && text.contains("uninstall"), "{text}");
}

#[test]
fn uninstall_removes_every_pin_and_detaches() {
    let place = Place::new("uninstall");
    let mut datapath = place.load();
    datapath.attach().expect("attached");
    datapath.uninstall().expect("uninstalled");
    assert!(!Pins::new(place.bpffs.path()).exist());
}

#[test]
fn a_full_map_says_which_entry_did_not_fit() {
    let place = Place::new("full");
    let limits = Limits { frontends_max: 2, ..LIMITS };
    let datapath = Datapath::load(place.config(limits)).expect("the programs load");
    let writes: Vec<_> = (1..=4).map(frontend_write).collect();
    let error = datapath.maps().apply(&writes).expect_err("no room");
    assert!(error.to_string().contains("10.96.0.1:80/tcp"), "{error}");
}

#[test]
fn more_frontends_than_one_batch_are_written_and_removed() {
    let place = Place::new("batches");
    let datapath = place.load();
    let maps = datapath.maps();
    let writes: Vec<_> = (1..=20).map(frontend_write).collect();
    maps.apply(&writes).expect("written");
    assert_eq!(maps.contents().expect("contents").frontends.len(), 20);
    let keys = writes.iter().filter_map(|write| match write {
        Write::Frontend { key, .. } => Some(*key),
        _ => None,
    });
    let removals: Vec<_> = keys.map(|key| Write::RemoveFrontend { key }).collect();
    maps.apply(&removals[9..10]).expect("one of the second batch goes first");
    maps.apply(&removals).expect("the others");
    assert_eq!(maps.contents().expect("contents").frontends, []);
}

#[test]
fn a_large_map_is_read_to_its_end() {
    let place = Place::new("large");
    let limits = Limits { frontends_max: 65_536, map_batch_entries: 4_096, ..LIMITS };
    let datapath = Datapath::load(place.config(limits)).expect("the programs load");
    let maps = datapath.maps();
    let write = |index: u16| {
        let [high, low] = index.to_be_bytes();
        let key = FrontendKey::port(IpAddr::from([10, 96, high, low]), 80, abi::PROTOCOL_TCP);
        Write::Frontend {
            key,
            value: Frontend { table: 0, action: Frontend::PASS, ..Frontend::default() },
        }
    };
    let writes: Vec<_> = (0..60_000).map(write).collect();
    maps.apply(&writes).expect("written");
    assert_eq!(maps.contents().expect("contents").frontends.len(), 60_000);
}

#[test]
fn an_index_outside_a_map_is_refused_before_anything_is_written() {
    let place = Place::new("index");
    let datapath = place.load();
    let write = Write::Table {
        index: LIMITS.tables_max,
        extent: Default::default(),
        picking: Default::default(),
    };
    assert!(matches!(datapath.maps().apply(&[write]), Err(Error::Index { .. })));
}

/// The context of `bpf/tests/select.bpf.c` `test_select`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SelectCall {
    key: FrontendKey,
    client_hash: u32,
    netns_cookie: u64,
    first: u32,
    second: u32,
    verdict: u32,
    reason: u32,
    backend: u32,
    address: abi::IpAddress,
    port: zerocopy::byteorder::big_endian::U16,
    by_waypoint: u16,
    client_flags: u32,
    reserved: u32,
}

/// What comes before the question in the packet.
const ETHERNET_HEADER_BYTES: usize = 14;

/// Who asks.
#[derive(Clone, Copy, Default)]
struct Client {
    hash: u32,
    netns_cookie: u64,
    is_waypoint: bool,
}

/// Asks the programs' own function, on the maps of `maps`.
struct Selector<'obj> {
    skel: crate::skeleton::test::KmeshTestSkel<'obj>,
}

impl<'obj> Selector<'obj> {
    fn new(maps: &Maps, storage: &'obj mut MaybeUninit<libbpf_rs::OpenObject>) -> Self {
        let mut open = KmeshTestSkelBuilder::default().open(storage).expect("the object opens");
        open.maps.frontends.reuse_fd(maps.frontends.as_fd()).expect("frontends");
        open.maps.tables.reuse_fd(maps.tables_map.as_fd()).expect("tables");
        open.maps.slots.reuse_fd(maps.slots_map.as_fd()).expect("slots");
        open.maps.backends.reuse_fd(maps.backends_map.as_fd()).expect("backends");
        open.maps.networks.reuse_fd(maps.networks.as_fd()).expect("networks");
        open.maps.settings.reuse_fd(maps.settings_map.as_fd()).expect("settings");
        open.maps.cursors.reuse_fd(maps.cursors.as_fd()).expect("cursors");
        open.maps.loads.reuse_fd(maps.loads.as_fd()).expect("loads");
        open.maps.affinities.reuse_fd(maps.affinities.as_fd()).expect("affinities");
        Self { skel: open.load().expect("the object loads") }
    }

    fn select(&self, key: FrontendKey, client: Client, first: u32, second: u32) -> Selection {
        let (client_hash, netns_cookie) = (client.hash, client.netns_cookie);
        let client_flags = if client.is_waypoint { abi::Enrolment::WAYPOINT } else { 0 };
        let call = SelectCall {
            key,
            client_hash,
            netns_cookie,
            first,
            second,
            client_flags,
            ..SelectCall::default()
        };
        let mut packet = [0u8; ETHERNET_HEADER_BYTES].to_vec();
        packet.extend_from_slice(call.as_bytes());
        let mut answer = packet.clone();
        let input = ProgramInput {
            data_in: Some(&packet),
            data_out: Some(&mut answer),
            ..ProgramInput::default()
        };
        self.skel.progs.test_select.test_run(input).expect("the program runs");
        let call = SelectCall::read_from_bytes(&answer[ETHERNET_HEADER_BYTES..]).expect("a call");
        let reason = Reason::from_number(call.reason as u16);
        let target = Target { address: call.address, port: call.port.get() };
        match call.verdict {
            1 if call.by_waypoint == 1 => Selection::ByWaypoint(target),
            0 => Selection::Passed(reason.expect("a reason")),
            1 => Selection::Balanced(target),
            _ => Selection::Refused(reason.expect("a reason")),
        }
    }
}

fn vip(last: u8) -> IpAddr {
    IpAddr::from([10, 96, 0, last])
}

/// Services with random ports, endpoints, weights and health; `None` takes no part.
fn services() -> impl Strategy<Value = Vec<Service>> {
    let endpoints = prop::collection::vec((1u8..250, any::<bool>(), 0u32..50), 0..12);
    let ports = prop::collection::btree_set(80u16..84, 0..4);
    let parts = (ports, endpoints, any::<bool>(), any::<bool>(), 0u8..9);
    prop::collection::vec(parts, 0..6).prop_map(|services| {
        let build = |(number, (ports, endpoints, entry, hashed, waypoint)): (
            usize,
            (_, Vec<_>, bool, bool, u8),
        )| {
            let mut service = service(number as u8, ports, endpoints, entry);
            if hashed {
                service.load_balancing.algorithm = Algorithm::ConsistentHash;
            }
            service.waypoints = match waypoint {
                0..3 => [waypoint_of(waypoint, 1)].into(),
                3 => [waypoint_of(0, 1), waypoint_of(1, 3)].into(),
                _ => Default::default(),
            };
            if entry {
                let prefix_bits = 16 + 2 * number as u8;
                service.networks =
                    vec![AddressBlock { address: [10, 50, 0, 0].into(), prefix_bits }];
            }
            service
        };
        services.into_iter().enumerate().map(build).collect()
    })
}

fn waypoint_of(number: u8, weight: u32) -> Waypoint {
    let target = WaypointTarget::Service(ServiceName::new("ns", format!("s{number}")));
    Waypoint { target, hbone_port: 15_008, weight }
}

fn service(
    number: u8,
    ports: std::collections::BTreeSet<u16>,
    endpoints: Vec<(u8, bool, u32)>,
    entry: bool,
) -> Service {
    let port = |port: &u16| ServicePort {
        name: port.to_string(),
        port: *port,
        protocol: Protocol::Tcp,
        app_protocol: String::new(),
    };
    let endpoint = |(last, healthy, weight): (u8, bool, u32)| Endpoint {
        workload: None,
        address: IpAddr::from([10, 0, number, last]),
        target_ports: Arc::new(ports.iter().map(|p| ((*p, Protocol::Tcp), 8_000 + p)).collect()),
        health: if healthy { Health::Healthy } else { Health::Unhealthy },
        weight,
        topology: Arc::default(),
    };
    Service {
        name: ServiceName::new("ns", format!("s{number}")),
        object_name: format!("s{number}"),
        source: if entry { Source::ServiceEntry } else { Source::Kubernetes },
        addresses: vec![vip(number)],
        auto_addresses: false,
        networks: Vec::new(),
        external_addresses: Vec::new(),
        node_ports: Vec::new(),
        external_local: false,
        ports: ports.iter().map(port).collect(),
        load_balancing: LoadBalancing::default(),
        endpoints: endpoints.into_iter().map(endpoint).collect(),
        unresolved: Vec::new(),
        waypoints: Default::default(),
    }
}

fn image(services: Vec<Service>) -> Image {
    let services = services.into_iter().map(|s| (s.name.clone(), Arc::new(s))).collect();
    Planner::new(Node::default(), 64).image(&Snapshot { services, ..Snapshot::default() })
}

#[test]
fn the_kernel_chooses_exactly_as_plan_says() {
    let place = Place::new("select");
    let datapath = place.load();
    let mut storage = MaybeUninit::uninit();
    let selector = Selector::new(datapath.maps(), &mut storage);
    let mut layout = Layout::new(LIMITS);
    let mut runner = TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    let states = (services(), prop::collection::vec(any::<u32>(), 6));
    let layout = std::cell::RefCell::new(&mut layout);
    runner
        .run(&states, |(services, randoms)| {
            let image = image(services);
            let mut layout = layout.borrow_mut();
            let change = layout.change_to(&image);
            prop_assert!(change.problems.is_empty());
            datapath.maps().apply(&change.writes).expect("the writes apply");
            crate::grace_period().expect("a grace period");
            layout.release();
            let in_blocks = [[10, 50, 0, 1], [10, 50, 3, 1], [10, 50, 200, 1]].map(IpAddr::from);
            for address in (0..7).map(vip).chain(in_blocks) {
                for port in 80..85 {
                    let key = FrontendKey::port(address, port, abi::PROTOCOL_TCP);
                    for number in randoms.iter().copied().chain([0, u32::MAX]) {
                        let client = Client {
                            hash: number.rotate_left(7),
                            netns_cookie: 1,
                            is_waypoint: number % 3 == 0,
                        };
                        let circumstances = Circumstances {
                            number,
                            client_hash: client.hash,
                            is_waypoint: client.is_waypoint,
                            ..Circumstances::default()
                        };
                        let expected = select(&image, &key, &circumstances);
                        prop_assert_eq!(selector.select(key, client, number, 0), expected);
                    }
                }
            }
            Ok(())
        })
        .expect("C and Rust agree");
    let read_back = Layout::recover(LIMITS, &datapath.maps().contents().expect("contents"));
    assert_eq!(read_back.fill()[3].1, layout.borrow().fill()[3].1, "the maps read back whole");
}

/// One service of `count` endpoints at 10.96.0.1:80, picked from as `balancing` says.
struct OneService<'obj> {
    selector: Selector<'obj>,
    datapath: Datapath,
    layout: Layout,
}

impl<'obj> OneService<'obj> {
    fn new(place: &Place, storage: &'obj mut MaybeUninit<libbpf_rs::OpenObject>) -> Self {
        let datapath = place.load();
        let selector = Selector::new(datapath.maps(), storage);
        Self { selector, datapath, layout: Layout::new(LIMITS) }
    }

    fn set(&mut self, balancing: &LoadBalancing, count: u8) {
        let endpoints = (1..=count).map(|last| (last, true, 1)).collect();
        let mut one = service(1, [80].into(), endpoints, false);
        one.load_balancing = balancing.clone();
        let change = self.layout.change_to(&image(vec![one]));
        self.datapath.maps().apply(&change.writes).expect("the writes apply");
    }

    /// Last byte of the endpoint's address.
    fn dial(&self, netns_cookie: u64, first: u32, second: u32) -> u8 {
        let key = FrontendKey::port(vip(1), 80, abi::PROTOCOL_TCP);
        match self.selector.select(key, Client { netns_cookie, ..Client::default() }, first, second)
        {
            Selection::Balanced(target) => target.address.word[15],
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn round_robin_goes_around() {
    let place = Place::new("cursor");
    let mut storage = MaybeUninit::uninit();
    let mut one = OneService::new(&place, &mut storage);
    one.set(&LoadBalancing { algorithm: Algorithm::RoundRobin, ..Default::default() }, 3);
    let dialled: Vec<u8> = (0..7).map(|_| one.dial(1, 0, 0)).collect();
    assert_eq!(dialled, [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn a_session_stays_for_each_client_and_ends_by_disuse() {
    let place = Place::new("affinity");
    let mut storage = MaybeUninit::uninit();
    let mut one = OneService::new(&place, &mut storage);
    one.set(&LoadBalancing { affinity_seconds: Some(3_600), ..Default::default() }, 10);
    let first = one.dial(1, 0, 0);
    let others: Vec<u8> = (0..5).map(|n| one.dial(1, n << 29, 0)).collect();
    assert_eq!(others, [first; 5], "whatever is drawn, the first draw counts");
    assert_ne!(one.dial(2, u32::MAX, 0), first, "another client draws for itself");
    // A timeout of zero seconds has always passed.
    one.set(&LoadBalancing { affinity_seconds: Some(0), ..Default::default() }, 10);
    assert_ne!(one.dial(1, u32::MAX, 0), first);
}

#[test]
fn of_two_choices_the_less_loaded_backend_wins() {
    let place = Place::new("two-choices");
    let mut storage = MaybeUninit::uninit();
    let mut one = OneService::new(&place, &mut storage);
    one.set(&LoadBalancing { algorithm: Algorithm::LeastRequest, ..Default::default() }, 2);
    assert_eq!(one.dial(1, 0, u32::MAX), 1, "equal loads: the first choice");
    let load = |last: u8, connections: u32| {
        let maps = one.datapath.maps();
        let backends = maps.contents().expect("contents").backends;
        let (index, backend) = backends
            .into_iter()
            .find(|(_, backend)| backend.address.word[15] == last)
            .expect("the backend");
        let value = abi::BackendLoad { incarnation: backend.incarnation, connections };
        let flags = libbpf_rs::MapFlags::ANY;
        libbpf_rs::MapCore::update(&maps.loads, index.as_bytes(), value.as_bytes(), flags)
            .expect("a load");
    };
    load(1, 5);
    assert_eq!(one.dial(1, 0, u32::MAX), 2);
    load(2, 6);
    assert_eq!(one.dial(1, 0, u32::MAX), 1);
    assert_eq!(one.dial(1, u32::MAX, 0), 1);
}

#[test]
fn registry_only_refuses_what_nothing_names() {
    let place = Place::new("registry");
    let mut storage = MaybeUninit::uninit();
    let one = OneService::new(&place, &mut storage);
    let dial = |address: [u8; 4]| {
        let key = FrontendKey::port(address.into(), 80, abi::PROTOCOL_TCP);
        one.selector.select(key, Client::default(), 0, 0)
    };
    let unknown = Selection::Passed(Reason::UnknownDestination);
    assert_eq!(dial([192, 0, 2, 1]), unknown);
    one.datapath.maps().set_flags(abi::Settings::REGISTRY_ONLY).expect("flags");
    assert_eq!(dial([192, 0, 2, 1]), Selection::Refused(Reason::NotInRegistry));
    for local in [[127, 0, 0, 1], [169, 254, 1, 1], [224, 0, 0, 1]] {
        assert_eq!(dial(local), unknown, "{local:?}");
    }
}
