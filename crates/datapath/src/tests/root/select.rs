//! The programs' own choice of a backend against `plan`, on the running kernel.

use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use abi::{FrontendKey, Reason};
use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use model::{
    AddressBlock, Algorithm, Endpoint, Health, LoadBalancing, Node, Protocol, Service, ServiceName,
    ServicePort, Snapshot, Source, Waypoint, WaypointTarget,
};
use plan::{Circumstances, Image, Layout, Planner, Selection, Target, select};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ETHERNET_HEADER_BYTES, LIMITS, Place};
use crate::skeleton::test::KmeshTestSkelBuilder;
use crate::{Datapath, Maps};

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

pub(super) fn service(
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

pub(super) fn image(services: Vec<Service>) -> Image {
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
    one.datapath.maps().set_flag(abi::Settings::REGISTRY_ONLY, true).expect("flags");
    assert_eq!(dial([192, 0, 2, 1]), Selection::Refused(Reason::NotInRegistry));
    for local in [[127, 0, 0, 1], [169, 254, 1, 1], [224, 0, 0, 1]] {
        assert_eq!(dial(local), unknown, "{local:?}");
    }
}
