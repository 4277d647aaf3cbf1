//! Which policies apply to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Policy, PolicyName, PolicyScope, ServiceName, Snapshot, Workload};

/// What a workload's set is made of. Workloads with equal keys share a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetKey {
    /// Its namespace, if that has policies; else empty.
    pub(crate) namespace: String,
    /// Policies that the workload names, and that would not apply otherwise.
    pub(crate) named: Vec<PolicyName>,
    /// Waypoints that it trusts.
    pub(crate) trusted: BTreeSet<ServiceName>,
}

/// The policies that nobody has to name.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    global: Policies,
    by_namespace: BTreeMap<String, Policies>,
}

type Policies = BTreeMap<PolicyName, Arc<Policy>>;

// === impl SetKey ===

impl SetKey {
    /// The key of addresses that nothing names: the global policies.
    pub(crate) fn is_for_others(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Scopes ===

impl Scopes {
    /// Takes note of a policy that came or changed.
    pub(crate) fn add(&mut self, policy: &Arc<Policy>) {
        let (name, policy) = (policy.name.clone(), policy.clone());
        match policy.scope {
            PolicyScope::Global => drop(self.global.insert(name, policy)),
            PolicyScope::Namespace => {
                let namespace = self.by_namespace.entry(name.namespace.clone()).or_default();
                namespace.insert(name, policy);
            }
            PolicyScope::WorkloadSelector => {}
        }
    }

    /// The policy is not what it was.
    pub(crate) fn remove(&mut self, policy: &Policy) {
        self.global.remove(&policy.name);
        if let Some(names) = self.by_namespace.get_mut(&policy.name.namespace) {
            names.remove(&policy.name);
            if names.is_empty() {
                self.by_namespace.remove(&policy.name.namespace);
            }
        }
    }

    /// Are there policies for all of a namespace?
    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.by_namespace.contains_key(namespace)
    }

    /// The key of a workload that trusts these waypoints.
    pub(crate) fn key(
        &self,
        workload: &Workload,
        snapshot: &Snapshot,
        trusted: BTreeSet<ServiceName>,
    ) -> SetKey {
        let own = &workload.name.namespace;
        let namespace = if self.has_namespace(own) { own.clone() } else { String::new() };
        let needs_name = |name: &&PolicyName| {
            snapshot.policies.get(*name).is_some_and(|policy| match policy.scope {
                PolicyScope::Global => false,
                PolicyScope::Namespace => name.namespace != *own,
                PolicyScope::WorkloadSelector => true,
            })
        };
        let named: BTreeSet<&PolicyName> = workload.policies.iter().filter(needs_name).collect();
        SetKey { namespace, named: named.into_iter().cloned().collect(), trusted }
    }

    /// The policies that apply where a key is, in the order of their names.
    pub(crate) fn policies<'a>(
        &'a self,
        key: &'a SetKey,
        snapshot: &'a Snapshot,
    ) -> Vec<&'a Arc<Policy>> {
        let namespace = self.by_namespace.get(&key.namespace).into_iter().flatten();
        let named = key.named.iter().filter_map(|name| snapshot.policies.get(name));
        let unnamed = self.global.iter().chain(namespace).map(|(_, policy)| policy);
        let mut policies: Vec<&Arc<Policy>> = unnamed.chain(named).collect();
        // Each part is in order already.
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        policies.dedup_by(|a, b| a.name == b.name);
        policies
    }
}
