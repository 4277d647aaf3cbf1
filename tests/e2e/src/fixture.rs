//! The pods and services that most scenes talk to.
//!
//! ```text
//!   namespace mesh, enrolled:   client-1, web-v1 on node1;  client-2, web-v2 on node2
//!   namespace plain, not:       outsider on node1; server on node2
//! ```

use cluster::NODE_LABEL;
use cluster::image::IMAGE;

use crate::world::World;

/// Enrolled as a whole.
pub const MESH: &str = "mesh";
/// Has no label.
pub const PLAIN: &str = "plain";

/// Makes them, and returns when all are ready and reach each other.
#[track_caller]
pub fn install(world: &mut World) {
    let pods = [
        pod(MESH, "client-1", "client", 1),
        pod(MESH, "client-2", "client", 2),
        pod(MESH, "web-v1", "web", 1),
        pod(MESH, "web-v2", "web", 2),
        pod(PLAIN, "outsider", "outsider", 1),
        pod(PLAIN, "server", "server", 2),
    ];
    world.kubectl().apply(&(NAMESPACES.to_owned() + &pods.concat() + SERVICES));
    for (namespace, count) in [(MESH, 4), (PLAIN, 2)] {
        let pods = world.pods(namespace, "app", count);
        for pod in pods.iter().filter(|pod| pod.namespace == MESH) {
            world.mesh.wait_enrolled(pod);
        }
    }
    for client in ["client-1", "client-2"] {
        world.pod(MESH, client).must_ask("web.mesh:80");
    }
}

/// A pod with every server and an agent.
pub fn pod(namespace: &str, name: &str, app: &str, node: u8) -> String {
    pod_with(namespace, name, &format!("{{app: {app}, version: {name}}}"), node)
}

/// As [`pod`], with labels as YAML has them.
pub fn pod_with(namespace: &str, name: &str, labels: &str, node: u8) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {labels}
spec:
  nodeSelector: {{{NODE_LABEL}: '{node}'}}
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: app, image: '{IMAGE}', imagePullPolicy: Never, args: [serve],
     readinessProbe: {{httpGet: {{port: 8081}}, periodSeconds: 1}}}}
"
    )
}

/// A Service of both families in front of the pods with this label.
pub fn service(namespace: &str, name: &str, app: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {{app: {app}}}
  ports: [{{name: tcp, port: 80, targetPort: 8080}}]
"
    )
}

const NAMESPACES: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: mesh, labels: {istio.io/dataplane-mode: Kmesh}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
";

const SERVICES: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: mesh}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports:
  - {name: tcp, port: 80, targetPort: 8080}
  - {name: http, port: 81, targetPort: 8081}
  - {name: tcp-echo, port: 82, targetPort: 7000}
  - {name: udp, port: 83, targetPort: 9090, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: mesh}
spec:
  clusterIP: None
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: tcp, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: plain}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: server}
  ports: [{name: tcp, port: 80, targetPort: 8080}]
";
