//! Values that very many workloads have in common, each kept once.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use model::{PolicyName, ServiceName, Topology, Waypoint};

use crate::details::EndpointDetails;
use crate::facts::{Ports, WorkloadFacts};

/// So many values are always worth keeping.
const KEPT_MIN: usize = 1024;

/// Everything that is shared.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: Pool<str>,
    services: Pool<[(ServiceName, Ports)]>,
    policies: Pool<[PolicyName]>,
    waypoints: Pool<[Waypoint]>,
    details: Pool<EndpointDetails>,
    pub(super) topologies: Pool<Topology>,
    pub(super) labels: Pool<BTreeMap<String, String>>,
    pub(super) served: Pool<[ServiceName]>,
}

impl Shared {
    /// Makes a workload share what others have as well.
    pub(super) fn workload(&mut self, facts: &mut WorkloadFacts) {
        self.texts.replace(&mut facts.uid_prefix);
        self.texts.replace(&mut facts.trust_domain);
        self.texts.replace(&mut facts.service_account);
        self.services.replace(&mut facts.services);
        self.policies.replace(&mut facts.policies);
        self.topologies.replace(&mut facts.topology);
        self.waypoints.replace(&mut facts.waypoints);
        if let Some(details) = &mut facts.details {
            self.details.replace(details);
        }
    }
}

/// Values of one type. Those that nobody has any more go when there are twice as many as were in use
/// the last time.
#[derive(Debug)]
pub(super) struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    room: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), room: KEPT_MIN }
    }
}

impl<T: ?Sized + Hash + Eq> Pool<T> {
    fn replace(&mut self, value: &mut Arc<T>) {
        match self.values.get(&**value) {
            Some(known) => *value = known.clone(),
            None => self.keep(value.clone()),
        }
    }

    fn keep(&mut self, value: Arc<T>) {
        if self.values.len() >= self.room {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.room = (self.values.len() * 2).max(KEPT_MIN);
        }
        self.values.insert(value);
    }
}

impl<T: Hash + Eq> Pool<T> {
    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        let value = Arc::new(value);
        self.keep(value.clone());
        value
    }
}

impl<T: Hash + Eq> Pool<[T]> {
    pub(super) fn share_slice(&mut self, value: Vec<T>) -> Arc<[T]> {
        if let Some(known) = self.values.get::<[T]>(value.borrow()) {
            return known.clone();
        }
        let value: Arc<[T]> = value.into();
        self.keep(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_the_same_and_what_nobody_has_goes() {
        let mut pool = Pool::<str>::default();
        let mut first: Arc<str> = "a".into();
        let mut second: Arc<str> = "a".into();
        pool.replace(&mut first);
        pool.replace(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        for number in 0..10 * KEPT_MIN {
            pool.replace(&mut number.to_string().into());
        }
        assert!(pool.values.len() <= KEPT_MIN, "{}", pool.values.len());
        let mut third: Arc<str> = "a".into();
        pool.replace(&mut third);
        assert!(Arc::ptr_eq(&first, &third));
    }
}
