//! The daemon's status as a page.

use std::net::IpAddr;

use runtime::api::{
    CniStatus, ControlPlaneStatus, DnsCapture, DnsStatus, Enrolment, HostStatus, KubernetesStatus,
    MapFill, ProgramStats, Status,
};

use crate::table;

/// Head lines, then one section per subject that has anything to say.
pub fn render(status: &Status, enrolments: &[Enrolment]) -> String {
    let sections = [
        head(status),
        problems(status),
        enrolled(enrolments),
        hosts(&status.dns),
        counters(status),
        maps(status),
        programs(status),
        links(status),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|text| !text.is_empty()).collect();
    sections.join("\n")
}

fn head(status: &Status) -> String {
    let connections = &status.connections;
    let mut lines = vec![
        ("ready", if status.ready { "yes" } else { "no" }.to_owned()),
        ("version", status.version.clone()),
        ("mode", status.mode.clone()),
        ("generation", status.generation.to_string()),
        ("source", status.config.source.clone()),
        ("services", status.config.services.to_string()),
        ("workloads", status.config.workloads.to_string()),
        ("enrolled", status.enrolled.to_string()),
        (
            "connections",
            format!(
                "{} opened, {} refused, {} closed",
                connections.opened, connections.refused, connections.closed
            ),
        ),
        (
            "bytes",
            format!("{} sent, {} received", connections.bytes_sent, connections.bytes_received),
        ),
    ];
    if let Some(plane) = &status.config.control_plane {
        lines.insert(5, ("xds", control_plane(plane)));
    }
    lines.push(("dns", dns(&status.dns)));
    if let Some(status) = &status.kubernetes {
        lines.push(("kubernetes", kubernetes(status)));
        lines.push(("cni", cni(&status.cni)));
    }
    if connections.events_lost > 0 {
        let lost = format!("{}: the two lines above miss as many", connections.events_lost);
        lines.push(("events lost", lost));
    }
    let line = |(name, value): &(&str, String)| format!("{:13}{value}", format!("{name}:"));
    lines.iter().map(|pair| format!("{}\n", line(pair).trim_end())).collect()
}

fn control_plane(plane: &ControlPlaneStatus) -> String {
    let state = match (plane.connected, plane.error.as_str()) {
        (true, _) => "connected".to_owned(),
        (false, "") => "not connected".to_owned(),
        (false, error) => format!("not connected ({error})"),
    };
    let streams = if plane.streams == 1 { "stream" } else { "streams" };
    format!(
        "{state}; {} attempts, {} {streams}, {} responses, {} refused",
        plane.attempts, plane.streams, plane.responses, plane.refused
    )
}

