//! Labels of pods and namespaces: who belongs to the mesh, and from when on.

use std::net::SocketAddr;

use cluster::NODE_LABEL;
use cluster::app::LoadKind;
use cluster::image::IMAGE;
use testkit::wait_until;

use super::services::cluster_ips;
use e2e::fixture::{self, MESH, PLAIN};
use e2e::load::Load;
use e2e::world::{PATIENCE, World};

const LABEL: &str = "istio.io/dataplane-mode";
const EVERY_MS: u64 = 4;
/// Pods that connect as the first thing that they do.
const HASTY: usize = 6;

fn web(world: &World) -> SocketAddr {
    SocketAddr::new(cluster_ips(world, MESH, "web")[0], 80)
}

/// Each connects once, at once, and nobody but the mesh translates the address.
pub fn a_pod_is_enrolled_before_its_first_container_starts(world: &mut World) {
    let to = web(world);
    let pod = |index: usize| {
        let node = index % 2 + 1;
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: hasty-{index}, namespace: {MESH}, labels: {{app: hasty}}}}
spec:
  restartPolicy: Never
  nodeSelector: {{{NODE_LABEL}: '{node}'}}
  containers:
  - {{name: app, image: '{IMAGE}', imagePullPolicy: Never, args: [ask, '{to}']}}
"
        )
    };
    let yaml: String = (0..HASTY).map(pod).collect();
    world.kubectl().apply(&yaml);
    let arguments = ["pods", "-n", MESH, "-l", "app=hasty"];
    let phases = world.kubectl().wait_for("all of them to end", PATIENCE * 2, &arguments, |list| {
        let phase = |pod: &serde_json::Value| pod["status"]["phase"].as_str().map(str::to_owned);
        let phases: Option<Vec<String>> = list["items"].as_array()?.iter().map(phase).collect();
        phases.filter(|all| all.iter().all(|one| one == "Succeeded" || one == "Failed"))
    });
    assert_eq!(
        phases,
        vec!["Succeeded"; HASTY],
        "a failure is a connection that was not redirected"
    );
    world.kubectl().delete(&yaml);
}

pub fn a_label_of_a_pod_takes_it_in_and_lets_it_go_under_load(world: &mut World) {
    let yaml = fixture::pod(PLAIN, "switching", "switching", 1);
    world.kubectl().apply(&yaml);
    let pod = world.pod(PLAIN, "switching");
    // Pod to pod goes the same way with and without the mesh, and must not notice.
    let server = SocketAddr::new(world.pod(MESH, "web-v2").address(false), 8080);
    let connects = Load::start(&pod, server, LoadKind::Connect, 2, EVERY_MS);
    let echo = SocketAddr::new(server.ip(), cluster::app::ECHO_PORT);
    let stream = Load::start(&pod, echo, LoadKind::Stream, 1, EVERY_MS);
    for _ in 0..3 {
        pod.must_not_reach(web(world));
        world.kubectl().run(&["label", "pod", "-n", PLAIN, "switching", &format!("{LABEL}=Kmesh")]);
        pod.must_ask(web(world));
        world.kubectl().run(&["label", "pod", "-n", PLAIN, "switching", &format!("{LABEL}-")]);
    }
    pod.must_not_reach(web(world));
    connects.finish();
    stream.finish();
    world.kubectl().delete(&yaml);
}

pub fn a_pod_that_says_none_is_left_alone_and_comes_back(world: &mut World) {
    let client = world.pod(MESH, "client-2");
    client.must_ask(web(world));
    let label = |value: &str| {
        let label = format!("{LABEL}{value}");
        world.kubectl().run(&["label", "--overwrite", "pod", "-n", MESH, "client-2", &label]);
    };
    label("=none");
    client.must_not_reach(web(world));
    label("-");
    client.must_ask(web(world));
}

pub fn a_label_of_a_namespace_takes_in_its_running_pods(world: &mut World) {
    let outsider = world.pod(PLAIN, "outsider");
    outsider.must_not_reach(web(world));
    world.kubectl().run(&["label", "namespace", PLAIN, &format!("{LABEL}=Kmesh")]);
    outsider.must_ask(web(world));
    world.kubectl().run(&["label", "namespace", PLAIN, &format!("{LABEL}-")]);
    outsider.must_not_reach(web(world));
}

pub fn a_pod_of_the_hosts_network_is_not_enrolled(world: &mut World) {
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: on-the-host, namespace: {MESH}, labels: {{app: on-the-host}}}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  nodeSelector: {{{NODE_LABEL}: '1'}}
  containers:
  - {{name: app, image: '{IMAGE}', imagePullPolicy: Never, args: [pause]}}
"
    );
    world.kubectl().apply(&yaml);
    world.pod(MESH, "on-the-host");
    // One that comes later is enrolled: by then the daemon has made up its mind about the first.
    let later = fixture::pod(MESH, "later", "later", 1);
    world.kubectl().apply(&later);
    let pod = world.pod(MESH, "later");
    wait_until("the later pod to be enrolled", PATIENCE, || world.mesh.is_enrolled(&pod));
    assert!(!world.mesh.is_enrolled(&world.pod(MESH, "on-the-host")));
    world.kubectl().delete(&(yaml + &later));
}
