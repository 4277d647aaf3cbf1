//! Waypoints: proxies that connections go by, which see to policy above TCP.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::ServiceName;

/// A waypoint of a service or of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waypoint {
    /// What stands for it.
    pub target: WaypointTarget,
    /// Where it speaks HBONE, as the control plane says. It is not dialled there: the data path has
    /// a port of its own.
    pub hbone_port: u16,
    /// How many of the connections go by it, in relation to the other waypoints of the list.
    pub weight: u32,
}

/// What stands for a waypoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaypointTarget {
    /// The virtual address of a service, in the mesh's own network.
    Address(IpAddr),
    /// A service, which need not be known yet.
    Service(ServiceName),
}

/// All waypoints of something, of which each connection goes by one; empty when there is none. An
/// ordinary waypoint is a list of one; several are `weighted_waypoints` of Istio's workload API.
pub type Waypoints = Arc<[Waypoint]>;

// === impl Waypoint ===

impl fmt::Display for Waypoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            WaypointTarget::Address(address) => address.fmt(f),
            WaypointTarget::Service(name) => name.fmt(f),
        }
    }
}
