//! Resources in any order to the mesh that they describe.

use std::net::IpAddr;

use model::{LoadBalancing, Locality};

use super::*;

const DOMAIN: &str = "cluster.local";

fn registry() -> Registry {
    Registry::new(Options { domain: DOMAIN.into(), cluster: "c1".into(), network: String::new() })
}

fn host(name: &str) -> ServiceName {
    ServiceName::new("shop", format!("{name}.shop.svc.{DOMAIN}"))
}

fn service(name: &str) -> Change<AddressFacts> {
    let facts = ServiceFacts {
        name: host(name),
        object_name: name.into(),
        addresses: vec![(String::new(), [10, 96, 0, 1].into())],
        blocks: vec![],
        ports: vec![(80, 8080, "")],
        load_balancing: LoadBalancing::default(),
        allows_unhealthy: false,
        families: (true, true),
        waypoints: Arc::default(),
        details: None,
        findings: vec![],
    };
    Change::Set(format!("shop/{name}").into(), AddressFacts::Service(facts.into()))
}

fn pod_facts(name: &str, last: u8, services: &[&str]) -> WorkloadFacts {
    let ports: Ports = [(80, 9000)].into();
    WorkloadFacts {
        uid_prefix: "c1//Pod".into(),
        name: Arc::new(WorkloadName::new("shop", name)),
        addresses: [[10, 0, 0, last].into()].into(),
        hostname: "".into(),
        uses_host_network: false,
        topology: Topology { locality: Locality::parse("eu/a"), ..Topology::default() }.into(),
        trust_domain: "".into(),
        service_account: "default".into(),
        is_healthy: true,
        weight: 1,
        services: services.iter().map(|name| (host(name), ports.clone())).collect(),
        policies: Arc::default(),
        waypoints: Arc::default(),
        details: None,
        findings: vec![],
    }
}

fn pod(name: &str, last: u8, services: &[&str]) -> Change<AddressFacts> {
    changed_pod(name, last, services, |_| {})
}

fn changed_pod(
    name: &str,
    last: u8,
    services: &[&str],
    change: impl FnOnce(&mut WorkloadFacts),
) -> Change<AddressFacts> {
    let mut facts = pod_facts(name, last, services);
    change(&mut facts);
    Change::Set(format!("c1//Pod/shop/{name}").into(), AddressFacts::Workload(facts.into()))
}

fn gone(name: &str) -> Change<AddressFacts> {
    Change::Removed(format!("c1//Pod/shop/{name}").into())
}

/// Last byte of the address, and health, of each endpoint of `web`.
fn endpoints(registry: &Registry) -> Vec<(u8, Health)> {
    let update = registry.current();
    let service = &update.snapshot.services[&host("web")];
    let last = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    service.endpoints.iter().map(|e| (last(e.address), e.health)).collect()
}

#[test]
fn a_service_and_its_workloads_meet_in_whatever_order_they_come() {
    let forth = vec![service("web"), pod("a", 1, &["web"]), pod("b", 2, &["web"])];
    let back = forth.iter().rev().cloned().collect::<Vec<_>>();
    let mut one_by_one = registry();
    forth.iter().for_each(|change| one_by_one.update(vec![change.clone()]));
    for changes in [forth, back] {
        let mut registry = registry();
        registry.update(changes);
        assert_eq!(endpoints(&registry), [(1, Health::Healthy), (2, Health::Healthy)]);
        assert_eq!(registry.current().snapshot, one_by_one.current().snapshot);
    }
    let snapshot = one_by_one.current().snapshot;
    let web = &snapshot.services[&host("web")];
    assert_eq!(web.source, Source::Kubernetes);
    assert_eq!(web.endpoints[0].target_ports[&(80, Protocol::Udp)], 9000);
    assert_eq!(snapshot.workloads.len(), 2);
}

#[test]
fn an_address_that_moves_to_another_workload_stays_whatever_comes_first() {
    for changes in [vec![gone("a"), pod("b", 1, &["web"])], vec![pod("b", 1, &["web"]), gone("a")]]
    {
        let mut registry = registry();
        registry.update(vec![service("web"), pod("a", 1, &["web"])]);
        for change in changes {
            registry.update(vec![change]);
        }
        assert_eq!(endpoints(&registry), [(1, Health::Healthy)]);
        let snapshot = registry.current().snapshot;
        assert_eq!(snapshot.workloads.values().next().unwrap().name.name, "b");
    }
}

#[test]
fn what_goes_leaves_nothing_behind() {
    let mut registry = registry();
    registry.update(vec![service("web"), pod("a", 1, &["web"]), pod("b", 2, &["web", "api"])]);
    registry.update(vec![gone("a"), pod("b", 2, &["api"])]);
    assert_eq!(endpoints(&registry), []);
    registry.update(vec![Change::Removed("shop/web".into()), gone("b"), gone("never")]);
    assert_eq!(*registry.current().snapshot, Snapshot::default());
    assert!(registry.members.is_empty() && registry.workloads.is_empty());
}

#[test]
fn health_network_and_names_decide_what_an_endpoint_is() {
    let mut registry = registry();
    registry.update(vec![
        service("web"),
        changed_pod("sick", 1, &["web"], |pod| pod.is_healthy = false),
        changed_pod("far", 2, &["web"], |pod| {
            Arc::make_mut(&mut pod.topology).network = "other".into();
        }),
        changed_pod("named", 3, &["web"], |pod| {
            pod.addresses = Box::default();
            pod.hostname = "db.example.com".into();
        }),
    ]);
    assert_eq!(endpoints(&registry), [(1, Health::Unhealthy)]);
    let update = registry.current();
    let unresolved = &update.snapshot.services[&host("web")].unresolved;
    assert_eq!(unresolved[0].hostname, "db.example.com");
    let [finding] = &update.findings[..] else { panic!("{:?}", update.findings) };
    assert_eq!((finding.resource.as_str(), finding.field), ("c1//Pod/shop/far", "network"));
}

#[test]
fn a_service_that_allows_all_takes_its_unhealthy_endpoints() {
    let Change::Set(name, AddressFacts::Service(mut facts)) = service("web") else {
        unreachable!("it is a service")
    };
    let changed = Arc::make_mut(&mut facts);
    (changed.allows_unhealthy, changed.families) = (true, (false, true));
    let v6: IpAddr = "fd00::9".parse().unwrap();
    let mut registry = registry();
    registry.update(vec![
        Change::Set(name, AddressFacts::Service(facts)),
        changed_pod("sick", 1, &["web"], |pod| {
            pod.is_healthy = false;
            pod.addresses = [pod.addresses[0], v6].into();
        }),
    ]);
    assert_eq!(endpoints(&registry), [(9, Health::Healthy)], "and only of its families");
}

#[test]
fn what_does_not_change_is_the_same_as_before() {
    let mut registry = registry();
    registry.update(vec![service("web"), service("api"), pod("a", 1, &["web"])]);
    let before = registry.current().snapshot;
    registry.update(vec![pod("a", 2, &["web"]), service("api")]);
    let after = registry.current().snapshot;
    assert!(Arc::ptr_eq(&before.services[&host("api")], &after.services[&host("api")]));
    assert!(!Arc::ptr_eq(&before.services[&host("web")], &after.services[&host("web")]));
}
