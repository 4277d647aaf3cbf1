//! What services and workloads have in common, kept once.

use model::{PolicyName, ServiceName, TargetPorts, Topology, Waypoint};

use crate::intern::Pool;
use crate::object::Labels;

/// Equal parts of everything that was compiled.
#[derive(Debug, Default)]
pub(super) struct Shared {
    topologies: Pool<Topology>,
    target_ports: Pool<TargetPorts>,
    labels: Pool<Labels>,
    texts: Pool<str>,
    services: Pool<[ServiceName]>,
    policies: Pool<[PolicyName]>,
    waypoints: Pool<[Waypoint]>,
}

impl Shared {
    /// Replaces parts of a service by equal ones.
    pub(super) fn service(&mut self, service: &mut model::Service) {
        self.waypoints.intern(&mut service.waypoints);
        for endpoint in &mut service.endpoints {
            self.topologies.intern(&mut endpoint.topology);
            self.target_ports.intern(&mut endpoint.target_ports);
        }
        for endpoint in &mut service.unresolved {
            self.topologies.intern(&mut endpoint.topology);
            self.target_ports.intern(&mut endpoint.target_ports);
        }
    }

    /// Replaces parts of a workload by equal ones.
    pub(super) fn workload(&mut self, workload: &mut model::Workload) {
        self.topologies.intern(&mut workload.topology);
        self.labels.intern(&mut workload.labels);
        self.texts.intern(&mut workload.uid_prefix);
        self.texts.intern(&mut workload.trust_domain);
        self.texts.intern(&mut workload.service_account);
        self.policies.intern(&mut workload.policies);
        self.services.intern(&mut workload.services);
        self.waypoints.intern(&mut workload.waypoints);
    }
}
