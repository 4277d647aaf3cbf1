//! Traffic stays near, moves outward when nothing near is ready, and comes back.

use std::fmt::Write as _;
use std::io::ErrorKind;

use testkit::{Daemon, yaml};

use super::bench::{Bench, PORT, TARGET, VIP, WEB, counter};

/// Server, its node, and where that is. The daemon runs on `node`, in `region/zone/subzone`.
const PLACES: [(&str, &str, [&str; 3]); 4] = [
    ("near", "node-1", ["region", "zone", "subzone"]),
    ("zone", "node-2", ["region", "zone", "other"]),
    ("region", "node-3", ["region", "other", "subzone"]),
    ("far", "node-4", ["elsewhere", "zone", "subzone"]),
];

fn nodes() -> String {
    let mut text = String::new();
    for (_, node, [region, zone, subzone]) in PLACES {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: {node}\n  labels:\n    \
             topology.kubernetes.io/region: {region}\n    topology.kubernetes.io/zone: {zone}\n    \
             topology.istio.io/subzone: {subzone}\n"
        );
    }
    text
}

fn all() -> Vec<&'static str> {
    PLACES.iter().map(|(name, ..)| *name).collect()
}

/// The service with a field of its own; an endpoint is ready when it is in `ready`.
fn web(bench: &Bench, field: (&str, &str), ready: &[&str]) -> String {
    let service = yaml::service("web").cluster_ip(VIP).port("http", PORT, TARGET);
    let endpoints =
        PLACES.iter().map(|(name, node, _)| (bench.pod(name).v4, ready.contains(name), "", *node));
    let slice = yaml::endpoint_slice("web", endpoints).port("http", TARGET);
    yaml::join(&[&service.field(field.0, field.1), &slice])
}

/// Only `expected` answers.
#[track_caller]
fn assert_only(bench: &Bench, expected: &str) {
    let counts = bench.answers(WEB, 50);
    assert_eq!(counts.keys().collect::<Vec<_>>(), [expected], "{counts:?}");
}

#[test]
fn traffic_moves_outward_as_near_endpoints_fail_and_returns_with_them() {
    let bench = Bench::new("failover", &all());
    let close = ("trafficDistribution", "PreferClose");
    bench.scene.config("nodes.yaml", nodes());
    bench.scene.config("web.yaml", web(&bench, close, &all()));
    let daemon = bench.start();
    assert_only(&bench, "near");
    let out = [
        (vec!["zone", "region", "far"], "zone"),
        (vec!["region", "far"], "region"),
        (vec!["far"], "far"),
    ];
    for (ready, expected) in &out {
        bench.apply(&daemon, "web.yaml", web(&bench, close, ready));
        assert_only(&bench, expected);
    }
    bench.apply(&daemon, "web.yaml", web(&bench, close, &[]));
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "no_endpoint"), 1);
    for (ready, expected) in out.iter().rev().chain([&(all(), "near")]) {
        bench.apply(&daemon, "web.yaml", web(&bench, close, ready));
        assert_only(&bench, expected);
    }
    bench.apply(&daemon, "web.yaml", web(&bench, ("internalTrafficPolicy", "Cluster"), &all()));
    let counts = bench.answers(WEB, 200);
    assert_eq!(counts.len(), PLACES.len(), "without a preference all take part: {counts:?}");
}

#[test]
fn a_node_prefers_its_own_endpoints_and_a_local_policy_refuses_all_others() {
    let bench = Bench::new("node_scope", &all());
    bench.scene.config("nodes.yaml", nodes());
    let same_node = ("trafficDistribution", "PreferSameNode");
    let local = ("internalTrafficPolicy", "Local");
    bench.scene.config("web.yaml", web(&bench, same_node, &all()));
    let mut daemon = bench.scene.start_daemon_with(|options| options.node_name = "node-1".into());
    daemon.enrol(&bench.client, None);
    assert_only(&bench, "near");
    let rest = ["zone", "region", "far"];
    bench.apply(&daemon, "web.yaml", web(&bench, same_node, &rest));
    assert_only(&bench, "zone");
    bench.apply(&daemon, "web.yaml", web(&bench, local, &rest));
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused, "no endpoint on this node");
    bench.apply(&daemon, "web.yaml", web(&bench, local, &all()));
    assert_only(&bench, "near");
    daemon.options().node_name = "node-4".into();
    daemon.restart();
    assert_only(&bench, "far");
}

/// A ServiceEntry whose endpoints say where they are, and a rule about it.
fn entry(bench: &Bench, names: &[&str], rule: &yaml::DestinationRule) -> String {
    let entry = yaml::service_entry("web", "web.example.com").address(VIP);
    let entry = entry.port("http", PORT, TARGET);
    let there = PLACES.iter().filter(|(name, ..)| names.contains(name));
    let entry = there.fold(entry, |entry, (name, _, place)| {
        entry.endpoint(bench.pod(name).v4, 1, &place.join("/"))
    });
    yaml::join(&[&entry, rule])
}

fn rule() -> yaml::DestinationRule {
    yaml::destination_rule("web", "web.example.com")
}

/// Each list of endpoints, and which of them answers alone.
#[track_caller]
fn assert_order(
    bench: &Bench,
    daemon: &Daemon,
    rule: &yaml::DestinationRule,
    order: &[(&[&str], &str)],
) {
    for (names, expected) in order {
        bench.apply(daemon, "web.yaml", entry(bench, names, rule));
        assert_only(bench, expected);
    }
}

#[test]
fn a_destination_rule_says_where_to_fail_over() {
    let bench = Bench::new("rules", &all());
    bench.scene.config("web.yaml", entry(&bench, &[], &rule()));
    let daemon = bench.start();
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    let regions = rule().failover("region", "elsewhere");
    let outward: [(&[&str], &str); 4] = [
        (&["near", "zone", "region", "far"], "near"),
        (&["region", "zone", "far"], "zone"),
        (&["far"], "far"),
        (&["far", "region"], "region"),
    ];
    assert_order(&bench, &daemon, &regions, &outward);
    let zone_first =
        rule().failover_priority(&["topology.kubernetes.io/zone", "topology.istio.io/subzone"]);
    let by_label: [(&[&str], &str); 3] = [
        (&["zone", "region", "far"], "zone"),
        (&["near", "zone", "region"], "near"),
        (&["zone", "region"], "zone"),
    ];
    assert_order(&bench, &daemon, &zone_first, &by_label);
    let off = rule().locality_enabled(false);
    bench.apply(&daemon, "web.yaml", entry(&bench, &all(), &off));
    assert_eq!(bench.answers(WEB, 200).len(), PLACES.len(), "locality is switched off");
}
