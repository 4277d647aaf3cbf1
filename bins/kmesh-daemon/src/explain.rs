//! What would happen to a connection: the stations of docs/life-of-a-connection.md, each asked of
//! the live maps, not of what the daemon believes to have written.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use abi::{
    Extent, Frontend, FrontendKey, Network, PROTOCOL_TCP, PROTOCOL_UDP, Reason, Settings,
    SlotSource, SlotTable,
};
use anyhow::{Context, bail};
use datapath::Maps;
use plan::Layout;
use runtime::api::{Enrolment, ExplainRequest, Explanation, Station};

use crate::provenance::Provenance;

/// Endpoints that are listed one by one; the rest is counted.
const ENDPOINTS_LISTED_MAX: usize = 20;

/// What the question is about, with names resolved.
pub struct Question<'a> {
    /// Who dials.
    pub from: &'a Enrolment,
    /// Where to.
    pub to: SocketAddr,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u8,
    /// Where services and workloads come from.
    pub origins: &'a Provenance<'a>,
}

/// Where a query goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DnsRoute {
    /// It is none: not to a resolver of the namespace.
    NoQuery,
    Proxy,
    /// To the resolver, as if there were no proxy.
    Resolver,
}

/// `tcp` or `udp`.
pub fn protocol(request: &ExplainRequest) -> anyhow::Result<u8> {
    match request.protocol.as_str() {
        "" | "tcp" => Ok(PROTOCOL_TCP),
        "udp" => Ok(PROTOCOL_UDP),
        other => bail!("{other:?} is not a protocol: tcp or udp"),
    }
}

/// The enrolment that `from` names: a workload, a path or a cookie.
pub fn find_client<'a>(enrolments: &'a [Enrolment], from: &str) -> anyhow::Result<&'a Enrolment> {
    enrolments
        .iter()
        .find(|enrolment| {
            enrolment.workload.as_deref() == Some(from)
                || enrolment.netns == from
                || enrolment.netns_cookie.to_string() == from
        })
        .with_context(|| {
            format!(
                "{from} is not enrolled: its traffic is left alone; `kmeshctl status` lists who is"
            )
        })
}

