//! The way back: which objects a service or a workload was compiled from.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ServiceName, WorkloadName};

use super::Compiler;
use super::index::Members;
use crate::{Kind, ObjectKey};

impl Compiler {
    /// The objects that declare a service, and the slices of its endpoints.
    pub(crate) fn objects_of_service(&self, name: &ServiceName) -> BTreeSet<Arc<ObjectKey>> {
        let declare = self.index.hosts.get(&name.hostname).into_iter().flat_map(Members::iter);
        let mut keys: BTreeSet<_> =
            declare.filter(|key| key.namespace == name.namespace).cloned().collect();
        let services: Vec<_> =
            keys.iter().filter(|key| key.kind == Kind::Service).cloned().collect();
        for key in services {
            let group = (key.namespace.clone(), key.name.clone());
            keys.extend(self.index.slices.of(&group).cloned());
        }
        keys
    }

    /// The slices that name a pod, or the entry that is the workload.
    pub(crate) fn objects_of_workload(&self, name: &WorkloadName) -> BTreeSet<Arc<ObjectKey>> {
        let mut keys: BTreeSet<_> =
            self.index.pods.of(name).map(|mention| mention.slice.clone()).collect();
        if keys.is_empty() {
            keys.insert(Arc::new(ObjectKey {
                kind: Kind::WorkloadEntry,
                namespace: name.namespace.clone(),
                name: name.name.clone(),
            }));
        }
        keys
    }
}
