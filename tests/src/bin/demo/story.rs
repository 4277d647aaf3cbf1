//! The demo from its first step to its last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use testkit::{Interrupt, wait_until, within_sigma};

use crate::curl::{self, Answers};
use crate::screen::{mebibytes, print, say, short, step, table};
use crate::stage::Stage;
use crate::{keep, nodes, outage, probe, shop, stage};

/// Requests to each address of the service.
const REQUESTS: u64 = 500;
/// Once in 16 000 a fair draw is further off than this.
const SIGMAS: f64 = 4.0;
const COMMIT_DEADLINE: Duration = Duration::from_secs(10);

/// Tells it; what was made is removed at the end, unless it is to be kept.
///
/// # Errors
/// When the machine is not fit, something does not behave as told, or somebody interrupts.
pub fn tell(keep: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    print(
        "First traffic: real servers and clients, and a mesh that lives in the kernel.\n\
         All of it happens in network namespaces, a cgroup and a bpffs of the demo's own. Ctrl-C removes it.\n",
    );
    machine()?;
    stage::sweep();
    let mut stage = pods()?;
    interrupt.check()?;
    mesh(&mut stage)?;
    interrupt.check()?;
    balancing(&stage)?;
    interrupt.check()?;
    exceptions(&stage)?;
    interrupt.check()?;
    live_change(&stage)?;
    interrupt.check()?;
    kernel_report(&stage);
    nodes::tell(&stage, interrupt)?;
    interrupt.check()?;
    outage::tell(&mut stage, interrupt)?;
    if keep {
        keep::invite(&stage)?;
        stage.keep();
    }
    Ok(())
}

fn machine() -> anyhow::Result<()> {
    step("Can this machine do it?");
    let found = probe::ask()?;
    say(&format!(
        "Yes: all {found} things that the mesh needs of kernel {} are there (kmesh-daemon probe).",
        probe::kernel()
    ));
    Ok(())
}

fn pods() -> anyhow::Result<Stage> {
    step("Three pods on one node: network namespaces, joined by a bridge");
    let stage = Stage::set(&shop::files()?);
    let row = |pod: &testkit::Pod, runs: String| {
        [pod.name.clone(), runs, pod.v4.to_string(), pod.v6.to_string()]
    };
    let mut rows = vec![row(&stage.client, "curl".to_owned())];
    for (pod, (_, ports)) in stage.webs.iter().zip(shop::ENDPOINTS) {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        rows.push(row(pod, format!("nginx on {}", ports.join(", "))));
    }
    table(["POD", "RUNS", "IPV4", "IPV6"], &rows);
    Ok(stage)
}

fn mesh(stage: &mut Stage) -> anyhow::Result<()> {
    step("The mesh: one daemon, ordinary YAML, no cluster");
    let took = stage.start_daemon();
    let status = stage.daemon().status();
    let problems = status["config"]["problems"].as_array().map_or(0, Vec::len);
    ensure!(problems == 0, "the example has problems: {}", status["config"]["problems"]);
    say(&format!(
        "{}: {} services and {} workloads, in the kernel {} ms after the daemon's start.",
        short(&shop::examples()?),
        status["config"]["services"],
        status["config"]["workloads"],
        took.as_millis()
    ));
    let netns = stage.client.netns().to_string_lossy().into_owned();
    let args = ["enroll", "--netns", &netns, "--workload", "shop/client"];
    let done = stage.daemon().kmeshctl(&args);
    ensure!(done.status.success(), "kmeshctl enroll: {}", String::from_utf8_lossy(&done.stderr));
    print(&format!("   $ kmeshctl {}\n", args.join(" ")));
    say(&String::from_utf8_lossy(&done.stdout));
    Ok(())
}

fn balancing(stage: &Stage) -> anyhow::Result<()> {
    step("The client dials the service `web` by its two addresses");
    let answers = dial(stage)?;
    let rows = shop::WEB.iter().zip(&answers).map(|(vip, answers)| {
        let (total, failed) = (answers.total().to_string(), answers.failed.to_string());
        [format!("curl http://{vip}/"), total, failed, answers.peers()]
    });
    table(["DIALLED", "REQUESTS", "FAILED", "PEER NAME THAT CURL SAW"], &rows.collect::<Vec<_>>());
    shares(stage, &answers)?;
    say(
        "The endpoint is chosen at connect(); the application still sees the address that it dialled.",
    );
    for (vip, answers) in shop::WEB.iter().zip(&answers) {
        let dialled = vip.trim_matches(['[', ']']);
        ensure!(answers.peers() == dialled, "curl saw {} and dialled {dialled}", answers.peers());
    }
    Ok(())
}

/// Requests to both addresses of the service.
fn dial(stage: &Stage) -> anyhow::Result<[Answers; 2]> {
    let [v4, v6] = shop::WEB;
    Ok([curl::get(&stage.client, v4, REQUESTS)?, curl::get(&stage.client, v6, REQUESTS)?])
}

