//! Weights: how often each endpoint answers, and that a change of them is taken up live.

use testkit::{Daemon, within_sigma, yaml};

use super::bench::{Bench, PORT, TARGET, VIP, WEB, WEB6};
use super::load::Load;

const CONNECTS: u64 = 10_000;
const SIGMAS: f64 = 3.0;

/// A fair draw is off by three sigmas once in some hundred: then a second draw decides.
#[track_caller]
fn assert_spread(bench: &Bench, weights: &[(&str, u64)]) {
    let draw = || within_sigma(&bench.answers(WEB, CONNECTS), weights, SIGMAS);
    if let Err(first) = draw() {
        draw().unwrap_or_else(|second| panic!("twice: {first}, and then {second}"));
    }
}

/// A service whose endpoints are WorkloadEntries with weights.
fn weighted(bench: &Bench, weights: &[(&str, u64)]) -> String {
    let entry = yaml::service_entry("web", "web.example.com")
        .address(VIP)
        .port("http", PORT, TARGET)
        .workload_selector("app", "web");
    let workload = |(name, weight): &(&str, u64)| {
        let workload = yaml::workload_entry(name, bench.pod(name).v4);
        workload.workload_label("app", "web").weight(*weight as u32).to_string()
    };
    let workloads: Vec<String> = weights.iter().map(workload).collect();
    format!("{entry}---\n{}", workloads.join("---\n"))
}

#[test]
fn equal_endpoints_answer_equally_often() {
    let bench = Bench::new("equal", &["red", "green", "blue"]);
    bench.serve(&["red", "green", "blue"]);
    let _daemon = bench.start();
    let weights = [("red", 1), ("green", 1), ("blue", 1)];
    assert_spread(&bench, &weights);
    let skewed = [("red", 2), ("green", 1), ("blue", 1)];
    assert!(within_sigma(&bench.answers(WEB6, 2_000), &skewed, SIGMAS).is_err(), "it can fail");
}

#[test]
fn weighted_endpoints_answer_by_weight_and_a_new_weight_counts_at_once() {
    let bench = Bench::new("weights", &["red", "green", "blue"]);
    let weights = [("red", 70), ("green", 20), ("blue", 10)];
    bench.scene.config("web.yaml", weighted(&bench, &weights));
    let daemon = bench.start();
    assert_spread(&bench, &weights);
    let turned = [("red", 10), ("green", 90), ("blue", 0)];
    bench.apply(&daemon, "web.yaml", weighted(&bench, &turned));
    assert_spread(&bench, &turned);
}

/// Removes `gone` while clients connect; after the commit it gets nothing any more.
fn remove_under_load(bench: &Bench, daemon: &Daemon, gone: &str, left: &[&str]) {
    let load = Load::tcp(&bench.client, WEB, 2);
    let accepted = || bench.servers[gone].accepted();
    let before = accepted();
    load.more(200);
    assert!(accepted() > before, "{gone} has its share");
    bench.apply(daemon, "web.yaml", bench.web(left));
    // What was under way at the commit ends; each client has at most one connection.
    load.more(10);
    let after = accepted();
    load.more(1_000);
    assert_eq!(accepted(), after, "{gone} is not chosen after the commit");
    load.finish();
}

#[test]
fn an_endpoint_that_is_removed_is_not_chosen_again_and_no_connect_fails() {
    let bench = Bench::new("removal", &["red", "green", "blue"]);
    bench.serve(&["red", "green", "blue"]);
    let daemon = bench.start();
    remove_under_load(&bench, &daemon, "blue", &["red", "green"]);
    remove_under_load(&bench, &daemon, "green", &["red"]);
    bench.apply(&daemon, "web.yaml", bench.web(&["blue"]));
    assert_eq!(bench.answers(WEB, 100)["blue"], 100, "and back");
}
