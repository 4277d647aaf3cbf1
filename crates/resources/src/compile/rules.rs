//! Which DestinationRule counts for a service.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::ServiceName;

use crate::object::DestinationRule;
use crate::{ObjectKey, Options};

/// The rules by host.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    by_host: HashMap<String, Vec<Rule<'a>>>,
    used: HashSet<&'a ObjectKey>,
}

#[derive(Clone, Copy, Debug)]
struct Rule<'a> {
    created: Option<&'a Time>,
    key: &'a ObjectKey,
    rule: &'a DestinationRule,
}

/// The host of a rule in full. `<name>.<namespace>` is a Service only if there is one of that name.
pub(super) fn resolve(
    options: &Options,
    namespace: &str,
    host: &str,
    known: &HashSet<String>,
) -> String {
    if let Some((name, other)) = host.split_once('.')
        && !other.contains('.')
    {
        let full = options.service_host(other, name);
        if known.contains(&full) {
            return full;
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

// === impl Rules ===

impl<'a> Rules<'a> {
    pub(super) fn add(
        &mut self,
        host: String,
        key: &'a ObjectKey,
        rule: &'a DestinationRule,
        created: Option<&'a Time>,
    ) {
        self.by_host.entry(host).or_default().push(Rule { created, key, rule });
    }

    /// Leaves one rule for each host and namespace, the oldest; returns the others, each with the one
    /// that counts instead.
    pub(super) fn settle(&mut self) -> Vec<(&'a ObjectKey, &'a ObjectKey)> {
        let mut losers = Vec::new();
        for list in self.by_host.values_mut() {
            list.sort_by_key(|rule| (rule.created, rule.key));
            let mut winners: HashMap<&str, &ObjectKey> = HashMap::new();
            list.retain(|rule| {
                let winner = *winners.entry(&rule.key.namespace).or_insert(rule.key);
                if winner != rule.key {
                    losers.push((rule.key, winner));
                    self.used.insert(rule.key);
                }
                winner == rule.key
            });
        }
        losers.sort();
        losers
    }

    /// The rule for a service: one of its own namespace, else one of another; the most specific.
    pub(super) fn find(&mut self, name: &ServiceName) -> Option<&'a DestinationRule> {
        if self.by_host.is_empty() {
            return None;
        }
        let mut foreign = None;
        for pattern in patterns(&name.hostname) {
            let Some(list) = self.by_host.get(&pattern) else { continue };
            if let Some(own) = list.iter().find(|rule| rule.key.namespace == name.namespace) {
                self.used.insert(own.key);
                return Some(own.rule);
            }
            foreign = foreign.or(list.first());
        }
        let foreign = foreign?;
        self.used.insert(foreign.key);
        Some(foreign.rule)
    }

    /// Rules that count for no service.
    pub(super) fn unused(&self) -> Vec<&'a ObjectKey> {
        let keys = self.by_host.values().flatten().map(|rule| rule.key);
        let mut unused: Vec<_> = keys.filter(|key| !self.used.contains(*key)).collect();
        unused.sort();
        unused
    }
}
