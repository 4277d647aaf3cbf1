//! From the start of a daemon that knows nothing to complete maps, under the real istiod with a large cluster:
//! pods that nobody runs, on a node that does not exist.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::Cluster;
use cluster::istiod::{SERVER_NAME, XDS_PORT};
use e2e::world::World;
use serde_json::{Value, json};
use testkit::{OwnChild, binary, wait_until};

use crate::Arguments;
use crate::api::{Api, Call};

const NAMESPACE: &str = "crowd";
/// Of the default number of services and pods, on two processors.
const SECONDS_MAX: f64 = 1.5;
const RESIDENT_MB_MAX: u64 = 120;
/// How often it is started.
const STARTS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(300);
/// Pods of a node with that many addresses: 10.128.0.0/9.
const FIRST_POD: u32 = 0x0a80_0000;

/// Prints time and memory, and returns whether they are within their bounds.
pub fn run(world: &mut World, arguments: &Arguments) -> bool {
    // They would remove what has no owner.
    world.cluster.as_mut().expect("a cluster of our own").stop_controllers();
    let cluster = world.cluster.as_ref().expect("a cluster of our own");
    let clock = Instant::now();
    fill(cluster, arguments);
    println!(
        "{:>7.1} s  {} services, {} pods written",
        clock.elapsed().as_secs_f64(),
        arguments.services,
        arguments.pods
    );
    wait_known(world, arguments);
    let mut starts: Vec<(f64, u64)> = (0..STARTS).map(|_| start_once(world, arguments)).collect();
    starts.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (seconds, _) = starts[STARTS / 2];
    let resident = starts.iter().map(|start| start.1).max().unwrap_or(0);
    let holds = seconds <= SECONDS_MAX && resident <= RESIDENT_MB_MAX;
    println!(
        "{} cold start: {seconds:.2} s to complete maps (median of {STARTS}, bound {SECONDS_MAX}), {resident} MB \
         resident at most (bound {RESIDENT_MB_MAX})",
        if holds { "ok    " } else { "MISSED" }
    );
    holds
}

/// Services, their slices, and pods with addresses.
fn fill(cluster: &Cluster, arguments: &Arguments) {
    let Arguments { services, pods, .. } = *arguments;
    let kubectl = cluster.kubectl();
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: default, namespace: {NAMESPACE}}}\n"
    ));
    let api = Api::start(&cluster.nodes[0], kubectl.command());
    let made: Vec<Call> =
        (0..services).map(service).chain((0..pods).map(|i| pod(i, services))).collect();
    api.call_all(&made);
    let ready: Vec<Call> =
        (0..pods).map(pod_status).chain((0..services).map(|i| slice(i, services, pods))).collect();
    api.call_all(&ready);
}

fn address(pod: u32) -> String {
    std::net::Ipv4Addr::from(FIRST_POD + pod).to_string()
}

fn service(index: u32) -> Call {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
    let body = json!({
        "metadata": {"name": format!("s{index}")},
        "spec": {
            "selector": {"app": format!("s{index}")},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    });
    ("POST", path, body)
}

fn pod(index: u32, services: u32) -> Call {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let body = json!({
        "metadata": {"name": format!("p{index}"), "labels": {"app": format!("s{}", index % services)}},
        "spec": {
            "nodeName": "nowhere",
            "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "none"}],
        },
    });
    ("POST", path, body)
}

fn pod_status(index: u32) -> Call {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/p{index}/status");
    let ip = address(index);
    let body = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    ("PATCH", path, body)
}

fn slice(index: u32, services: u32, pods: u32) -> Call {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
    let own = (index..pods).step_by(services as usize);
    let endpoints = own.map(|pod| {
        json!({
            "addresses": [address(pod)], "conditions": {"ready": true}, "nodeName": "nowhere",
            "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": format!("p{pod}")},
        })
    });
    let body = json!({
        "metadata": {
            "name": format!("s{index}"),
            "labels": {"kubernetes.io/service-name": format!("s{index}")},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<Value>>(),
    });
    ("POST", path, body)
}

/// Waits until a daemon that is there has heard of everything: istiod is through with it, then.
fn wait_known(world: &World, arguments: &Arguments) {
    let clock = Instant::now();
    wait_until("istiod to tell everything", DEADLINE, || {
        let known = world.mesh.status("node1");
        let count = |name: &str| known["config"][name].as_u64().unwrap_or(0);
        let (services, workloads) = (count("services"), count("workloads"));
        let enough = services >= arguments.services.into() && workloads >= arguments.pods.into();
        if enough { Ok(()) } else { Err(format!("{services} services, {workloads} workloads")) }
    });
    println!("{:>7.1} s  until a daemon has heard of all of them", clock.elapsed().as_secs_f64());
}

/// (seconds until it was ready, megabytes resident then) of a daemon with maps of its own.
fn start_once(world: &World, arguments: &Arguments) -> (f64, u64) {
    let cluster = world.cluster.as_ref().expect("a cluster of our own");
    let node = &cluster.nodes[0];
    let kubectl = world.kubectl();
    let token =
        kubectl.run(&["create", "token", "kmesh", "-n", "kmesh-system", "--audience=istio-ca"]);
    let root = kubectl.get(&["configmap", "istio-ca-root-cert", "-n", "kmesh-system"]);
    node.write("/run/cold/token", token.trim());
    node.write("/run/cold/root.pem", root["data"]["root-cert.pem"].as_str().unwrap());
    node.must("mkdir", &["-p", "/sys/fs/bpf/cold", "/sys/fs/cgroup/unified/cold"]);
    let mut command = node.command(binary("kmesh-daemon"));
    command.args(["--bpf-fs-path=/sys/fs/bpf/cold", "--cgroup2-path=/sys/fs/cgroup/unified/cold"]);
    command.args([
        "--state-dir=/run/cold",
        "--admin-socket=/run/cold/admin.sock",
        "--status-addr=none",
    ]);
    command.args(["--xds-root-cert=/run/cold/root.pem", "--xds-token=/run/cold/token"]);
    command.args(["--kubernetes=off", "--node-name=node1", "--xds-server-name", SERVER_NAME]);
    command.arg(format!("--xds-address={}:{XDS_PORT}", node.v4));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let clock = Instant::now();
    let mut daemon = OwnChild::spawn(&mut command);
    let socket = node.path("/run/cold/admin.sock");
    let ready =
        || kmeshctl(&socket, &["status", "-o", "json"]).filter(|status| status["ready"] == true);
    let status = wait_until("the daemon to be ready", DEADLINE, ready);
    let seconds = clock.elapsed().as_secs_f64();
    let services = status["config"]["services"].as_u64().unwrap_or(0);
    assert!(services >= arguments.services.into(), "ready with {services} services");
    let resident = resident_mb(daemon.pid());
    let _ = daemon.terminate(DEADLINE);
    node.must("rm", &["-rf", "/sys/fs/bpf/cold/kmesh", "/run/cold"]);
    println!("        {seconds:.2} s, {resident} MB");
    (seconds, resident)
}

fn kmeshctl(socket: &std::path::Path, arguments: &[&str]) -> Option<Value> {
    let mut command = Command::new(binary("kmeshctl"));
    let done = command.arg("--socket").arg(socket).args(arguments).output().ok()?;
    serde_json::from_slice(&done.stdout).ok()
}

fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
