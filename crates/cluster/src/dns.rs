//! The cluster's DNS server and the nodes' resolver in one: a dnsmasq on the first node.
//!
//! It knows what a test tells it and nothing else: the names of services are the mesh's own answers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::node::Node;

/// The address that kubelets write into the resolv.conf of pods.
pub(crate) const CLUSTER_DNS: &str = "10.96.0.10";

/// A running server. Its files are read again when they change.
#[derive(Debug)]
pub struct ClusterDns {
    _process: Component,
    hosts: PathBuf,
}

impl ClusterDns {
    #[track_caller]
    pub(crate) fn start(node: &Node, kubectl: &Kubectl, folder: &Path, logs: &Path) -> Self {
        let hosts = folder.join("hosts");
        std::fs::create_dir_all(&hosts).unwrap();
        let mut command = node.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--bind-interfaces", "--interface=eth0", "--user=root", "--log-facility=-"]);
        command.args(["--pid-file=", "--local=/#/"]).arg(format!("--hostsdir={}", hosts.display()));
        kubectl.apply(&service(node));
        Self { _process: Component::start("dnsmasq", logs, command), hosts }
    }

    /// Gives a name its addresses, all at once.
    #[track_caller]
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        let lines: Vec<String> = addresses.iter().map(|ip| format!("{ip} {name}\n")).collect();
        let path = self.hosts.join(name);
        std::fs::write(&path, lines.concat())
            .unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }
}

fn service(node: &Node) -> String {
    let v4 = node.v4;
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {CLUSTER_DNS}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53}}]
endpoints: [{{addresses: ['{v4}'], conditions: {{ready: true}}}}]
"
    )
}
