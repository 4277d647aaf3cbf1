//! Who may connect to whom: what policies mean, and the kernel tables that say the same.
//!
//! [`evaluate`] is the reference: Istio's rules, in words as close to them as can be. [`Authz`] keeps the
//! tables of the kernel in step with the mesh: it compiles the policies that apply to each workload of
//! this node to rows of bits, which the programs only have to look up and combine.
//!
//! No I/O, no clock, no kernel.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod addresses;
mod bits;
mod block;
mod evaluate;
mod explain;
mod identity;
mod image;
mod locals;
mod matching;
mod problem;
mod recover;
mod rows;
mod scopes;
mod sets;
mod space;
mod state;
mod subjects;
mod term;
#[cfg(test)]
mod tests;
mod waypoints;

pub use evaluate::{Connection, Decision, Matched, Verdict, evaluate};
pub use explain::{Considered, Explanation, Outcome, Source};
pub use identity::Identity;
pub use problem::Problem;
pub use state::{Authz, Options};
