//! What is reached from outside, what is outside, and what must be resolved.

use model::{Algorithm, Protocol};

use super::mesh;
use crate::testing::{Mesh, service, service_entry};

const WEB: &str = "web.default.svc.cluster.local";

fn exposed(name: &str, address: &str, spec: &str) -> String {
    let ports = "ports: [{port: 80}]";
    assert!(!spec.contains("---"));
    service(name, address).replace(&format!(", {ports}"), &format!(", {spec}"))
}

#[test]
fn node_ports_and_external_addresses() {
    let spec = "type: LoadBalancer, externalIPs: [192.0.2.9, 192.0.2.1, 10.0.0.1], \
                externalTrafficPolicy: Local, \
                ports: [{port: 80, nodePort: 30080, name: a}, \
                {port: 53, protocol: UDP, nodePort: 30053, name: b}, {port: 81, name: c}]";
    let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: 192.0.2.2, ipMode: VIP}, \
                  {ip: 192.0.2.3, ipMode: Proxy}, {hostname: lb.example.com}]}}\n";
    let mesh = mesh(&format!("{}{status}", exposed("web", "10.0.0.1", spec)));
    let web = mesh.service(WEB);
    let external: Vec<_> = web.external_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(external, ["192.0.2.1", "192.0.2.2", "192.0.2.9"]);
    let node_ports: Vec<_> =
        web.node_ports.iter().map(|it| (it.node_port, it.port, it.protocol)).collect();
    assert_eq!(node_ports, [(30080, 80, Protocol::Tcp), (30053, 53, Protocol::Udp)]);
    assert!(web.external_local);
}

#[test]
fn the_status_counts_for_load_balancers_only() {
    let status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n";
    let mesh = mesh(&format!("{}{status}", service("web", "10.0.0.1")));
    assert_eq!(mesh.service(WEB).external_addresses, [] as [std::net::IpAddr; 0]);
    assert!(!mesh.service(WEB).external_local);
}

#[test]
fn a_node_port_belongs_to_one_service() {
    let spec = "type: NodePort, ports: [{port: 80, nodePort: 30080}]";
    let other = spec.replace("{port: 80", "{protocol: UDP, port: 80");
    let mesh = Mesh::new(&[
        ("a.yaml", &exposed("a", "10.0.0.1", spec)),
        ("b.yaml", &exposed("b", "10.0.0.2", spec)),
        ("c.yaml", &exposed("c", "10.0.0.3", &other)),
    ]);
    assert_eq!(mesh.errors().len(), 1, "{:?}", mesh.errors());
    let text = "Service default/b: spec.ports: node port 30080 TCP belongs to Service default/a";
    assert!(mesh.errors()[0].contains(text), "{:?}", mesh.errors());
}

#[test]
fn external_addresses_are_shared_by_port() {
    let spec = |port| format!("externalIPs: [192.0.2.1], ports: [{{port: {port}}}]");
    let files =
        |b| [exposed("a", "10.0.0.1", &spec(80)), exposed("b", "10.0.0.2", &spec(b))].concat();
    assert_eq!(Mesh::new(&[("a.yaml", &files(81))]).errors(), [""; 0]);
    let errors = Mesh::new(&[("a.yaml", &files(80))]).errors();
    let text = "Service default/b: spec.externalIPs: address 192.0.2.1 port 80 TCP belongs to";
    assert!(errors.len() == 1 && errors[0].contains(text), "{errors:?}");
    // Neither with a cluster IP nor, by port, with a ServiceEntry.
    for (other, is_error) in [
        (service("c", "192.0.2.1"), true),
        (service_entry("c", "192.0.2.1", 80), true),
        (service_entry("c", "192.0.2.1", 81), false),
    ] {
        let text = format!("{}{other}", exposed("a", "10.0.0.1", &spec(80)));
        assert_eq!(!Mesh::new(&[("a.yaml", &text)]).errors().is_empty(), is_error, "{other}");
    }
}

#[test]
fn blocks_of_addresses() {
    let entry = |name: &str, address: &str, port| {
        service_entry(name, address, port).replace("STATIC", "NONE")
    };
    let mesh = mesh(&format!(
        "{}{}",
        entry("a", "10.1.2.3/16", 80),
        entry("b", "2001:db8::/32", 80).replace("NONE", "DNS"),
    ));
    let (a, b) = (mesh.service("a.example.com"), mesh.service("b.example.com"));
    assert_eq!(a.networks[0].to_string(), "10.1.0.0/16");
    assert_eq!(a.load_balancing.algorithm, Algorithm::Passthrough);
    assert_eq!((a.addresses.len(), a.auto_addresses), (0, false));
    assert_eq!(b.networks[0].to_string(), "2001:db8::/32");
    // A range is an address: none is allocated.
    assert_eq!((b.addresses.len(), b.auto_addresses), (0, false));
    assert_eq!(mesh.endpoints("b.example.com"), ["b.example.com 80->80"]);
}

#[test]
fn a_block_belongs_to_one_entry_at_a_port() {
    for (first, second, is_error) in [
        (("10.1.0.0/16", 80), ("10.1.0.0/16", 80), true),
        (("10.1.0.0/16", 80), ("10.1.2.0/16", 80), true),
        (("10.1.0.0/16", 80), ("10.1.0.0/16", 81), false),
        (("10.1.0.0/16", 80), ("10.1.0.0/17", 80), false),
        (("10.1.0.0/16", 80), ("10.1.0.0", 80), false),
        (("10.1.0.0/32", 80), ("10.1.0.0", 80), true),
    ] {
        let text = [service_entry("a", first.0, first.1), service_entry("b", second.0, second.1)];
        let errors = Mesh::new(&[("a.yaml", &text.concat())]).errors();
        assert_eq!(!errors.is_empty(), is_error, "{first:?} {second:?} {errors:?}");
        if is_error {
            let text = "ServiceEntry default/b: spec.addresses: address 10.1.0.0";
            assert!(errors[0].contains(text), "{errors:?}");
        }
    }
}

#[test]
fn names_that_must_be_resolved() {
    let entry = |spec: &str| {
        service_entry("ext", "10.0.0.1", 443)
            .replace("resolution: STATIC", spec)
            .replace("protocol: TCP}", "protocol: TCP, targetPort: 8443}")
    };
    for (spec, expected) in [
        ("resolution: DNS", vec!["ext.example.com 443->8443"]),
        ("resolution: DNS_ROUND_ROBIN", vec!["ext.example.com 443->8443 first"]),
        ("resolution: STATIC", vec![]),
        ("resolution: NONE", vec![]),
        (
            "resolution: DNS\n  endpoints: [{address: b.example.com, weight: 3, locality: eu}, \
             {address: A.example.com., ports: {tcp: 9}}, {address: 10.1.0.1}]",
            vec![
                "10.1.0.1 443->8443",
                "a.example.com 443->9",
                "b.example.com 443->8443 weight=3 eu",
            ],
        ),
        ("resolution: DNS\n  workloadSelector: {labels: {app: x}}", vec![]),
    ] {
        let mesh = mesh(&entry(spec));
        assert_eq!(mesh.endpoints("ext.example.com"), expected, "{spec}");
    }
}
