//! What is in the kernel's maps.
//!
//! Kmesh's keys with Kmesh's types (a list of numbers is one string, joined by a comma and a space)
//! and, beside them, the key of the map entry, which Kmesh leaves out.

use serde::{Deserialize, Serialize};

/// Answer to `GET /debug/config_dump/bpf/dual-engine`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BpfDump {
    /// Policies of each workload.
    pub workload_policies: Vec<WorkloadPolicyEntry>,
    /// Backends: the addresses that connections end at.
    pub backends: Vec<BackendEntry>,
    /// Slots of the services' tables.
    pub endpoints: Vec<EndpointEntry>,
    /// Addresses that applications dial.
    pub frontends: Vec<FrontendEntry>,
    /// Service ports.
    pub services: Vec<ServiceEntry>,
}

/// Policies of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadPolicyEntry {
    /// The workload (key of the entry).
    pub workload: String,
    /// Names of its policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_ids: Vec<String>,
}

/// One backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendEntry {
    /// Uid of the workload, or the number of the record when it has none (key of the entry).
    pub backend_uid: String,
    /// Its address.
    pub ip: String,
    /// How many services it serves.
    pub service_count: u32,
    /// Which.
    pub services: Vec<String>,
    /// Address of its waypoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waypoint_addr: String,
    /// Port of its waypoint.
    #[serde(skip_serializing_if = "is_zero")]
    pub waypoint_port: u32,
}

/// One slot of a service's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointEntry {
    /// Table index of the service port (first part of the key).
    pub service_id: u32,
    /// Slot, from 0 (second part of the key).
    pub slot: u32,
    /// The backend that the slot names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend_uid: String,
    /// Port at the backend.
    #[serde(skip_serializing_if = "is_zero")]
    pub target_port: u32,
}

/// One address that applications dial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendEntry {
    /// Address (first part of the key).
    pub address: String,
    /// Port, 0 for an entry that covers the whole address (second part of the key).
    pub port: u32,
    /// `TCP` or `UDP`, empty for an entry that covers both (third part of the key).
    pub protocol: String,
    /// What happens to a connection to it, such as `balance`, `pass` or `refuse`.
    pub action: String,
    /// The service port or the backend behind it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upstream_id: String,
    /// Table index of the waypoint that TCP connections go by (not a key of Kmesh).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waypoint_id: String,
    /// The service or the workload that the address belongs to.
    pub owner: String,
}

/// One service port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Table index (key of the entry).
    pub service_id: u32,
    /// `NAMESPACE/HOSTNAME` of the service.
    pub name: String,
    /// Endpoints for each priority, see [`BpfDump::joined`].
    pub endpoint_count: String,
    /// How a slot is chosen.
    pub lb_policy: String,
    /// Ports that applications dial, see [`BpfDump::joined`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_port: String,
    /// Ports at the backends, see [`BpfDump::joined`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_port: String,
    /// Address of the service's waypoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waypoint_addr: String,
    /// Port of the service's waypoint.
    #[serde(skip_serializing_if = "is_zero")]
    pub waypoint_port: u32,
    /// Where its table begins in the map of slots.
    pub first_slot: u32,
}

impl BpfDump {
    /// A list of numbers as Kmesh writes it: one string, joined by a comma and a space.
    pub fn joined<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
        numbers.into_iter().map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Go's `omitempty` for numbers.
pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}
