//! Kmesh's commands may name the daemon's pod; this program talks to the daemon of its own node.

use anyhow::anyhow;

/// Why a pod cannot be named, and what to do instead.
pub fn no_pods(pod: &str) -> anyhow::Error {
    anyhow!(
        "cannot reach the daemon in pod {pod}: that needs access to Kubernetes, which this build \
         does not have; run kmeshctl on the node itself, or inside the pod with `kubectl exec`, \
         without the pod argument"
    )
}
