//! The name table.

use std::sync::Arc;

use model::{AddressBlock, Health, Service};

use super::{endpoint, entry, ip, ips, kubernetes, snapshot};
use crate::{Found, NameTable};

fn table(services: Vec<Service>) -> NameTable {
    let mut table = NameTable::new("cluster.local");
    table.update(&snapshot(services));
    table
}

fn direct(addresses: &[&str]) -> Option<Found> {
    Some(Found { alias_of: None, addresses: ips(addresses) })
}

fn alias(of: &str, addresses: &[&str]) -> Option<Found> {
    Some(Found { alias_of: Some(of.into()), addresses: ips(addresses) })
}

#[test]
fn a_kubernetes_service_has_its_whole_name_and_short_ones() {
    let table = table(vec![
        kubernetes("shop", "web", &["10.96.0.1", "fd00::1"]),
        kubernetes("other", "web", &["10.96.0.2"]),
    ]);
    let shop = direct(&["10.96.0.1", "fd00::1"]);
    let cases = [
        ("shop", "web.shop.svc.cluster.local", shop.clone()),
        ("shop", "WEB.shop.svc.Cluster.Local.", shop.clone()),
        ("shop", "web", shop.clone()),
        ("other", "web", direct(&["10.96.0.2"])),
        ("third", "web", None),
        ("other", "web.shop", shop.clone()),
        ("other", "web.shop.svc", shop),
        ("shop", "web.other", direct(&["10.96.0.2"])),
        ("shop", "web.svc.cluster.local", None),
        ("shop", "web.cluster.local", None),
        ("shop", "unknown.shop.svc.cluster.local", None),
        ("shop", "shop", None),
        ("shop", "example.com", None),
        ("shop", "", None),
        ("shop", ".", None),
    ];
    for (namespace, name, expected) in cases {
        assert_eq!(table.lookup(namespace, name), expected, "{name} from {namespace}");
    }
}

#[test]
fn what_the_search_list_makes_of_a_known_name_is_an_alias_of_it() {
    let table = table(vec![
        kubernetes("other", "web", &["10.96.0.2"]),
        entry("shop", "example.com", &["240.240.0.1"]),
    ]);
    let example = alias("example.com", &["240.240.0.1"]);
    let web = alias("web.other.svc.cluster.local", &["10.96.0.2"]);
    let cases = [
        ("example.com.shop.svc.cluster.local", example.clone()),
        ("example.com.svc.cluster.local", example.clone()),
        ("example.com.cluster.local", example),
        // That of another namespace is not in the client's search list.
        ("example.com.other.svc.cluster.local", None),
        ("web.other.svc.cluster.local.shop.svc.cluster.local", web.clone()),
        ("web.other.shop.svc.cluster.local", web.clone()),
        ("web.other.svc.shop.svc.cluster.local", web),
        ("web.shop.svc.cluster.local", None),
    ];
    for (name, expected) in cases {
        assert_eq!(table.lookup("shop", name), expected, "{name}");
    }
}

#[test]
fn a_wildcard_covers_what_no_name_says_and_the_longest_counts() {
    let table = table(vec![
        entry("shop", "*.example.com", &["240.240.0.1"]),
        entry("shop", "*.deep.example.com", &["240.240.0.2"]),
        entry("shop", "one.example.com", &["240.240.0.3"]),
        entry("shop", "*", &["240.240.0.4"]),
    ]);
    let cases = [
        ("a.example.com", direct(&["240.240.0.1"])),
        ("b.a.example.com", direct(&["240.240.0.1"])),
        ("a.deep.example.com", direct(&["240.240.0.2"])),
        ("one.example.com", direct(&["240.240.0.3"])),
        ("example.com", None),
        ("a.example.org", None),
        ("a.example.com.shop.svc.cluster.local", alias("a.example.com", &["240.240.0.1"])),
        ("one.example.com.shop.svc.cluster.local", alias("one.example.com", &["240.240.0.3"])),
    ];
    for (name, expected) in cases {
        assert_eq!(table.lookup("shop", name), expected, "{name}");
    }
}

#[test]
fn a_kubernetes_service_wins_and_service_entries_add_up() {
    let host = "web.shop.svc.cluster.local";
    let mut services = vec![
        entry("b", "example.com", &["240.240.0.2", "240.240.0.1"]),
        entry("a", "example.com", &["240.240.0.1"]),
        entry("a", host, &["240.240.0.3"]),
        kubernetes("shop", "web", &["10.96.0.1"]),
    ];
    let full = table(services.clone());
    assert_eq!(full.lookup("x", "example.com"), direct(&["240.240.0.1", "240.240.0.2"]));
    assert_eq!(full.lookup("x", host), direct(&["10.96.0.1"]));
    services.pop();
    let without = table(services);
    assert_eq!(without.lookup("x", host), direct(&["240.240.0.3"]));
    assert_eq!(without.lookup("shop", "web"), None, "a ServiceEntry has no short names");
}

