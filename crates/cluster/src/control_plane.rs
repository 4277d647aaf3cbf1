//! etcd, API server, controller manager and scheduler, as processes of the first node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::{must, wait_until};

use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::network::{POD_CIDR, SERVICE_CIDR};
use crate::node::Node;
use crate::programs::Programs;

const START_DEADLINE: Duration = Duration::from_secs(60);
/// Where the API server listens, on the first node.
pub const API_PORT: u16 = 6443;
/// The one token that the API server knows; its bearer may do everything.
const ADMIN_TOKEN: &str = "e2e-admin";

/// Dropped from the last that was started to the first.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    _scheduler: Component,
    pub(crate) controllers: Component,
    pub(crate) api_server: Component,
    _etcd: Component,
    /// For every component, and for kubectl.
    pub(crate) kubeconfig: PathBuf,
}

/// What the start of each component is told.
struct Parts<'a> {
    node: &'a Node,
    programs: &'a Programs,
    folder: &'a Path,
    logs: &'a Path,
    kubeconfig: &'a Path,
}

impl ControlPlane {
    /// Starts it on `node`, and returns when the API server is ready.
    #[track_caller]
    pub(crate) fn start(node: &Node, programs: &Programs, folder: &Path, logs: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_text(node)).unwrap();
        std::fs::write(
            folder.join("tokens.csv"),
            format!("{ADMIN_TOKEN},admin,1,system:masters\n"),
        )
        .unwrap();
        let key = folder.join("service-accounts.key");
        let mut openssl = Command::new("openssl");
        must(openssl.args(["genrsa", "-traditional", "-out"]).arg(&key).arg("2048"), "");
        let parts = Parts { node, programs, folder, logs, kubeconfig: &kubeconfig };
        let etcd = parts.etcd();
        let mut api_server = parts.api_server();
        let kubectl = Kubectl::new(node, programs, &kubeconfig);
        wait_until("the API server", START_DEADLINE, || {
            api_server.check();
            kubectl.try_run(&["get", "--raw", "/readyz"], "")
        });
        let controllers = parts.controllers();
        let scheduler = parts.scheduler();
        Self { _scheduler: scheduler, controllers, api_server, _etcd: etcd, kubeconfig }
    }
}

impl Parts<'_> {
    fn etcd(&self) -> Component {
        let mut command = self.node.command("etcd");
        command.arg("--data-dir").arg(self.folder.join("etcd"));
        command.args([
            "--unsafe-no-fsync",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ]);
        Component::start("etcd", self.logs, command)
    }

    fn api_server(&self) -> Component {
        let mut command = self.node.command(self.programs.path("kube-apiserver"));
        let key = self.folder.join("service-accounts.key");
        command.arg("--token-auth-file").arg(self.folder.join("tokens.csv"));
        command.arg("--cert-dir").arg(self.folder.join("certificates"));
        command.arg("--service-account-key-file").arg(&key);
        command.arg("--service-account-signing-key-file").arg(&key);
        command.arg(format!("--advertise-address={}", self.node.v4));
        command.arg(format!("--secure-port={API_PORT}"));
        command.arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"));
        command.args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=::",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--api-audiences=https://kubernetes.default.svc,istio-ca",
            "--authorization-mode=RBAC,Node",
            "--allow-privileged=true",
        ]);
        Component::start("kube-apiserver", self.logs, command)
    }

    fn controllers(&self) -> Component {
        let mut command = self.node.command(self.programs.path("kube-controller-manager"));
        command.arg("--kubeconfig").arg(self.kubeconfig);
        command.arg("--cert-dir").arg(self.folder.join("controllers"));
        command
            .arg("--service-account-private-key-file")
            .arg(self.folder.join("service-accounts.key"));
        // Its end is the certificate that has signed it.
        command.arg("--root-ca-file").arg(self.folder.join("certificates/apiserver.crt"));
        command.arg(format!("--cluster-cidr={POD_CIDR}"));
        command.arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"));
        command.args([
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--allocate-node-cidrs=false",
            // The tests make bursts of objects; the default is meant to protect a shared API server.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]);
        Component::start("kube-controller-manager", self.logs, command)
    }

    fn scheduler(&self) -> Component {
        let mut command = self.node.command(self.programs.path("kube-scheduler"));
        command.arg("--kubeconfig").arg(self.kubeconfig);
        command.args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=500"]);
        Component::start("kube-scheduler", self.logs, command)
    }
}

fn kubeconfig_text(node: &Node) -> String {
    let server = format!("https://{}:{API_PORT}", node.v4);
    format!(
        "apiVersion: v1
kind: Config
current-context: e2e
clusters:
- name: e2e
  cluster: {{server: '{server}', insecure-skip-tls-verify: true}}
users:
- name: admin
  user: {{token: {ADMIN_TOKEN}}}
contexts:
- name: e2e
  context: {{cluster: e2e, user: admin}}
"
    )
}
