//! What locality means for the choice.

use std::collections::BTreeMap;

use model::{Endpoint, Locality, LocalityMode, LocalityShare, Node, Scope};

/// One unit of an endpoint's weight in [`distribute`], fine enough for shares in per cent.
const SHARE_SCALE: u64 = 1 << 24;

/// The endpoints that take traffic, by index, each with its weight.
pub fn shares(
    endpoints: &[&Endpoint],
    usable: &[usize],
    mode: &LocalityMode,
    node: &Node,
) -> Vec<(usize, u64)> {
    let by_weight = |indices: Vec<usize>| -> Vec<(usize, u64)> {
        indices.into_iter().map(|index| (index, endpoints[index].weight.into())).collect()
    };
    match mode {
        LocalityMode::Ignore => by_weight(usable.to_vec()),
        LocalityMode::Strict(scopes) => by_weight(
            usable
                .iter()
                .copied()
                .filter(|index| leading_matches(scopes, endpoints[*index], node) == scopes.len())
                .collect(),
        ),
        LocalityMode::Failover(scopes) => by_weight(nearest(usable, |index| {
            scopes.len() - leading_matches(scopes, endpoints[index], node)
        })),
        LocalityMode::RegionFailover { failover } => by_weight(nearest(usable, |index| {
            region_distance(&endpoints[index].locality, &node.locality, failover)
        })),
        LocalityMode::Distribute(rules) => {
            match rules.iter().find(|(from, _)| from.contains(&node.locality)) {
                Some((_, weights)) => distribute(endpoints, usable, &weights.shares),
                None => by_weight(usable.to_vec()),
            }
        }
    }
}

/// Those at the smallest distance.
fn nearest(usable: &[usize], distance: impl Fn(usize) -> usize) -> Vec<usize> {
    let smallest = usable.iter().map(|index| distance(*index)).min();
    usable.iter().copied().filter(|index| Some(distance(*index)) == smallest).collect()
}

/// How many scopes match before the first that does not.
fn leading_matches(scopes: &[Scope], endpoint: &Endpoint, node: &Node) -> usize {
    scopes.iter().take_while(|scope| matches(**scope, endpoint, node)).count()
}

fn matches(scope: Scope, endpoint: &Endpoint, node: &Node) -> bool {
    let (theirs, ours) = (&endpoint.locality, &node.locality);
    let known_and_equal = |a: &str, b: &str| !a.is_empty() && a == b;
    let region = known_and_equal(&theirs.region, &ours.region);
    let zone = known_and_equal(&theirs.zone, &ours.zone) && theirs.region == ours.region;
    match scope {
        Scope::Region => region,
        Scope::Zone => zone,
        Scope::Subzone => zone && known_and_equal(&theirs.subzone, &ours.subzone),
        Scope::Node => known_and_equal(&endpoint.node, &node.name),
        // An empty cluster or network is the mesh's own, on both sides.
        Scope::Cluster => endpoint.cluster == node.cluster,
        Scope::Network => endpoint.network == node.network,
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
            .filter(|index| share.locality.contains(&endpoints[*index].locality))
            .collect();
        let total: u64 = members.iter().map(|index| u64::from(endpoints[*index].weight)).sum();
        weights.extend(members.into_iter().map(|index| {
            let part = u64::from(share.weight_percent) * SHARE_SCALE;
            (index, scaled(part, endpoints[index].weight.into(), total))
        }));
    }
    weights.retain(|(_, weight)| *weight > 0);
    if weights.is_empty() {
        return usable.iter().map(|index| (*index, endpoints[*index].weight.into())).collect();
    }
    weights
}

/// `part * weight / total` without overflow.
fn scaled(part: u64, weight: u64, total: u64) -> u64 {
    let product = u128::from(part) * u128::from(weight);
    (product / u128::from(total.max(1))) as u64
}
