//! From files in memory to the mesh that they describe. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use model::{PolicyName, ServiceName, Snapshot, WorkloadName};

use crate::compile::Compiler;
use crate::registry::{FileChanges, Registry};
use crate::{FileContent, Kind, ObjectKey, Options, Problem};

/// Files and what is in force of them.
#[derive(Debug, Default)]
pub struct Store {
    registry: Registry,
    compiler: Compiler,
    snapshot: Arc<Snapshot>,
    problems: Arc<[Problem]>,
}

/// What is in force after a change.
#[derive(Clone, Debug)]
pub struct Update {
    /// The mesh; the same `Arc` as before when nothing changed.
    pub snapshot: Arc<Snapshot>,
    /// Everything there is to say about the files now, not only what is new; the same `Arc` as before
    /// when it is the same.
    pub problems: Arc<[Problem]>,
}

impl Store {
    /// An empty store for a mesh of these names.
    pub fn new(options: Options) -> Self {
        Self { registry: Registry::new(options), ..Self::default() }
    }

    /// The names that it was made with.
    pub fn options(&self) -> &Options {
        self.registry.options()
    }

    /// Takes all files as they are now. Those that did not change cost a comparison.
    pub fn apply(&mut self, files: &BTreeMap<PathBuf, FileContent>) -> Update {
        let present = files.iter().map(|(name, content)| (name.clone(), Some(content.clone())));
        let mut changes: FileChanges = present.collect();
        for name in self.registry.file_names() {
            changes.entry(name.to_owned()).or_insert(None);
        }
        self.update(changes)
    }

    /// Takes some files as they are now, none for one that is not there any more; all others are as
    /// they were. The work is in proportion to the objects of these files, and to the services that
    /// have to do with them.
    pub fn update(&mut self, files: BTreeMap<PathBuf, Option<FileContent>>) -> Update {
        if let Some(changes) = self.registry.update(files) {
            self.compiler.update(&self.registry, &changes);
            let next = self.compiler.snapshot();
            if !self.is_current(next) {
                self.snapshot = Arc::new(next.clone());
            }
            let mut problems = self.registry.problems();
            problems.extend(self.compiler.problems(&self.registry));
            if *self.problems != *problems {
                self.problems = problems.into();
            }
        }
        self.current()
    }

    /// The mesh as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// What is in force now.
    pub fn current(&self) -> Update {
        Update { snapshot: self.snapshot.clone(), problems: self.problems.clone() }
    }

    /// Where the objects are that a service was compiled from: `FILE#DOCUMENT` of each.
    pub fn sources_of_service(&self, name: &ServiceName) -> Vec<String> {
        self.places(self.compiler.objects_of_service(name))
    }

    /// As [`Store::sources_of_service`], of a workload.
    pub fn sources_of_workload(&self, name: &WorkloadName) -> Vec<String> {
        self.places(self.compiler.objects_of_workload(name))
    }

    /// As [`Store::sources_of_service`], of a policy.
    pub fn sources_of_policy(&self, name: &PolicyName) -> Vec<String> {
        let (namespace, name) = (name.namespace.clone(), name.name.clone());
        let key = ObjectKey { kind: Kind::AuthorizationPolicy, namespace, name };
        self.places([Arc::new(key)].into())
    }

    fn places(&self, keys: BTreeSet<Arc<ObjectKey>>) -> Vec<String> {
        let places = keys.iter().filter_map(|key| self.registry.place(key));
        places.map(|place| format!("{}#{}", place.file.display(), place.document)).collect()
    }

    fn is_current(&self, next: &Snapshot) -> bool {
        let Snapshot { services, workloads, policies, namespaces, nodes } = &*self.snapshot;
        services.diff(&next.services).next().is_none()
            && workloads.diff(&next.workloads).next().is_none()
            && policies.diff(&next.policies).next().is_none()
            && namespaces.diff(&next.namespaces).next().is_none()
            && nodes.diff(&next.nodes).next().is_none()
    }
}

#[cfg(test)]
impl Store {
    /// The objects that are in force.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// As [`Store::apply`], but everything is decided and compiled anew, as if it were the first
    /// time, with what was in force until now.
    pub(crate) fn apply_slowly(&mut self, files: &BTreeMap<PathBuf, FileContent>) -> Update {
        let changes = self.registry.update_slowly(files);
        self.compiler = Compiler::default();
        self.compiler.update(&self.registry, &changes);
        self.snapshot = Arc::new(self.compiler.snapshot().clone());
        let mut problems = self.registry.problems();
        problems.extend(self.compiler.problems(&self.registry));
        self.problems = problems.into();
        self.current()
    }
}
