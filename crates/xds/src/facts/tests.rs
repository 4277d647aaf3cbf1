//! Services and workloads of the wire: read whole, and refused by name.

use prost::Message;

use super::*;
use crate::wire::discovery::Payload;
use crate::wire::workload as wire;

fn resource(name: &str, address: address::Type) -> Resource {
    let value = Address { r#type: Some(address) }.encode_to_vec();
    let any = Payload { type_url: ADDRESS_TYPE.into(), value: value.into() };
    Resource { name: name.into(), resource: Some(any), ..Default::default() }
}

fn web() -> wire::Service {
    wire::Service {
        name: "web".into(),
        namespace: "shop".into(),
        hostname: "web.shop.svc.cluster.local".into(),
        addresses: vec![wire::NetworkAddress { address: vec![10, 96, 0, 1], ..Default::default() }],
        ports: vec![wire::Port { service_port: 80, target_port: 8080, app_protocol: 1 }],
        ..Default::default()
    }
}

fn pod() -> wire::Workload {
    let ports = vec![wire::Port { service_port: 80, target_port: 8080, ..Default::default() }];
    wire::Workload {
        uid: "c1//Pod/shop/web-1".into(),
        name: "web-1".into(),
        namespace: "shop".into(),
        addresses: vec![vec![10, 0, 0, 7]],
        services: [("shop/web.shop.svc.cluster.local".into(), wire::PortList { ports })].into(),
        ..Default::default()
    }
}

fn read_service(service: wire::Service) -> Result<ServiceFacts, Refusal> {
    match read_address(&resource("r", address::Type::Service(service)))? {
        AddressFacts::Service(facts) => Ok(Arc::unwrap_or_clone(facts)),
        AddressFacts::Workload(_) => unreachable!("it is a service"),
    }
}

fn read_workload(workload: wire::Workload) -> Result<WorkloadFacts, Refusal> {
    match read_address(&resource("r", address::Type::Workload(workload)))? {
        AddressFacts::Workload(facts) => Ok(Arc::unwrap_or_clone(facts)),
        AddressFacts::Service(_) => unreachable!("it is a workload"),
    }
}

/// The field that makes a changed service invalid.
fn wrong_service(change: impl FnOnce(&mut wire::Service)) -> &'static str {
    let mut service = web();
    change(&mut service);
    read_service(service).unwrap_err().field
}

/// The field that makes a changed workload invalid.
fn wrong_workload(change: impl FnOnce(&mut wire::Workload)) -> &'static str {
    let mut workload = pod();
    change(&mut workload);
    read_workload(workload).unwrap_err().field
}

#[test]
fn a_service_is_read_whole() {
    let mut service = web();
    service.addresses.push(wire::NetworkAddress {
        address: vec![192, 0, 2, 0],
        length: Some(24),
        network: "other".into(),
    });
    service.load_balancing = Some(wire::LoadBalancing {
        routing_preference: vec![1, 2, 3, 4, 5, 6],
        mode: 2,
        health_policy: 1,
    });
    service.ip_families = 1;
    let facts = read_service(service).unwrap();
    assert_eq!(facts.name.to_string(), "shop/web.shop.svc.cluster.local");
    assert_eq!(facts.object_name, "web");
    assert_eq!(facts.addresses, [(String::new(), IpAddr::from([10, 96, 0, 1]))]);
    let [(network, block)] = &facts.blocks[..] else { panic!("{:?}", facts.blocks) };
    assert_eq!((network.as_str(), block.to_string().as_str()), ("other", "192.0.2.0/24"));
    assert_eq!(facts.ports, [(80, 8080, "http")]);
    use model::Scope::*;
    let scopes = vec![Region, Zone, Subzone, Node, Cluster, Network];
    assert_eq!(facts.load_balancing.locality, model::LocalityMode::Failover(scopes));
    assert!(facts.allows_unhealthy);
    assert_eq!(facts.families, (true, false));
    assert_eq!(facts.findings, []);
}

