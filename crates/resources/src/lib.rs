//! Configuration from a directory: ordinary Kubernetes and Istio YAML in, [`model::Snapshot`] out.
//!
//! The way of a change, top to bottom: [`Watcher`] says which files may have changed, [`Directory`]
//! reads these, [`Store::update`] parses what is new in them, decides which version of each object is
//! in force, and compiles the services and workloads that have to do with an object that changed.
//!
//! What must stay true:
//! - [`Store`] does no I/O and looks at no clock; no input makes it panic.
//! - What it says depends on the files and on what was in force before, and not on how many files
//!   changed at a time; the work of a change is in proportion to the change.
//! - A mistake costs only the object that contains it, and that object stays as it was last good.
//! - Nothing that is written in a file and does nothing goes unmentioned: see [`Problem`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod compile;
mod content;
mod decode;
mod directory;
mod document;
#[cfg(test)]
mod equivalence;
mod findings;
mod intern;
mod kinds;
mod load;
mod object;
mod options;
mod problem;
mod registry;
mod store;
#[cfg(test)]
mod testing;
mod values;
mod watch;
mod yaml;

pub use content::{FILE_BYTES_MAX, FileContent};
pub use directory::Directory;
pub use load::load;
pub use options::Options;
pub use problem::{Kind, ObjectKey, Problem, Severity};
pub use store::{Store, Update};
pub use watch::{Touched, Watcher};
