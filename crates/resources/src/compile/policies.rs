//! Policies, and which workloads they select. A selector is about workloads of its own namespace; one
//! of the root namespace about all. A policy without a selector needs not be named by workloads.

use std::sync::Arc;

use model::{Policy, PolicyName, PolicyScope, WorkloadName};

use super::Compiler;
use super::affected::{Affected, workload_name};
use super::index::selects;
use crate::ObjectKey;
use crate::object::{AuthorizationPolicy, Body, Labels, Object};
use crate::registry::{Change, Registry};

impl Compiler {
    /// Takes note of a policy. Workloads are concerned where its selector is another.
    pub(super) fn policy(&mut self, registry: &Registry, change: &Change, affected: &mut Affected) {
        let key = &change.key;
        let (old, new) = (policy_of(&change.old), policy_of(&change.new));
        let name = name(key);
        match new {
            Some(new) => {
                let policy = Arc::new(compile(registry, key, new));
                if self.snapshot.policies.get(&name) != Some(&policy) {
                    self.snapshot.policies.insert(name, policy);
                }
            }
            None => super::remove(&mut self.snapshot.policies, &name),
        }
        let selector = |it: Option<&AuthorizationPolicy>| it.map(|it| it.selector.clone());
        let (old, new) = (selector(old), selector(new));
        if old == new {
            return;
        }
        for selector in [&old, &new].into_iter().flatten().filter(|it| !it.is_empty()) {
            self.index.policies.remove_service(key, selector);
            affected.workloads.extend(self.selected(registry, &key.namespace, selector));
        }
        if let Some(new) = new.filter(|it| !it.is_empty()) {
            self.index.policies.add_service(key, &new);
        }
    }

    /// A pod has other labels, or another account.
    pub(super) fn pod(&mut self, change: &Change, affected: &mut Affected) {
        let labels = |object: &Option<Arc<Object>>| match object.as_ref().map(|it| &it.body) {
            Some(Body::Pod(pod)) => Some(pod.labels.clone()),
            _ => None,
        };
        if let Some(old) = labels(&change.old) {
            self.index.pod_labels.remove_entry(&change.key, &old);
        }
        if let Some(new) = labels(&change.new) {
            self.index.pod_labels.add_entry(&change.key, &new);
        }
        affected.workloads.insert(Arc::new(workload_name(&change.key)));
    }

    /// The policies that select a workload, in the order of their names.
    pub(super) fn policies_of(
        &self,
        registry: &Registry,
        namespace: &str,
        labels: &Labels,
    ) -> Arc<[PolicyName]> {
        let root = registry.options().root_namespace.as_str();
        let root = (root != namespace).then_some(root);
        let candidates = [Some(namespace), root]
            .into_iter()
            .flatten()
            .flat_map(|namespace| self.index.policies.services(namespace, labels));
        let selecting = candidates.filter(|key| {
            let policy = registry.get(key).map(|object| &object.body);
            matches!(policy, Some(Body::AuthorizationPolicy(policy))
                if !policy.is_for_waypoint && selects(&policy.selector, labels))
        });
        let mut names: Vec<PolicyName> = selecting.map(|key| name(key)).collect();
        names.sort();
        names.into()
    }

    /// Workloads that a selector may be about.
    fn selected(
        &self,
        registry: &Registry,
        namespace: &str,
        selector: &Labels,
    ) -> Vec<Arc<WorkloadName>> {
        let is_root = registry.options().root_namespace == namespace;
        let of = |index: &super::index::Selection| -> Vec<Arc<ObjectKey>> {
            match is_root {
                true => index.entries_anywhere(selector).cloned().collect(),
                false => index.entries(namespace, selector).cloned().collect(),
            }
        };
        let keys = of(&self.index.selection).into_iter().chain(of(&self.index.pod_labels));
        keys.map(|key| Arc::new(workload_name(&key))).collect()
    }
}

fn policy_of(object: &Option<Arc<Object>>) -> Option<&AuthorizationPolicy> {
    match object.as_ref().map(|it| &it.body) {
        Some(Body::AuthorizationPolicy(policy)) if !policy.is_for_waypoint => Some(policy),
        _ => None,
    }
}

fn compile(registry: &Registry, key: &ObjectKey, policy: &AuthorizationPolicy) -> Policy {
    let is_root = registry.options().root_namespace == key.namespace;
    let scope = match (policy.selector.is_empty(), is_root) {
        (true, true) => PolicyScope::Global,
        (true, false) => PolicyScope::Namespace,
        (false, _) => PolicyScope::WorkloadSelector,
    };
    Policy {
        name: name(key),
        scope,
        action: policy.action,
        is_dry_run: policy.is_dry_run,
        rules: policy.rules.clone(),
    }
}

fn name(key: &ObjectKey) -> PolicyName {
    PolicyName::new(&key.namespace, &key.name)
}
