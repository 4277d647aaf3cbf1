//! Waypoints: who goes by which, and what a change of one costs.

use model::{Topology, Waypoint, WaypointTarget, Waypoints, Workload, WorkloadName};

use super::*;

/// Where waypoints are dialled.
const PORT: u16 = abi::waypoint::PORT;

fn by_name(name: &str, weight: u32) -> Waypoint {
    let target = WaypointTarget::Service(ServiceName::new("ns", name));
    Waypoint { target, hbone_port: 15_008, weight }
}

fn by_address(address: IpAddr) -> Waypoint {
    Waypoint { target: WaypointTarget::Address(address), hbone_port: 15_008, weight: 1 }
}

fn with(service: Service, waypoints: impl Into<Waypoints>) -> Service {
    Service { waypoints: waypoints.into(), ..service }
}

/// Waypoints among the services of [`random_services`]: known, unknown, several, by address.
pub(super) fn random() -> impl Strategy<Value = Waypoints> {
    prop_oneof![
        3 => Just(Waypoints::default()),
        2 => Just([by_name("s0", 1)].into()),
        1 => Just([by_name("s1", 1), by_name("s2", 3)].into()),
        1 => Just([by_address(vip(1))].into()),
        1 => Just([by_name("nobody", 1)].into()),
    ]
}

/// A service with a waypoint, and the waypoint with so many endpoints.
fn mesh(endpoints: u8) -> Vec<Service> {
    let waypoint = (1..=endpoints).map(|last| endpoint(100 + last, 15_008, 15_008, true));
    let web = service("web", &[vip(1)], &[80], vec![endpoint(1, 8080, 80, true)]);
    vec![
        with(web, [by_name("waypoint", 1)]),
        service("waypoint", &[vip(9)], &[15_008], waypoint.collect()),
    ]
}

fn target(selection: Selection) -> (IpAddr, u16) {
    match selection {
        Selection::ByWaypoint(target) => (target.address.ip(), target.port),
        other => panic!("{other:?} goes by no waypoint"),
    }
}

#[test]
fn connections_go_to_the_endpoints_of_the_waypoint_at_its_own_port() {
    let image = image(mesh(2));
    let at = |number| target(chosen(&image, &tcp(vip(1), 80), number));
    assert_eq!(at(0), ([10, 0, 0, 101].into(), PORT));
    assert_eq!(at(u32::MAX), ([10, 0, 0, 102].into(), PORT));
    let unknown_port = chosen(&image, &tcp(vip(1), 81), 0);
    assert_eq!(unknown_port, Selection::Refused(Reason::NoServicePort));
}

#[test]
fn a_target_port_that_the_service_names_wins() {
    let mut services = mesh(1);
    let mut odd = endpoint(101, 9_999, PORT, true);
    odd.address = [10, 0, 0, 101].into();
    services[1].endpoints = vec![odd];
    let selection = chosen(&image(services), &tcp(vip(1), 80), 0);
    assert_eq!(target(selection), ([10, 0, 0, 101].into(), 9_999));
}

#[test]
fn a_waypoint_itself_goes_to_the_endpoints() {
    let circumstances = Circumstances { is_waypoint: true, ..Circumstances::default() };
    let selection = select(&image(mesh(1)), &tcp(vip(1), 80), &circumstances);
    assert!(matches!(selection, Selection::Balanced(target) if target.port == 8080));
}

#[test]
fn datagrams_go_to_the_endpoints() {
    let mut services = mesh(1);
    services[0].ports[0].protocol = Protocol::Udp;
    services[0].endpoints[0].target_ports = Arc::new([((80, Protocol::Udp), 8080)].into());
    let key = FrontendKey::port(vip(1), 80, abi::PROTOCOL_UDP);
    let selection = chosen(&image(services), &key, 0);
    assert!(matches!(selection, Selection::Balanced(target) if target.port == 8080));
}

#[test]
fn a_waypoint_that_is_not_known_refuses_until_it_is() {
    let mut planner = Planner::new(Node::default(), 64);
    let mut services = mesh(1);
    let waypoint = services.pop().expect("the waypoint");
    let key = tcp(vip(1), 80);
    let refused = Selection::Refused(Reason::WaypointUnavailable);
    let parked = planner.image(&snapshot(services.clone()));
    assert_eq!(chosen(&parked, &key, 0), refused);
    let problems = planner.waypoint_problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("is not known"), "{problems:?}");
    services.push(waypoint);
    let healed = planner.image(&snapshot(services));
    assert_eq!(target(chosen(&healed, &key, 0)), ([10, 0, 0, 101].into(), PORT));
    assert_eq!(planner.waypoint_problems(), []);
}

