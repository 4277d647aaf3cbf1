//! Endpoint choice as pure arithmetic: which endpoints take traffic, and how much each.
//!
//! The result is a list of slots, each naming an endpoint; the kernel picks a slot by a number:
//! random, the client's hash, or a cursor. No clock, no randomness, no I/O: the same input gives
//! the same slots.
#![forbid(unsafe_code)]

mod apportion;
mod locality;
mod maglev;
mod order;
#[cfg(test)]
mod tests;

use model::{Algorithm, Endpoint, Health, LoadBalancing, Node};

pub use apportion::apportion;
pub use maglev::{client_hash, maglev};
pub use order::interleave;

/// The slots of one service port: indices into `endpoints`. Empty when nothing is usable.
///
/// With weights whose sum, reduced by their common divisor, is at most `slots_max`, the shares are
/// exact; beyond that they are apportioned to `slots_max` slots by largest remainder, each usable
/// endpoint keeping at least one. Consistent hashing and session affinity get a Maglev table, round
/// robin an even order.
pub fn slots(
    endpoints: &[&Endpoint],
    load_balancing: &LoadBalancing,
    node: &Node,
    slots_max: u32,
) -> Vec<usize> {
    let usable = usable(endpoints);
    let shares = locality::shares(endpoints, &usable, &load_balancing.locality, node);
    if needs_maglev(load_balancing) {
        let members: Vec<(String, u64)> = shares
            .iter()
            .map(|(index, weight)| (endpoints[*index].address.to_string(), *weight))
            .collect();
        return maglev(&members).into_iter().map(|member| shares[member].0).collect();
    }
    let weights: Vec<u64> = shares.iter().map(|(_, weight)| *weight).collect();
    let counts = apportion(&weights, slots_max);
    let order = match load_balancing.algorithm {
        Algorithm::RoundRobin => interleave(&counts),
        _ => (0..counts.len())
            .flat_map(|member| std::iter::repeat_n(member, counts[member] as usize))
            .collect(),
    };
    order.into_iter().map(|member| shares[member].0).collect()
}

fn needs_maglev(load_balancing: &LoadBalancing) -> bool {
    load_balancing.affinity_seconds.is_some()
        || load_balancing.algorithm == Algorithm::ConsistentHash
}

/// Indices of the endpoints that may take traffic: the healthy ones, or, when there is none at
/// all, those that are terminating but still serve (as kube-proxy does it, KEP-1669).
fn usable(endpoints: &[&Endpoint]) -> Vec<usize> {
    let with = |health: Health| -> Vec<usize> {
        (0..endpoints.len())
            .filter(|index| endpoints[*index].health == health && endpoints[*index].weight > 0)
            .collect()
    };
    let healthy = with(Health::Healthy);
    if healthy.is_empty() { with(Health::Terminating) } else { healthy }
}
