//! A simulated kernel applies the writes one by one; after each, everything that a program could
//! reach must be whole.

mod kernel;
mod waypoints;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use abi::limits::Limits;
use abi::{
    Backend, Contents, Extent, Frontend, FrontendKey, Network, NetworkKey, Reason, Slot,
    SlotSource, SlotTable, Write,
};
use model::{
    AddressBlock, Algorithm, Endpoint, Health, LoadBalancing, Node, NodePort, OutboundPolicy,
    Protocol, Service, ServiceName, ServicePort, Snapshot, Source,
};
use proptest::prelude::*;

use kernel::Kernel;

use crate::{Circumstances, Image, Layout, Planner, Selection, select};

/// Small maps, so that random changes meet the limits of reuse.
const LIMITS: Limits = Limits {
    enrolments_max: 4,
    frontends_max: 64,
    tables_max: 32,
    slots_max: 1_024,
    backends_max: 64,
    sockets_max: 4,
    udp_flows_max: 4,
    affinities_max: 4,
    networks_max: 8,
    resolvers_max: 4,
    event_ring_bytes: 4096,
    waypoint_sockets_max: 4,
    header_ring_bytes: 4096,
    map_batch_entries: 8,
    ..Limits::DEFAULT
};

fn endpoint(last: u8, target: u16, port: u16, healthy: bool) -> Endpoint {
    Endpoint {
        workload: None,
        address: IpAddr::from([10, 0, 0, last]),
        target_ports: Arc::new([((port, Protocol::Tcp), target)].into()),
        health: if healthy { Health::Healthy } else { Health::Unhealthy },
        weight: 1,
        topology: Arc::default(),
    }
}

fn service(name: &str, vips: &[IpAddr], ports: &[u16], endpoints: Vec<Endpoint>) -> Service {
    Service {
        name: ServiceName::new("ns", name),
        object_name: name.into(),
        source: Source::Kubernetes,
        addresses: vips.to_vec(),
        auto_addresses: false,
        networks: Vec::new(),
        external_addresses: Vec::new(),
        node_ports: Vec::new(),
        external_local: false,
        ports: ports
            .iter()
            .map(|port| ServicePort {
                name: port.to_string(),
                port: *port,
                protocol: Protocol::Tcp,
                app_protocol: String::new(),
            })
            .collect(),
        load_balancing: LoadBalancing::default(),
        endpoints,
        unresolved: Vec::new(),
        waypoints: Default::default(),
    }
}

fn snapshot(services: Vec<Service>) -> Snapshot {
    let services = services.into_iter().map(|s| (s.name.clone(), Arc::new(s))).collect();
    Snapshot { services, ..Snapshot::default() }
}

fn image(services: Vec<Service>) -> Image {
    Planner::new(Node::default(), 64).image(&snapshot(services))
}

/// What `plan` says, with a random number.
fn chosen(image: &Image, key: &FrontendKey, number: u32) -> Selection {
    select(image, key, &Circumstances { number, ..Circumstances::default() })
}

fn vip(last: u8) -> IpAddr {
    IpAddr::from([10, 96, 0, last])
}

fn tcp(address: IpAddr, port: u16) -> FrontendKey {
    FrontendKey::port(address, port, abi::PROTOCOL_TCP)
}

fn change(layout: &mut Layout, kernel: &mut Kernel, image: &Image) -> Vec<crate::Problem> {
    let change = layout.change_to(image);
    change.writes.iter().for_each(|write| kernel.apply(write));
    layout.release();
    change.problems
}

#[test]
fn a_service_refuses_unknown_ports_and_missing_endpoints() {
    let web = service("web", &[vip(1)], &[80, 81], vec![endpoint(1, 8080, 80, true)]);
    let image = image(vec![web]);
    let at = |port| chosen(&image, &tcp(vip(1), port), 0);
    assert!(matches!(at(80), Selection::Balanced(target) if target.port == 8080));
    assert_eq!(at(81), Selection::Refused(Reason::NoEndpoint));
    assert_eq!(at(82), Selection::Refused(Reason::NoServicePort));
    let elsewhere = chosen(&image, &tcp(vip(2), 80), 0);
    assert_eq!(elsewhere, Selection::Passed(Reason::UnknownDestination));
}