#[test]
fn a_waypoint_without_an_endpoint_of_the_family_refuses() {
    let mut services = mesh(1);
    let v6: IpAddr = "fd00::1".parse().expect("an address");
    services[0].addresses.push(v6);
    let image = image(services);
    let refused = Selection::Refused(Reason::WaypointUnavailable);
    assert_eq!(chosen(&image, &tcp(v6, 80), 0), refused);
    assert_eq!(target(chosen(&image, &tcp(vip(1), 80), 0)).1, PORT);
}

#[test]
fn a_waypoint_by_address_is_the_service_that_has_it() {
    let mut services = mesh(1);
    services[0].waypoints = [by_address(vip(9))].into();
    let selection = chosen(&image(services), &tcp(vip(1), 80), 0);
    assert_eq!(target(selection), ([10, 0, 0, 101].into(), PORT));
}

#[test]
fn what_is_a_waypoint_goes_by_none_whatever_its_name() {
    // Itself, and each other.
    let own = with(mesh(1).remove(1), [by_name("waypoint", 1)]);
    let a = service("a", &[vip(2)], &[80], vec![endpoint(2, 80, 80, true)]);
    let b = service("b", &[vip(3)], &[80], vec![endpoint(3, 80, 80, true)]);
    let circle = vec![own, with(a, [by_name("b", 1)]), with(b, [by_name("a", 1)])];
    let mut planner = Planner::new(Node::default(), 64);
    let image = planner.image(&snapshot(circle));
    for (address, port) in [(vip(9), 15_008), (vip(2), 80), (vip(3), 80)] {
        let selection = chosen(&image, &tcp(address, port), 0);
        assert!(matches!(selection, Selection::Balanced(_)), "{address}: {selection:?}");
    }
    let problems = planner.waypoint_problems();
    assert_eq!(problems.len(), 3);
    assert!(problems.iter().all(|it| it.message.contains("a waypoint itself")), "{problems:?}");
}

#[test]
fn several_waypoints_share_the_connections_by_weight_and_not_by_endpoints() {
    let mut services = mesh(1);
    services[0].waypoints = [by_name("waypoint", 1), by_name("canary", 3)].into();
    let endpoints = vec![endpoint(201, 1, 1, true), endpoint(202, 1, 1, true)];
    services.push(service("canary", &[], &[15_008], endpoints));
    let key = tcp(vip(1), 80);
    let hits = |services: Vec<Service>| {
        let image = image(services);
        let mut hits: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for number in (0..8).map(|eighth: u32| eighth << 29) {
            *hits.entry(target(chosen(&image, &key, number)).0).or_default() += 1;
        }
        hits.into_iter().map(|(address, count)| (address.to_string(), count)).collect::<Vec<_>>()
    };
    let of = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
        list.iter().map(|(address, count)| ((*address).to_owned(), *count)).collect()
    };
    assert_eq!(
        hits(services.clone()),
        of(&[("10.0.0.101", 2), ("10.0.0.201", 3), ("10.0.0.202", 3)])
    );
    // One that has nothing usable leaves its share to the others: they see to the same policy.
    services[2].endpoints.clear();
    assert_eq!(hits(services), of(&[("10.0.0.101", 8)]));
}

#[test]
fn a_change_of_a_waypoint_is_one_table_however_many_go_by_it() {
    let many = |endpoints: u8| {
        let mut services = mesh(endpoints);
        let waypoints = services[0].waypoints.clone();
        services.extend((10..20).map(|number| {
            let endpoints = vec![endpoint(number, 80, 80, true)];
            let other = service(&format!("s{number}"), &[vip(number)], &[80], endpoints);
            with(other, waypoints.clone())
        }));
        snapshot(services)
    };
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    let mut planner = Planner::new(Node::default(), 64);
    change(&mut layout, &mut kernel, &planner.image(&many(1)));
    let writes = layout.change_to(&planner.image(&many(2))).writes;
    let of = |is: fn(&Write) -> bool| writes.iter().filter(|write| is(write)).count();
    assert_eq!(of(|write| matches!(write, Write::Frontend { .. })), 0, "{writes:?}");
    // The waypoint's own service has one port; the list has a table for each family, one of them empty.
    assert_eq!(of(|write| matches!(write, Write::Slots { .. })), 2, "{writes:?}");
}

#[test]
fn a_restart_keeps_the_tables_of_waypoints() {
    let (mut layout, mut kernel) = (Layout::new(LIMITS), Kernel::default());
    change(&mut layout, &mut kernel, &image(mesh(2)));
    let before = kernel.contents();
    let mut again = Layout::recover(LIMITS, &before);
    let writes = again.change_to(&image(mesh(2))).writes;
    assert!(writes.iter().all(|write| matches!(write, Write::Table { .. })), "{writes:?}");
    writes.iter().for_each(|write| kernel.apply(write));
    assert_eq!(kernel.contents(), before);
}

