//! Workload discovery: what a control plane says about services and workloads, over delta xDS.
//!
//! The way of a response, top to bottom: [`client`] receives it, [`Subscription`] takes it resource by
//! resource and writes the answer, [`facts`] validates each, [`Registry`] joins workloads with their
//! services to a [`model::Snapshot`].
//!
//! What must stay true:
//! - A resource that is not valid is refused by name, and stays as it was last good; the others apply.
//! - What was known when a stream broke stays in force, and is named when the next one opens.
//! - Whatever is said and has no effect here is a [`Finding`].
//! - All but [`client`] is pure: no I/O and no clock.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod backoff;
pub mod client;
pub mod codec;
mod details;
pub mod encode;
pub mod facts;
mod finding;
mod framing;
mod identity;
mod registry;
pub mod server;
mod subscription;
pub mod wire;

pub use finding::{Finding, Refusal};
pub use registry::{Options, Registry, Update};
pub use subscription::{Change, Subscription, Versions};

/// Type of the resources that are services and workloads.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";
/// Type of the resources that are policies.
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";