#[test]
fn a_service_entry_leaves_the_other_ports_of_addresses_it_names_alone_and_passthrough_all() {
    let mut entry = service("db", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)]);
    entry.source = Source::ServiceEntry;
    let unknown = Selection::Passed(Reason::UnknownDestination);
    let mut made_up = entry.clone();
    made_up.auto_addresses = true;
    let refused = Selection::Refused(Reason::NoServicePort);
    assert_eq!(chosen(&image(vec![made_up]), &tcp(vip(1), 81), 0), refused);
    assert_eq!(chosen(&image(vec![entry.clone()]), &tcp(vip(1), 81), 0), unknown);
    entry.load_balancing.algorithm = Algorithm::Passthrough;
    let passed = Selection::Passed(Reason::ServicePassthrough);
    assert_eq!(chosen(&image(vec![entry]), &tcp(vip(1), 80), 0), passed);
}

#[test]
fn families_do_not_mix() {
    let v6: IpAddr = "fd00::1".parse().expect("an address");
    let mut six = endpoint(1, 80, 80, true);
    six.address = "fd77::2".parse().expect("an address");
    let dual = service("dual", &[vip(1), v6], &[80], vec![endpoint(1, 80, 80, true), six]);
    let image = image(vec![dual]);
    for (address, v4) in [(vip(1), true), (v6, false)] {
        for random in [0, u32::MAX / 2, u32::MAX] {
            let selection = chosen(&image, &tcp(address, 80), random);
            assert!(matches!(selection, Selection::Balanced(t) if t.address.is_v4() == v4));
        }
    }
}

#[test]
fn an_endpoint_change_is_one_flip_and_touches_no_frontend() {
    let with = |n: u8| {
        let endpoints = (1..=n).map(|last| endpoint(last, 80, 80, true)).collect();
        image(vec![service("web", &[vip(1)], &[80], endpoints)])
    };
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &with(2));
    let writes = layout.change_to(&with(3)).writes;
    assert!(
        matches!(
            writes.as_slice(),
            [Write::Backend { .. }, Write::Slots { .. }, Write::Table { .. }]
        ),
        "{writes:?}"
    );
}

#[test]
fn a_change_of_one_service_leaves_the_images_of_all_others_alone() {
    let mut planner = Planner::new(Node::default(), 64);
    let name = |number: u8| ServiceName::new("ns", format!("s{number}"));
    let one = |number: u8, to| {
        service(&format!("s{number}"), &[vip(number)], &[80], vec![endpoint(to, 80, 80, true)])
    };
    let mut snapshot = snapshot((1..100).map(|number| one(number, number)).collect());
    let before = planner.image(&snapshot);
    snapshot.services.insert(name(50), Arc::new(one(50, 200)));
    let after = planner.image(&snapshot);
    let changed: Vec<_> = model::diff(&before.services, &after.services).map(|it| it.key).collect();
    assert_eq!(changed, [&name(50)]);
    let is_same = |n: u8| Arc::ptr_eq(&before.services[&name(n)], &after.services[&name(n)]);
    assert!((1..100).all(|number| is_same(number) == (number != 50)));
}

#[test]
fn a_restart_writes_nothing_new_and_keeps_every_index() {
    let build = || {
        image(vec![
            service("a", &[vip(1)], &[80, 81], vec![endpoint(1, 80, 80, true)]),
            service("b", &[vip(2), vip(3)], &[80], vec![endpoint(2, 80, 80, true)]),
        ])
    };
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &build());
    let before = kernel.contents();
    let mut again = Layout::recover(LIMITS, &before);
    let writes = again.change_to(&build()).writes;
    assert!(writes.iter().all(|write| matches!(write, Write::Table { .. })), "{writes:?}");
    writes.iter().for_each(|write| kernel.apply(write));
    assert_eq!(kernel.contents(), before);
}

