//! Addresses for hosts without one.

use std::collections::BTreeSet;

use crate::Severity;
use crate::testing::{Mesh, service, service_entry};

/// An entry without addresses; `more` is the rest of its spec.
fn entry(name: &str, hosts: &str, more: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: [{hosts}], ports: [{{number: 80, name: p, protocol: TCP}}], {more}}}\n"
    )
}

const DNS: &str = "resolution: DNS";

fn is_allocated(mesh: &Mesh, host: &str) -> bool {
    let addresses = mesh.addresses(host);
    let is_of_both_families = addresses.len() == 2
        && addresses[0].starts_with("240.240.")
        && addresses[1].starts_with("2001:2:");
    assert_eq!(is_of_both_families, mesh.service(host).auto_addresses, "{addresses:?}");
    is_of_both_families
}

#[test]
fn who_is_given_one() {
    for (more, expected) in [
        ("resolution: DNS", true),
        ("resolution: DNS_ROUND_ROBIN", true),
        ("resolution: STATIC, endpoints: [{address: 10.0.0.1}]", true),
        ("resolution: NONE", false),
        ("resolution: DNS, addresses: [10.0.0.1]", false),
        ("resolution: DNS, addresses: [10.0.0.0/8]", false),
    ] {
        let mesh = Mesh::new(&[("a.yaml", &entry("a", "a.example.com, b.example.com", more))]);
        assert_eq!(mesh.errors(), [""; 0]);
        assert_eq!(is_allocated(&mesh, "a.example.com"), expected, "{more}");
        assert_eq!(is_allocated(&mesh, "b.example.com"), expected, "{more}");
    }
    let wildcard = entry("a", "'*.example.com', a.example.com", "resolution: STATIC");
    let mesh = Mesh::new(&[("a.yaml", &wildcard)]);
    assert!(!is_allocated(&mesh, "*.example.com") && is_allocated(&mesh, "a.example.com"));
    let label = "labels: {networking.istio.io/enable-autoallocate-ip: \"False\"}";
    let refused =
        entry("a", "a.example.com", DNS).replace("name: a}", &format!("name: a, {label}}}"));
    assert!(!is_allocated(&Mesh::new(&[("a.yaml", &refused)]), "a.example.com"));
    assert!(
        !Mesh::new(&[("a.yaml", &service("web", "10.0.0.1"))]).service(super::WEB).auto_addresses
    );
}

#[test]
fn each_host_has_its_own_and_it_does_not_matter_who_came_first() {
    let names: Vec<_> = (0..300).map(|number| format!("e{number}")).collect();
    let text = |name: &String| entry(name, &format!("{name}.example.com"), DNS);
    let all: String = names.iter().map(text).collect();
    let together = Mesh::new(&[("a.yaml", &all)]);
    let files: Vec<_> = names.iter().map(|name| (format!("{name}.yaml"), text(name))).collect();
    let mut one_by_one = Mesh::new(&[]);
    for count in (1..=files.len()).step_by(7).chain([files.len()]) {
        let last = files[files.len() - count..].iter();
        let last: Vec<_> = last.map(|(name, text)| (name.as_str(), text.as_str())).collect();
        one_by_one.apply(&last);
    }
    let of = |mesh: &Mesh| -> Vec<String> {
        let hosts = names.iter().map(|name| format!("{name}.example.com"));
        hosts.flat_map(|host| mesh.addresses(&host)).collect()
    };
    assert_eq!(of(&together), of(&one_by_one));
    assert_eq!(of(&together).into_iter().collect::<BTreeSet<_>>().len(), 600);
}

#[test]
fn it_stays_as_long_as_the_host_is_in_force() {
    let mut mesh = Mesh::new(&[("a.yaml", &entry("a", "a.example.com", DNS))]);
    let addresses = mesh.addresses("a.example.com");
    for text in [
        entry("a", "b.example.com, a.example.com", "resolution: STATIC"),
        entry("a", "a.example.com", "resolution: STATIC, endpoints: [{address: 10.0.0.1}]"),
        // A bad version changes nothing.
        entry("a", "a.example.com", "resolution: SOMEHOW"),
        entry("a", "a.example.com", DNS),
    ] {
        mesh.apply(&[("a.yaml", &text)]);
        assert_eq!(mesh.addresses("a.example.com"), addresses, "{text}");
    }
    mesh.apply(&[(
        "a.yaml",
        &entry("a", "a.example.com", "resolution: DNS, addresses: [10.0.0.1]"),
    )]);
    assert_eq!(mesh.addresses("a.example.com"), ["10.0.0.1"]);
    assert!(!mesh.service("a.example.com").auto_addresses);
}

#[test]
fn who_names_an_address_does_not_take_one_that_is_allocated() {
    let a = entry("a", "a.example.com", DNS);
    let mut mesh = Mesh::new(&[("a.yaml", &a)]);
    let addresses = mesh.addresses("a.example.com");
    let b = service_entry("b", &addresses[0], 81);
    mesh.apply(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(mesh.addresses("a.example.com"), addresses);
    let errors = mesh.errors();
    let text = format!("{} port 81 TCP belongs to ServiceEntry default/a", addresses[0]);
    assert!(errors.len() == 1 && errors[0].contains(&text), "{errors:?}");
    // When they come together, who names it has it, and so when the other one goes.
    for mesh in [Mesh::new(&[("a.yaml", &a), ("b.yaml", &b)]), {
        mesh.apply(&[("b.yaml", &b)]);
        mesh.apply(&[("a.yaml", &a), ("b.yaml", &b)]);
        mesh
    }] {
        assert_eq!(mesh.of(Severity::Error), [""; 0]);
        assert_eq!(mesh.addresses("b.example.com"), addresses[..1]);
        let other = mesh.addresses("a.example.com");
        assert!(other[0] != addresses[0] && other[1] == addresses[1], "{other:?}");
    }
}

#[test]
fn an_entry_may_come_to_name_what_it_was_given() {
    let mut mesh = Mesh::new(&[("a.yaml", &entry("a", "a.example.com", DNS))]);
    let address = mesh.addresses("a.example.com").remove(0);
    let more = format!("{DNS}, addresses: [{address}]");
    mesh.apply(&[("a.yaml", &entry("a", "a.example.com", &more))]);
    assert_eq!(mesh.errors(), [""; 0]);
    assert_eq!(mesh.addresses("a.example.com"), [address.as_str()]);
    // The rest of the address is free again.
    let b = service_entry("b", &address, 81);
    mesh.apply(&[("a.yaml", &entry("a", "a.example.com", &more)), ("b.yaml", &b)]);
    assert_eq!(mesh.errors(), [""; 0]);
}
