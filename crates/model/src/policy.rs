//! Who may talk to whom, at the transport layer: `istio.security.Authorization` of Istio's workload
//! discovery, which a control plane makes of each AuthorizationPolicy.

use std::fmt;

use crate::AddressBlock;

/// A policy: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name of the AuthorizationPolicy.
    pub name: String,
}

/// Which workloads a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyScope {
    /// All.
    Global,
    /// Those of its namespace.
    Namespace,
    /// Those that name it.
    WorkloadSelector,
}

/// What a policy does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// Allows it; what no such policy matches is denied, where there is one.
    Allow,
    /// Denies it, whatever others allow.
    Deny,
    /// Decides nothing: what it matches is counted.
    Audit,
}

/// Who may, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// For whom.
    pub scope: PolicyScope,
    /// What happens.
    pub action: PolicyAction,
    /// It decides nothing, and what it would have decided is counted.
    pub is_dry_run: bool,
    /// It matches where any of these does; without one it matches nothing.
    pub rules: Vec<Rule>,
}

/// All of its clauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The clauses.
    pub clauses: Vec<Clause>,
}

/// Any of its matches; without one it is fulfilled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clause {
    /// The matches.
    pub matches: Vec<Match>,
}

/// All kinds of its fields; of one kind any value, and none of its `not_` values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Namespace of the source.
    pub namespaces: Vec<StringMatch>,
    /// Not these.
    pub not_namespaces: Vec<StringMatch>,
    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT` of the source.
    pub principals: Vec<StringMatch>,
    /// Not these.
    pub not_principals: Vec<StringMatch>,
    /// Address of the source.
    pub source_ips: Vec<AddressBlock>,
    /// Not these.
    pub not_source_ips: Vec<AddressBlock>,
    /// Address of the destination.
    pub destination_ips: Vec<AddressBlock>,
    /// Not these.
    pub not_destination_ips: Vec<AddressBlock>,
    /// Port of the destination.
    pub destination_ports: Vec<u16>,
    /// Not these.
    pub not_destination_ports: Vec<u16>,
    /// Service account of the source.
    pub service_accounts: Vec<ServiceAccount>,
    /// Not these.
    pub not_service_accounts: Vec<ServiceAccount>,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// This.
    Exact(String),
    /// Something that begins with this.
    Prefix(String),
    /// Something that ends with this.
    Suffix(String),
    /// Anything but nothing.
    Presence,
}

impl PolicyName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Policy {
    /// True for one that decides nothing.
    pub fn is_observer(&self) -> bool {
        self.is_dry_run || self.action == PolicyAction::Audit
    }
}

impl PolicyScope {
    /// As Istio's workload API and the dumps write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "GLOBAL",
            Self::Namespace => "NAMESPACE",
            Self::WorkloadSelector => "WORKLOAD_SELECTOR",
        }
    }
}

impl PolicyAction {
    /// As Istio's workload API and the dumps write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
        }
    }
}

impl fmt::Display for StringMatch {
    /// With `*` for what may be anything, as AuthorizationPolicy writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Presence => f.write_str("*"),
        }
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
