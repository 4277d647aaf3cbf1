//! Tables of cases, and properties over random endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::{
    Algorithm, Endpoint, Health, LoadBalancing, Locality, LocalityMode, LocalityShare,
    LocalityWeights, Node, Scope, Topology,
};
use proptest::prelude::*;

use crate::{apportion, interleave, maglev, slots};

const SLOTS_MAX: u32 = 4_096;

fn endpoint(weight: u32, locality: &str) -> Endpoint {
    Endpoint {
        workload: None,
        address: IpAddr::from([10, 0, 0, 1]),
        target_ports: Arc::default(),
        health: Health::Healthy,
        weight,
        topology: Arc::new(Topology { locality: Locality::parse(locality), ..Topology::default() }),
    }
}

fn node(locality: &str) -> Node {
    Node { name: "n1".into(), locality: Locality::parse(locality), ..Node::default() }
}

/// Slots for each endpoint.
fn counts(endpoints: &[Endpoint], mode: LocalityMode, node: &Node) -> Vec<usize> {
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let balancing = LoadBalancing { locality: mode, ..LoadBalancing::default() };
    let slots = slots(&all, &balancing, node, SLOTS_MAX);
    (0..endpoints.len()).map(|index| slots.iter().filter(|slot| **slot == index).count()).collect()
}

#[test]
fn weights_are_exact_when_they_fit() {
    let endpoints = [endpoint(90, ""), endpoint(10, ""), endpoint(0, "")];
    assert_eq!(counts(&endpoints, LocalityMode::Ignore, &node("")), [9, 1, 0]);
}

#[test]
fn unhealthy_endpoints_take_nothing_and_terminating_ones_only_alone() {
    let mut endpoints = [endpoint(1, ""), endpoint(1, ""), endpoint(1, "")];
    endpoints[1].health = Health::Terminating;
    endpoints[2].health = Health::Unhealthy;
    assert_eq!(counts(&endpoints, LocalityMode::Ignore, &node("")), [1, 0, 0]);
    endpoints[0].health = Health::Unhealthy;
    assert_eq!(counts(&endpoints, LocalityMode::Ignore, &node("")), [0, 1, 0]);
    endpoints[1].health = Health::Unhealthy;
    assert_eq!(counts(&endpoints, LocalityMode::Ignore, &node("")), [0, 0, 0]);
}

#[test]
fn failover_goes_outward_scope_by_scope_and_comes_back() {
    let mode = LocalityMode::Failover(vec![Scope::Region, Scope::Zone, Scope::Subzone]);
    let here = node("r1/z1/s1");
    let mut endpoints = [
        endpoint(1, "r1/z1/s1"),
        endpoint(1, "r1/z1/s2"),
        endpoint(1, "r1/z2/s1"),
        endpoint(1, "r2/z1/s1"),
    ];
    let mut expected = vec![1, 0, 0, 0];
    for failed in 0..4 {
        assert_eq!(counts(&endpoints, mode.clone(), &here), expected, "{failed} failed");
        endpoints[failed].health = Health::Unhealthy;
        expected.rotate_right(1);
    }
    endpoints[1].health = Health::Healthy;
    assert_eq!(counts(&endpoints, mode, &here), [0, 1, 0, 0]);
}

#[test]
fn a_level_that_is_partly_ill_spills_over_in_proportion() {
    let mode = LocalityMode::Failover(vec![Scope::Region]);
    let mut endpoints: Vec<_> =
        (0..4).map(|_| endpoint(1, "r1")).chain((0..4).map(|_| endpoint(1, "r2"))).collect();
    let here = node("r1");
    let near = |endpoints: &[Endpoint]| {
        let counts = counts(endpoints, mode.clone(), &here);
        let all: usize = counts.iter().sum();
        counts[..4].iter().sum::<usize>() * 1_000 / all
    };
    // 3 of 4 healthy: 75 % x 1.4 is enough for all; 2 of 4: 70 %; 1 of 4: 35 %.
    for (ill, per_mille) in [(0, 1_000), (1, 1_000), (2, 700), (3, 350)] {
        endpoints.iter_mut().take(ill).for_each(|e| e.health = Health::Unhealthy);
        assert!(near(&endpoints).abs_diff(per_mille) <= 1, "{ill} ill: {}", near(&endpoints));
    }
    endpoints[..4].iter_mut().for_each(|e| e.health = Health::Terminating);
    endpoints[0].health = Health::Healthy;
    assert_eq!(near(&endpoints), 1_000, "a rollout does not push traffic away");
}

#[test]
fn round_robin_goes_around_evenly() {
    assert_eq!(interleave(&[1, 1, 1]), [0, 1, 2]);
    assert_eq!(interleave(&[2, 1]), [0, 1, 0]);
    assert_eq!(interleave(&[4, 2]), [0, 1, 0, 0, 1, 0]);
}

#[test]
fn maglev_moves_little_when_a_member_goes_and_nothing_when_none_does() {
    let members: Vec<(String, u64)> = (0..10).map(|n| (format!("10.0.0.{n}"), 1)).collect();
    let before = maglev(&members);
    assert_eq!(before, maglev(&members));
    for member in 0..10 {
        let share = before.iter().filter(|slot| **slot == member).count();
        assert!(share.abs_diff(before.len() / 10) <= 1, "{share} of {}", before.len());
    }
    let after = maglev(&members[..9]);
    let moved = before.iter().zip(&after).filter(|(b, a)| **b != 9 && b != a).count();
    assert!(moved * 10 < before.len(), "{moved} of {} moved for nothing", before.len());
}