#[test]
fn after_a_restart_what_nobody_claims_goes() {
    let two = image(vec![
        service("a", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)]),
        service("b", &[vip(2)], &[80], vec![endpoint(2, 80, 80, true)]),
    ]);
    let one = image(vec![service("a", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)])]);
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &two);
    let mut again = Layout::recover(LIMITS, &kernel.contents());
    change(&mut again, &mut kernel, &one);
    assert!(!kernel.frontends.contains_key(&tcp(vip(2), 80)));
    assert_eq!(again.fill()[3], ("backends", 1));
}

#[test]
fn damaged_maps_are_written_anew() {
    let good = image(vec![service("a", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)])]);
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &good);
    let mut contents = kernel.contents();
    contents.tables[0].1.extent = Extent { first: 250, count: 40 }.into();
    contents.slots.clear();
    let mut again = Layout::recover(LIMITS, &contents);
    let writes = again.change_to(&good).writes;
    assert!(writes.iter().any(|write| matches!(write, Write::Slots { .. })), "{writes:?}");
}

#[test]
fn an_address_that_moves_between_services_is_never_unknown() {
    let a = |vips: &[IpAddr]| service("a", vips, &[80], vec![endpoint(1, 80, 80, true)]);
    let b = |vips: &[IpAddr]| service("b", vips, &[80], vec![endpoint(2, 80, 80, true)]);
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &image(vec![a(&[vip(1), vip(2)]), b(&[vip(3)])]));
    let moved = image(vec![a(&[vip(1)]), b(&[vip(3), vip(2)])]);
    for write in layout.change_to(&moved).writes {
        kernel.apply(&write);
        let selection = kernel.select(&tcp(vip(2), 80), 0);
        assert!(matches!(selection, Selection::Balanced(_)), "after {write:?}: {selection:?}");
    }
    assert_eq!(layout.owner(&tcp(vip(2), 80)), Some(&ServiceName::new("ns", "b")));
}

#[test]
fn a_limit_names_the_service_keeps_its_last_state_and_spares_the_rest() {
    let many = |n: u8| (1..=n).map(|last| endpoint(last, 80, 80, true)).collect::<Vec<_>>();
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    let small = service("a", &[vip(1)], &[80], many(2));
    assert!(change(&mut layout, &mut kernel, &image(vec![small])).is_empty());
    let services =
        vec![service("a", &[vip(1)], &[80], many(100)), service("b", &[vip(2)], &[80], many(3))];
    let problems = change(&mut layout, &mut kernel, &image(services));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].service, ServiceName::new("ns", "a"));
    assert!(problems[0].message.contains("backends_max is 64"), "{problems:?}");
    for key in [tcp(vip(1), 80), tcp(vip(2), 80)] {
        assert!(matches!(kernel.select(&key, 0), Selection::Balanced(_)));
    }
}

#[test]
fn two_services_never_share_a_frontend() {
    let both = image(vec![
        service("a", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)]),
        service("b", &[vip(1)], &[80], vec![endpoint(2, 80, 80, true)]),
    ]);
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    let problems = change(&mut layout, &mut kernel, &both);
    assert!(!problems.is_empty());
    assert_eq!(layout.owner(&tcp(vip(1), 80)), Some(&ServiceName::new("ns", "a")));
    // When the first goes, the second gets its place.
    let b = image(vec![service("b", &[vip(1)], &[80], vec![endpoint(2, 80, 80, true)])]);
    assert!(change(&mut layout, &mut kernel, &b).is_empty());
    assert_eq!(layout.owner(&tcp(vip(1), 80)), Some(&ServiceName::new("ns", "b")));
}

#[test]
fn a_block_answers_for_its_addresses_and_the_smallest_one_counts() {
    let block =
        |last: u8, prefix_bits| AddressBlock { address: [10, 50, 0, last].into(), prefix_bits };
    let entry = |name: &str, block, to: u8| {
        let mut entry = service(name, &[], &[443], vec![endpoint(to, 443, 443, true)]);
        entry.source = Source::ServiceEntry;
        entry.networks = vec![block];
        entry
    };
    let wide = entry("wide", block(0, 16), 1);
    let narrow = entry("narrow", block(128, 25), 2);
    let both = image(vec![wide.clone(), narrow]);
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &both);
    let to = |selection| match selection {
        Selection::Balanced(target) => target.address.word[15],
        _ => 0,
    };
    for (last, port, expected) in [(5, 443, 1), (200, 443, 2), (200, 80, 0)] {
        let key = tcp([10, 50, 0, last].into(), port);
        assert_eq!(to(chosen(&both, &key, 0)), expected, "{key}");
        assert_eq!(to(kernel.select(&key, 0)), expected, "{key}");
    }
    let key = tcp([10, 50, 0, 200].into(), 443);
    change(&mut layout, &mut kernel, &image(vec![wide]));
    assert_eq!(to(kernel.select(&key, 0)), 1, "the wider block takes over");
    change(&mut layout, &mut kernel, &Image::default());
    assert!(kernel.networks.is_empty() && kernel.frontends.is_empty());
}

