//! The running daemon on one page.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::AuthzStatus;

/// Answer to `GET /status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Release of the daemon, as [`super::Version`] displays it.
    pub version: String,
    /// `dual-engine` or `kernel-native`.
    pub mode: String,
    /// True once the first configuration is in the kernel.
    pub ready: bool,
    /// Commits of a configuration to the kernel since the daemon started.
    pub generation: u64,
    /// Network namespaces enrolled.
    pub enrolled: usize,
    /// The configuration that the last commit came from.
    pub config: ConfigStatus,
    /// Fill of each map.
    pub maps: Vec<MapFill>,
    /// Run statistics of each program.
    pub programs: Vec<ProgramStats>,
    /// Attachments.
    pub links: Vec<LinkInfo>,
    /// What programs counted, one entry per reason.
    pub counters: Vec<Counter>,
    /// Connections that the mesh saw.
    pub connections: Connections,
    /// The DNS proxy, and names that the configuration mentions.
    pub dns: DnsStatus,
    /// Authorization.
    pub authz: AuthzStatus,
    /// Enrolment of pods; nothing when the daemon does not look at a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesStatus>,
}

/// Enrolment of pods by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesStatus {
    /// True once pods and namespaces have been read: labels count from then on, also while the API
    /// server is away.
    pub complete: bool,
    /// True while the API server answers.
    pub connected: bool,
    /// Pods of this node.
    pub pods: usize,
    /// Those that belong to the mesh.
    pub wanted: usize,
    /// Those that belong to the mesh and run, but are not found yet.
    pub missing: usize,
    /// What the plugin asked.
    pub cni: CniStatus,
    /// What needs somebody's attention, one sentence for each.
    pub problems: Vec<String>,
}

/// What runtimes asked through the CNI plugin since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CniStatus {
    /// Sandboxes that were enrolled.
    pub enrolled: u64,
    /// Sandboxes that do not belong to the mesh.
    pub left_alone: u64,
    /// Sandboxes of which that was not known in time.
    pub undecided: u64,
    /// Sandboxes that could not be enrolled.
    pub failed: u64,
    /// Sandboxes that ended.
    pub released: u64,
    /// Questions that could not be read.
    pub malformed: u64,
    /// Pods that the plugin let start without an answer that helped: reason and count.
    pub let_go: Vec<(String, u64)>,
}

/// What the DNS side does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsStatus {
    /// False when the DNS proxy is switched off as a whole.
    pub enabled: bool,
    /// Namespaces whose queries are answered.
    pub served: usize,
    /// Resolvers whose queries are captured.
    pub resolvers: usize,
    /// Names of the mesh, short forms not counted.
    pub names: usize,
    /// What became of queries since the daemon started.
    pub queries: DnsQueries,
    /// Host names of endpoints in the configuration.
    pub hosts: Vec<HostStatus>,
    /// Why a namespace's queries are not answered, one sentence for each.
    pub problems: Vec<String>,
}

/// What became of DNS queries. Each is in exactly one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsQueries {
    /// Answered from the names of the mesh, or refused by rule.
    pub answered: u64,
    /// Answered with what a resolver said before.
    pub cached: u64,
    /// Answered by a resolver.
    pub forwarded: u64,
    /// No resolver answered.
    pub failed: u64,
    /// Over a limit.
    pub overloaded: u64,
    /// Not a query that can be read.
    pub malformed: u64,
}

/// A host name of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostStatus {
    /// The name.
    pub name: String,
    /// Its last good addresses.
    pub addresses: Vec<IpAddr>,
    /// Why the last lookup found nothing; the addresses are of an earlier one then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Where the configuration comes from and what was found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigStatus {
    /// The directory, or the address of the control plane.
    pub source: String,
    /// Services understood.
    pub services: usize,
    /// Workloads understood.
    pub workloads: usize,
    /// One sentence per object that was not taken as it is written.
    pub problems: Vec<String>,
    /// How it stands with the control plane; none with a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlaneStatus>,
}

/// How it stands with the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneStatus {
    /// A stream is open.
    pub connected: bool,
    /// Connections that were tried.
    pub attempts: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Responses that were taken.
    pub responses: u64,
    /// Of these, answered by a refusal (NACK) of a resource.
    pub refused: u64,
    /// Why the last stream ended, or could not be opened; empty before that.
    pub error: String,
}

/// How full a map is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MapFill {
    /// Name of the map.
    pub name: String,
    /// Entries in use.
    pub entries: u64,
    /// Entries that fit.
    pub entries_max: u64,
    /// Kernel memory of the map, bytes.
    pub bytes: u64,
}

/// What a program has cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgramStats {
    /// Name of the program.
    pub name: String,
    /// Id in the kernel.
    pub id: u32,
    /// Runs since the kernel counts them; 0 while `kernel.bpf_stats_enabled` is off.
    pub run_count: u64,
    /// Time spent in those runs, ns.
    pub run_time_ns: u64,
    /// Instructions that the verifier walked to accept it.
    pub verified_instructions: u64,
}

/// An attachment of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkInfo {
    /// Name of the link.
    pub name: String,
    /// Id in the kernel.
    pub id: u32,
    /// True when it outlives the daemon.
    pub pinned: bool,
}

/// How often programs gave a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counter {
    /// Name of the reason, such as `no_endpoint`.
    pub reason: String,
    /// `refused`, `passed` or `degraded`.
    pub outcome: String,
    /// Times since the maps were created.
    pub count: u64,
    /// What it means, one sentence.
    pub sentence: String,
}

/// Connections of enrolled workloads since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connections {
    /// Established.
    pub opened: u64,
    /// Tried and not established.
    pub refused: u64,
    /// Ended after having been established.
    pub closed: u64,
    /// Payload sent by connections that ended, bytes.
    pub bytes_sent: u64,
    /// Payload received by connections that ended, bytes.
    pub bytes_received: u64,
    /// Events that did not fit in the ring: the figures above miss as many.
    pub events_lost: u64,
}

impl ProgramStats {
    /// Mean time of a run, ns; none when no run was counted.
    pub fn mean_ns(&self) -> Option<u64> {
        self.run_time_ns.checked_div(self.run_count)
    }
}
