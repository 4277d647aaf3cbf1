//! Names of the configuration in the place of which addresses come.

use std::sync::Arc;

use model::{Health, Service, Snapshot, UnresolvedEndpoint};

use super::{endpoint, entry, ips, kubernetes, snapshot};
use crate::{Addresses, Hosts};

fn unresolved(hostname: &str, first_address_only: bool) -> UnresolvedEndpoint {
    UnresolvedEndpoint {
        hostname: hostname.into(),
        first_address_only,
        workload: None,
        target_ports: Arc::default(),
        health: Health::Healthy,
        weight: 3,
        topology: Arc::default(),
    }
}

fn by_name(host: &str, names: &[&str]) -> Service {
    let unresolved = names.iter().map(|name| unresolved(name, false)).collect();
    Service { unresolved, ..entry("shop", host, &["240.240.0.1"]) }
}

fn addresses(known: &[(&str, &[&str])]) -> Addresses {
    known.iter().map(|(name, addresses)| ((*name).to_owned(), ips(addresses))).collect()
}

/// Addresses of a service's endpoints.
fn endpoints(hosts: &Hosts, host: &str) -> Vec<String> {
    let mut services = hosts.snapshot().services.values();
    let service = services.find(|service| service.name.hostname == host).expect("the service");
    service.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

fn names(hosts: &Hosts) -> Vec<String> {
    hosts.names().into_iter().collect()
}

#[test]
fn endpoints_come_and_go_with_addresses_and_with_the_configuration() {
    let mut hosts = Hosts::default();
    let mut mixed = by_name("mixed", &["a.test", "b.test"]);
    mixed.endpoints.push(endpoint(None, "192.0.2.9", Health::Healthy));
    let other = by_name("other", &["a.test"]);
    let web = kubernetes("shop", "web", &["10.96.0.1"]);
    assert!(hosts.set_snapshot(&snapshot([mixed.clone(), other.clone(), web.clone()])));
    assert_eq!(names(&hosts), ["a.test", "b.test"]);
    assert_eq!(endpoints(&hosts, "mixed"), ["192.0.2.9"]);
    assert!(hosts.set_addresses(&addresses(&[("a.test", &["192.0.2.1", "fd00::1"])])));
    assert_eq!(endpoints(&hosts, "mixed"), ["192.0.2.9", "192.0.2.1", "fd00::1"]);
    assert_eq!(endpoints(&hosts, "other"), ["192.0.2.1", "fd00::1"]);
    let both = addresses(&[("a.test", &["192.0.2.2"]), ("b.test", &["192.0.2.3"])]);
    assert!(hosts.set_addresses(&both));
    assert_eq!(endpoints(&hosts, "mixed"), ["192.0.2.9", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(hosts.snapshot().services.values().next().expect("one").endpoints[1].weight, 3);
    assert!(!hosts.set_addresses(&both), "nothing changed");
    // `mixed` lost one name, `other` is gone: the last who mentions `b.test` is gone, too.
    assert!(hosts.set_snapshot(&snapshot([by_name("mixed", &["a.test"]), web])));
    assert_eq!(names(&hosts), ["a.test"]);
    assert_eq!(endpoints(&hosts, "mixed"), ["192.0.2.2"], "known addresses count at once");
    assert_eq!(hosts.snapshot().services.len(), 2);
    assert!(!hosts.set_addresses(&addresses(&[("a.test", &["192.0.2.2"])])), "nobody asks");
    assert!(hosts.set_addresses(&addresses(&[])));
    assert_eq!(endpoints(&hosts, "mixed"), Vec::<String>::new());
}

#[test]
fn of_a_round_robin_name_the_first_address_of_each_family_counts() {
    let mut hosts = Hosts::default();
    let mut service = by_name("one", &[]);
    service.unresolved.push(unresolved("a.test", true));
    hosts.set_snapshot(&snapshot([service]));
    hosts.set_addresses(&addresses(&[(
        "a.test",
        &["192.0.2.1", "192.0.2.2", "fd00::1", "fd00::2"],
    )]));
    assert_eq!(endpoints(&hosts, "one"), ["192.0.2.1", "fd00::1"]);
    hosts.set_addresses(&addresses(&[("a.test", &["fd00::2"])]));
    assert_eq!(endpoints(&hosts, "one"), ["fd00::2"]);
}

#[test]
fn what_has_no_names_is_shared_and_the_rest_of_the_snapshot_comes_along() {
    let mut hosts = Hosts::default();
    let mut configured = snapshot([kubernetes("shop", "web", &["10.96.0.1"])]);
    configured.namespaces.insert("shop".into(), Arc::default());
    assert!(!hosts.set_snapshot(&configured), "no names");
    assert_eq!(hosts.snapshot(), &configured);
    let services = |snapshot: &Snapshot| snapshot.services.values().next().cloned().expect("one");
    assert!(Arc::ptr_eq(&services(hosts.snapshot()), &services(&configured)));
    configured.namespaces.remove("shop");
    assert!(!hosts.set_snapshot(&configured));
    assert_eq!(hosts.snapshot(), &configured);
}
