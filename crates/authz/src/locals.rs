//! The workloads of this node: connections to them are judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{PolicyName, ServiceName, Workload, WorkloadName};

use crate::scopes::SetKey;

/// Workloads of this node, and what their sets depend on.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    workloads: BTreeMap<Arc<WorkloadName>, Local>,
    by_service: BTreeMap<ServiceName, BTreeSet<Arc<WorkloadName>>>,
    /// By the policies that they name, whether these are there or not.
    by_policy: BTreeMap<PolicyName, BTreeSet<Arc<WorkloadName>>>,
}

/// A workload of this node.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) workload: Arc<Workload>,
    pub(crate) key: Arc<SetKey>,
}

// === impl Locals ===

impl Locals {
    pub(crate) fn add(&mut self, workload: &Arc<Workload>, key: Arc<SetKey>) {
        let name = &workload.name;
        for service in workload.services.iter() {
            self.by_service.entry(service.clone()).or_default().insert(name.clone());
        }
        for policy in workload.policies.iter() {
            self.by_policy.entry(policy.clone()).or_default().insert(name.clone());
        }
        self.workloads.insert(name.clone(), Local { workload: workload.clone(), key });
    }

    pub(crate) fn remove(&mut self, name: &WorkloadName) -> Option<Local> {
        let local = self.workloads.remove(name)?;
        for service in local.workload.services.iter() {
            remove_in(&mut self.by_service, service, name);
        }
        for policy in local.workload.policies.iter() {
            remove_in(&mut self.by_policy, policy, name);
        }
        Some(local)
    }

    pub(crate) fn get(&self, name: &WorkloadName) -> Option<&Local> {
        self.workloads.get(name)
    }

    /// Those of a namespace.
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<Arc<WorkloadName>> {
        let from = self.workloads.range(WorkloadName::new(namespace, "")..);
        from.map(|(name, _)| name).take_while(|it| it.namespace == namespace).cloned().collect()
    }

    /// Those that serve a service.
    pub(crate) fn of_service(&self, service: &ServiceName) -> Vec<Arc<WorkloadName>> {
        self.by_service.get(service).into_iter().flatten().cloned().collect()
    }

    /// Those that name a policy.
    pub(crate) fn of_policy(&self, policy: &PolicyName) -> Vec<Arc<WorkloadName>> {
        self.by_policy.get(policy).into_iter().flatten().cloned().collect()
    }

    /// Policies that are named, and by whom.
    pub(crate) fn policies(
        &self,
    ) -> impl Iterator<Item = (&PolicyName, &BTreeSet<Arc<WorkloadName>>)> {
        self.by_policy.iter()
    }

    /// All of them.
    pub(crate) fn names(&self) -> Vec<Arc<WorkloadName>> {
        self.workloads.keys().cloned().collect()
    }
}

fn remove_in<K: Ord>(
    index: &mut BTreeMap<K, BTreeSet<Arc<WorkloadName>>>,
    key: &K,
    name: &WorkloadName,
) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}
