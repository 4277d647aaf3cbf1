//! `trafficPolicy` of a DestinationRule: what it says about the choice of an endpoint
//! (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#TrafficPolicy>).

use std::collections::BTreeMap;

use model::{Algorithm, Locality, LocalityMode, LocalityShare, LocalityWeights, Scope};

use super::{istio, node};
use crate::findings::{Findings, IGNORED_BY_L4};
use crate::values;

/// What a policy says; none where it leaves it to the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Balancing {
    pub(super) algorithm: Option<Algorithm>,
    pub(super) locality: Option<LocalityMode>,
}

const FIELD: &str = "spec.trafficPolicy";
const LOCALITY: &str = "spec.trafficPolicy.loadBalancer.localityLbSetting";

pub(super) fn read(policy: Option<istio::TrafficPolicy>, findings: &mut Findings) -> Balancing {
    let Some(policy) = policy else { return Balancing::default() };
    for (name, value) in [
        ("connectionPool", &policy.connection_pool),
        ("outlierDetection", &policy.outlier_detection),
        ("tls", &policy.tls),
        ("tunnel", &policy.tunnel),
        ("proxyProtocol", &policy.proxy_protocol),
        ("retryBudget", &policy.retry_budget),
    ] {
        findings.unsupported(format!("{FIELD}.{name}"), value, IGNORED_BY_L4);
    }
    findings.unsupported(
        format!("{FIELD}.portLevelSettings"),
        &policy.port_level_settings,
        "ignored: what the rule says for all ports holds for each",
    );
    let Some(balancer) = policy.load_balancer else { return Balancing::default() };
    unsupported(&balancer, findings);
    Balancing {
        algorithm: consistent_hash(&balancer, findings)
            .or_else(|| algorithm(balancer.simple.as_deref(), findings)),
        locality: balancer.locality_lb_setting.and_then(|setting| locality(&setting, findings)),
    }
}

fn unsupported(balancer: &istio::LoadBalancer, findings: &mut Findings) {
    let field = format!("{FIELD}.loadBalancer");
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        findings.error(field.clone(), "only one of simple and consistentHash may be set");
    }
    findings.unsupported(format!("{field}.warmup"), &balancer.warmup, IGNORED_BY_L4);
    findings.unsupported(
        format!("{field}.warmupDurationSecs"),
        &balancer.warmup_duration_secs,
        IGNORED_BY_L4,
    );
}

/// `ConsistentHashLB`. What L4 can hash is who dials; hashes of HTTP parts need a waypoint.
fn consistent_hash(balancer: &istio::LoadBalancer, findings: &mut Findings) -> Option<Algorithm> {
    let hash = balancer.consistent_hash.as_ref()?;
    for part in ["httpHeaderName", "httpCookie", "httpQueryParameterName"] {
        if hash.get(part).is_some() {
            findings.warning(
                format!("{FIELD}.loadBalancer.consistentHash.{part}"),
                "not seen by the L4 data path",
                "the client's own address is hashed",
            );
        }
    }
    Some(Algorithm::ConsistentHash)
}

fn algorithm(simple: Option<&str>, findings: &mut Findings) -> Option<Algorithm> {
    let field = format!("{FIELD}.loadBalancer.simple");
    match simple? {
        "UNSPECIFIED" | "RANDOM" => Some(Algorithm::WeightedRandom),
        "ROUND_ROBIN" => Some(Algorithm::RoundRobin),
        "LEAST_REQUEST" | "LEAST_CONN" => Some(Algorithm::LeastRequest),
        "PASSTHROUGH" => Some(Algorithm::Passthrough),
        other => {
            let known = "UNSPECIFIED, RANDOM, ROUND_ROBIN, LEAST_REQUEST, LEAST_CONN, PASSTHROUGH";
            findings.error(field, format!("{other:?} is not one of {known}"));
            None
        }
    }
}

