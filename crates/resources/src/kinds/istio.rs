//! The types of networking.istio.io, as in their OpenAPI schema
//! (<https://istio.io/latest/docs/reference/config/networking/>).
//!
//! Numbers are wider than in the API and enumerations are text, so that a bad one is reported with
//! the words of the validation and not with those of the decoder. What is not implemented is kept as
//! a [`Value`]: its being there is all that matters.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_yaml_ng::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource<S> {
    #[serde(rename = "apiVersion")]
    pub(super) _api_version: String,
    #[serde(rename = "kind")]
    pub(super) _kind: String,
    pub(super) metadata: ObjectMeta,
    pub(super) spec: S,
    pub(super) status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceEntry {
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<ServicePort>,
    pub(super) location: Option<String>,
    pub(super) resolution: Option<String>,
    #[serde(default)]
    pub(super) endpoints: Vec<WorkloadEntry>,
    pub(super) workload_selector: Option<WorkloadSelector>,
    #[serde(default)]
    pub(super) export_to: Vec<String>,
    pub(super) subject_alt_names: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub(super) number: i64,
    pub(super) protocol: Option<String>,
    pub(super) name: String,
    pub(super) target_port: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct WorkloadSelector {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadEntry {
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) ports: BTreeMap<String, i64>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) network: String,
    pub(super) locality: Option<String>,
    pub(super) weight: Option<i64>,
    #[serde(default)]
    pub(super) service_account: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DestinationRule {
    pub(super) host: String,
    pub(super) traffic_policy: Option<TrafficPolicy>,
    pub(super) subsets: Option<Value>,
    #[serde(default)]
    pub(super) export_to: Vec<String>,
    pub(super) workload_selector: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrafficPolicy {
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) connection_pool: Option<Value>,
    pub(super) outlier_detection: Option<Value>,
    pub(super) tls: Option<Value>,
    pub(super) port_level_settings: Option<Value>,
    pub(super) tunnel: Option<Value>,
    pub(super) proxy_protocol: Option<Value>,
    pub(super) retry_budget: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    pub(super) simple: Option<String>,
    pub(super) consistent_hash: Option<ConsistentHash>,
    pub(super) locality_lb_setting: Option<LocalityLbSetting>,
    pub(super) warmup_duration_secs: Option<Value>,
    pub(super) warmup: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConsistentHash {
    pub(super) http_header_name: Option<Value>,
    pub(super) http_cookie: Option<Value>,
    pub(super) http_query_parameter_name: Option<Value>,
    pub(super) use_source_ip: Option<bool>,
    pub(super) ring_hash: Option<Value>,
    pub(super) maglev: Option<Value>,
    pub(super) minimum_ring_size: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalityLbSetting {
    #[serde(default)]
    pub(super) distribute: Vec<Distribute>,
    #[serde(default)]
    pub(super) failover: Vec<Failover>,
    #[serde(default)]
    pub(super) failover_priority: Vec<String>,
    pub(super) enabled: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Distribute {
    #[serde(default)]
    pub(super) from: String,
    #[serde(default)]
    pub(super) to: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
pub(super) struct Failover {
    #[serde(default)]
    pub(super) from: String,
    #[serde(default)]
    pub(super) to: String,
}