#[test]
fn without_room_for_the_table_of_a_waypoint_the_connection_is_refused() {
    let limits = Limits { tables_max: 1, ..LIMITS };
    let (mut layout, mut kernel) = (Layout::new(limits), Kernel::default());
    let mut services = mesh(1);
    // Not even the own table: the waypoint's tables come first, and take what there is.
    services[0].load_balancing.algorithm = Algorithm::Passthrough;
    services[0].addresses = vec!["fd00::1".parse().expect("an address")];
    services.truncate(1);
    let problems = change(&mut layout, &mut kernel, &image(services));
    assert!(!problems.is_empty());
    let key = tcp("fd00::1".parse().expect("an address"), 80);
    let refused = Selection::Refused(Reason::WaypointUnavailable);
    assert_eq!(kernel.select(&key, 0), refused);
}

fn workload(name: &str, address: [u8; 4], waypoints: Waypoints, serves: &[&str]) -> Workload {
    Workload {
        name: Arc::new(WorkloadName::new("ns", name)),
        uid_prefix: "".into(),
        addresses: [address.into()].into(),
        labels: Arc::default(),
        trust_domain: "".into(),
        service_account: "".into(),
        topology: Arc::<Topology>::default(),
        health: Health::Healthy,
        services: serves.iter().map(|it| ServiceName::new("ns", *it)).collect(),
        policies: Arc::default(),
        waypoints,
    }
}

fn add(snapshot: &mut Snapshot, workload: Workload) {
    snapshot.workloads.insert(workload.name.clone(), Arc::new(workload));
}

#[test]
fn a_workload_dialled_at_its_own_address_goes_by_its_waypoint_on_every_port() {
    let waypoints: Waypoints = [by_name("waypoint", 1)].into();
    let mut mesh = snapshot(mesh(1));
    add(&mut mesh, workload("pod", [10, 0, 0, 1], waypoints.clone(), &["web"]));
    // Serves the waypoint: its own address leads to itself.
    add(&mut mesh, workload("proxy", [10, 0, 0, 101], waypoints.clone(), &["waypoint"]));
    // Two that share an address and do not agree: nobody can tell them apart.
    add(&mut mesh, workload("host-1", [10, 0, 0, 50], waypoints, &[]));
    add(&mut mesh, workload("host-2", [10, 0, 0, 50], [by_name("other", 1)].into(), &[]));
    let mut planner = Planner::new(Node::default(), 64);
    let image = planner.image(&mesh);
    for port in [80, 22] {
        let at = |address: [u8; 4]| chosen(&image, &tcp(address.into(), port), 0);
        assert_eq!(target(at([10, 0, 0, 1])), ([10, 0, 0, 101].into(), PORT));
        assert_eq!(at([10, 0, 0, 101]), Selection::Passed(Reason::UnknownDestination));
        assert_eq!(at([10, 0, 0, 50]), Selection::Passed(Reason::WorkloadAddress));
    }
    // The waypoint's service goes: what served it is an ordinary workload.
    add(&mut mesh, workload("pod", [10, 0, 0, 1], Waypoints::default(), &["web"]));
    let image = planner.image(&mesh);
    let passed = Selection::Passed(Reason::UnknownDestination);
    assert_eq!(chosen(&image, &tcp([10, 0, 0, 1].into(), 80), 0), passed);
}

#[test]
fn a_workload_of_a_service_that_becomes_a_waypoint_is_left_alone_from_then_on() {
    let waypoints: Waypoints = [by_name("other", 1)].into();
    let mut proxy = endpoint(101, 15_008, 15_008, true);
    proxy.workload = Some(Arc::new(WorkloadName::new("ns", "proxy")));
    let other = service("other", &[], &[1], vec![endpoint(102, 1, 1, true)]);
    let services = vec![service("waypoint", &[vip(9)], &[15_008], vec![proxy]), other];
    let mut mesh = snapshot(services.clone());
    add(&mut mesh, workload("proxy", [10, 0, 0, 101], waypoints, &["waypoint"]));
    let mut planner = Planner::new(Node::default(), 64);
    let key = tcp([10, 0, 0, 101].into(), 80);
    let image = planner.image(&mesh);
    assert_eq!(target(chosen(&image, &key, 0)), ([10, 0, 0, 102].into(), PORT));
    let web = service("web", &[vip(1)], &[80], vec![endpoint(1, 8080, 80, true)]);
    let web = with(web, [by_name("waypoint", 1)]);
    mesh.services.insert(web.name.clone(), Arc::new(web));
    let image = planner.image(&mesh);
    assert_eq!(chosen(&image, &key, 0), Selection::Passed(Reason::UnknownDestination));
    assert_eq!(planner.image(&mesh), Planner::new(Node::default(), 64).image(&mesh));
    assert!(planner.waypoint_addresses().contains_key(&IpAddr::from([10, 0, 0, 101])));
}
