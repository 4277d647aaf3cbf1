//! The admin API on the wire: what the daemon answers and `kmeshctl` reads.
//!
//! Keys are camelCase. Those that Kmesh has keep Kmesh's names and types; further keys may be
//! added, none may be renamed. Every type reads back with missing keys at their defaults, so that a
//! client and a daemon of different versions understand each other.
//!
//! | request | answer |
//! |---|---|
//! | `GET /version` | [`Version`] |
//! | `GET /debug/ready` | 200 `OK`, or 503 with a sentence |
//! | `GET /debug/loggers` | array of names; with `?name=x` a [`LoggerInfo`] |
//! | `POST /debug/loggers` with [`LoggerInfo`] | a line of text, see [`crate::logging::reply`] |
//! | `GET /debug/config_dump/dual-engine` | [`ConfigDump`] |
//! | `GET /debug/config_dump/bpf/dual-engine` | [`BpfDump`] |
//! | the same two for `kernel-native` | 400 [`WRONG_MODE`] |
//! | `GET /status` | [`Status`] |
//! | `GET /status/metric` | OpenMetrics text |
//! | `GET /explain?workload=NS/NAME&to=HOST:PORT` | [`Explanation`] |
//! | `GET /authz` | [`AuthzStatus`] |
//! | `POST /authz?enable=true` | the [`AuthzStatus`] then |
//! | `GET /authz/explain?from=ADDRESS&to=ADDRESS:PORT` | [`AuthzExplanation`] |
//! | `GET /enrolments` | array of [`Enrolment`] |
//! | `POST /enrolments` with [`EnrolRequest`] | the new [`Enrolment`] |
//! | `DELETE /enrolments` with [`UnenrolRequest`] | the [`Enrolment`] that ended |
//!
//! An error is an [`ErrorBody`] with a status of 400 or above; only the texts marked above are plain.

mod authz;
mod bpf_dump;
mod config_dump;
mod enrolment;
mod explain;
mod status;
mod version;

pub use authz::{
    AuthzExplanation, AuthzRequest, AuthzSetting, AuthzStatus, ConsideredPolicy, PolicyCounts,
};
pub use bpf_dump::{
    BackendEntry, BpfDump, EndpointEntry, FrontendEntry, ServiceEntry, WorkloadPolicyEntry,
};
pub use config_dump::{
    ApplicationTunnel, ConfigDump, EndpointDump, LoadBalancerDump, LocalityDump, Origin,
    PolicyDump, PortDump, ServiceDump, WaypointDump, WorkloadDump,
};
pub use enrolment::{
    DnsCapture, EnrolRequest, Enrolment, EnrolmentOrigin, Sandbox, UnenrolRequest,
};
pub use explain::{ExplainRequest, Explanation, Station};
pub use status::{
    CniStatus, ConfigStatus, Connections, ControlPlaneStatus, Counter, DnsQueries, DnsStatus,
    HostStatus, KubernetesStatus, LinkInfo, MapFill, ProgramStats, Status,
};
pub use version::Version;

use serde::{Deserialize, Serialize};

/// Where the daemon's admin socket is unless a flag says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kmesh/admin.sock";
/// Where the read-only TCP port is unless a flag says otherwise.
pub const DEFAULT_TCP: &str = "127.0.0.1:15200";

/// Body of the 400 that answers a dump request for the mode that the daemon does not run in.
pub const WRONG_MODE: &str = "\n\tInvalid Client Mode\n";

/// Paths of the admin API.
pub mod path {
    /// Build information.
    pub const VERSION: &str = "/version";
    /// Readiness probe.
    pub const READY: &str = "/debug/ready";
    /// Logger names and levels.
    pub const LOGGERS: &str = "/debug/loggers";
    /// Configuration as the daemon understood it, dual-engine mode.
    pub const CONFIG_DUMP_DUAL_ENGINE: &str = "/debug/config_dump/dual-engine";
    /// Configuration as the daemon understood it, kernel-native mode.
    pub const CONFIG_DUMP_KERNEL_NATIVE: &str = "/debug/config_dump/kernel-native";
    /// The kernel's maps, dual-engine mode.
    pub const BPF_DUMP_DUAL_ENGINE: &str = "/debug/config_dump/bpf/dual-engine";
    /// The kernel's maps, kernel-native mode.
    pub const BPF_DUMP_KERNEL_NATIVE: &str = "/debug/config_dump/bpf/kernel-native";
    /// Everything about the running daemon on one page.
    pub const STATUS: &str = "/status";
    /// Metrics, where Kmesh has them.
    pub const METRICS: &str = "/status/metric";
    /// What is enforced, and whether.
    pub const AUTHZ: &str = "/authz";
    /// Why a connection is allowed or refused.
    pub const AUTHZ_EXPLAIN: &str = "/authz/explain";
    /// What would happen to a connection.
    pub const EXPLAIN: &str = "/explain";
    /// Network namespaces whose traffic the mesh handles.
    pub const ENROLMENTS: &str = "/enrolments";
}

/// A logger and its level: answer to `GET /debug/loggers?name=x` and body of the POST.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggerInfo {
    /// `default` or `bpf`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `error`, `warn`, `info`, `debug` or `trace`; for `bpf` also `0` to `3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub level: String,
}

/// Body of every error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong and what to do about it.
    pub error: String,
}

#[cfg(test)]
mod tests;
