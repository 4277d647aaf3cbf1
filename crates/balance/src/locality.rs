//! What locality means for the choice.

use std::collections::BTreeMap;

use model::{Endpoint, Health, Locality, LocalityMode, LocalityShare, Node, Scope};

/// One per cent of the traffic, fine enough to divide among endpoints.
const SHARE_SCALE: u64 = 1 << 24;

/// An endpoint level is overprovisioned by this factor, in per cent: it takes all of its traffic
/// while 100/140 of it is healthy (Envoy's default, which Istio does not change).
const OVERPROVISIONING_PERCENT: u64 = 140;

/// The endpoints that take traffic, by index, each with its weight.
pub fn shares(
    endpoints: &[&Endpoint],
    usable: &[usize],
    mode: &LocalityMode,
    node: &Node,
) -> Vec<(usize, u64)> {
    match mode {
        LocalityMode::Ignore => by_weight(endpoints, usable.to_vec()),
        LocalityMode::Strict(scopes) => by_weight(
            endpoints,
            usable
                .iter()
                .copied()
                .filter(|index| leading_matches(scopes, endpoints[*index], node) == scopes.len())
                .collect(),
        ),
        LocalityMode::Failover(scopes) => spill_over(endpoints, usable, |endpoint| {
            scopes.len() - leading_matches(scopes, endpoint, node)
        }),
        LocalityMode::RegionFailover { failover } => spill_over(endpoints, usable, |endpoint| {
            region_distance(&endpoint.topology.locality, &node.locality, failover)
        }),
        LocalityMode::Distribute(rules) => {
            match rules.iter().find(|(from, _)| from.contains(&node.locality)) {
                Some((_, weights)) => distribute(endpoints, usable, &weights.shares),
                None => by_weight(endpoints, usable.to_vec()),
            }
        }
    }
}

fn by_weight(endpoints: &[&Endpoint], indices: Vec<usize>) -> Vec<(usize, u64)> {
    indices.into_iter().map(|index| (index, endpoints[index].weight.into())).collect()
}

/// The endpoints of one distance.
#[derive(Default)]
struct Level {
    usable: Vec<usize>,
    /// How many there would be if all were healthy. Those that are terminating do not count: a
    /// rollout must not push traffic out of its locality.
    expected: u64,
}

/// The nearest level takes the traffic as far as its health allows; what it cannot take goes to the
/// next, in proportion (Envoy's priority levels).
fn spill_over(
    endpoints: &[&Endpoint],
    usable: &[usize],
    distance: impl Fn(&Endpoint) -> usize,
) -> Vec<(usize, u64)> {
    let mut levels: BTreeMap<usize, Level> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|e| e.health != Health::Terminating && e.weight > 0) {
        levels.entry(distance(endpoint)).or_default().expected += 1;
    }
    for index in usable {
        levels.entry(distance(endpoints[*index])).or_default().usable.push(*index);
    }
    let mut left_percent = 100;
    let mut parts: Vec<(u64, Vec<usize>)> = Vec::new();
    for level in levels.into_values().filter(|level| !level.usable.is_empty()) {
        let health = level.usable.len() as u64 * OVERPROVISIONING_PERCENT / level.expected.max(1);
        let part = health.min(left_percent);
        left_percent -= part;
        parts.push((part, level.usable));
    }
    parts.retain(|(part, _)| *part > 0);
    match parts.len() {
        // All in one level: its weights as they are, so that the slots come out exact.
        1 => by_weight(endpoints, parts.swap_remove(0).1),
        // Parts need not sum to 100: when every level is ill, they are shares of what there is.
        _ => parts
            .into_iter()
            .flat_map(|(part, members)| share_out(endpoints, part, &members))
            .collect(),
    }
}

/// Divides `part` among `members` by their weights.
fn share_out(endpoints: &[&Endpoint], part: u64, members: &[usize]) -> Vec<(usize, u64)> {
    let total: u64 = members.iter().map(|index| u64::from(endpoints[*index].weight)).sum();
    members
        .iter()
        .map(|index| (*index, scaled(part * SHARE_SCALE, endpoints[*index].weight.into(), total)))
        .collect()
}

/// How many scopes match before the first that does not.
fn leading_matches(scopes: &[Scope], endpoint: &Endpoint, node: &Node) -> usize {
    scopes.iter().take_while(|scope| matches(**scope, endpoint, node)).count()
}

fn matches(scope: Scope, endpoint: &Endpoint, node: &Node) -> bool {
    let topology = &endpoint.topology;
    let (theirs, ours) = (&topology.locality, &node.locality);
    let known_and_equal = |a: &str, b: &str| !a.is_empty() && a == b;
    let region = known_and_equal(&theirs.region, &ours.region);
    let zone = known_and_equal(&theirs.zone, &ours.zone) && theirs.region == ours.region;
    match scope {
        Scope::Region => region,
        Scope::Zone => zone,
        Scope::Subzone => zone && known_and_equal(&theirs.subzone, &ours.subzone),
        Scope::Node => known_and_equal(&topology.node, &node.name),
        // An empty cluster or network is the mesh's own, on both sides.
        Scope::Cluster => topology.cluster == node.cluster,
        Scope::Network => topology.network == node.network,
    }
}

/// 0 same subzone, 1 same zone, 2 same region, 3 the region that ours fails over to, 4 elsewhere
/// (`localityLbSetting` of DestinationRule).
fn region_distance(
    theirs: &Locality,
    ours: &Locality,
    failover: &BTreeMap<String, String>,
) -> usize {
    if theirs.region != ours.region {
        return if failover.get(&ours.region) == Some(&theirs.region) { 3 } else { 4 };
    }
    match (theirs.zone == ours.zone, theirs.subzone == ours.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

/// `localityLbSetting.distribute`: each locality's share, divided among its endpoints by weight. A
/// share without usable endpoints goes to the others in proportion. When none has any, all usable
/// endpoints serve: a setting for normal times must not refuse in bad ones.
fn distribute(
    endpoints: &[&Endpoint],
    usable: &[usize],
    shares: &[LocalityShare],
) -> Vec<(usize, u64)> {
    let mut weights = Vec::new();
    for share in shares {
        let members: Vec<usize> = usable
            .iter()
            .copied()
            .filter(|index| share.locality.contains(&endpoints[*index].topology.locality))
            .collect();
        weights.extend(share_out(endpoints, share.weight_percent.into(), &members));
    }
    weights.retain(|(_, weight)| *weight > 0);
    if weights.is_empty() {
        return by_weight(endpoints, usable.to_vec());
    }
    weights
}

/// `part * weight / total` without overflow.
fn scaled(part: u64, weight: u64, total: u64) -> u64 {
    let product = u128::from(part) * u128::from(weight);
    (product / u128::from(total.max(1))) as u64
}
