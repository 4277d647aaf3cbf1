//! Pods and daemons that come and go while clients connect without pause.

use std::net::SocketAddr;

use cluster::app::{LoadCounts, LoadKind};
use cluster::image::IMAGE;

use super::services::{clients, cluster_ips};
use e2e::fixture::{self, MESH};
use e2e::load::Load;
use e2e::world::World;

/// Pause of a client between two connections.
const EVERY_MS: u64 = 4;
/// How long a server goes on after it was told to end: longer than the news takes to every node.
const DRAIN_MS: u32 = 3000;

fn deployment(name: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {MESH}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 2}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - {{name: app, image: '{IMAGE}', imagePullPolicy: Never, args: [serve, '{DRAIN_MS}'],
         readinessProbe: {{httpGet: {{port: 8081}}, periodSeconds: 1}}}}
"
    ) + &fixture::service(MESH, name, name)
}

fn roll_out(world: &World, name: &str) {
    let target = format!("deployment/{name}");
    world.kubectl().run(&["-n", MESH, "rollout", "status", &target, "--timeout=60s"]);
}

pub fn a_rollout_loses_no_connection(world: &mut World) {
    let yaml = deployment("rolling");
    world.kubectl().apply(&yaml);
    roll_out(world, "rolling");
    let loads: Vec<Load> = clients(world)
        .iter()
        .map(|client| {
            let address = cluster_ips(world, MESH, "rolling")[0];
            client.must_ask(SocketAddr::new(address, 80));
            Load::start(client, SocketAddr::new(address, 80), LoadKind::Connect, 2, EVERY_MS)
        })
        .collect();
    for _ in 0..2 {
        world.kubectl().run(&["-n", MESH, "rollout", "restart", "deployment/rolling"]);
        roll_out(world, "rolling");
    }
    // Those of before are gone when only the last two are left.
    world.pods(MESH, "app=rolling", 2);
    for counts in loads.into_iter().map(Load::finish) {
        assert!(counts.pods.len() >= 4, "old and new pods have answered: {:?}", counts.pods);
    }
    world.kubectl().delete(&yaml);
}

pub fn scaling_up_and_down_loses_no_connection(world: &mut World) {
    let yaml = deployment("scaled");
    world.kubectl().apply(&yaml);
    roll_out(world, "scaled");
    let client = world.pod(MESH, "client-1");
    let address = SocketAddr::new(cluster_ips(world, MESH, "scaled")[1], 80);
    client.must_ask(address);
    let load = Load::start(&client, address, LoadKind::Connect, 2, EVERY_MS);
    for replicas in [5, 1] {
        let replicas_flag = format!("--replicas={replicas}");
        world.kubectl().run(&["-n", MESH, "scale", "deployment/scaled", &replicas_flag]);
        world.pods(MESH, "app=scaled", replicas);
        load.more(100);
    }
    let counts = load.finish();
    assert!(counts.pods.len() >= 4, "new pods have answered: {:?}", counts.pods);
    world.kubectl().delete(&yaml);
}

/// New connections over IPv4 and IPv6, and two that stay open, on each node.
fn loads(world: &World) -> Vec<Load> {
    let addresses = cluster_ips(world, MESH, "web");
    let mut loads = Vec::new();
    for client in clients(world) {
        for address in &addresses {
            let to = SocketAddr::new(*address, 80);
            loads.push(Load::start(&client, to, LoadKind::Connect, 1, EVERY_MS));
            let to = SocketAddr::new(*address, 82);
            loads.push(Load::start(&client, to, LoadKind::Stream, 1, EVERY_MS));
        }
    }
    loads
}

fn finish(loads: Vec<Load>) -> Vec<LoadCounts> {
    loads.iter().for_each(|load| load.more(100));
    loads.into_iter().map(Load::finish).collect()
}

pub fn a_restart_of_the_daemons_loses_no_connection(world: &mut World) {
    let loads = loads(world);
    world.mesh.restart();
    finish(loads);
}

pub fn a_killed_daemon_loses_no_connection(world: &mut World) {
    let loads = loads(world);
    world.mesh.kill(world.cluster.as_ref().expect("our own cluster"), "node1");
    finish(loads);
}
