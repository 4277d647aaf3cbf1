//! Configuration from a directory: ordinary Kubernetes and Istio YAML in, [`model::Snapshot`] out.
//!
//! The way of a change, top to bottom: [`Watcher`] says that the directory may have changed, [`load`]
//! reads it, [`Store::apply`] parses what is new and decides which version of each object is in
//! force, [`snapshot`] compiles those into the model. [`Directory`] is that way in one piece.
//!
//! What must stay true:
//! - `Store::apply` and `snapshot` do no I/O and look at no clock; no input makes them panic.
//! - A mistake costs only the object that contains it, and that object stays as it was last good.
//! - Nothing that is written in a file and does nothing goes unmentioned: see [`Problem`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod compile;
mod decode;
mod directory;
mod document;
mod findings;
mod kinds;
mod load;
mod object;
mod options;
mod problem;
mod store;
#[cfg(test)]
mod testing;
mod values;
mod watch;
mod yaml;

pub use compile::snapshot;
pub use directory::{Directory, Update};
pub use load::{FILE_BYTES_MAX, FileContent, load};
pub use options::Options;
pub use problem::{Kind, ObjectKey, Problem, Severity};
pub use store::Store;
pub use watch::Watcher;
