//! istiod, as a process of the first node, with its CRDs and what its installation would have made.

use std::path::Path;
use std::time::Duration;

use testkit::wait_until;

use crate::component::Component;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::programs::Programs;

const START_DEADLINE: Duration = Duration::from_secs(60);
/// Where daemons find it: TLS.
pub const XDS_PORT: u16 = 15012;
/// The name in its certificate.
pub const SERVER_NAME: &str = "istiod.istio-system.svc";
const READY_PORT: u16 = 15080;

/// A running istiod.
#[derive(Debug)]
pub struct Istiod {
    /// The process.
    pub process: Component,
}

impl Istiod {
    /// Starts it, and returns when it is ready. `trusted` is the service account of our daemon.
    #[track_caller]
    pub(crate) fn start(
        node: &Node,
        programs: &Programs,
        kubectl: &Kubectl,
        kubeconfig: &Path,
        logs: &Path,
    ) -> Self {
        let crds = programs.crds().display().to_string();
        kubectl.run(&["apply", "--server-side", "-f", &crds]);
        kubectl.apply(&objects(node));
        let mesh = logs.with_file_name("mesh.yaml");
        std::fs::write(&mesh, MESH).unwrap();
        let mut command = node.command(programs.path("pilot-discovery"));
        command.arg("discovery").arg("--kubeconfig").arg(kubeconfig);
        command.arg("--meshConfig").arg(&mesh);
        command.arg(format!("--httpAddr=:{READY_PORT}"));
        command.arg(format!("--secureGRPCAddr=:{XDS_PORT}"));
        command.args(["--grpcAddr=:15010", "--httpsAddr=:15017", "--monitoringAddr=:15014"]);
        command.envs(ENVIRONMENT);
        let mut istiod = Self { process: Component::start("istiod", logs, command) };
        istiod.wait_ready(node);
        istiod
    }

    /// Waits until it serves.
    #[track_caller]
    pub fn wait_ready(&mut self, node: &Node) {
        let url = format!("http://127.0.0.1:{READY_PORT}/ready");
        wait_until("istiod", START_DEADLINE, || {
            self.process.check();
            node.try_run("curl", &["-fsS", "-m", "2", &url])
        });
    }
}

const ENVIRONMENT: [(&str, &str); 9] = [
    ("PILOT_ENABLE_AMBIENT", "true"),
    ("PILOT_CERT_PROVIDER", "istiod"),
    ("POD_NAMESPACE", "istio-system"),
    ("POD_NAME", "istiod"),
    ("SERVICE_ACCOUNT", "istiod"),
    ("CLUSTER_ID", "Kubernetes"),
    ("REVISION", "default"),
    ("CA_TRUSTED_NODE_ACCOUNTS", "istio-system/ztunnel,kmesh-system/kmesh"),
    // Its own memory follows the machine otherwise, which is not its alone.
    ("GOMEMLIMIT", "1GiB"),
];

const MESH: &str = "trustDomain: cluster.local
rootNamespace: istio-system
defaultConfig: {discoveryAddress: 'istiod.istio-system.svc:15012'}
";

/// The Service has no selector: istiod is no pod here.
fn objects(node: &Node) -> String {
    let (v4, mesh) = (node.v4, MESH.replace('\n', "\n    "));
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: istio-system}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: istiod, namespace: istio-system}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    {mesh}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: values, namespace: istio-system}}
data: {{values: '{{}}'}}
---
apiVersion: v1
kind: Service
metadata: {{name: istiod, namespace: istio-system}}
spec:
  ports: [{{name: grpc-xds, port: 15010}}, {{name: https-dns, port: {XDS_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: istiod
  namespace: istio-system
  labels: {{kubernetes.io/service-name: istiod}}
addressType: IPv4
ports: [{{name: grpc-xds, port: 15010}}, {{name: https-dns, port: {XDS_PORT}}}]
endpoints: [{{addresses: ['{v4}'], conditions: {{ready: true}}}}]
"
    )
}
