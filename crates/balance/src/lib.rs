//! Endpoint choice as pure arithmetic: which endpoints take traffic, and how much each.
//!
//! The result is a list of slots, each naming an endpoint; the kernel picks a slot at random, each
//! being equally likely. No clock, no randomness, no I/O: the same input gives the same slots.
#![forbid(unsafe_code)]

mod apportion;
mod locality;
#[cfg(test)]
mod tests;

use model::{Endpoint, Health, LoadBalancing, Node};

pub use apportion::apportion;

/// The slots of one service port: indices into `endpoints`. Empty when nothing is usable.
///
/// With weights whose sum, reduced by their common divisor, is at most `slots_max`, the shares are
/// exact; beyond that they are apportioned to `slots_max` slots by largest remainder, each usable
/// endpoint keeping at least one.
pub fn slots(
    endpoints: &[&Endpoint],
    load_balancing: &LoadBalancing,
    node: &Node,
    slots_max: u32,
) -> Vec<usize> {
    let usable = usable(endpoints);
    let shares = locality::shares(endpoints, &usable, &load_balancing.locality, node);
    let weights: Vec<u64> = shares.iter().map(|(_, weight)| *weight).collect();
    shares
        .iter()
        .zip(apportion(&weights, slots_max))
        .flat_map(|((index, _), count)| std::iter::repeat_n(*index, count as usize))
        .collect()
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
