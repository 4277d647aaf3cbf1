//! Who has to do with whom: from an object that changed to the services and workloads that it
//! concerns, and from a service to its parts, without looking at anything else.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use model::WorkloadName;

use crate::ObjectKey;
use crate::object::Labels;

/// Some objects.
pub(super) type Keys = HashSet<Arc<ObjectKey>>;

/// Objects by something that they name.
#[derive(Debug)]
pub(super) struct Groups<K, V>(HashMap<K, Members<V>>);

/// The members of a group: mostly one, which is why it has a room of its own.
#[derive(Debug)]
pub(super) enum Members<V> {
    One(V),
    Many(HashSet<V>),
}

/// Objects of one namespace by label.
#[derive(Debug, Default)]
struct ByLabel(HashMap<String, HashMap<String, Keys>>);

/// The WorkloadEntries by their labels, and the services by those that they select.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// By namespace: each entry under all its labels.
    entries: HashMap<String, ByLabel>,
    /// By namespace: each service under one label of its selector.
    services: HashMap<String, ByLabel>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mention {
    pub(super) slice: Arc<ObjectKey>,
    pub(super) endpoint: usize,
}

/// Everything that is looked up.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) selection: Selection,
    /// Pods by their labels.
    pub(super) pod_labels: Selection,
    /// Policies by the workloads that they select.
    pub(super) policies: Selection,
    /// The slices of a service, by namespace and name.
    pub(super) slices: Groups<(String, String), Arc<ObjectKey>>,
    /// The endpoints that are a pod's.
    pub(super) pods: Groups<Arc<WorkloadName>, Mention>,
    /// What says that it is on a node.
    pub(super) on_node: Groups<String, Arc<ObjectKey>>,
    /// What names a Gateway as its waypoint: services, workloads, namespaces.
    pub(super) waypoint_users: Groups<ObjectKey, Arc<ObjectKey>>,
    /// The Services and ServiceEntries of a host name, in any namespace.
    pub(super) hosts: Groups<String, Arc<ObjectKey>>,
}

// === impl Groups ===

impl<K: Eq + Hash, V: Eq + Hash> Groups<K, V> {
    pub(super) fn add(&mut self, group: K, member: V) {
        match self.0.entry(group) {
            Entry::Vacant(vacant) => drop(vacant.insert(Members::One(member))),
            Entry::Occupied(mut occupied) => occupied.get_mut().add(member),
        }
    }

    pub(super) fn remove<Q>(&mut self, group: &Q, member: &V)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(members) = self.0.get_mut(group) else { return };
        let is_empty = match members {
            Members::One(only) => only == member,
            Members::Many(set) => {
                set.remove(member);
                set.is_empty()
            }
        };
        if is_empty {
            self.0.remove(group);
        }
    }

    pub(super) fn of<'a, Q>(&'a self, group: &Q) -> impl Iterator<Item = &'a V> + use<'a, K, V, Q>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(group).into_iter().flat_map(Members::iter)
    }

    pub(super) fn get<Q>(&self, group: &Q) -> Option<&Members<V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Members<V>)> {
        self.0.iter()
    }
}

impl<K, V> Default for Groups<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

// === impl Members ===

impl<V: Eq + Hash> Members<V> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        let (one, many) = match self {
            Self::One(only) => (Some(only), None),
            Self::Many(set) => (None, Some(set)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn add(&mut self, member: V) {
        match std::mem::replace(self, Self::Many(HashSet::new())) {
            Self::One(only) if only == member => *self = Self::One(only),
            Self::One(only) => *self = Self::Many(HashSet::from([only, member])),
            Self::Many(mut set) => {
                set.insert(member);
                *self = Self::Many(set);
            }
        }
    }
}

// === impl ByLabel ===

impl ByLabel {
    fn add(&mut self, (name, value): (&str, &str), key: &Arc<ObjectKey>) {
        // Most labels are known, and a name that is needs no copy.
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(name) else { return };
        match values.get_mut(value) {
            Some(keys) => {
                keys.insert(key.clone());
            }
            None => {
                values.insert(value.to_owned(), Keys::from([key.clone()]));
            }
        }
    }

    fn remove(&mut self, (name, value): (&str, &str), key: &Arc<ObjectKey>) {
        let Some(values) = self.0.get_mut(name) else { return };
        let Some(keys) = values.get_mut(value) else { return };
        keys.remove(key);
        if keys.is_empty() {
            values.remove(value);
        }
        if values.is_empty() {
            self.0.remove(name);
        }
    }

    fn get(&self, name: &str, value: &str) -> Option<&Keys> {
        self.0.get(name)?.get(value)
    }

    /// Those with the rarest of these labels.
    fn carrying(&self, selector: &Labels) -> impl Iterator<Item = &Arc<ObjectKey>> {
        let sets = selector.iter().map(|(name, value)| self.get(name, value));
        // An unknown label ends it: nobody carries it.
        let rarest = sets.min_by_key(|keys| keys.map_or(0, HashSet::len)).flatten();
        rarest.into_iter().flatten()
    }
}

// === impl Selection ===

impl Selection {
    pub(super) fn add_entry(&mut self, key: &Arc<ObjectKey>, labels: &Labels) {
        let index = namespace(&mut self.entries, key);
        labels.iter().for_each(|(name, value)| index.add((name, value), key));
    }

    pub(super) fn remove_entry(&mut self, key: &Arc<ObjectKey>, labels: &Labels) {
        let index = namespace(&mut self.entries, key);
        labels.iter().for_each(|(name, value)| index.remove((name, value), key));
    }

    pub(super) fn add_service(&mut self, key: &Arc<ObjectKey>, selector: &Labels) {
        let index = namespace(&mut self.services, key);
        // Under the label that the fewest have, so that an entry meets few that do not select it.
        let rarest = selector
            .iter()
            .min_by_key(|(name, value)| index.get(name, value).map_or(0, HashSet::len));
        if let Some((name, value)) = rarest {
            index.add((name, value), key);
        }
    }

    pub(super) fn remove_service(&mut self, key: &Arc<ObjectKey>, selector: &Labels) {
        let index = namespace(&mut self.services, key);
        selector.iter().for_each(|(name, value)| index.remove((name, value), key));
    }

    /// Candidates for the entries of a namespace that carry every label of the selector: a selector
    /// is for the caller to check. An empty one selects nothing.
    pub(super) fn entries(
        &self,
        namespace: &str,
        selector: &Labels,
    ) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.entries.get(namespace).into_iter().flat_map(|index| index.carrying(selector))
    }

    /// The same for all namespaces.
    pub(super) fn entries_anywhere(
        &self,
        selector: &Labels,
    ) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.entries.values().flat_map(|index| index.carrying(selector))
    }

    /// Candidates for the services of a namespace that select these labels.
    pub(super) fn services(
        &self,
        namespace: &str,
        labels: &Labels,
    ) -> impl Iterator<Item = &Arc<ObjectKey>> {
        let index = self.services.get(namespace);
        let sets = labels.iter().filter_map(move |(name, value)| index?.get(name, value));
        sets.flatten()
    }
}

/// Does a selector select these labels? An empty one does not.
pub(super) fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn namespace<'a>(map: &'a mut HashMap<String, ByLabel>, key: &ObjectKey) -> &'a mut ByLabel {
    map.entry(key.namespace.clone()).or_default()
}