/// Splits `HOST:PORT`; an IPv6 address needs brackets.
pub fn host_and_port(to: &str) -> anyhow::Result<(&str, u16)> {
    let (host, port) =
        to.rsplit_once(':').with_context(|| format!("{to:?}: write ADDRESS:PORT or HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{port:?} is not a port"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// Asks the maps.
pub fn explain(
    maps: &Maps,
    layout: &Layout,
    question: &Question<'_>,
) -> anyhow::Result<Explanation> {
    let mut stations = Vec::new();
    let verdict = ask(maps, layout, question, &mut stations)?;
    let from = question.from.workload.clone().unwrap_or_else(|| question.from.netns.clone());
    Ok(Explanation { question: format!("{from} dials {}", question.to), stations, verdict })
}

fn station(name: &str, asked: impl Into<String>, found: impl Into<String>) -> Station {
    Station { name: name.into(), asked: asked.into(), found: found.into() }
}

fn ask(
    maps: &Maps,
    layout: &Layout,
    question: &Question<'_>,
    stations: &mut Vec<Station>,
) -> anyhow::Result<String> {
    let cookie = question.from.netns_cookie;
    let Some(enrolment) = maps.enrolment(cookie)? else {
        stations.push(station("enrolment", format!("enrolments[{cookie}]"), "not in the map"));
        return Ok("passed: the namespace is not in the mesh".into());
    };
    let is_waypoint = enrolment.flags & abi::Enrolment::WAYPOINT != 0;
    let found = if is_waypoint { "in the mesh, as a waypoint" } else { "in the mesh" };
    stations.push(station("enrolment", format!("enrolments[{cookie}]"), found));
    let dns = dns_station(maps, question, stations)?;
    if dns == DnsRoute::Proxy {
        return Ok("answered by the DNS proxy; the answer shows the resolver as its sender".into());
    }
    let Some((key, frontend)) = find_frontend(maps, question)? else {
        return unknown(maps, question, dns, stations);
    };
    let owner =
        layout.owner(&key).map_or_else(|| "nobody".into(), |it| question.origins.service(it));
    let named = |action: &str| format!("{action}; of {owner}");
    let asked = format!("frontends[{key}]");
    if frontend.waypoint != 0 && question.protocol == PROTOCOL_TCP && !is_waypoint {
        stations.push(station("frontend", asked, named("TCP goes by a waypoint")));
        return waypoint_stations(maps, layout, frontend.waypoint, question, stations);
    }
    match frontend.action {
        Frontend::BALANCE => {
            let found = named(&format!("balanced by table {}", frontend.table));
            stations.push(station("frontend", asked, found));
            table_stations(maps, question, frontend.table, stations)
        }
        Frontend::REFUSE_PORT => {
            stations.push(station(
                "frontend",
                asked,
                named("the address is known, the port is not"),
            ));
            Ok(refused(Reason::NoServicePort))
        }
        Frontend::WORKLOAD => {
            stations.push(station("frontend", asked, named("the own address of a workload")));
            Ok(passed(Reason::WorkloadAddress))
        }
        _ => {
            stations.push(station("frontend", asked, named("passthrough")));
            Ok(passed(Reason::ServicePassthrough))
        }
    }
}

fn refused(reason: Reason) -> String {
    format!("refused ({}): {}", reason.name(), reason.sentence())
}

fn passed(reason: Reason) -> String {
    format!("passed ({}): {}", reason.name(), reason.sentence())
}

/// As `dns_route` of the kernel programs, but for what only a socket can tell.
fn dns_station(
    maps: &Maps,
    question: &Question<'_>,
    stations: &mut Vec<Station>,
) -> anyhow::Result<DnsRoute> {
    let (cookie, address) = (question.from.netns_cookie, question.to.ip().to_canonical());
    if question.to.port() != abi::dns::PORT || !maps.captures_dns(cookie, address)? {
        return Ok(DnsRoute::NoQuery);
    }
    let asked = format!("resolvers[{cookie}, {address}], settings");
    let (found, route) = match maps.heartbeat_age()? {
        Some(age) if age < abi::dns::SILENCE_MAX => {
            let found = format!("a resolver of the namespace; the proxy lived {age:.0?} ago");
            (found, DnsRoute::Proxy)
        }
        _ => {
            let reason = Reason::DnsProxySilent;
            let found = format!(
                "a resolver of the namespace; passed over ({}): {}",
                reason.name(),
                reason.sentence()
            );
            (found, DnsRoute::Resolver)
        }
    };
    stations.push(station("DNS", asked, found));
    Ok(route)
}

/// As `find_frontend` of the kernel programs: the port's, the address's, the block's.
fn find_frontend(
    maps: &Maps,
    question: &Question<'_>,
) -> anyhow::Result<Option<(FrontendKey, Frontend)>> {
    let (address, port) = (question.to.ip().to_canonical(), question.to.port());
    let mut keys = vec![
        FrontendKey::port(address, port, question.protocol),
        FrontendKey::whole_address(address),
    ];
    if let Some(network) = maps.network(address)? {
        let pseudo = IpAddr::from(Network::address(network.id));
        keys.push(FrontendKey::port(pseudo, port, question.protocol));
    }
    for key in keys {
        if let Some(frontend) = maps.frontend(&key)? {
            return Ok(Some((key, frontend)));
        }
    }
    Ok(None)
}

fn unknown(
    maps: &Maps,
    question: &Question<'_>,
    dns: DnsRoute,
    stations: &mut Vec<Station>,
) -> anyhow::Result<String> {
    let found = "neither the port, nor the address, nor a block around it";
    stations.push(station("frontend", format!("frontends[{}]", question.to), found));
    let registry_only = maps.settings()?.flags & Settings::REGISTRY_ONLY != 0;
    let policy = if registry_only { "REGISTRY_ONLY" } else { "ALLOW_ANY" };
    stations.push(station("outbound policy", "settings", policy));
    Ok(if registry_only && dns != DnsRoute::Resolver {
        refused(Reason::NotInRegistry)
    } else {
        passed(Reason::UnknownDestination)
    })
}

/// As `select_waypoint` of the kernel programs; `waypoint` is a table's index plus one.
fn waypoint_stations(
    maps: &Maps,
    layout: &Layout,
    waypoint: u32,
    question: &Question<'_>,
    stations: &mut Vec<Station>,
) -> anyhow::Result<String> {
    let table = waypoint - 1;
    let unavailable = refused(Reason::WaypointUnavailable);
    let asked = format!("tables[{table}]");
    if waypoint == Frontend::WAYPOINT_MISSING {
        stations.push(station("waypoint", asked, "no room for its table"));
        return Ok(unavailable);
    }
    let name = layout.waypoint_of(table).unwrap_or("of nobody");
    stations.push(station("waypoint", asked, name));
    if Extent::from(maps.table(table)?.extent).count == 0 {
        return Ok(unavailable);
    }
    table_stations(maps, question, table, stations)?;
    let bytes = abi::waypoint::header(question.to).len();
    Ok(format!(
        "sent to the waypoint, with a header of {bytes} bytes that says {}; getpeername() shows that, too",
        question.to
    ))
}

fn table_stations(
    maps: &Maps,
    question: &Question<'_>,
    index: u32,
    stations: &mut Vec<Station>,
) -> anyhow::Result<String> {
    let table = maps.table(index)?;
    let extent = Extent::from(table.extent);
    let found = format!("{} slots from {}, picked {}", extent.count, extent.first, picking(&table));
    stations.push(station("table", format!("tables[{index}]"), found));
    if extent.count == 0 {
        return Ok(refused(Reason::NoEndpoint));
    }
    let mut shares: BTreeMap<Option<SocketAddr>, u32> = BTreeMap::new();
    for slot in extent.first..extent.first + extent.count {
        let (address, port) = maps.slot(slot)?;
        *shares.entry(address.map(|address| SocketAddr::new(address, port))).or_default() += 1;
    }
    for (target, slots) in shares.iter().take(ENDPOINTS_LISTED_MAX) {
        let percent = f64::from(*slots) * 100.0 / f64::from(extent.count);
        let target = match target {
            Some(target) => question.origins.endpoint(*target),
            None => "a backend that is missing".into(),
        };
        stations.push(station("endpoint", "slots, backends", format!("{target}: {percent:.1} %")));
    }
    if let Some(more) = shares.len().checked_sub(ENDPOINTS_LISTED_MAX).filter(|more| *more > 0) {
        stations.push(station("endpoint", "slots, backends", format!("and {more} more")));
    }
    Ok(format!("balanced over {} endpoints; getpeername() shows what was dialled", shares.len()))
}

fn picking(table: &SlotTable) -> String {
    if table.two_choices != 0 {
        return "by two random choices, the one with fewer connections".into();
    }
    match table.source {
        source if source == SlotSource::Client as u8 => "by the client's hash".into(),
        source if source == SlotSource::Affinity as u8 => {
            format!("by session, kept for {} s of disuse", table.affinity_seconds)
        }
        source if source == SlotSource::Cursor as u8 => "one after the other".into(),
        _ => "at random".into(),
    }
}