/// Who answered how often, against the weights; more than chance explains is a failure.
fn shares(stage: &Stage, answers: &[Answers; 2]) -> anyhow::Result<()> {
    let weights = shop::weights(stage.daemon())?;
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let rows = weights.iter().map(|(pod, weight)| {
        let expected = REQUESTS * weight / total;
        let [v4, v6] = answers.each_ref().map(|answers| answers.of(pod).to_string());
        [pod.clone(), weight.to_string(), expected.to_string(), v4, v6]
    });
    let heading = ["ENDPOINT", "WEIGHT", "EXPECTED", "ANSWERED IPV4", "ANSWERED IPV6"];
    table(heading, &rows.collect::<Vec<_>>());
    let weights: Vec<(&str, u64)> = weights.iter().map(|(pod, w)| (pod.as_str(), *w)).collect();
    for answers in answers {
        ensure!(answers.failed == 0, "{} requests failed", answers.failed);
        within_sigma(&answers.by_pod, &weights, SIGMAS).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn exceptions(stage: &Stage) -> anyhow::Result<()> {
    step("Other addresses");
    let web = stage.webs.first().context("there are endpoints")?;
    let pod_address = format!("{}:{}", web.v4, shop::ENDPOINTS[0].1[0]);
    let rows = [
        refused(stage, shop::IDLE, "`idle`, a service without endpoints")?,
        refused(stage, shop::WRONG_PORT, "`web`, but not a port of it")?,
        answered(stage, shop::PAYMENTS, "payments.example.com, a ServiceEntry")?,
        answered(stage, &pod_address, "a pod, found by a headless service's name")?,
        answered(stage, &stage.unnamed().to_string(), "unknown to the mesh: left alone")?,
    ];
    table(["DIALLED", "WHAT IT IS", "WHAT HAPPENED"], &rows);
    Ok(())
}

fn refused(stage: &Stage, target: &str, what: &str) -> anyhow::Result<[String; 3]> {
    let address: SocketAddr = target.parse().with_context(|| target.to_owned())?;
    let (result, took) = curl::refusal(&stage.client, address);
    let is_refusal =
        result.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
    ensure!(is_refusal, "{target} should be refused: {result:?}");
    let happened = format!("connection refused, after {} us", took.as_micros());
    Ok([target.to_owned(), what.to_owned(), happened])
}

fn answered(stage: &Stage, target: &str, what: &str) -> anyhow::Result<[String; 3]> {
    let answers = curl::get(&stage.client, target, 1)?;
    ensure!(answers.failed == 0, "{target} gave no answer");
    Ok([target.to_owned(), what.to_owned(), format!("answered by {}", answers.pods())])
}

fn live_change(stage: &Stage) -> anyhow::Result<()> {
    step("The weights change while the daemon runs");
    let path = stage.scene().config_dir().join(shop::WEIGHTS_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let generation = || stage.daemon().status()["generation"].as_u64().unwrap_or(0);
    let before = generation();
    let started = Instant::now();
    stage.scene().config(shop::WEIGHTS_FILE, shop::swap_weights(&text));
    wait_until("the new weights in the kernel", COMMIT_DEADLINE, || generation() > before);
    say(&format!(
        "{} is saved with the two weights exchanged, and in force {} ms later.",
        shop::WEIGHTS_FILE,
        started.elapsed().as_millis()
    ));
    shares(stage, &dial(stage)?)
}

fn kernel_report(stage: &Stage) {
    step("What the kernel told the daemon about all this");
    let sent = REQUESTS * 4;
    let status = wait_until("the connection events", COMMIT_DEADLINE, || {
        let status = stage.daemon().status();
        let closed = status["connections"]["closed"].as_u64().unwrap_or(0);
        if closed >= sent { Ok(status) } else { Err(format!("{closed} closed")) }
    });
    let connections = &status["connections"];
    let count = |key: &str| connections[key].to_string();
    table(
        ["OPENED", "CLOSED", "REFUSED", "BYTES SENT", "BYTES RECEIVED", "EVENTS LOST"],
        &[["opened", "closed", "refused", "bytesSent", "bytesReceived", "eventsLost"].map(count)],
    );
    let counters = status["counters"].as_array().into_iter().flatten();
    let seen = counters.filter(|counter| counter["count"] != 0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let first_clause =
        |value: &Value| text(value).split([':', '.']).next().unwrap_or_default().to_owned();
    let rows: Vec<[String; 3]> = seen
        .map(|it| [text(&it["reason"]), it["count"].to_string(), first_clause(&it["sentence"])])
        .collect();
    table(["REASON", "COUNT", "MEANING"], &rows);
    let maps = status["maps"].as_array().into_iter().flatten();
    let bytes: u64 = maps.clone().filter_map(|map| map["bytes"].as_u64()).sum();
    say(&format!("Kernel memory of its {} maps: {}.", maps.count(), mebibytes(bytes)));
}
