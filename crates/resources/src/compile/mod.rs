//! The objects in force into the model, at the cost of what changed.
//!
//! An object that changed is entered in the [`Index`], which says which services and workloads it
//! concerns; these are compiled anew from the objects in force, and nothing else is. So what comes
//! out depends on what is in force alone, and not on the way there.

mod affected;
mod endpoints;
mod index;
mod notes;
mod origins;
mod policies;
mod rules;
mod services;
mod shared;
#[cfg(test)]
mod tests;
mod waypoints;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Map, ServiceName, Snapshot, WorkloadName};

use crate::ObjectKey;
use crate::registry::{Change, Registry};

use affected::Affected;
use index::{Index, Members};
use notes::Notes;
use rules::Rules;
use shared::Shared;

/// The model of everything that is in force, with what is needed to keep it up to date.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    snapshot: Snapshot,
    index: Index,
    rules: Rules,
    notes: Notes,
    shared: Shared,
}

// === impl Compiler ===

impl Compiler {
    /// Takes what changed in the registry since the last time.
    pub(crate) fn update(&mut self, registry: &Registry, changes: &[Change]) {
        let affected = self.affected(registry, changes);
        let Affected { rules, services, workloads, slices, gone } = affected;
        let services = self.update_rules(registry, rules, services);
        self.update_services(registry, &services, gone);
        for name in workloads {
            self.update_workload(registry, name);
        }
        for slice in slices {
            self.notes.slice(registry, &slice);
        }
    }

    /// The mesh as it is now. Services and workloads that are what they were are the same `Arc`.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Enters rules under the hosts that they are about now. Returns the services that may have
    /// another rule because of that, with those that are known already.
    fn update_rules(
        &mut self,
        registry: &Registry,
        rules: BTreeMap<Arc<ObjectKey>, Option<String>>,
        mut services: BTreeSet<Arc<ObjectKey>>,
    ) -> BTreeSet<Arc<ObjectKey>> {
        let mut hosts = BTreeSet::new();
        for (key, old_host) in rules {
            hosts.extend(old_host.and_then(|host| self.rules.remove(&key, &host)));
            let Some((rule, created)) = services::rule(registry, &key) else { continue };
            let is_known = |key: &ObjectKey| registry.get(key).is_some();
            let options = registry.options();
            let full = rules::resolve(options, &key.namespace, &rule.host, is_known);
            hosts.insert(full.clone());
            self.rules.add(&key, &rule.host, full, created);
        }
        for host in hosts {
            let concerned = rules::concerned(&self.index.hosts, &host);
            services.extend(concerned.into_iter().flat_map(Members::iter).cloned());
        }
        services
    }

    fn update_services(
        &mut self,
        registry: &Registry,
        keys: &BTreeSet<Arc<ObjectKey>>,
        mut gone: BTreeSet<ServiceName>,
    ) {
        for key in keys {
            let Some(object) = registry.get(key) else { continue };
            for mut service in services::compile(self, registry, key, object) {
                self.shared.service(&mut service);
                gone.remove(&service.name);
                put(&mut self.snapshot.services, service.name.clone(), service);
            }
        }
        for name in gone {
            self.rules.choose(&name, None);
            remove(&mut self.snapshot.services, &name);
        }
    }

    fn update_workload(&mut self, registry: &Registry, name: Arc<WorkloadName>) {
        let (workload, twins) = workloads::compile(self, registry, &name);
        self.notes.twins(&name, twins);
        match workload {
            Some(mut workload) => {
                self.shared.workload(&mut workload);
                put(&mut self.snapshot.workloads, workload.name.clone(), workload);
            }
            None => remove(&mut self.snapshot.workloads, &name),
        }
    }
}

/// Enters a value, unless an equal one is there.
fn put<K: Ord + Clone, V: PartialEq>(map: &mut Map<K, Arc<V>>, key: K, value: V) {
    if map.get(&key).is_none_or(|known| **known != value) {
        map.insert(key, Arc::new(value));
    }
}

/// Removes a key, without a copy of anything when it is not there.
fn remove<K: Ord + Clone, V: Clone>(map: &mut Map<K, V>, key: &K) {
    if map.contains_key(key) {
        map.remove(key);
    }
}
