//! What makes a machine a node of Kubernetes: container runtime, network plugin and kubelet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::wait_until;

use crate::component::Component;
use crate::dns::CLUSTER_DNS;
use crate::image::IMAGE;
use crate::node::Node;
use crate::programs::Programs;

const START_DEADLINE: Duration = Duration::from_secs(60);
const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where Debian has the plugins of package containernetworking-plugins.
const PLUGINS: &str = "/usr/lib/cni";
const PLUGINS_USED: [&str; 3] = ["bridge", "host-local", "loopback"];
/// The one network configuration of a node; a CNI plugin of ours adds itself to it.
const CONFLIST: &str = "/etc/cni/net.d/10-cluster.conflist";
/// Numbers the two nodes that tests place pods on, from 1.
pub const NODE_LABEL: &str = "kmesh.net/e2e-node";

/// The programs of one node. Kubelet is dropped before the runtime.
#[derive(Debug)]
pub struct Worker {
    /// The kubelet.
    pub kubelet: Component,
    /// containerd; its containers outlive it.
    pub containerd: Component,
}

impl Worker {
    /// Starts them. The node registers itself some seconds later.
    #[track_caller]
    pub(crate) fn start(
        node: &Node,
        programs: &Programs,
        kubeconfig: &Path,
        logs: &Path,
        images: &[PathBuf],
    ) -> Self {
        write_files(node);
        let name = |part: &str| format!("{part}-{}", node.name);
        let mut command = node.command("containerd");
        command.args(["--config", "/etc/containerd/e2e.toml"]);
        let mut containerd = Component::start(&name("containerd"), logs, command);
        wait_until("containerd", START_DEADLINE, || {
            containerd.check();
            node.try_run("ctr", &["-a", SOCKET, "version"])
        });
        for image in images {
            import(node, image);
        }
        let mut command = node.command(programs.path("kubelet"));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg("--config=/etc/kubelet.yaml");
        command.arg(format!("--hostname-override={}", node.name));
        command.arg(format!("--node-ip={},{}", node.v4, node.v6));
        command.arg(format!(
            "--node-labels={NODE_LABEL}={index},topology.kubernetes.io/region=region,\
             topology.kubernetes.io/zone=zone{index}",
            index = node.index
        ));
        let kubelet = Component::start(&name("kubelet"), logs, command);
        Self { kubelet, containerd }
    }
}

/// Makes an image known to the node's runtime.
#[track_caller]
pub(crate) fn import(node: &Node, image: &Path) {
    let path = image.display().to_string();
    node.must("ctr", &["-a", SOCKET, "-n", "k8s.io", "image", "import", "--digests=false", &path]);
}

#[track_caller]
fn write_files(node: &Node) {
    for plugin in PLUGINS_USED {
        let bytes = std::fs::read(Path::new(PLUGINS).join(plugin));
        let bytes = bytes.unwrap_or_else(|e| {
            panic!("read {PLUGINS}/{plugin}: {e} (package containernetworking-plugins)")
        });
        let inside = format!("/opt/cni/bin/{plugin}");
        node.write(&inside, bytes);
        node.must("chmod", &["755", &inside]);
    }
    node.write(CONFLIST, conflist(node));
    node.write("/etc/containerd/e2e.toml", containerd_config(node));
    node.write("/etc/kubelet.yaml", kubelet_config(node));
    // That of the first node; the host's resolvers are out of reach.
    node.write("/etc/resolv.conf", "nameserver 10.99.0.1\n");
}

fn conflist(node: &Node) -> String {
    let index = node.index;
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "cluster", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {{"type": "host-local",
    "ranges": [[{{"subnet": "10.244.{index}.0/24"}}], [{{"subnet": "fd44:0:0:{index}::/64"}}]],
    "routes": [{{"dst": "0.0.0.0/0"}}, {{"dst": "::/0"}}]}}}}
]}}
"#
    )
}

/// Without CAP_SYS_RESOURCE a container cannot be made less likely to be killed than its maker.
fn containerd_config(node: &Node) -> String {
    let root = node.folder().join("containerd");
    format!(
        r#"version = 2
root = "{}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        root.display()
    )
}

fn kubelet_config(node: &Node) -> String {
    let index = node.index;
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{SOCKET}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {{memory.available: 1Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}}
podCIDR: 10.244.{index}.0/24
clusterDomain: cluster.local
clusterDNS: [{CLUSTER_DNS}]
resolvConf: /etc/resolv.conf
registryPullQPS: 0
serializeImagePulls: false
"
    )
}
