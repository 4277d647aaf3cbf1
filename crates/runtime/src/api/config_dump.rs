//! The configuration as the daemon understood it, with Kmesh's keys.

use serde::{Deserialize, Serialize};

use super::bpf_dump::is_zero;

/// Answer to `GET /debug/config_dump/dual-engine`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigDump {
    /// All workloads, in the order of their names.
    pub workloads: Vec<WorkloadDump>,
    /// All services, in the order of their names.
    pub services: Vec<ServiceDump>,
    /// All authorization policies, in the order of their names.
    pub policies: Vec<PolicyDump>,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadDump {
    /// Unique id, such as `Kubernetes//Pod/shop/web-1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// `NETWORK/ADDRESS` or `NAMESPACE/HOSTNAME` of its waypoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waypoint: String,
    /// Tunnel protocol: `NONE` or `HBONE`.
    pub protocol: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Kubernetes service account.
    pub service_account: String,
    /// Name of the Deployment or the like that owns it.
    pub workload_name: String,
    /// `POD`, `DEPLOYMENT`, `JOB` or `CRONJOB`.
    pub workload_type: String,
    /// `service.istio.io/canonical-name`.
    pub canonical_name: String,
    /// `service.istio.io/canonical-revision`.
    pub canonical_revision: String,
    /// Name of its cluster.
    pub cluster_id: String,
    /// Trust domain, empty for the mesh's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trust_domain: String,
    /// Where it runs.
    pub locality: LocalityDump,
    /// Name of its node.
    pub node: String,
    /// Name of its network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// `HEALTHY` or `UNHEALTHY`.
    pub status: String,
    /// How it takes connections inside a tunnel.
    pub application_tunnel: ApplicationTunnel,
    /// `NAMESPACE/HOSTNAME` of each service that it serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// `NAMESPACE/NAME` of each policy that names it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_policies: Vec<String>,
    /// Where it comes from (not a key of Kmesh).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Region, zone and subzone, each left out when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityDump {
    /// Region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Zone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Subzone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subzone: String,
}

/// How a workload takes connections inside a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationTunnel {
    /// `NONE` or `PROXY`; empty when there is none.
    pub protocol: String,
    /// Its port.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u32,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceDump {
    /// Short name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Host name.
    pub hostname: String,
    /// Virtual addresses, each `NETWORK/ADDRESS` with an empty network for the mesh's own.
    pub vips: Vec<String>,
    /// Ports.
    pub ports: Vec<PortDump>,
    /// How an endpoint is chosen; null when the service does not say.
    pub load_balancer: Option<LoadBalancerDump>,
    /// Its waypoint; null when it has none.
    pub waypoint: Option<WaypointDump>,
    /// Its endpoints (not a key of Kmesh).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointDump>,
    /// Where it comes from (not a key of Kmesh).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One port of a service. The keys are those of Kmesh: protobuf names, not camelCase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortDump {
    /// The port that applications dial.
    #[serde(skip_serializing_if = "is_zero")]
    pub service_port: u32,
    /// The port at the endpoints, 0 when they differ or are not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub target_port: u32,
    /// Name (not a key of Kmesh).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `TCP` or `UDP` (not a key of Kmesh).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerDump {
    /// `UNSPECIFIED_MODE`, `STRICT`, `FAILOVER` or `PASSTHROUGH`.
    pub mode: String,
    /// Scopes, the first counting most, such as `REGION`.
    pub routing_preferences: Vec<String>,
}

/// A waypoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointDump {
    /// `NETWORK/ADDRESS` or `NAMESPACE/HOSTNAME`.
    pub destination: String,
}

/// One endpoint of a service (not a key of Kmesh).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointDump {
    /// `NAMESPACE/NAME` of the workload, empty when it has no name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// IP address.
    pub address: String,
    /// `HEALTHY`, `TERMINATING` or `UNHEALTHY`.
    pub status: String,
    /// Relative weight.
    pub weight: u32,
    /// Where it runs.
    pub locality: LocalityDump,
    /// Name of its node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The service's ports that it serves.
    pub ports: Vec<PortDump>,
}

/// One authorization policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyDump {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `GLOBAL`, `NAMESPACE` or `WORKLOAD_SELECTOR`.
    pub scope: String,
    /// `ALLOW` or `DENY`.
    pub action: String,
    /// It decides nothing (not a key of Kmesh).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The rules, nested as in the policy.
    pub rules: serde_json::Value,
    /// Where it comes from (not a key of Kmesh).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Where something comes from, and whether it is in force (not a key of Kmesh).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// `FILE#DOCUMENT` of a directory for each object that has to do with it, or the name of the
    /// control plane's resource.
    pub sources: Vec<String>,
    /// Version of the control plane's resource; a file has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// It can be dialled by the kernel's maps. For a workload: something leads to its address.
    pub in_kernel: bool,
}