fn dns(dns: &DnsStatus) -> String {
    if !dns.enabled {
        return "off".to_owned();
    }
    let queries = &dns.queries;
    let mut text = format!(
        "{} namespaces, {} names; queries: {} answered, {} cached, {} forwarded, {} failed",
        dns.served, dns.names, queries.answered, queries.cached, queries.forwarded, queries.failed
    );
    for (count, what) in [(queries.overloaded, "over a limit"), (queries.malformed, "malformed")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

fn kubernetes(status: &KubernetesStatus) -> String {
    let KubernetesStatus { pods, wanted, missing, .. } = status;
    let mut text = match (status.complete, status.connected) {
        (false, _) => "pods are not known yet, enrolled is who was before".to_owned(),
        (true, _) => format!("{pods} pods, {wanted} of the mesh, {missing} of those not found"),
    };
    if !status.connected {
        text.push_str("; the API server does not answer");
    }
    text
}

fn cni(cni: &CniStatus) -> String {
    let CniStatus { enrolled, left_alone, undecided, failed, .. } = cni;
    let mut text = format!(
        "{enrolled} enrolled, {left_alone} left alone, {undecided} undecided, {failed} failed"
    );
    for (reason, count) in &cni.let_go {
        text.push_str(&format!(", {count} let go ({reason})"));
    }
    text
}

fn problems(status: &Status) -> String {
    let section = |heading: &str, problems: &[String]| {
        let lines: String = problems.iter().map(|p| format!("  {p}\n")).collect();
        if lines.is_empty() { lines } else { format!("{heading}\n{lines}") }
    };
    let config = section("PROBLEMS IN THE CONFIGURATION", &status.config.problems);
    let dns = section("PROBLEMS OF DNS", &status.dns.problems);
    let pods = status.kubernetes.as_ref().map_or(&[][..], |it| it.problems.as_slice());
    let pods = section("PODS THAT ARE NOT ENROLLED", pods);
    [config, dns, pods].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn enrolled(enrolments: &[Enrolment]) -> String {
    let row = |e: &Enrolment| {
        let workload = e.workload.clone().unwrap_or_else(|| "-".to_owned());
        let origin = e.origin.to_string();
        [e.netns.clone(), e.netns_cookie.to_string(), workload, origin, resolvers(e)]
    };
    let heading = ["NETNS", "COOKIE", "WORKLOAD", "ORIGIN", "RESOLVERS"];
    table_or_nothing(heading, enrolments.iter().map(row).collect())
}

fn resolvers(enrolment: &Enrolment) -> String {
    match (enrolment.dns, enrolment.resolvers.as_slice()) {
        (DnsCapture::Off, _) => "off".to_owned(),
        (_, []) => "-".to_owned(),
        (_, some) => joined(some),
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn hosts(dns: &DnsStatus) -> String {
    let row = |host: &HostStatus| {
        let addresses = match host.addresses.as_slice() {
            [] => "-".to_owned(),
            some => joined(some),
        };
        [host.name.clone(), addresses, host.failure.clone().unwrap_or_default()]
    };
    table_or_nothing(["HOST", "ADDRESSES", "LAST_FAILURE"], dns.hosts.iter().map(row).collect())
}

fn counters(status: &Status) -> String {
    let rows = status
        .counters
        .iter()
        .map(|c| [c.reason.clone(), c.outcome.clone(), c.count.to_string(), c.sentence.clone()]);
    table_or_nothing(["REASON", "OUTCOME", "COUNT", "MEANING"], rows.collect())
}

fn maps(status: &Status) -> String {
    let row = |m: &MapFill| {
        [
            m.name.clone(),
            m.entries.to_string(),
            m.entries_max.to_string(),
            percent(m.entries, m.entries_max),
            m.bytes.to_string(),
        ]
    };
    let heading = ["MAP", "ENTRIES", "MAX", "FILL", "BYTES"];
    table_or_nothing(heading, status.maps.iter().map(row).collect())
}

fn programs(status: &Status) -> String {
    let row = |p: &ProgramStats| {
        let mean = p.mean_ns().map_or_else(|| "-".to_owned(), |ns| ns.to_string());
        [
            p.name.clone(),
            p.id.to_string(),
            p.run_count.to_string(),
            mean,
            p.verified_instructions.to_string(),
        ]
    };
    let heading = ["PROGRAM", "ID", "RUNS", "MEAN_NS", "VERIFIED_INSTRUCTIONS"];
    table_or_nothing(heading, status.programs.iter().map(row).collect())
}

fn links(status: &Status) -> String {
    let rows = status.links.iter().map(|l| {
        [l.name.clone(), l.id.to_string(), if l.pinned { "yes" } else { "no" }.to_owned()]
    });
    table_or_nothing(["LINK", "ID", "PINNED"], rows.collect())
}

fn table_or_nothing<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() { String::new() } else { table::render(heading, rows) }
}

/// Whole per cent, rounded up so that a map with one entry does not look empty.
fn percent(part: u64, whole: u64) -> String {
    match u128::from(whole) {
        0 => "-".to_owned(),
        whole => format!("{}%", (u128::from(part) * 100).div_ceil(whole)),
    }
}

#[cfg(test)]
mod tests;
