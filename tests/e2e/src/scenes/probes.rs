//! The kubelet's own connections to enrolled pods.

use cluster::app::Request;
use cluster::image::IMAGE;
use testkit::wait_until;

use e2e::fixture::MESH;
use e2e::world::{PATIENCE, World};

/// How many probes must have passed; one that fails restarts the container or takes it out.
const PROBES: usize = 4;

pub fn kubelet_probes_of_enrolled_pods_pass(world: &mut World) {
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: probed, namespace: {MESH}, labels: {{app: probed}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: {IMAGE}
    imagePullPolicy: Never
    args: [serve]
    startupProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
    readinessProbe: {{httpGet: {{port: 8081}}, periodSeconds: 1, failureThreshold: 1}}
    livenessProbe: {{tcpSocket: {{port: 15019}}, periodSeconds: 1, failureThreshold: 1}}
"
    );
    world.kubectl().apply(&yaml);
    let pod = world.pod(MESH, "probed");
    world.mesh.wait_enrolled(&pod);
    let seen = || pod.tell(&Request::Records).records.len();
    let before = seen();
    // The recorder notes each of the kubelet's connections to its port.
    wait_until("liveness probes", PATIENCE, || {
        let more = seen() - before;
        if more >= PROBES { Ok(()) } else { Err(format!("{more} of {PROBES}")) }
    });
    let object = world.kubectl().get(&["pod", "-n", MESH, "probed"]);
    let status = &object["status"]["containerStatuses"][0];
    assert_eq!((&status["ready"], &status["restartCount"]), (&true.into(), &0.into()), "{status}");
    world.kubectl().delete(&yaml);
}
