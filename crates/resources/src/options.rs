//! What the files don't say about the mesh that they describe.

use model::Workload;

/// Names of the mesh's own domain, cluster and network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// DNS domain of the cluster: a Service is `<name>.<namespace>.svc.<cluster_domain>`.
    pub cluster_domain: String,
    /// Name of the mesh's own cluster; it begins the uid of each workload.
    pub cluster: String,
    /// Namespace whose policies are for the whole mesh.
    pub root_namespace: String,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// Name of the mesh's own network; a workload that names it counts as one that names none.
    pub network: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".to_owned(),
            cluster: "Kubernetes".to_owned(),
            root_namespace: "istio-system".to_owned(),
            trust_domain: Workload::DEFAULT_TRUST_DOMAIN.to_owned(),
            network: String::new(),
        }
    }
}

// === impl Options ===

impl Options {
    /// The trust domain as workloads have it: the default is not named.
    pub(crate) fn own_trust_domain(&self) -> &str {
        let is_default = self.trust_domain == Workload::DEFAULT_TRUST_DOMAIN;
        if is_default { "" } else { &self.trust_domain }
    }

    /// The host name of a Kubernetes Service.
    pub(crate) fn service_host(&self, namespace: &str, name: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// The host of a DestinationRule in full, as far as its text alone tells: a name without a dot is
    /// a Service of the rule's namespace, `<name>.<namespace>.svc` one of that namespace.
    pub(crate) fn rule_host(&self, namespace: &str, host: &str) -> String {
        if host == "*" {
            host.to_owned()
        } else if !host.contains('.') {
            self.service_host(namespace, host)
        } else if host.ends_with(".svc") && host.split('.').count() == 3 {
            format!("{host}.{}", self.cluster_domain)
        } else {
            host.to_owned()
        }
    }
}
