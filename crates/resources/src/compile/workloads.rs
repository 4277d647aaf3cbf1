//! The workloads behind the endpoints.

use std::collections::{BTreeMap, BTreeSet};

use model::{ServiceName, Workload, WorkloadName};

use super::endpoints::{Nodes, Place, locality_of};
use crate::object::{Destination, EndpointSlice, SliceEndpoint, WorkloadEntry};
use crate::{ObjectKey, Options};

/// Workloads under construction.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    entries: BTreeMap<WorkloadName, Workload>,
    pods: BTreeMap<WorkloadName, Workload>,
}

impl Workloads {
    pub(super) fn add_entry(
        &mut self,
        options: &Options,
        key: &ObjectKey,
        entry: &WorkloadEntry,
        destination: &Destination,
        place: Place,
    ) {
        let name = WorkloadName::new(&key.namespace, &key.name);
        let workload = Workload {
            name: name.clone(),
            uid: format!("{}/networking.istio.io/WorkloadEntry/{name}", options.cluster),
            addresses: vec![destination.address],
            labels: entry.labels.clone(),
            service_account: destination.service_account.clone(),
            locality: place.locality,
            node: destination.node.clone(),
            network: place.network,
            cluster: String::new(),
            health: entry.health,
            services: Vec::new(),
        };
        self.entries.insert(name, workload);
    }

    /// A WorkloadEntry serves a service.
    pub(super) fn add_service(&mut self, key: &ObjectKey, service: &ServiceName) {
        let name = WorkloadName::new(&key.namespace, &key.name);
        if let Some(workload) = self.entries.get_mut(&name) {
            workload.services.push(service.clone());
        }
    }

    /// The pods of a slice serve a service. Returns those whose name a WorkloadEntry has taken.
    pub(super) fn add_slice(
        &mut self,
        options: &Options,
        nodes: &Nodes<'_>,
        service: &ServiceName,
        slice: &EndpointSlice,
    ) -> BTreeSet<WorkloadName> {
        let mut taken = BTreeSet::new();
        for endpoint in &slice.endpoints {
            let Some((namespace, name)) = &endpoint.pod else { continue };
            let name = WorkloadName::new(namespace, name);
            if self.entries.contains_key(&name) {
                taken.insert(name);
                continue;
            }
            let pod = self
                .pods
                .entry(name)
                .or_insert_with_key(|name| pod(options, nodes, name, endpoint));
            pod.health = pod.health.min(endpoint.health);
            if !pod.addresses.contains(&endpoint.address) {
                pod.addresses.push(endpoint.address);
            }
            pod.services.push(service.clone());
        }
        taken
    }

    pub(super) fn finish(self) -> BTreeMap<WorkloadName, Workload> {
        let mut workloads = self.pods;
        workloads.extend(self.entries);
        for workload in workloads.values_mut() {
            workload.addresses.sort();
            workload.services.sort();
            workload.services.dedup();
        }
        workloads
    }
}

fn pod(
    options: &Options,
    nodes: &Nodes<'_>,
    name: &WorkloadName,
    endpoint: &SliceEndpoint,
) -> Workload {
    Workload {
        name: name.clone(),
        uid: format!("{}//Pod/{name}", options.cluster),
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        service_account: String::new(),
        locality: locality_of(nodes, endpoint),
        node: endpoint.node.clone(),
        network: String::new(),
        cluster: String::new(),
        health: endpoint.health,
        services: Vec::new(),
    }
}
