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
const BALANCER: &str = "spec.trafficPolicy.loadBalancer";
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
    findings.unsupported(format!("{BALANCER}.warmup"), &balancer.warmup, IGNORED_BY_L4);
    findings.unsupported(
        format!("{BALANCER}.warmupDurationSecs"),
        &balancer.warmup_duration_secs,
        IGNORED_BY_L4,
    );
    Balancing {
        algorithm: algorithm(&balancer, findings),
        locality: balancer.locality_lb_setting.and_then(|setting| locality(&setting, findings)),
    }
}

fn algorithm(balancer: &istio::LoadBalancer, findings: &mut Findings) -> Option<Algorithm> {
    match (balancer.simple.as_deref(), &balancer.consistent_hash) {
        (Some(_), Some(_)) => {
            findings.error(BALANCER, "only one of simple and consistentHash may be set");
            None
        }
        (Some(name), None) => simple(name, findings),
        (None, Some(hash)) => Some(consistent_hash(hash, findings)),
        (None, None) => None,
    }
}

/// `SimpleLB`. Istio's proxies take `UNSPECIFIED` for `LEAST_REQUEST`; here it is what a service
/// without a rule gets, weighted random.
fn simple(name: &str, findings: &mut Findings) -> Option<Algorithm> {
    match name {
        "UNSPECIFIED" | "RANDOM" => Some(Algorithm::WeightedRandom),
        "ROUND_ROBIN" => Some(Algorithm::RoundRobin),
        "LEAST_REQUEST" | "LEAST_CONN" => Some(Algorithm::LeastRequest),
        "PASSTHROUGH" => Some(Algorithm::Passthrough),
        other => {
            let known = "UNSPECIFIED, RANDOM, ROUND_ROBIN, LEAST_REQUEST, LEAST_CONN, PASSTHROUGH";
            let message = format!("{other:?} is not one of {known}");
            findings.error(format!("{BALANCER}.simple"), message);
            None
        }
    }
}

/// `ConsistentHashLB`. Whatever the key, it is Maglev over what is known of a client before its
/// first byte: who it is.
fn consistent_hash(hash: &istio::ConsistentHash, findings: &mut Findings) -> Algorithm {
    const CLIENT_IS_HASHED: &str = "the client's own identity is hashed instead";
    const TABLE_SIZE: &str = "ignored: the size of the slot table depends on the weights alone";
    let field = format!("{BALANCER}.consistentHash");
    let keys = [
        ("httpHeaderName", hash.http_header_name.is_some()),
        ("httpCookie", hash.http_cookie.is_some()),
        ("httpQueryParameterName", hash.http_query_parameter_name.is_some()),
        ("useSourceIp", hash.use_source_ip.is_some()),
    ];
    let set: Vec<&str> = keys.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    match *set.as_slice() {
        [] => findings.warning(&field, "no hash key is set", CLIENT_IS_HASHED),
        ["useSourceIp"] if hash.use_source_ip == Some(true) => {}
        ["useSourceIp"] => {
            findings.warning(format!("{field}.useSourceIp"), "no other key", CLIENT_IS_HASHED);
        }
        [name] => {
            let message = "the L4 data path sees no HTTP";
            findings.warning(format!("{field}.{name}"), message, CLIENT_IS_HASHED);
        }
        _ => findings.error(&field, format!("only one of {} may be set", set.join(", "))),
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        findings.error(&field, "only one of ringHash, maglev may be set");
    }
    if hash.ring_hash.is_some() {
        let field = format!("{field}.ringHash");
        findings.info(field, "there is no ring", "Maglev is used, which spreads more evenly");
    }
    if hash.maglev.as_ref().is_some_and(|maglev| maglev.get("tableSize").is_some()) {
        findings.info(format!("{field}.maglev.tableSize"), "not used", TABLE_SIZE);
    }
    if hash.minimum_ring_size.is_some() {
        findings.info(format!("{field}.minimumRingSize"), "not used", TABLE_SIZE);
    }
    Algorithm::ConsistentHash
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
