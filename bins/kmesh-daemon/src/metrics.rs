//! The status page as OpenMetrics: map fill, reasons, connections, programs. docs/metrics.md explains
//! each; the names of Kmesh's own metrics are kept where the meaning is the same.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use runtime::api::{KubernetesStatus, Status};

/// Media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// The text for one state of the daemon.
pub fn render(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("kmesh");
    register_maps(&mut registry, status);
    register_reasons(&mut registry, status);
    register_connections(&mut registry, status);
    register_programs(&mut registry, status);
    register_dns(&mut registry, status);
    register_authz(&mut registry, status);
    if let Some(kubernetes) = &status.kubernetes {
        register_kubernetes(&mut registry, kubernetes);
    }
    let config = Gauge::<i64>::default();
    config.set(status.config.problems.len() as i64);
    registry.register("config_problems", "Problems of the configuration in force", config);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn gauges(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    values: impl Iterator<Item = (Labels, u64)>,
) {
    let family = Family::<Labels, Gauge>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value as i64);
    }
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, family),
        None => registry.register(name, help, family),
    }
}

fn counters(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels, u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

fn register_maps(registry: &mut Registry, status: &Status) {
    let maps = || status.maps.iter().map(|map| (vec![("map", map.name.clone())], map));
    let help = "Entries in use";
    gauges(registry, "map_entry_count", help, None, maps().map(|(l, map)| (l, map.entries)));
    let help = "Entries that the map can hold; 0 when it has no limit of its own";
    gauges(registry, "map_entry_max", help, None, maps().map(|(l, map)| (l, map.entries_max)));
    let help = "Kernel memory of the map";
    gauges(registry, "map_memory", help, Some(Unit::Bytes), maps().map(|(l, map)| (l, map.bytes)));
}

fn register_reasons(registry: &mut Registry, status: &Status) {
    let reasons = status.counters.iter().map(|counter| {
        let labels = vec![("reason", counter.reason.clone()), ("outcome", counter.outcome.clone())];
        (labels, counter.count)
    });
    let help = "What programs refused, passed or could not do, by reason (docs/reasons.md)";
    counters(registry, "reasons", help, reasons);
}

fn register_connections(registry: &mut Registry, status: &Status) {
    let connections = &status.connections;
    for (name, help, value) in [
        (
            "node_connections_opened",
            "TCP connections opened by or to enrolled workloads",
            connections.opened,
        ),
        ("node_connections_refused", "TCP connects that failed", connections.refused),
        ("node_connections_closed", "TCP connections that ended", connections.closed),
        ("node_sent_bytes", "Payload sent over connections that ended", connections.bytes_sent),
        (
            "node_received_bytes",
            "Payload received over connections that ended",
            connections.bytes_received,
        ),
        ("node_events_lost", "Connection events that found the ring full", connections.events_lost),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
}

fn register_programs(registry: &mut Registry, status: &Status) {
    let programs = || status.programs.iter().map(|p| (vec![("program", p.name.clone())], p));
    let help = "Runs of the program, counted while kernel.bpf_stats_enabled is on";
    let runs = programs().map(|(labels, program)| (labels, program.run_count));
    counters(registry, "bpf_prog_operation_count", help, runs);
    let help = "Nanoseconds that those runs took";
    let times = programs().map(|(labels, program)| (labels, program.run_time_ns));
    counters(registry, "bpf_prog_run_time_ns", help, times);
}

fn register_authz(registry: &mut Registry, status: &Status) {
    let active = Gauge::<i64>::default();
    active.set(status.authz.active.into());
    registry.register("authz_active", "1 while connections are judged by policies", active);
    let help = "Established connections that policies refused later and that were ended";
    registry.register("authz_ended", help, ConstCounter::new(status.authz.ended));
    let counts = status.authz.policies.iter().flat_map(|policy| {
        let verdicts =
            [("allowed", policy.allowed), ("denied", policy.denied), ("observed", policy.observed)];
        verdicts.map(|(verdict, count)| {
            let labels = vec![
                ("namespace", policy.namespace.clone()),
                ("policy", policy.name.clone()),
                ("action", policy.action.clone()),
                ("verdict", verdict.to_owned()),
            ];
            (labels, count)
        })
    });
    let help =
        "Connections that a policy decided, or matched without deciding (docs/authorization.md)";
    counters(registry, "authz_policy_connections", help, counts);
}

fn register_dns(registry: &mut Registry, status: &Status) {
    let queries = &status.dns.queries;
    let results = [
        ("answered", queries.answered),
        ("cached", queries.cached),
        ("forwarded", queries.forwarded),
        ("failed", queries.failed),
        ("overloaded", queries.overloaded),
        ("malformed", queries.malformed),
    ];
    let results = results.into_iter().map(|(name, n)| (vec![("result", name.to_owned())], n));
    counters(registry, "dns_queries", "DNS queries of enrolled namespaces", results);
    let hosts = || status.dns.hosts.iter();
    let known = hosts().filter(|host| !host.addresses.is_empty()).count();
    let failing = hosts().filter(|host| host.failure.is_some()).count();
    for (name, help, value) in [
        ("dns_servers", "Namespaces whose DNS queries are answered", status.dns.served),
        ("dns_names", "Names of the mesh", status.dns.names),
        ("dns_hosts", "Host names of endpoints", hosts().count()),
        ("dns_hosts_known", "Host names of endpoints with a last good answer", known),
        ("dns_hosts_failing", "Host names of endpoints whose last lookup found nothing", failing),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(value as i64);
        registry.register(name, help, gauge);
    }
}

fn register_kubernetes(registry: &mut Registry, status: &KubernetesStatus) {
    let cni = &status.cni;
    let results = [
        ("enrolled", cni.enrolled),
        ("left_alone", cni.left_alone),
        ("undecided", cni.undecided),
        ("failed", cni.failed),
        ("released", cni.released),
        ("malformed", cni.malformed),
    ];
    let results = results.into_iter().map(|(name, n)| (vec![("result", name.to_owned())], n));
    counters(registry, "cni_requests", "What runtimes asked through the CNI plugin", results);
    let let_go = cni.let_go.iter().map(|(name, n)| (vec![("reason", name.clone())], *n));
    let help = "Pods that the CNI plugin let start without an answer that helped (fail-open)";
    counters(registry, "cni_let_go", help, let_go);
    for (name, help, value) in [
        ("kubernetes_connected", "1 while the API server answers", u64::from(status.connected)),
        ("kubernetes_complete", "1 once pods and namespaces are known", u64::from(status.complete)),
        ("kubernetes_pods", "Pods of this node", status.pods as u64),
        ("kubernetes_pods_wanted", "Pods that belong to the mesh", status.wanted as u64),
        ("kubernetes_pods_missing", "Pods of those that are not found", status.missing as u64),
        (
            "kubernetes_pods_failing",
            "Pods of those that cannot be enrolled",
            status.problems.len() as u64,
        ),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(value as i64);
        registry.register(name, help, gauge);
    }
}

#[cfg(test)]
mod tests {
    use runtime::api::{
        AuthzStatus, CniStatus, Counter, DnsQueries, DnsStatus, HostStatus, MapFill, PolicyCounts,
    };

    use super::*;

    #[test]
    fn fill_levels_and_reasons_are_exported() {
        let status = Status {
            maps: vec![MapFill { name: "slots".into(), entries: 3, entries_max: 8, bytes: 64 }],
            counters: vec![Counter {
                reason: "no_endpoint".into(),
                outcome: "refused".into(),
                count: 5,
                sentence: String::new(),
            }],
            dns: DnsStatus {
                served: 2,
                queries: DnsQueries { forwarded: 7, ..DnsQueries::default() },
                hosts: vec![HostStatus { failure: Some("gone".into()), ..HostStatus::default() }],
                ..DnsStatus::default()
            },
            authz: AuthzStatus {
                active: true,
                ended: 2,
                policies: vec![PolicyCounts {
                    namespace: "shop".into(),
                    name: "deny".into(),
                    action: "DENY".into(),
                    denied: 8,
                    ..PolicyCounts::default()
                }],
                ..AuthzStatus::default()
            },
            kubernetes: Some(KubernetesStatus {
                wanted: 4,
                connected: true,
                cni: CniStatus {
                    left_alone: 6,
                    let_go: vec![("daemon_away".into(), 3)],
                    ..CniStatus::default()
                },
                ..KubernetesStatus::default()
            }),
            ..Status::default()
        };
        let text = render(&status).expect("it encodes");
        for line in [
            "kmesh_map_entry_count{map=\"slots\"} 3",
            "kmesh_map_entry_max{map=\"slots\"} 8",
            "kmesh_map_memory_bytes{map=\"slots\"} 64",
            "kmesh_reasons_total{reason=\"no_endpoint\",outcome=\"refused\"} 5",
            "kmesh_node_connections_opened_total 0",
            "kmesh_dns_queries_total{result=\"forwarded\"} 7",
            "kmesh_dns_servers 2",
            "kmesh_dns_hosts_known 0",
            "kmesh_dns_hosts_failing 1",
            "kmesh_cni_requests_total{result=\"left_alone\"} 6",
            "kmesh_cni_let_go_total{reason=\"daemon_away\"} 3",
            "kmesh_authz_active 1",
            "kmesh_authz_ended_total 2",
            "kmesh_authz_policy_connections_total{namespace=\"shop\",policy=\"deny\",action=\"DENY\",verdict=\"denied\"} 8",
            "kmesh_kubernetes_connected 1",
            "kmesh_kubernetes_pods_wanted 4",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