#[test]
fn a_workload_is_read_whole() {
    let mut workload = pod();
    workload.addresses.push("fd00::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec());
    workload.node = "n1".into();
    workload.cluster_id = "c1".into();
    workload.locality = Some(wire::Locality { region: "eu".into(), ..Default::default() });
    workload.capacity = Some(7);
    workload.status = 1;
    let facts = read_workload(workload).unwrap();
    assert_eq!((&*facts.uid_prefix, facts.name.to_string().as_str()), ("c1//Pod", "shop/web-1"));
    assert_eq!(
        *facts.addresses,
        [IpAddr::from([10, 0, 0, 7]), "fd00::7".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(
        (facts.topology.node.as_str(), facts.topology.locality.region.as_str()),
        ("n1", "eu")
    );
    assert_eq!((facts.weight, facts.is_healthy), (7, false));
    assert_eq!((&*facts.service_account, &*facts.trust_domain), ("default", ""));
    let (service, ports) = &facts.services[0];
    assert_eq!(service.to_string(), "shop/web.shop.svc.cluster.local");
    assert_eq!(ports.iter().collect::<Vec<_>>(), [(&80, &8080)]);
}

#[test]
fn a_workload_of_an_object_with_several_keeps_its_section() {
    let mut workload = pod();
    workload.uid = "c1/networking.istio.io/ServiceEntry/shop/ext/192.0.2.1".into();
    let facts = read_workload(workload).unwrap();
    assert_eq!(&*facts.uid_prefix, "c1/networking.istio.io/ServiceEntry");
    assert_eq!(facts.name.to_string(), "shop/ext/192.0.2.1");
}

#[test]
fn a_field_that_is_not_valid_is_named() {
    let bad_port = || vec![wire::Port { service_port: 70_000, ..Default::default() }];
    let balancing = |mode, scope, health_policy| {
        Some(wire::LoadBalancing { routing_preference: vec![scope], mode, health_policy })
    };
    assert_eq!(wrong_service(|s| s.hostname.clear()), "hostname");
    assert_eq!(wrong_service(|s| s.addresses[0].address = vec![1; 5]), "addresses");
    assert_eq!(wrong_service(|s| s.addresses[0].length = Some(33)), "addresses");
    assert_eq!(wrong_service(|s| s.ports = bad_port()), "ports.service_port");
    assert_eq!(wrong_service(|s| s.ip_families = 9), "ip_families");
    assert_eq!(wrong_service(|s| s.load_balancing = balancing(9, 1, 0)), "load_balancing.mode");
    let field = wrong_service(|s| s.load_balancing = balancing(1, 9, 0));
    assert_eq!(field, "load_balancing.routing_preference");
    let field = wrong_service(|s| s.load_balancing = balancing(1, 1, 9));
    assert_eq!(field, "load_balancing.health_policy");
    assert_eq!(wrong_workload(|w| w.uid.clear()), "uid");
    assert_eq!(wrong_workload(|w| w.addresses = vec![vec![]]), "addresses");
    assert_eq!(wrong_workload(|w| w.status = 9), "status");
    let list = || wire::PortList { ports: bad_port() };
    let field = wrong_workload(|w| w.services = [("a/b".into(), list())].into());
    assert_eq!(field, "services.ports.service_port");
    assert_eq!(wrong_workload(|w| w.services = [("ab".into(), list())].into()), "services");
}

#[test]
fn what_has_no_effect_is_told() {
    let gateway = wire::GatewayAddress {
        destination: Some(gateway_address::Destination::Hostname(wire::NamespacedHostname {
            namespace: "shop".into(),
            hostname: "waypoint".into(),
        })),
        hbone_mtls_port: 15008,
    };
    let mut service = web();
    service.waypoint = Some(gateway.clone());
    service.visibility = 1;
    let fields = |findings: &[Finding]| findings.iter().map(|f| f.field).collect::<Vec<_>>();
    assert_eq!(fields(&read_service(service).unwrap().findings), ["visibility"]);
    let mut workload = pod();
    workload.waypoint = Some(gateway.clone());
    workload.network_gateway = Some(gateway);
    workload.application_tunnel = Some(wire::ApplicationTunnel { protocol: 1, port: 9 });
    let expected = ["network_gateway", "application_tunnel"];
    assert_eq!(fields(&read_workload(workload).unwrap().findings), expected);
}

#[test]
fn bytes_of_a_newer_message_are_read_as_far_as_they_are_known() {
    let mut bytes = web().encode_to_vec();
    // Field 100, two bytes long.
    bytes.extend([0xa2, 0x06, 2, 1, 2]);
    assert_eq!(wire::Service::decode(bytes.as_slice()).unwrap(), web());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(value: Vec<u8>) {
        let any = Payload { type_url: ADDRESS_TYPE.into(), value: value.into() };
        let resource = Resource { name: "r".into(), resource: Some(any), ..Default::default() };
        let _ = read_address(&resource);
    }
}