#[test]
fn maglev_follows_weights() {
    let table = maglev(&[("a".into(), 3), ("b".into(), 1), ("c".into(), 0)]);
    let share =
        |member| table.iter().filter(|slot| **slot == member).count() as f64 / table.len() as f64;
    assert!((share(0) - 0.75).abs() < 0.01 && (share(1) - 0.25).abs() < 0.01 && share(2) == 0.0);
    assert!(maglev(&[]).is_empty());
}

#[test]
fn affinity_and_hashing_use_a_table_that_keeps_its_size() {
    for balancing in [
        LoadBalancing { affinity_seconds: Some(60), ..LoadBalancing::default() },
        LoadBalancing { algorithm: Algorithm::ConsistentHash, ..LoadBalancing::default() },
    ] {
        let sizes: Vec<usize> = (1..=2u8)
            .map(|n| {
                let mut endpoints: Vec<_> = (0..n).map(|_| endpoint(1, "")).collect();
                (0..n).for_each(|i| endpoints[usize::from(i)].address = [10, 0, 0, i].into());
                let all: Vec<&Endpoint> = endpoints.iter().collect();
                slots(&all, &balancing, &node(""), SLOTS_MAX).len()
            })
            .collect();
        assert_eq!(sizes, [251, 251]);
    }
}

#[test]
fn strict_takes_only_full_matches() {
    let mut endpoints = [endpoint(1, ""), endpoint(1, "")];
    Arc::make_mut(&mut endpoints[1].topology).node = "n1".into();
    let strict = || LocalityMode::Strict(vec![Scope::Node]);
    assert_eq!(counts(&endpoints, strict(), &node("")), [0, 1]);
    endpoints[1].health = Health::Unhealthy;
    assert_eq!(counts(&endpoints, strict(), &node("")), [0, 0]);
}

#[test]
fn a_node_without_locality_matches_no_locality_scope() {
    let mode = LocalityMode::Failover(vec![Scope::Region]);
    let endpoints = [endpoint(1, ""), endpoint(1, "r1")];
    assert_eq!(counts(&endpoints, mode, &node("")), [1, 1]);
}

#[test]
fn regions_fail_over_as_told() {
    let failover = BTreeMap::from([("r1".to_owned(), "r3".to_owned())]);
    let mode = LocalityMode::RegionFailover { failover };
    let endpoints = [endpoint(1, "r2"), endpoint(1, "r3/z9"), endpoint(1, "r3/z8")];
    assert_eq!(counts(&endpoints, mode, &node("r1/z1")), [0, 1, 1]);
}

#[test]
fn distribute_divides_by_share_then_by_weight() {
    let share = |locality: &str, weight_percent| LocalityShare {
        locality: Locality::parse(locality),
        weight_percent,
    };
    let rules = vec![(
        Locality::parse("r1"),
        LocalityWeights { shares: vec![share("r1/z1", 80), share("r1/z2", 20)] },
    )];
    let mut endpoints =
        [endpoint(3, "r1/z1/a"), endpoint(1, "r1/z1/b"), endpoint(7, "r1/z2"), endpoint(9, "r2")];
    let here = node("r1/z1");
    assert_eq!(counts(&endpoints, LocalityMode::Distribute(rules.clone()), &here), [3, 1, 1, 0]);
    endpoints[2].health = Health::Unhealthy;
    assert_eq!(counts(&endpoints, LocalityMode::Distribute(rules.clone()), &here), [3, 1, 0, 0]);
    // Another node's locality matches no rule: weights alone.
    let away = node("r9");
    assert_eq!(counts(&endpoints, LocalityMode::Distribute(rules), &away), [3, 1, 0, 9]);
}

proptest! {
    #[test]
    fn apportioned_slots_follow_the_weights(
        weights in prop::collection::vec(0u64..=u64::from(u32::MAX), 0..200),
        slots_max in 1u32..5_000,
    ) {
        let counts = apportion(&weights, slots_max);
        let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let total: u128 = counts.iter().map(|c| u128::from(*c)).sum();
        prop_assert!(total <= u128::from(slots_max.max(weights.len() as u32)));
        for (weight, count) in weights.iter().zip(&counts) {
            prop_assert_eq!(*weight > 0, *count > 0);
        }
        if sum > 0 {
            prop_assert!(total > 0);
            // No share is off by more than what one guaranteed slot for each weight can cost.
            for (weight, count) in weights.iter().zip(&counts) {
                let ideal = *weight as f64 / sum as f64 * total as f64;
                prop_assert!((f64::from(*count) - ideal).abs() <= weights.len() as f64 + 1.0);
            }
        }
    }

    #[test]
    fn the_same_weights_give_equal_slots(count in 1usize..300, weight in 1u32..1000) {
        let endpoints: Vec<_> = (0..count).map(|_| endpoint(weight, "")).collect();
        prop_assert_eq!(counts(&endpoints, LocalityMode::Ignore, &node("")), vec![1; count]);
    }

    #[test]
    fn traffic_goes_somewhere_whenever_an_endpoint_is_healthy(
        healthy in prop::collection::vec(any::<bool>(), 1..20),
        region in 0usize..3,
    ) {
        let endpoints: Vec<_> = healthy.iter().enumerate().map(|(index, healthy)| {
            let mut e = endpoint(1, &format!("r{}", index % 3));
            e.health = if *healthy { Health::Healthy } else { Health::Unhealthy };
            e
        }).collect();
        for mode in [
            LocalityMode::Ignore,
            LocalityMode::Failover(vec![Scope::Region, Scope::Zone]),
            LocalityMode::RegionFailover { failover: BTreeMap::new() },
        ] {
            let counts = counts(&endpoints, mode, &node(&format!("r{region}")));
            prop_assert_eq!(counts.iter().sum::<usize>() > 0, healthy.contains(&true));
            for (count, healthy) in counts.iter().zip(&healthy) {
                prop_assert!(*healthy || *count == 0);
            }
        }
    }
}
