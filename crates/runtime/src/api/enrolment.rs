//! Enrolment: which network namespaces the mesh handles.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A network namespace whose traffic the mesh handles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Enrolment {
    /// The kernel's cookie of the namespace: unique as long as the host is up.
    pub netns_cookie: u64,
    /// Path by which it was enrolled, as the daemon sees it.
    pub netns: String,
    /// `NAMESPACE/NAME` of the workload that lives in it, when it was given or found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Inode of the namespace: tells whether the path still names the same one.
    pub inode: u64,
    /// Where `resolvers` come from.
    pub dns: DnsCapture,
    /// Its DNS servers: queries to them are answered by the DNS proxy.
    pub resolvers: Vec<IpAddr>,
    /// Who enrolled it.
    pub origin: EnrolmentOrigin,
    /// Uid of the pod that lives in it, as kubelet knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// What the runtime calls it, when it came by CNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
}

/// Who enrolled a namespace, and so who may take it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnrolmentOrigin {
    /// Somebody, by the admin API. Nothing but the admin API takes it out while it lives.
    #[default]
    Hand,
    /// The CNI plugin, when the pod's sandbox was made.
    Cni,
    /// The watch, because of labels, while the pod was running.
    Label,
    /// Nobody knows: the state file was lost. Labels take it over where they ask for it.
    Unknown,
}

/// One interface of one sandbox, as the runtime names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sandbox {
    /// Name of the network.
    pub network: String,
    /// Id of the sandbox.
    pub container_id: String,
    /// The interface inside it.
    pub ifname: String,
}

impl std::fmt::Display for EnrolmentOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hand => "hand",
            Self::Cni => "cni",
            Self::Label => "label",
            Self::Unknown => "unknown",
        })
    }
}

impl Enrolment {
    /// True for a pod whose DNS servers nobody has told yet: those of its first container count.
    pub fn awaits_resolvers(&self) -> bool {
        self.pod_uid.is_some() && self.resolvers.is_empty() && self.dns.is_auto()
    }
}

/// Which DNS queries of a namespace the DNS proxy answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsCapture {
    /// Those to the servers of its `resolv.conf`.
    #[default]
    Auto,
    /// Those to servers that the enrolment names.
    Given,
    /// None.
    Off,
}

impl DnsCapture {
    /// True for what holds when nothing is said.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Asks to enrol a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolRequest {
    /// Absolute path of the namespace as the daemon sees it, such as `/run/netns/a` or
    /// `/proc/123/ns/net`.
    pub netns: String,
    /// `NAMESPACE/NAME` of the workload that lives in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// `given` needs `resolvers`; the others forbid it.
    #[serde(default, skip_serializing_if = "DnsCapture::is_auto")]
    pub dns: DnsCapture,
    /// At most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<IpAddr>,
    /// It may be the host's own namespace; otherwise that is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host: bool,
}

/// Asks to end an enrolment, named by exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UnenrolRequest {
    /// Absolute path of the namespace as the daemon sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// The kernel's cookie of the namespace, for one whose path is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns_cookie: Option<u64>,
}
