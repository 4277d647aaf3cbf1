//! The product in the cluster: an image made on the spot, a DaemonSet, and ways to ask its daemons.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cluster::image::Image;
use cluster::istiod::{SERVER_NAME, XDS_PORT};
use cluster::{API_PORT, Cluster, Kubectl};
use serde_json::Value;
use testkit::{binary, wait_until};

use crate::pod::Pod;

/// What an operator applies.
const DEPLOYED: &str = include_str!("../../../deploy/yaml/kmesh.yaml");
const NAMESPACE: &str = "kmesh-system";
const IMAGE: &str = "docker.io/kmesh/kmesh:e2e";
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// The daemons of all nodes.
pub struct Mesh {
    kubectl: Kubectl,
    /// Daemon pods by node.
    pods: BTreeMap<String, String>,
}

impl Mesh {
    /// Installs it, in our own cluster, and finds its daemons.
    #[track_caller]
    pub fn install(cluster: Option<&Cluster>, kubectl: &Kubectl) -> Self {
        if let Some(cluster) = cluster {
            let programs = [
                (binary("kmesh-daemon"), "/usr/bin/kmesh-daemon"),
                (binary("kmeshctl"), "/usr/bin/kmeshctl"),
                (binary("kmesh-cni"), "/usr/bin/kmesh-cni"),
            ];
            let image = Image {
                name: IMAGE,
                programs: &programs,
                files: &[],
                entrypoint: &["/usr/bin/kmesh-daemon"],
                cmd: &[],
            };
            cluster.add_image(&image);
            kubectl.apply(&manifest(cluster));
        }
        let mut mesh = Self { kubectl: kubectl.clone(), pods: BTreeMap::new() };
        mesh.wait_ready();
        mesh
    }

    /// Waits until each node has a daemon that is ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let nodes = self.kubectl.get(&["nodes"])["items"].as_array().map_or(0, Vec::len);
        let arguments = ["pods", "-n", NAMESPACE, "-l", "app=kmesh"];
        let what = format!("{nodes} daemons to be ready");
        self.pods = self.kubectl.wait_for(&what, READY_DEADLINE, &arguments, |list| {
            let items = list["items"].as_array()?.iter();
            let ready = items.filter(|item| crate::pod::is_ready(item)).map(|item| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&item["spec"]["nodeName"]), text(&item["metadata"]["name"]))
            });
            Some(ready.collect::<BTreeMap<_, _>>()).filter(|pods| pods.len() == nodes)
        });
    }

    /// `kmeshctl` in the daemon of a node.
    ///
    /// # Errors
    /// What it wrote.
    pub fn kmeshctl(&self, node: &str, arguments: &[&str]) -> Result<String, String> {
        let pod = self.pods.get(node).ok_or_else(|| format!("{node} has no daemon"))?;
        let exec = ["exec", "-n", NAMESPACE, pod.as_str(), "--", "kmeshctl"];
        self.kubectl.try_run(&[&exec, arguments].concat(), "")
    }

    /// `GET /status` of the daemon of a node.
    #[track_caller]
    pub fn status(&self, node: &str) -> Value {
        let text = self.kmeshctl(node, &["status", "-o", "json"]).unwrap_or_else(|e| panic!("{e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
    }

    /// Waits until a pod is enrolled.
    #[track_caller]
    pub fn wait_enrolled(&self, pod: &Pod) {
        wait_until(&format!("{} to be enrolled", pod.name), READY_DEADLINE, || {
            self.is_enrolled(pod)
        });
    }

    /// Whether the daemon of its node has it.
    pub fn is_enrolled(&self, pod: &Pod) -> bool {
        let workload = format!("{}/{}", pod.namespace, pod.name);
        let status = self.kmeshctl(&pod.node, &["status"]).unwrap_or_default();
        status.split_whitespace().any(|word| word == workload)
    }

    /// Ends the daemons in order, one node after the other, and starts new ones.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kubectl.run(&["-n", NAMESPACE, "rollout", "restart", "daemonset/kmesh"]);
        let arguments = ["-n", NAMESPACE, "rollout", "status", "daemonset/kmesh", "--timeout=60s"];
        self.kubectl.run(&arguments);
        self.wait_ready();
    }

    /// SIGKILL to the daemon of a node of ours, and waits until the kubelet has started another.
    #[track_caller]
    pub fn kill(&mut self, cluster: &Cluster, node: &str) {
        let name = self.pods[node].clone();
        let namespaces = cluster.nodes.iter().find(|one| one.name == node).expect("the node").pid();
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = of(&namespaces.to_string());
        let pid = processes("kmesh-daemon").into_iter().find(|pid| of(&pid.to_string()) == own);
        let pid = pid.expect("the daemon's process");
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        let before = restarts(&self.kubectl.get(&["pod", "-n", NAMESPACE, &name])).unwrap_or(0);
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
        let what = format!("a new daemon on {node}");
        let arguments = ["pod", "-n", NAMESPACE, name.as_str()];
        self.kubectl.wait_for(&what, READY_DEADLINE, &arguments, |pod| {
            (restarts(pod)? > before && crate::pod::is_ready(pod)).then_some(())
        });
    }

    /// Writes what each daemon says of itself to files of `folder`.
    pub fn save_state(&self, folder: &Path) {
        for (node, pod) in &self.pods {
            let save = |name: &str, text: Result<String, String>| {
                let text = text.unwrap_or_else(|e| e);
                let _ = std::fs::write(folder.join(format!("{name}-{node}")), text);
            };
            save("status", self.kmeshctl(node, &["status"]));
            save("dump", self.kmeshctl(node, &["dump"]));
            save("bpf", self.kmeshctl(node, &["dump", "--bpf"]));
            save("log", self.kubectl.try_run(&["logs", "-n", NAMESPACE, pod], ""));
        }
    }
}

/// Processes of this name, in the numbers of this process.
fn processes(name: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named = pids.filter(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        text.trim() == name
    });
    named.collect()
}

/// As it is deployed, with what is particular to this cluster. Without kube-proxy, a daemon on the node's
/// network reaches no cluster IP: it is told where the API server and istiod are.
#[track_caller]
fn manifest(cluster: &Cluster) -> String {
    let first = cluster.nodes[0].v4;
    let more = format!(
        "env:
            - {{name: XDS_SERVER_NAME, value: {SERVER_NAME}}}
            - {{name: KUBERNETES_SERVICE_HOST, value: '{first}'}}
            - {{name: KUBERNETES_SERVICE_PORT, value: '{API_PORT}'}}
"
    );
    let changes = [
        ("image: kmesh:latest", format!("image: {IMAGE}")),
        ("imagePullPolicy: IfNotPresent", "imagePullPolicy: Never".to_owned()),
        // The cluster's DNS server has a cluster IP, too: names are looked up where the node does.
        ("dnsPolicy: ClusterFirstWithHostNet", "dnsPolicy: Default".to_owned()),
        ("value: istiod.istio-system.svc:15012", format!("value: {first}:{XDS_PORT}")),
        ("env:\n", more),
    ];
    changes.iter().fold(DEPLOYED.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in deploy/yaml/kmesh.yaml");
        text.replace(from, to)
    })
}