#[test]
fn a_headless_service_has_the_addresses_of_its_endpoints_and_a_name_for_each() {
    let mut db = kubernetes("shop", "db", &[]);
    db.endpoints = vec![
        endpoint(Some("db-0"), "10.0.0.1", Health::Healthy),
        endpoint(Some("db-0"), "fd00::1", Health::Healthy),
        endpoint(Some("DB-1"), "10.0.0.2", Health::Terminating),
        endpoint(Some("db-2"), "10.0.0.3", Health::Unhealthy),
        endpoint(None, "10.0.0.4", Health::Healthy),
    ];
    let db0 = direct(&["10.0.0.1", "fd00::1"]);
    let names = table(vec![db.clone()]);
    let cases = [
        ("db.shop.svc.cluster.local", direct(&["10.0.0.1", "fd00::1", "10.0.0.4"])),
        ("db", direct(&["10.0.0.1", "fd00::1", "10.0.0.4"])),
        ("db-0.db.shop.svc.cluster.local", db0.clone()),
        ("db-0.db", db0.clone()),
        ("db-0.db.shop", db0.clone()),
        ("db-0.db.shop.svc", db0),
        ("db-1.db", direct(&["10.0.0.2"])),
        ("db-2.db", direct(&[])),
        ("db-3.db", None),
    ];
    for (name, expected) in cases {
        assert_eq!(names.lookup("shop", name), expected, "{name}");
    }
    db.endpoints.retain(|endpoint| endpoint.health != Health::Healthy);
    assert_eq!(table(vec![db.clone()]).lookup("shop", "db"), direct(&["10.0.0.2"]));
    db.endpoints.clear();
    assert_eq!(table(vec![db.clone()]).lookup("shop", "db"), direct(&[]));
    db.addresses = ips(&["0.0.0.0"]);
    db.endpoints = vec![endpoint(None, "10.0.0.4", Health::Healthy)];
    assert_eq!(table(vec![db]).lookup("shop", "db"), direct(&["10.0.0.4"]));
}

#[test]
fn a_service_entry_without_addresses_is_left_to_the_real_dns() {
    let mut blocks = entry("shop", "blocks.example.com", &[]);
    blocks.networks = vec![AddressBlock { address: ip("192.0.2.0"), prefix_bits: 24 }];
    blocks.endpoints = vec![endpoint(None, "10.0.0.1", Health::Healthy)];
    let mut fixed = entry("shop", "fixed.example.com", &[]);
    fixed.endpoints = vec![endpoint(Some("vm-1"), "10.0.0.2", Health::Healthy)];
    let table = table(vec![entry("shop", "none.example.com", &[]), blocks, fixed]);
    assert_eq!(table.lookup("shop", "none.example.com"), None);
    assert_eq!(table.lookup("shop", "none.example.com.shop.svc.cluster.local"), None);
    assert_eq!(table.lookup("shop", "blocks.example.com"), None);
    assert_eq!(table.lookup("shop", "fixed.example.com"), direct(&["10.0.0.2"]));
    assert_eq!(table.lookup("shop", "vm-1.fixed.example.com"), direct(&["10.0.0.2"]));
}

#[test]
fn an_update_touches_what_changed_and_leaves_nothing_behind() {
    let mut snapshot =
        snapshot((0..1000).map(|n| kubernetes("shop", &format!("s{n}"), &["1.1.1.1"])));
    let mut table = NameTable::new("cluster.local");
    assert_eq!(table.update(&snapshot), 1000);
    assert_eq!(table.update(&snapshot), 0);
    let mut changed = kubernetes("shop", "s7", &[]);
    changed.endpoints = vec![endpoint(Some("a"), "10.0.0.1", Health::Healthy)];
    snapshot.services.insert(changed.name.clone(), Arc::new(changed.clone()));
    let wildcard = entry("shop", "*.example.com", &["240.240.0.1"]);
    snapshot.services.insert(wildcard.name.clone(), Arc::new(wildcard.clone()));
    assert_eq!(table.update(&snapshot), 2);
    assert_eq!(table.len(), 1002);
    assert_eq!(table.lookup("shop", "s7"), direct(&["10.0.0.1"]));
    assert_eq!(table.lookup("shop", "a.s7"), direct(&["10.0.0.1"]));
    assert_eq!(table.lookup("shop", "x.example.com"), direct(&["240.240.0.1"]));
    snapshot.services.remove(&changed.name);
    snapshot.services.remove(&wildcard.name);
    assert_eq!(table.update(&snapshot), 2);
    assert_eq!(table.len(), 999);
    assert_eq!(table.lookup("shop", "s7"), None);
    assert_eq!(table.lookup("shop", "x.example.com"), None);
    assert_eq!(table.update(&model::Snapshot::default()), 999);
    assert!(table.is_empty());
}
