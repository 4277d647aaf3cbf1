//! The types of security.istio.io, as in their OpenAPI schema
//! (<https://istio.io/latest/docs/reference/config/security/>).
//!
//! What this data path does not see is kept as a [`Value`]: its being there is all that matters.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml_ng::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthorizationPolicy {
    pub(super) selector: Option<Selector>,
    pub(super) target_ref: Option<Value>,
    pub(super) target_refs: Option<Vec<Value>>,
    pub(super) rules: Option<Vec<Option<Rule>>>,
    pub(super) action: Option<String>,
    pub(super) provider: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selector {
    #[serde(default)]
    pub(super) match_labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Rule {
    pub(super) from: Option<Vec<From>>,
    pub(super) to: Option<Vec<To>>,
    #[serde(default)]
    pub(super) when: Vec<Condition>,
}

#[derive(Deserialize)]
pub(super) struct From {
    pub(super) source: Option<Source>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Source {
    pub(super) principals: Vec<String>,
    pub(super) not_principals: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) not_namespaces: Vec<String>,
    pub(super) service_accounts: Vec<String>,
    pub(super) not_service_accounts: Vec<String>,
    pub(super) ip_blocks: Vec<String>,
    pub(super) not_ip_blocks: Vec<String>,
    pub(super) request_principals: Vec<Value>,
    pub(super) not_request_principals: Vec<Value>,
    pub(super) remote_ip_blocks: Vec<Value>,
    pub(super) not_remote_ip_blocks: Vec<Value>,
    pub(super) trust_domains: Vec<Value>,
    pub(super) not_trust_domains: Vec<Value>,
}

#[derive(Deserialize)]
pub(super) struct To {
    pub(super) operation: Option<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Operation {
    pub(super) ports: Vec<String>,
    pub(super) not_ports: Vec<String>,
    pub(super) hosts: Vec<Value>,
    pub(super) not_hosts: Vec<Value>,
    pub(super) methods: Vec<Value>,
    pub(super) not_methods: Vec<Value>,
    pub(super) paths: Vec<Value>,
    pub(super) not_paths: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    pub(super) key: String,
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(default)]
    pub(super) not_values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerAuthentication {
    pub(super) selector: Option<Selector>,
    pub(super) mtls: Option<MutualTls>,
    #[serde(default)]
    pub(super) port_level_mtls: BTreeMap<i64, MutualTls>,
}

#[derive(Deserialize)]
pub(super) struct MutualTls {
    pub(super) mode: Option<String>,
}

// === impl Source ===

impl Source {
    /// What is not seen at L4, by the name of its field.
    pub(super) fn unseen(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("requestPrincipals", &self.request_principals),
            ("notRequestPrincipals", &self.not_request_principals),
            ("remoteIpBlocks", &self.remote_ip_blocks),
            ("notRemoteIpBlocks", &self.not_remote_ip_blocks),
            ("trustDomains", &self.trust_domains),
            ("notTrustDomains", &self.not_trust_domains),
        ];
        set(fields)
    }
}

// === impl Operation ===

impl Operation {
    /// What is not seen at L4, by the name of its field.
    pub(super) fn unseen(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("hosts", &self.hosts),
            ("notHosts", &self.not_hosts),
            ("methods", &self.methods),
            ("notMethods", &self.not_methods),
            ("paths", &self.paths),
            ("notPaths", &self.not_paths),
        ];
        set(fields)
    }
}

fn set<const N: usize>(
    fields: [(&'static str, &Vec<Value>); N],
) -> impl Iterator<Item = &'static str> {
    let set = fields.map(|(name, values)| (!values.is_empty()).then_some(name));
    set.into_iter().flatten()
}
