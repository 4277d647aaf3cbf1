//! One node of a cluster: an API server that knows pods and namespaces, a pod with a container in its
//! cgroup, the CNI plugin called as a runtime calls it.

mod cni;
mod install;
mod policy;
mod watch;

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{ApiServer, CgroupDriver, CniCall, Container, Daemon, Pod, wait_until};

use super::bench::{Bench, PATIENCE, idle_service, vip};
use super::enrolment::{enrolments, is_enrolled, path};

/// The label of pods and namespaces.
pub const MODE: &str = "istio.io/dataplane-mode";
/// Says at a pod that it is enrolled.
pub const REDIRECTION: &str = "kmesh.net/redirection";
/// Uid of the pod `shop/client`.
pub const UID: &str = "0a1b2c3d-0000-4000-8000-00000000c11e";
/// What its resolv.conf names.
pub const NAMESERVER: &str = "192.0.2.53";

/// A bench whose client is the pod `shop/client`, and an API server.
pub struct Node {
    pub api: ApiServer,
    pub bench: Bench,
}

impl Node {
    /// Namespace `shop` and the pod, none of them labelled. The pod has no container yet.
    pub fn new(scene: &str) -> Self {
        let bench = Bench::new(scene, &["red"]);
        bench.serve(&["red"]);
        bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
        let api = ApiServer::start_new();
        api.put(namespace("shop"));
        api.put(pod("client", UID));
        Self { api, bench }
    }

    /// A daemon that looks at the cluster.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// As [`Node::start`], with further arguments.
    pub fn start_with(&self, args: &[&str]) -> Daemon {
        let cgroup = self.bench.scene.cgroup().path().file_name().expect("a name");
        let root = format!("/{}", cgroup.to_string_lossy());
        let kubeconfig = self.api.kubeconfig(self.bench.scene.dir());
        let socket = self.socket();
        self.bench.scene.start_daemon_with(|options| {
            options.args.extend(["--kubeconfig".into(), kubeconfig.into()]);
            options.args.extend(["--cni-socket".into(), socket.into()]);
            options.args.extend(["--kubelet-cgroup-root".into(), root.into()]);
            options.args.extend(args.iter().map(Into::into));
        })
    }

    /// Where the daemon listens for the plugin.
    pub fn socket(&self) -> PathBuf {
        self.bench.scene.dir().join("state/cni.sock")
    }

    /// A container of the pod `shop/client`.
    pub fn container(&self, driver: CgroupDriver) -> Container {
        Container::start(&self.bench.scene, &self.bench.client, UID, driver, NAMESERVER)
    }

    /// Labels the pod, or takes the label away.
    pub fn label(&self, value: Option<&str>) {
        self.api.label("Pod", "shop", "client", (MODE, value));
    }

    /// Labels the namespace, or takes the label away.
    pub fn label_namespace(&self, value: Option<&str>) {
        self.api.label("Namespace", "", "shop", (MODE, value));
    }

    /// A call of the plugin for the pod `shop/client`.
    pub fn call(&self) -> CniCall {
        self.call_for(&self.bench.client, "client", UID)
    }

    /// A call of the plugin for another pod of `shop`.
    pub fn call_for(&self, pod: &Pod, name: &str, uid: &str) -> CniCall {
        CniCall {
            entry: json!({
                "socket": self.socket(), "logFile": self.log(), "timeoutMs": 20_000,
                "runtimeConfig": {"dns": {"Servers": ["192.0.2.10"]}},
            }),
            netns: path(pod).into(),
            container_id: format!("sandbox-{name}"),
            workload: format!("shop/{name}"),
            uid: uid.to_owned(),
        }
    }

    /// Where the plugin writes what went wrong.
    pub fn log(&self) -> PathBuf {
        self.bench.scene.dir().join("kmesh-cni.log")
    }

    /// What the plugin wrote there.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Waits until the client is in the mesh, or is not.
    #[track_caller]
    pub fn await_client(&self, enrolled: bool) {
        wait_until(&format!("the client to be in the mesh: {enrolled}"), PATIENCE, || {
            is_enrolled(&self.bench.client) == enrolled
        });
    }

    /// Waits until the annotation of the client says that it is enrolled, or is gone.
    #[track_caller]
    pub fn await_annotation(&self, expected: Option<&str>) {
        wait_until(&format!("annotation {expected:?}"), PATIENCE, || {
            self.api.annotation("shop", "client", REDIRECTION).as_deref() == expected
        });
    }
}

/// The one enrolment of a daemon.
#[track_caller]
pub fn only(daemon: &Daemon) -> Value {
    let [enrolment] = enrolments(daemon).try_into().expect("one enrolment");
    enrolment
}

/// Waits until the daemon has read pods and namespaces.
#[track_caller]
pub fn await_complete(daemon: &Daemon) {
    wait_until("pods and namespaces to be known", PATIENCE, || {
        daemon.status()["kubernetes"]["complete"] == true
    });
}

/// Waits for a figure of the status page, below `kubernetes`.
#[track_caller]
pub fn await_figure(daemon: &Daemon, pointer: &str, expected: &Value) {
    wait_until(&format!("{pointer} to be {expected}"), PATIENCE, || {
        let status = daemon.status();
        let found = status["kubernetes"].pointer(pointer).cloned().unwrap_or_default();
        if found == *expected { Ok(()) } else { Err(found.to_string()) }
    });
}

/// A namespace without labels.
pub fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name, "uid": format!("ns-{name}"), "labels": {}}})
}

/// A pod of `shop` on the node, without labels.
pub fn pod(name: &str, uid: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": name, "uid": uid, "labels": {}, "annotations": {},
        },
        "spec": {"nodeName": "node", "containers": [{"name": "main", "image": "main"}]},
        "status": {"phase": "Running"},
    })
}
