//! Which pods of a node belong to the mesh: the rules, what is known of pods and namespaces, and where
//! kubelet keeps a pod's processes. Plain values in, plain values out: no API server, no kernel.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod plan;
pub mod rules;
mod view;

pub use rules::{Mode, Pod, Verdict, Why};
pub use view::{Known, NodeView};

#[cfg(test)]
mod tests;