/// `LocalityLoadBalancerSetting`.
fn locality(setting: &istio::LocalityLbSetting, findings: &mut Findings) -> Option<LocalityMode> {
    let has_failover = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if !setting.distribute.is_empty() && has_failover {
        let message = "distribute can't be set together with failover or failoverPriority";
        findings.error(LOCALITY, message);
        return None;
    }
    let distribute = distribute(&setting.distribute, findings);
    let failover = failover(&setting.failover, findings);
    let scopes = failover_priority(&setting.failover_priority, findings);
    if setting.enabled == Some(false) {
        return Some(LocalityMode::Ignore);
    }
    if !setting.distribute.is_empty() {
        return Some(LocalityMode::Distribute(distribute));
    }
    if setting.failover_priority.is_empty() {
        return Some(LocalityMode::RegionFailover { failover });
    }
    if !setting.failover.is_empty() {
        let message = "not supported together with failoverPriority";
        findings.warning(format!("{LOCALITY}.failover"), message, "failoverPriority alone counts");
    }
    Some(LocalityMode::Failover(scopes))
}

fn distribute(
    list: &[istio::Distribute],
    findings: &mut Findings,
) -> Vec<(Locality, LocalityWeights)> {
    let mut result: Vec<(Locality, LocalityWeights)> = Vec::new();
    for (index, api) in list.iter().enumerate() {
        let field = format!("{LOCALITY}.distribute[{index}]");
        let shares = shares(&api.to, &format!("{field}.to"), findings);
        let field = format!("{field}.from");
        let Some(from) = findings.take(field.clone(), values::locality_pattern(&api.from)) else {
            continue;
        };
        if let Some((other, _)) = result.iter().find(|(other, _)| overlap(other, &from)) {
            findings.error(field, format!("{:?} overlaps {:?}", api.from, pattern_text(other)));
        }
        result.push((from, LocalityWeights { shares }));
    }
    result
}

fn shares(to: &BTreeMap<String, i64>, field: &str, findings: &mut Findings) -> Vec<LocalityShare> {
    let mut shares: Vec<LocalityShare> = Vec::new();
    let mut sum = 0;
    for (text, weight) in to {
        let field = format!("{field}[{text}]");
        let locality = findings.take(field.clone(), values::locality_pattern(text));
        let Some(weight_percent) = u32::try_from(*weight).ok().filter(|w| (1..=100).contains(w))
        else {
            findings.error(field, format!("{weight} is not a weight from 1 to 100"));
            continue;
        };
        sum += weight_percent;
        let Some(locality) = locality else { continue };
        if let Some(other) = shares.iter().find(|other| overlap(&other.locality, &locality)) {
            let other = pattern_text(&other.locality);
            findings.error(field, format!("{text:?} overlaps {other:?}"));
        }
        shares.push(LocalityShare { locality, weight_percent });
    }
    if sum != 100 {
        findings.error(field, format!("the weights sum to {sum}, not to 100"));
    }
    shares
}

fn overlap(a: &Locality, b: &Locality) -> bool {
    a.contains(b) || b.contains(a)
}

fn pattern_text(pattern: &Locality) -> String {
    if *pattern == Locality::default() { "*".to_owned() } else { pattern.to_string() }
}

fn failover(list: &[istio::Failover], findings: &mut Findings) -> BTreeMap<String, String> {
    let mut regions = BTreeMap::new();
    for (index, api) in list.iter().enumerate() {
        let field = format!("{LOCALITY}.failover[{index}]");
        for (name, region) in [("from", &api.from), ("to", &api.to)] {
            if region.is_empty() || region.contains(['/', '*']) {
                findings.error(format!("{field}.{name}"), format!("{region:?} is not a region"));
            }
        }
        if api.from == api.to {
            findings.error(field.clone(), "from and to are the same region");
        }
        if regions.insert(api.from.clone(), api.to.clone()).is_some() {
            findings.error(format!("{field}.from"), format!("{:?} comes twice", api.from));
        }
    }
    regions
}

fn failover_priority(list: &[String], findings: &mut Findings) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for (index, label) in list.iter().enumerate() {
        let scope = match label.as_str() {
            node::REGION => Scope::Region,
            node::ZONE => Scope::Zone,
            node::SUBZONE => Scope::Subzone,
            node::HOST_NAME => Scope::Node,
            "topology.istio.io/network" => Scope::Network,
            "topology.istio.io/cluster" => Scope::Cluster,
            _ => {
                let field = format!("{LOCALITY}.failoverPriority[{index}]");
                findings.error(field, format!("{label:?} is not a label that says where it is"));
                continue;
            }
        };
        scopes.push(scope);
    }
    scopes
}
