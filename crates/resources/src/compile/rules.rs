//! Which DestinationRule counts for a service.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::ServiceName;

use super::index::{Groups, Members};
use crate::{Kind, ObjectKey, Options};

/// The rules by host.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By host in full and namespace; the oldest of each counts.
    by_host: HashMap<String, HashMap<String, BTreeSet<Rule>>>,
    /// Where each is in there.
    places: HashMap<Arc<ObjectKey>, (String, Rule)>,
    /// Those whose host is written `<name>.<namespace>`.
    short: Groups<(String, String), Arc<ObjectKey>>,
    /// The rule that counts for each service that has one ...
    chosen: HashMap<ServiceName, Arc<ObjectKey>>,
    /// ... and the services of each rule that counts for some.
    users: HashMap<Arc<ObjectKey>, HashSet<ServiceName>>,
    /// Rules that don't count because of another one about the same host, each with that one.
    losers: BTreeMap<Arc<ObjectKey>, Arc<ObjectKey>>,
    /// Rules that could count, and there is no service for them.
    unused: BTreeSet<Arc<ObjectKey>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    created: Option<Time>,
    key: Arc<ObjectKey>,
}

/// The name and namespace in `<name>.<namespace>`.
fn short(host: &str) -> Option<(&str, &str)> {
    host.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))
}

/// The host of a rule in full. `<name>.<namespace>` is a Service only if there is one of that name.
pub(super) fn resolve(
    options: &Options,
    namespace: &str,
    host: &str,
    is_known: impl FnOnce(&ObjectKey) -> bool,
) -> String {
    if let Some((name, other)) = short(host) {
        let service =
            ObjectKey { kind: Kind::Service, namespace: other.to_owned(), name: name.to_owned() };
        if is_known(&service) {
            return options.service_host(other, name);
        }
    }
    options.rule_host(namespace, host)
}

/// The hosts of rules that count for a service, most specific first.
fn patterns(hostname: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(hostname);
    let wildcards = std::iter::from_fn(move || {
        let (_, parent) = rest?.split_once('.')?;
        rest = Some(parent);
        Some(format!("*.{parent}"))
    });
    std::iter::once(hostname.to_owned()).chain(wildcards).chain(std::iter::once("*".to_owned()))
}

/// The services that a rule with this host may count for.
pub(super) fn concerned<'a>(
    hosts: &'a Groups<String, Arc<ObjectKey>>,
    host: &str,
) -> Vec<&'a Members<Arc<ObjectKey>>> {
    match host.strip_prefix('*') {
        None => hosts.get(host).into_iter().collect(),
        Some(suffix) => {
            let all = hosts.iter().filter(|(name, _)| name.ends_with(suffix));
            all.map(|(_, keys)| keys).collect()
        }
    }
}

// === impl Rules ===

impl Rules {
    /// Adds a rule; `host` is as it is written, `full` in full.
    pub(super) fn add(
        &mut self,
        key: &Arc<ObjectKey>,
        host: &str,
        full: String,
        created: Option<Time>,
    ) {
        if let Some((name, namespace)) = short(host) {
            self.short.add((name.to_owned(), namespace.to_owned()), key.clone());
        }
        let rule = Rule { created, key: key.clone() };
        let namespaces = self.by_host.entry(full.clone()).or_default();
        namespaces.entry(key.namespace.clone()).or_default().insert(rule.clone());
        self.judge(&full, &key.namespace);
        self.places.insert(key.clone(), (full, rule));
    }

    /// Removes a rule whose host was written like this. Returns the host in full.
    pub(super) fn remove(&mut self, key: &Arc<ObjectKey>, host: &str) -> Option<String> {
        if let Some((name, namespace)) = short(host) {
            self.short.remove(&(name.to_owned(), namespace.to_owned()), key);
        }
        let (full, rule) = self.places.remove(key)?;
        if let Some(namespaces) = self.by_host.get_mut(&full) {
            if let Some(rules) = namespaces.get_mut(&key.namespace) {
                rules.remove(&rule);
            }
            namespaces.retain(|_, rules| !rules.is_empty());
            if namespaces.is_empty() {
                self.by_host.remove(&full);
            }
        }
        self.losers.remove(key);
        self.unused.remove(key);
        self.judge(&full, &key.namespace);
        Some(full)
    }

    /// Finds out which of the rules of a namespace about a host counts.
    fn judge(&mut self, host: &str, namespace: &str) {
        let rules = self.by_host.get(host).and_then(|namespaces| namespaces.get(namespace));
        let Some((winner, others)) = rules.and_then(|rules| {
            let mut rules = rules.iter().map(|rule| &rule.key);
            Some((rules.next()?, rules))
        }) else {
            return;
        };
        self.losers.remove(winner);
        if !self.users.contains_key(winner) {
            self.unused.insert(winner.clone());
        }
        for loser in others {
            self.losers.insert(loser.clone(), winner.clone());
            self.unused.remove(loser);
        }
    }

    /// The rules whose host may be a short form of this Service.
    pub(super) fn of_short_name(
        &self,
        service: &ObjectKey,
    ) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.short.of(&(service.name.clone(), service.namespace.clone()))
    }

    /// The rule for a service: one of its own namespace, else one of another; the most specific.
    pub(super) fn find(&self, name: &ServiceName) -> Option<&Arc<ObjectKey>> {
        if self.by_host.is_empty() {
            return None;
        }
        let mut foreign = None;
        for pattern in patterns(&name.hostname) {
            let Some(namespaces) = self.by_host.get(&pattern) else { continue };
            if let Some(own) = namespaces.get(&name.namespace).and_then(BTreeSet::first) {
                return Some(&own.key);
            }
            foreign = foreign.or_else(|| namespaces.values().filter_map(BTreeSet::first).min());
        }
        foreign.map(|rule| &rule.key)
    }

    /// From now on this rule counts for the service.
    pub(super) fn choose(&mut self, name: &ServiceName, rule: Option<&Arc<ObjectKey>>) {
        if self.chosen.get(name) == rule {
            return;
        }
        if let Some(old) = self.chosen.remove(name)
            && let Some(users) = self.users.get_mut(&old)
        {
            users.remove(name);
            if users.is_empty() {
                self.users.remove(&old);
                if self.places.contains_key(&old) && !self.losers.contains_key(&old) {
                    self.unused.insert(old);
                }
            }
        }
        if let Some(rule) = rule {
            self.chosen.insert(name.clone(), rule.clone());
            self.users.entry(rule.clone()).or_default().insert(name.clone());
            self.unused.remove(rule);
        }
    }

    /// Rules that don't count because of another one about the same host, each with that one.
    pub(super) fn losers(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &Arc<ObjectKey>)> {
        self.losers.iter()
    }

    /// Rules that could count, and there is no service for them.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.unused.iter()
    }
}
