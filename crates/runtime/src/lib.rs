//! What every long-running program of the mesh needs around its real work: the admin API and its
//! two ends, logging, shutdown, and the host's mounts, network namespaces and files.
//!
//! This crate knows nothing of the mesh: no model, no plan, no data path.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod client;
pub mod files;
pub mod logging;
pub mod mounts;
pub mod netns;
pub mod open_files;
pub mod shutdown;
pub mod signals;
