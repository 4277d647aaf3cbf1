//! What the plugin asks the daemon and hears, over a Unix socket: one JSON value each way. The asking
//! end closes its half when it has said everything.
//!
//! Unknown fields are ignored and missing ones have defaults: plugin and daemon may be of different
//! versions while a node is upgraded.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Attachment;

/// Longest question: a collection of garbage names every attachment of a node.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Longest answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a runtime wants done, or wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "camelCase")]
pub enum Request {
    /// A sandbox has its network: is it of the mesh?
    Add(Sandbox),
    /// Is it still as it should be?
    Check(Sandbox),
    /// It is going away.
    Del(Sandbox),
    /// Only these are left of a network.
    Gc {
        /// Name of the network.
        network: String,
        /// All its attachments.
        valid: Vec<Attachment>,
    },
    /// Would a sandbox be taken in?
    Status,
}

/// One sandbox, as the runtime describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sandbox {
    /// Which one.
    pub attachment: Attachment,
    /// Path of its network namespace; empty when the runtime does not say, which it may at the end.
    pub netns: String,
    /// Namespace of the pod.
    pub pod_namespace: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Uid of the pod, where the runtime tells it.
    pub pod_uid: Option<String>,
    /// DNS servers that the runtime gives its containers, where it tells them.
    pub resolvers: Vec<IpAddr>,
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Answer {
    /// It is so, or is done.
    Done {
        /// Only for an added sandbox: it is in the mesh now.
        #[serde(default)]
        enrolled: bool,
        /// Why it is in the mesh, or not.
        #[serde(default)]
        why: String,
    },
    /// It cannot be known now whether the pod belongs to the mesh.
    Undecided {
        /// What is missing.
        why: String,
    },
    /// It is not as it should be.
    Wrong {
        /// What is wrong.
        why: String,
    },
    /// It could not be done.
    Failed {
        /// What happened.
        why: String,
    },
}

/// A pod that was let go without an answer: what the plugin leaves for the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Note {
    /// `NAMESPACE/NAME` of the pod.
    pub workload: String,
    /// Its sandbox.
    pub attachment: Attachment,
    /// One of [`crate::outcome::Trouble::NAMES`].
    pub reason: String,
    /// What happened.
    pub detail: String,
}
