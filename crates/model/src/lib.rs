//! The mesh's nouns: what every decision speaks of, whatever the configuration came from.
//!
//! Plain values. This crate knows no file format, no wire format, no kernel and no clock.
#![forbid(unsafe_code)]

mod locality;
mod map;
mod name;
mod policy;
mod service;
mod snapshot;
mod waypoint;
mod workload;

pub use locality::{Locality, LocalityShare, LocalityWeights, Scope, Topology};
pub use map::{Difference, Map, diff};
pub use name::{ServiceName, WorkloadName};
pub use policy::{
    Clause, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule, ServiceAccount, StringMatch,
};
pub use service::{
    AddressBlock, Algorithm, Endpoint, Health, LoadBalancing, LocalityMode, NodePort, Protocol,
    Service, ServicePort, Source, TargetPorts, UnresolvedEndpoint,
};
pub use snapshot::{Node, NodeFacts, OutboundPolicy, Snapshot};
pub use waypoint::{Waypoint, WaypointTarget, Waypoints};
pub use workload::Workload;
