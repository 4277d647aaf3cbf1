//! The status page: everything about the running daemon in one answer.

use abi::{Outcome, Reason};
use resources::Severity;
use runtime::api::{
    ConfigStatus, ControlPlaneStatus, Counter, LinkInfo, MapFill, ProgramStats, Status, Version,
};

use crate::agent::Agent;

/// Assembles the page.
pub fn status(agent: &Agent) -> Status {
    let reasons = agent.datapath.maps().reasons().unwrap_or_default();
    let events_lost = reasons
        .iter()
        .find(|(reason, _)| *reason == Reason::EventLost)
        .map_or(0, |(_, count)| *count);
    let dns = agent.dns.status(&agent.hosts);
    Status {
        version: Version::current().to_string(),
        mode: "dual-engine".into(),
        ready: agent.is_ready(),
        generation: agent.committer.generation(),
        enrolled: agent.enrolments.count(),
        config: config(agent),
        maps: maps(agent, dns.resolvers),
        programs: programs(agent),
        links: links(agent),
        counters: reasons.into_iter().map(|(reason, count)| counter(reason, count)).collect(),
        connections: agent.totals.snapshot(events_lost),
        dns,
        authz: agent.authz_status(),
        kubernetes: agent.kubernetes_status(),
    }
}

fn config(agent: &Agent) -> ConfigStatus {
    let written = agent.problems.iter().filter(|p| p.severity() != Severity::Info);
    let placed = agent.committer.problems().iter();
    ConfigStatus {
        source: agent.source.place(),
        control_plane: agent.source.control_plane_state().map(control_plane),
        services: agent.snapshot.services.len(),
        workloads: agent.snapshot.workloads.len(),
        problems: written
            .map(ToString::to_string)
            .chain(placed.map(|p| format!("error: service {}: {}", p.service, p.message)))
            .chain(waypoints(agent))
            .chain(agent.authorization.problems().iter().map(|it| format!("error: {it}")))
            .collect(),
    }
}

fn control_plane(state: xds::client::State) -> ControlPlaneStatus {
    ControlPlaneStatus {
        connected: state.is_connected,
        attempts: state.attempts,
        streams: state.streams,
        responses: state.responses,
        refused: state.refused,
        error: state.error,
    }
}

/// What is wrong with waypoints: in the configuration, and with those that refuse connections.
fn waypoints(agent: &Agent) -> Vec<String> {
    let configured = agent.committer.waypoint_problems().iter();
    let mut problems: Vec<String> = configured
        .map(|problem| format!("warning: service {}: {}", problem.service, problem.message))
        .collect();
    let refusing = agent.totals.refusing_waypoints();
    let known =
        if refusing.is_empty() { Default::default() } else { agent.committer.waypoint_addresses() };
    // One that is no endpoint any more is nobody's problem.
    let named = refusing.iter().filter_map(|(at, count)| Some((known.get(&at.ip())?, at, count)));
    problems.extend(named.map(|(service, at, count)| {
        format!(
            "error: waypoint {service}: {at} refused {count} connections: it needs a listener for \
             connections that begin with a header (Kmesh's waypoint has one on port {port}); a waypoint \
             that speaks HBONE alone needs identities, which are not supported yet",
            port = abi::waypoint::PORT
        )
    }));
    problems
}

fn maps(agent: &Agent, resolvers: usize) -> Vec<MapFill> {
    let layout: Vec<_> =
        agent.committer.layout().fill().into_iter().chain(agent.authorization.fill()).collect();
    agent
        .datapath
        .map_fills()
        .into_iter()
        .map(|map| MapFill {
            name: map.name.into(),
            entries: match map.name {
                "enrolments" => agent.enrolments.count() as u64,
                "resolvers" => resolvers as u64,
                "sockets" => agent.datapath.maps().socket_count().unwrap_or(0) as u64,
                "affinities" => agent.datapath.maps().affinity_count().unwrap_or(0) as u64,
                "udp_flows" => agent.datapath.maps().udp_flow_count().unwrap_or(0) as u64,
                "waypoint_sockets" => agent.datapath.maps().waypoint_socket_count() as u64,
                "counters" | "settings" => u64::from(map.entries_max),
                // One entry for each table, and one for each backend.
                "cursors" => used(&layout, "tables"),
                "loads" => used(&layout, "backends"),
                name => used(&layout, name),
            },
            entries_max: map.entries_max.into(),
            bytes: map.bytes,
        })
        .collect()
}

fn used(layout: &[(&str, u64)], map: &str) -> u64 {
    layout.iter().find(|(name, _)| *name == map).map_or(0, |(_, used)| *used)
}

fn programs(agent: &Agent) -> Vec<ProgramStats> {
    agent
        .datapath
        .program_infos()
        .unwrap_or_default()
        .into_iter()
        .map(|program| ProgramStats {
            name: program.name.into(),
            id: program.id,
            run_count: program.run_count,
            run_time_ns: program.run_time_ns,
            verified_instructions: program.verified_instructions.into(),
        })
        .collect()
}

fn links(agent: &Agent) -> Vec<LinkInfo> {
    let links = agent.datapath.link_infos().into_iter();
    links
        .map(|link| LinkInfo {
            name: link.name.into(),
            id: link.id.unwrap_or(0),
            pinned: link.id.is_some(),
        })
        .collect()
}

fn counter(reason: Reason, count: u64) -> Counter {
    let outcome = match reason.outcome() {
        Outcome::Refused => "refused",
        Outcome::Passed => "passed",
        Outcome::Degraded => "degraded",
    };
    Counter {
        reason: reason.name().into(),
        outcome: outcome.into(),
        count,
        sentence: reason.sentence().into(),
    }
}