#[test]
fn node_ports_and_external_addresses_lead_inside_and_local_node_ports_stay_on_the_node() {
    let mut web = service(
        "web",
        &[vip(1)],
        &[80],
        vec![endpoint(1, 80, 80, true), endpoint(2, 80, 80, true)],
    );
    Arc::make_mut(&mut web.endpoints[1].topology).node = "here".into();
    web.node_ports = vec![NodePort { node_port: 30080, port: 80, protocol: Protocol::Tcp }];
    web.external_addresses = vec![[203, 0, 113, 1].into()];
    let node =
        Node { name: "here".into(), addresses: vec![[192, 0, 2, 1].into()], ..Node::default() };
    let mut planner = Planner::new(node, 64);
    let places = [tcp([192, 0, 2, 1].into(), 30080), tcp([203, 0, 113, 1].into(), 80)];
    let to = |image: &Image, key: &FrontendKey, number| match chosen(image, key, number) {
        Selection::Balanced(target) => target.address.word[15],
        other => panic!("{other:?}"),
    };
    let image = planner.image(&snapshot(vec![web.clone()]));
    for key in &places {
        assert_eq!([to(&image, key, 0), to(&image, key, u32::MAX)], [1, 2], "{key}");
    }
    web.external_local = true;
    let image = planner.image(&snapshot(vec![web]));
    assert_eq!([to(&image, &places[0], 0), to(&image, &places[0], u32::MAX)], [2, 2]);
    assert_eq!(to(&image, &places[1], 0), 1, "who dials from here is inside the cluster");
    assert_eq!(to(&image, &tcp(vip(1), 80), 0), 1, "inside the cluster nothing changes");
    // Other ports of the node and of the external address are not ours.
    let other = chosen(&image, &tcp([192, 0, 2, 1].into(), 22), 0);
    assert_eq!(other, Selection::Passed(Reason::UnknownDestination));
}

#[test]
fn registry_only_knows_services_workloads_and_blocks_and_nothing_else() {
    let web = service("web", &[vip(1)], &[80], vec![endpoint(1, 8080, 80, true)]);
    let node = Node { outbound_policy: OutboundPolicy::RegistryOnly, ..Node::default() };
    let image = Planner::new(node, 64).image(&snapshot(vec![web]));
    let at = |address: [u8; 4]| {
        let circumstances = Circumstances {
            outbound_policy: OutboundPolicy::RegistryOnly,
            ..Circumstances::default()
        };
        select(&image, &tcp(address.into(), 80), &circumstances)
    };
    assert!(matches!(at([10, 96, 0, 1]), Selection::Balanced(_)));
    assert_eq!(at([10, 0, 0, 1]), Selection::Passed(Reason::WorkloadAddress));
    assert_eq!(at([127, 0, 0, 1]), Selection::Passed(Reason::UnknownDestination));
    assert_eq!(at([192, 0, 2, 9]), Selection::Refused(Reason::NotInRegistry));
}

