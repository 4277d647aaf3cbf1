//! Which services and workloads a change concerns. The index is brought up to date on the way.
//!
//! It does not matter in which order the changes are taken: two objects that both changed are both
//! compiled for themselves, and one that did not change is in the index all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ServiceName, WorkloadName};

use super::Compiler;
use super::index::{Mention, selects};
use crate::object::{Body, EndpointSlice, Labels, Object, ServiceEntry, WorkloadEntry};
use crate::registry::{Change, Registry};
use crate::{Kind, ObjectKey};

/// What must be compiled anew.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// Rules that changed, or that may be about another host now; each with the host as it was
    /// written before, if the rule was there.
    pub(super) rules: BTreeMap<Arc<ObjectKey>, Option<String>>,
    /// Services and ServiceEntries.
    pub(super) services: BTreeSet<Arc<ObjectKey>>,
    pub(super) workloads: BTreeSet<Arc<WorkloadName>>,
    /// Slices that may have found or lost their Service.
    pub(super) slices: BTreeSet<Arc<ObjectKey>>,
    /// What services were called by objects that changed: to be removed if they are not compiled.
    pub(super) gone: BTreeSet<ServiceName>,
}

/// The Service that a slice belongs to.
pub(super) fn owner(key: &ObjectKey, slice: &EndpointSlice) -> Option<ObjectKey> {
    let (namespace, name) = (key.namespace.clone(), slice.service.clone()?);
    Some(ObjectKey { kind: Kind::Service, namespace, name })
}

/// The names of the services that an object declares.
pub(super) fn names(registry: &Registry, key: &ObjectKey, object: &Object) -> Vec<ServiceName> {
    match &object.body {
        Body::Service(_) => {
            let host = registry.options().service_host(&key.namespace, &key.name);
            vec![ServiceName::new(&key.namespace, host)]
        }
        Body::ServiceEntry(entry) => {
            let hosts = entry.hosts.iter();
            hosts.map(|host| ServiceName::new(&key.namespace, host)).collect()
        }
        _ => Vec::new(),
    }
}

impl Compiler {
    /// What these changes concern.
    pub(super) fn affected(&mut self, registry: &Registry, changes: &[Change]) -> Affected {
        let mut affected = Affected::default();
        for change in changes {
            self.use_waypoint(change);
            match change.key.kind {
                Kind::Namespace => {
                    self.namespace(change);
                    self.touch_namespace(change, &mut affected);
                }
                Kind::Gateway => self.touch_gateway(change, &mut affected),
                Kind::Pod => self.pod(change, &mut affected),
                Kind::AuthorizationPolicy => self.policy(registry, change, &mut affected),
                Kind::PeerAuthentication => {}
                Kind::Node => self.node(registry, change, &mut affected),
                Kind::Service | Kind::ServiceEntry => {
                    self.service(registry, change, &mut affected);
                }
                Kind::EndpointSlice => self.slice(change, &mut affected),
                Kind::WorkloadEntry => self.entry(registry, change, &mut affected),
                Kind::DestinationRule => rule(change, &mut affected),
            }
        }
        affected
    }

    fn namespace(&mut self, Change { key, new, .. }: &Change) {
        match new.as_ref().map(|object| &object.body) {
            Some(Body::Namespace { labels }) => {
                self.snapshot.namespaces.insert(key.name.clone(), labels.clone());
            }
            _ => {
                self.snapshot.namespaces.remove(&key.name);
            }
        }
    }

