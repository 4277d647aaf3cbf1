//! CNI as far as a chained plugin needs it: what a runtime asks, the plugin's entry in a conflist, and
//! what plugin and daemon say to each other. Text in, text out: no files, no sockets.
#![forbid(unsafe_code)]

pub mod conflist;
pub mod outcome;
pub mod runtime;
pub mod wire;

use serde::{Deserialize, Serialize};

/// The plugin's name: its `type` in a conflist, and its file in the directory of plugins. Kmesh's own
/// plugin has the same.
pub const PLUGIN: &str = "kmesh-cni";
/// Where the daemon listens for the plugin unless a flag says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kmesh/cni.sock";
/// Where the plugin writes what went wrong unless its entry says otherwise.
pub const DEFAULT_LOG: &str = "/run/kmesh/kmesh-cni.log";
/// Where the plugin leaves a note of each pod that it let start without an answer, beside the socket.
pub const NOTES: &str = "cni-notes";
/// How long the plugin waits for the daemon unless its entry says otherwise. Longer than the daemon
/// itself waits for a pod that it does not know yet.
pub const DEFAULT_TIMEOUT_MS: u64 = 2_000;
/// Longest that an entry may say; kubelet gives up after some minutes.
pub const TIMEOUT_MS_MAX: u64 = 60_000;
/// CNI versions that the plugin speaks; between them nothing differs that it touches.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// What the plugin does when the daemon gives no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The pod starts; the daemon enrols it when it is back.
    #[default]
    Open,
    /// The pod does not start before the daemon has answered.
    Closed,
}

/// What one interface of one sandbox is to a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// Name of the network: `name` of the conflist.
    pub network: String,
    /// Id of the sandbox.
    pub container_id: String,
    /// The interface inside it.
    pub ifname: String,
}

#[cfg(test)]
mod tests;