#[test]
fn the_way_of_picking_reaches_the_table_and_a_change_of_it_is_one_write() {
    let web = |algorithm, affinity_seconds| {
        let mut web = service("web", &[vip(1)], &[80], vec![endpoint(1, 80, 80, true)]);
        web.load_balancing =
            LoadBalancing { algorithm, affinity_seconds, ..LoadBalancing::default() };
        image(vec![web])
    };
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    for (algorithm, affinity, source, two, seconds) in [
        (Algorithm::WeightedRandom, None, SlotSource::Random, 0, 0),
        (Algorithm::RoundRobin, None, SlotSource::Cursor, 0, 0),
        (Algorithm::LeastRequest, None, SlotSource::Random, 1, 0),
        (Algorithm::ConsistentHash, None, SlotSource::Client, 0, 0),
        (Algorithm::RoundRobin, Some(30), SlotSource::Affinity, 0, 30),
    ] {
        change(&mut layout, &mut kernel, &web(algorithm, affinity));
        let table = kernel.tables.values().next().expect("a table");
        let picking = (table.source, table.two_choices, table.affinity_seconds);
        assert_eq!(picking, (source as u8, two, seconds), "{algorithm:?}");
    }
}

/// Four services with random addresses, ports and endpoints.
fn random_services() -> impl Strategy<Value = Vec<Service>> {
    let one = (
        prop::collection::btree_set(1u8..9, 0..3),
        prop::collection::btree_set(80u16..84, 0..3),
        prop::collection::vec((1u8..30, any::<bool>()), 0..8),
        waypoints::random(),
    );
    prop::collection::vec(one, 4).prop_map(|services| {
        let mut taken = BTreeSet::new();
        services
            .into_iter()
            .enumerate()
            .map(|(number, (vips, ports, endpoints, waypoints))| {
                let vips: Vec<_> =
                    vips.into_iter().filter(|last| taken.insert(*last)).map(vip).collect();
                let ports: Vec<_> = ports.into_iter().collect();
                let endpoints = endpoints
                    .into_iter()
                    .map(|(last, healthy)| {
                        let port = ports.first().copied().unwrap_or(80);
                        endpoint(last, 8000 + u16::from(last), port, healthy)
                    })
                    .collect();
                let service = service(&format!("s{number}"), &vips, &ports, endpoints);
                Service { waypoints, ..service }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn every_write_leaves_the_maps_whole_and_the_last_one_equal_to_the_image(
        states in prop::collection::vec(random_services(), 1..8),
        randoms in prop::collection::vec(any::<u32>(), 8),
        restart_at in 0usize..8,
    ) {
        let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
        let mut planner = Planner::new(Node::default(), 64);
        for (step, services) in states.into_iter().enumerate() {
            if step == restart_at {
                layout = Layout::recover(LIMITS, &kernel.contents());
            }
            let image = planner.image(&snapshot(services));
            let problems = change(&mut layout, &mut kernel, &image);
            prop_assert!(problems.is_empty(), "{problems:?}");
            for address in (1..9).map(vip) {
                for port in 80..85 {
                    for random in &randoms {
                        let key = tcp(address, port);
                        prop_assert_eq!(kernel.select(&key, *random), chosen(&image, &key, *random));
                    }
                }
            }
        }
        // Nothing leaks: an empty mesh gives everything back.
        change(&mut layout, &mut kernel, &Image::default());
        prop_assert!(kernel.frontends.is_empty());
        prop_assert_eq!(layout.fill().map(|(_, used)| used), [0; 5]);
    }

    #[test]
    fn a_planner_says_the_same_whatever_it_planned_before(
        states in prop::collection::vec(random_services(), 1..6),
        moves in prop::collection::vec(any::<bool>(), 6),
    ) {
        let node = |registry_only, name: &str| Node {
            name: name.into(),
            outbound_policy: match registry_only {
                true => OutboundPolicy::RegistryOnly,
                false => OutboundPolicy::AllowAny,
            },
            ..Node::default()
        };
        let mut planner = Planner::new(node(true, ""), 64);
        for (services, moves) in states.into_iter().zip(moves) {
            let node = if moves { node(false, "elsewhere") } else { node(true, "") };
            planner.set_node(node.clone());
            let snapshot = snapshot(services);
            prop_assert_eq!(planner.image(&snapshot), Planner::new(node, 64).image(&snapshot));
        }
    }

    #[test]
    fn the_same_snapshot_gives_the_same_writes(services in random_services()) {
        let mut shuffled = services.clone();
        shuffled.reverse();
        let writes = |services| Layout::new(LIMITS).change_to(&image(services)).writes;
        prop_assert_eq!(writes(services), writes(shuffled));
    }
}