    fn node(&mut self, registry: &Registry, change: &Change, affected: &mut Affected) {
        let name = &change.key.name;
        let facts = |object: &Option<Arc<Object>>| match object.as_ref().map(|it| &it.body) {
            Some(Body::Node(facts)) => Some(facts.clone()),
            _ => None,
        };
        let (old, new) = (facts(&change.old), facts(&change.new));
        let locality = |facts: &Option<Arc<model::NodeFacts>>| {
            facts.as_ref().map(|facts| facts.locality.clone()).unwrap_or_default()
        };
        let is_elsewhere = locality(&old) != locality(&new);
        match new {
            Some(facts) => {
                self.snapshot.nodes.insert(name.clone(), facts);
            }
            None => {
                self.snapshot.nodes.remove(name);
            }
        }
        let there: Vec<_> = self.index.on_node.of(name).cloned().collect();
        for key in there.iter().filter(|_| is_elsewhere) {
            match registry.get(key).map(|object| &object.body) {
                Some(Body::WorkloadEntry(entry)) => {
                    self.touch_entry(registry, key, entry, affected)
                }
                Some(Body::EndpointSlice(slice)) => touch_slice(key, slice, affected),
                _ => {
                    affected.services.insert(key.clone());
                }
            }
        }
    }

    fn service(&mut self, registry: &Registry, change: &Change, affected: &mut Affected) {
        let Change { key, old, new } = change;
        let (old, new) = (old.as_deref(), new.as_deref());
        let names = |object: Option<&Object>| {
            object.map(|object| names(registry, key, object)).unwrap_or_default()
        };
        let (old_names, new_names) = (names(old), names(new));
        for name in &old_names {
            self.index.hosts.remove(&name.hostname, key);
        }
        for name in &new_names {
            self.index.hosts.add(name.hostname.clone(), key.clone());
        }
        let none = Labels::new();
        let selector = |object: Option<&'_ Object>| -> Labels {
            object.and_then(|object| object.body.selector()).unwrap_or(&none).clone()
        };
        let (old_selector, new_selector) = (selector(old), selector(new));
        self.index.selection.remove_service(key, &old_selector);
        self.index.selection.add_service(key, &new_selector);
        if old_names != new_names || old_selector != new_selector {
            for selector in [&old_selector, &new_selector] {
                self.touch_selected(&key.namespace, selector, affected);
            }
        }
        self.inline_endpoints(key, old, new);
        if key.kind == Kind::Service && old.is_none() != new.is_none() {
            self.touch_dependants(registry, key, affected);
        }
        affected.gone.extend(old_names);
        affected.services.insert(key.clone());
    }

    /// The inline endpoints of a ServiceEntry may be on nodes.
    fn inline_endpoints(
        &mut self,
        key: &Arc<ObjectKey>,
        old: Option<&Object>,
        new: Option<&Object>,
    ) {
        let nodes = |object: Option<&Object>| match object.map(|object| &object.body) {
            Some(Body::ServiceEntry(entry)) => nodes_of(entry),
            _ => BTreeSet::new(),
        };
        for node in nodes(old) {
            self.index.on_node.remove(&node, key);
        }
        for node in nodes(new) {
            self.index.on_node.add(node, key.clone());
        }
    }

    /// The slices of a Service that came or went, and the rules that mean it by a short name.
    fn touch_dependants(&self, registry: &Registry, key: &Arc<ObjectKey>, affected: &mut Affected) {
        for slice_key in self.index.slices.of(&(key.namespace.clone(), key.name.clone())) {
            if let Some(Body::EndpointSlice(slice)) = registry.get(slice_key).map(|it| &it.body) {
                touch_slice(slice_key, slice, affected);
            }
        }
        for rule in self.rules.of_short_name(key) {
            if let Some((body, _)) = super::services::rule(registry, rule) {
                // One that changed itself knows better what its host was.
                affected.rules.entry(rule.clone()).or_insert_with(|| Some(body.host.clone()));
            }
        }
    }

    fn touch_selected(&self, namespace: &str, selector: &Labels, affected: &mut Affected) {
        let entries = self.index.selection.entries(namespace, selector);
        affected.workloads.extend(entries.map(|key| Arc::new(workload_name(key))));
    }

    fn slice(&mut self, change: &Change, affected: &mut Affected) {
        let Change { key, old, new } = change;
        if let Some(Body::EndpointSlice(slice)) = old.as_ref().map(|object| &object.body) {
            if let Some(service) = &slice.service {
                self.index.slices.remove(&(key.namespace.clone(), service.clone()), key);
            }
            for (endpoint, api) in slice.endpoints.iter().enumerate() {
                if let Some(pod) = &api.pod {
                    self.index.pods.remove(pod, &Mention { slice: key.clone(), endpoint });
                }
                self.index.on_node.remove(&*api.node, key);
            }
            touch_slice(key, slice, affected);
        }
        if let Some(Body::EndpointSlice(slice)) = new.as_ref().map(|object| &object.body) {
            if let Some(service) = &slice.service {
                self.index.slices.add((key.namespace.clone(), service.clone()), key.clone());
            }
            for (endpoint, api) in slice.endpoints.iter().enumerate() {
                if let Some(pod) = &api.pod {
                    self.index.pods.add(pod.clone(), Mention { slice: key.clone(), endpoint });
                }
                if !api.node.is_empty() {
                    self.index.on_node.add(api.node.to_string(), key.clone());
                }
            }
            touch_slice(key, slice, affected);
        }
        affected.slices.insert(key.clone());
    }

    fn entry(&mut self, registry: &Registry, change: &Change, affected: &mut Affected) {
        let Change { key, old, new } = change;
        if let Some(Body::WorkloadEntry(entry)) = old.as_ref().map(|object| &object.body) {
            if let Some(destination) = &entry.destination {
                self.index.selection.remove_entry(key, &entry.labels);
                self.index.on_node.remove(&destination.site.node, key);
            }
            self.touch_entry(registry, key, entry, affected);
        }
        if let Some(Body::WorkloadEntry(entry)) = new.as_ref().map(|object| &object.body) {
            if let Some(destination) = &entry.destination {
                self.index.selection.add_entry(key, &entry.labels);
                if !destination.site.node.is_empty() {
                    self.index.on_node.add(destination.site.node.clone(), key.clone());
                }
            }
            self.touch_entry(registry, key, entry, affected);
        }
    }

    /// The workload of an entry, and the services that select it.
    fn touch_entry(
        &self,
        registry: &Registry,
        key: &ObjectKey,
        entry: &WorkloadEntry,
        affected: &mut Affected,
    ) {
        let services = self.index.selection.services(&key.namespace, &entry.labels);
        let selecting = services.filter(|service| {
            let selector = registry.get(service).and_then(|object| object.body.selector());
            // One that changed or went is compiled anyway.
            selector.is_some_and(|selector| selects(selector, &entry.labels))
        });
        affected.services.extend(selecting.cloned());
        affected.workloads.insert(entry.name.clone());
    }
}

/// The Service of a slice, and its pods.
fn touch_slice(key: &Arc<ObjectKey>, slice: &EndpointSlice, affected: &mut Affected) {
    affected.services.extend(owner(key, slice).map(Arc::new));
    let pods = slice.endpoints.iter().filter_map(|endpoint| endpoint.pod.as_ref());
    affected.workloads.extend(pods.cloned());
    affected.slices.insert(key.clone());
}

fn rule(change: &Change, affected: &mut Affected) {
    let old_host = match change.old.as_ref().map(|object| &object.body) {
        Some(Body::DestinationRule(rule)) => Some(rule.host.clone()),
        _ => None,
    };
    affected.rules.insert(change.key.clone(), old_host);
}

fn nodes_of(entry: &ServiceEntry) -> BTreeSet<String> {
    let nodes = entry.endpoints.iter().map(|endpoint| endpoint.site.node.clone());
    nodes.filter(|node| !node.is_empty()).collect()
}

pub(super) fn workload_name(key: &ObjectKey) -> WorkloadName {
    WorkloadName::new(&key.namespace, &key.name)
}
