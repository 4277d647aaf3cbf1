//! Authorization: what is enforced, what policies counted, and why a connection is allowed or refused.

use serde::{Deserialize, Serialize};

/// Answer to `GET /authz` and `POST /authz`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthzStatus {
    /// False after `kmeshctl authz disable`: no policy is enforced.
    pub enabled: bool,
    /// True while connections are judged: it is enabled, and there is a policy.
    pub active: bool,
    /// Network namespaces whose inbound connections are judged.
    pub guarded: usize,
    /// Established connections that were ended because they are not allowed any more.
    pub ended: u64,
    /// How they are ended: `program` or `diagnostics`.
    pub means: String,
    /// The policies that a workload of this node has, with what they counted.
    pub policies: Vec<PolicyCounts>,
    /// What can't be enforced as it is written.
    pub problems: Vec<String>,
}

/// What a policy counted since it is in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyCounts {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `ALLOW`, `DENY` or `AUDIT`.
    pub action: String,
    /// It decides nothing.
    pub dry_run: bool,
    /// Connections that it allowed.
    pub allowed: u64,
    /// Connections that it refused.
    pub denied: u64,
    /// Connections that it matched without deciding anything.
    pub observed: u64,
}

/// Query of `POST /authz`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthzSetting {
    /// Whether policies are enforced.
    pub enable: bool,
}

/// Query of `GET /authz/explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthzRequest {
    /// Who dials: an address, or `NAMESPACE/NAME` of a workload.
    pub from: String,
    /// What is dialled: `ADDRESS:PORT`, or `NAMESPACE/NAME:PORT` of a workload.
    pub to: String,
}

/// Answer to `GET /authz/explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthzExplanation {
    /// From which address to which.
    pub question: String,
    /// Whom the source is taken for.
    pub source: String,
    /// The workloads of the destination's address.
    pub destination: Vec<String>,
    /// The policies that apply to the destination.
    pub policies: Vec<ConsideredPolicy>,
    /// Is it allowed?
    pub allowed: bool,
    /// The verdict, and what decided.
    pub verdict: String,
}

/// A policy that applies to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsideredPolicy {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// `ALLOW`, `DENY` or `AUDIT`.
    pub action: String,
    /// `GLOBAL`, `NAMESPACE` or `WORKLOAD_SELECTOR`.
    pub scope: String,
    /// It decides nothing.
    pub dry_run: bool,
    /// Index of the first rule that matches; nothing when none does.
    pub rule: Option<usize>,
}
