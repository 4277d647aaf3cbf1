//! What comes from where: the files or resources behind services, workloads and policies, in dumps
//! and in `explain`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::{PolicyName, ServiceName, Snapshot, Workload, WorkloadName};
use runtime::api::{ConfigDump, Origin};

use crate::authz::Authorization;
use crate::commit::Committer;
use crate::source::Source;

/// Looks origins up; made for one question.
pub struct Provenance<'a> {
    source: &'a Source,
    workloads: BTreeMap<IpAddr, &'a Arc<Workload>>,
}

// === impl Provenance ===

impl<'a> Provenance<'a> {
    /// Of what is in force.
    pub fn new(snapshot: &'a Snapshot, source: &'a Source) -> Self {
        let addresses = |it: &'a Arc<Workload>| it.addresses.iter().map(move |ip| (*ip, it));
        Self { source, workloads: snapshot.workloads.values().flat_map(addresses).collect() }
    }

    /// A service with its origin, for a person.
    pub fn service(&self, name: &ServiceName) -> String {
        format!("{name}{}", text(&self.source.origin_of_service(name)))
    }

    /// An endpoint with the workload that has its address, and its origin.
    pub fn endpoint(&self, endpoint: SocketAddr) -> String {
        match self.workloads.get(&endpoint.ip()) {
            None => endpoint.to_string(),
            Some(workload) => {
                let origin = self.source.origin_of_workload(workload);
                format!("{endpoint}, {}{}", workload.name, text(&origin))
            }
        }
    }
}

/// In brackets, when anything is known.
fn text(origin: &Origin) -> String {
    if origin.sources.is_empty() {
        return String::new();
    }
    let sources = origin.sources.join(", ");
    if origin.version.is_empty() {
        return format!(" ({sources})");
    }
    format!(" ({sources} version {})", origin.version)
}

/// Completes a dump.
pub fn add(
    dump: &mut ConfigDump,
    snapshot: &Snapshot,
    source: &Source,
    committer: &Committer,
    authorization: &Authorization,
) {
    let layout = committer.layout();
    let without_room: BTreeSet<String> =
        committer.problems().iter().map(|problem| problem.service.to_string()).collect();
    let placed: BTreeSet<&ServiceName> = layout.placements().map(|it| it.service).collect();
    let reached: BTreeSet<IpAddr> = layout.backends().into_values().map(|it| it.ip()).collect();
    let enforced = authorization.in_kernel();
    for service in &mut dump.services {
        let name = ServiceName::new(&service.namespace, &service.hostname);
        let in_kernel = placed.contains(&name) && !without_room.contains(&name.to_string());
        service.origin = Some(Origin { in_kernel, ..source.origin_of_service(&name) });
    }
    for workload in &mut dump.workloads {
        let name = WorkloadName::new(&workload.namespace, &workload.name);
        let Some(known) = snapshot.workloads.get(&name) else { continue };
        let in_kernel = known.addresses.iter().any(|address| reached.contains(address));
        workload.origin = Some(Origin { in_kernel, ..source.origin_of_workload(known) });
    }
    for policy in &mut dump.policies {
        let name = PolicyName::new(&policy.namespace, &policy.name);
        let in_kernel = enforced.contains(&name);
        policy.origin = Some(Origin { in_kernel, ..source.origin_of_policy(&name) });
    }
}
