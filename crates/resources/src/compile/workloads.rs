//! The workloads behind the endpoints.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::{ServiceName, Workload, WorkloadName};

use super::endpoints::{Nodes, Place, locality_of};
use crate::object::{Destination, EndpointSlice, SliceEndpoint, WorkloadEntry};
use crate::{ObjectKey, Options};

/// Workloads under construction.
#[derive(Debug, Default)]
pub(super) struct Workloads<'a> {
    entries: Vec<Workload>,
    /// Namespace and name of each entry.
    taken: HashSet<(&'a str, &'a str)>,
    pods: BTreeMap<WorkloadName, Workload>,
}

impl<'a> Workloads<'a> {
    /// Adds the workload of a WorkloadEntry; it has the number that is returned.
    pub(super) fn add_entry(
        &mut self,
        options: &Options,
        key: &'a ObjectKey,
        entry: &WorkloadEntry,
        destination: &Destination,
        place: Place,
    ) -> usize {
        let name = WorkloadName::new(&key.namespace, &key.name);
        self.taken.insert((&key.namespace, &key.name));
        self.entries.push(Workload {
            uid: format!("{}/networking.istio.io/WorkloadEntry/{name}", options.cluster),
            name,
            addresses: vec![destination.address],
            labels: entry.labels.clone(),
            service_account: destination.service_account.clone(),
            locality: place.locality,
            node: destination.node.clone(),
            network: place.network,
            cluster: String::new(),
            health: entry.health,
            services: Vec::new(),
        });
        self.entries.len() - 1
    }

    /// The WorkloadEntry of that number serves a service.
    pub(super) fn add_service(&mut self, id: usize, service: &ServiceName) {
        self.entries[id].services.push(service.clone());
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
            let is_taken = self.taken.contains(&(namespace.as_str(), name.as_str()));
            let name = WorkloadName::new(namespace, name);
            if is_taken {
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
        let workloads = self.pods.into_values().chain(self.entries).map(|mut workload| {
            workload.addresses.sort();
            workload.services.sort();
            workload.services.dedup();
            (workload.name.clone(), workload)
        });
        workloads.collect()
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
