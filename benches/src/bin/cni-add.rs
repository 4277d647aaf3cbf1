//! What the CNI plugin adds to the start of a pod: some hundred sandboxes, one after the other, with a
//! daemon that knows the pods. Beside it the plugin's own start, without a question to the daemon.
//!
//! Prints figures and asserts none: they are those of a whole process on a machine that does other
//! things, too.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use testkit::{ApiServer, CniCall, Pod, Scene, binary, wait_until};

const SCENE: &str = "cni-add";
/// Namespaces, each with a pod of its own.
const PODS: usize = 20;
/// Sandboxes that each of them becomes.
const ROUNDS: usize = 20;
/// A file system in memory, as `/run` is on most hosts.
const IN_MEMORY: &str = "/dev/shm";
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    let mut scene = Scene::new(SCENE);
    let pods: Vec<Pod> = (0..PODS).map(|n| scene.pod(&format!("pod{n}"))).collect();
    let api = ApiServer::start_new();
    let labels = json!({"istio.io/dataplane-mode": "Kmesh"});
    api.put(json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}));
    for pod in &pods {
        let metadata = json!({"namespace": "shop", "name": pod.name, "uid": pod.name});
        let spec = json!({"nodeName": "node", "containers": []});
        api.put(json!({"kind": "Pod", "metadata": metadata, "spec": spec}));
    }
    let socket = scene.dir().join("cni.sock");
    // As in production, the state is in memory: a disk would be measured otherwise.
    let state = tempfile::tempdir_in(IN_MEMORY).context(IN_MEMORY)?;
    let daemon = scene.start_daemon_with(|options| {
        options.args.extend(["--kubeconfig".into(), api.kubeconfig(scene.dir()).into()]);
        options.args.extend(["--cni-socket".into(), socket.clone().into()]);
        options.state_dir = state.path().join("state");
        std::fs::create_dir(&options.state_dir).unwrap_or_else(|e| panic!("{IN_MEMORY}: {e}"));
    });
    wait_until("the pods to be known", PATIENCE, || {
        daemon.status()["kubernetes"]["wanted"] == PODS
    });
    let (mut starts, mut adds, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for pod in &pods {
            let call = CniCall {
                entry: json!({
                    "socket": socket, "policy": "closed",
                    "logFile": scene.dir().join("kmesh-cni.log"),
                    "runtimeConfig": {"dns": {"Servers": ["192.0.2.10"]}},
                }),
                netns: pod.netns().into(),
                container_id: format!("sandbox-{}-{round}", pod.name),
                workload: format!("shop/{}", pod.name),
                uid: pod.name.clone(),
            };
            starts.push(timed(&call, "VERSION")?);
            adds.push(timed(&call, "ADD")?);
            ends.push(timed(&call, "DEL")?);
        }
    }
    let enrolled = &daemon.status()["kubernetes"]["cni"]["enrolled"];
    ensure!(*enrolled == PODS * ROUNDS, "{enrolled} sandboxes were enrolled");
    println!(
        "{} sandboxes; milliseconds of a whole call of {}",
        adds.len(),
        binary("kmesh-cni").display()
    );
    for (what, figures) in [("VERSION (start alone)", starts), ("ADD", adds), ("DEL", ends)] {
        let (p50, p99, max) = percentiles(figures)?;
        println!("{what:22} p50 {p50:6.2}   p99 {p99:6.2}   max {max:6.2}");
    }
    Ok(())
}

fn timed(call: &CniCall, command: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let answer = call.run(command);
    let took = started.elapsed();
    ensure!(answer.ok, "{command}: {answer:?}");
    Ok(took)
}

/// Median, 99th percentile and longest, in milliseconds.
fn percentiles(mut figures: Vec<Duration>) -> anyhow::Result<(f64, f64, f64)> {
    figures.sort_unstable();
    let at = |part: usize| {
        let index = (figures.len() * part / 100).min(figures.len().saturating_sub(1));
        figures.get(index).map(|it| it.as_secs_f64() * 1000.0)
    };
    let all = at(50).zip(at(99)).zip(at(100));
    all.map(|((p50, p99), max)| (p50, p99, max)).context("nothing was measured")
}
