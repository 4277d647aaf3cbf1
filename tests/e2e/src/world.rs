//! What scenes work with: the cluster, ours or somebody else's, the product in it, and the pods that
//! most of them talk to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster::{Cluster, Kubectl, NODE_LABEL, Options};
use serde_json::Value;

use crate::mesh::Mesh;
use crate::pod::{self, Pod};

/// Longer than any change takes to be in force, on a machine that does other things, too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long istiod is away unless somebody says otherwise, in seconds.
pub const OUTAGE_S: u64 = 20;

/// Dropped before the cluster: nothing of it outlives a scene.
pub struct World {
    /// The daemons.
    pub mesh: Mesh,
    /// Ours, unless `KUBECONFIG` names another.
    pub cluster: Option<Cluster>,
    /// How long istiod is away, for the scene of that.
    pub outage: Duration,
    kubectl: Kubectl,
    logs: PathBuf,
}

impl World {
    /// A cluster with the product.
    pub fn start(logs: &Path) -> Self {
        let foreign = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
        let cluster = match foreign {
            Some(_) => None,
            None => Some(Cluster::start(&Options { logs: logs.to_owned(), istiod: true })),
        };
        let kubectl =
            cluster.as_ref().map_or_else(Kubectl::of_env, |cluster| cluster.kubectl().clone());
        if cluster.is_none() {
            println!(
                "in the cluster of KUBECONFIG, {}",
                kubectl.run(&["config", "current-context"]).trim()
            );
            number_nodes(&kubectl);
        }
        let clock = Instant::now();
        let mesh = Mesh::install(cluster.as_ref(), &kubectl);
        println!("{:>7.1} s  daemons ready", clock.elapsed().as_secs_f64());
        let outage = Duration::from_secs(OUTAGE_S);
        Self { mesh, cluster, outage, kubectl, logs: logs.to_owned() }
    }

    /// Whether scenes may reach into the nodes.
    pub fn has_nodes(&self) -> bool {
        self.cluster.is_some()
    }

    /// Our own cluster.
    #[track_caller]
    pub fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("a scene that needs the nodes")
    }

    /// `kubectl`.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Ready pods with this label, sorted by name; waits until there are `count` of them and no other.
    #[track_caller]
    pub fn pods(&self, namespace: &str, selector: &str, count: usize) -> Vec<Pod> {
        let arguments = ["pods", "-n", namespace, "-l", selector];
        let what = format!("{count} ready pods {selector} in {namespace}");
        let netns = self.cluster.as_ref().map(|cluster| cluster.nodes[0].netns());
        let items = self.kubectl.wait_for(&what, PATIENCE * 2, &arguments, |list| {
            let items = list["items"].as_array()?;
            (items.len() == count && items.iter().all(pod::is_ready)).then(|| items.clone())
        });
        let mut pods: Vec<Pod> =
            items.iter().map(|item| Pod::of(item, &self.kubectl, netns.clone())).collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        pods
    }

    /// The one ready pod of this name.
    #[track_caller]
    pub fn pod(&self, namespace: &str, name: &str) -> Pod {
        let what = format!("the pod {namespace}/{name} to be ready");
        let netns = self.cluster.as_ref().map(|cluster| cluster.nodes[0].netns());
        let arguments = ["pod", "-n", namespace, name];
        let item = self.kubectl.wait_for(&what, PATIENCE * 2, &arguments, |pod| {
            pod::is_ready(pod).then(|| pod.clone())
        });
        Pod::of(&item, &self.kubectl, netns)
    }

    /// A Service, once it has its addresses.
    #[track_caller]
    pub fn service(&self, namespace: &str, name: &str) -> Value {
        self.kubectl.get(&["service", "-n", namespace, name])
    }

    /// What a failed scene leaves behind for a reader.
    pub fn save_state(&self, scene: &str) {
        let folder = self.logs.join(scene.replace("::", "-"));
        let _ = std::fs::create_dir_all(&folder);
        for (name, arguments) in [
            ("pods", "get pods -A -o wide"),
            ("events", "get events -A --sort-by=.lastTimestamp"),
            ("slices", "get services,endpointslices,serviceentries,workloadentries -A"),
        ] {
            let words: Vec<&str> = arguments.split(' ').collect();
            let text = self.kubectl.try_run(&words, "").unwrap_or_else(|e| e);
            let _ = std::fs::write(folder.join(name), text);
        }
        self.mesh.save_state(&folder);
    }

    /// For somebody who wants to look around.
    pub fn say_how_to_look(&self) {
        let mut command = self.kubectl.command();
        command.args(["get", "pods", "-A"]);
        println!("{command:?}\npress Enter to remove the cluster");
    }
}

/// Pods are placed on two nodes by number: the first two of a foreign cluster get one.
fn number_nodes(kubectl: &Kubectl) {
    let list = kubectl.get(&["nodes"]);
    let names = list["items"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|node| node["metadata"]["name"].as_str()).collect();
    assert!(names.len() >= 2, "the scenes need two nodes, and there are: {names:?}");
    for (index, name) in names.iter().take(2).enumerate() {
        let label = format!("{NODE_LABEL}={}", index + 1);
        kubectl.run(&["label", "--overwrite", "node", name, &label]);
    }
}
