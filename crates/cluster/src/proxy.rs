//! kube-proxy in nftables mode: what the mesh is compared with. Scenes run without it.

use std::path::Path;

use crate::component::Component;
use crate::network::POD_CIDR;
use crate::node::Node;
use crate::programs::Programs;

/// kube-proxy of one node, until it is dropped. Its rules stay.
#[derive(Debug)]
pub struct KubeProxy {
    _process: Component,
}

impl KubeProxy {
    pub(crate) fn start(node: &Node, programs: &Programs, kubeconfig: &Path, logs: &Path) -> Self {
        let mut command = node.command(programs.path("kube-proxy"));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg(format!("--hostname-override={}", node.name));
        command.arg(format!("--cluster-cidr={POD_CIDR}"));
        command.args(["--proxy-mode=nftables", "--conntrack-max-per-core=0"]);
        let name = format!("kube-proxy-{}", node.name);
        Self { _process: Component::start(&name, logs, command) }
    }
}
