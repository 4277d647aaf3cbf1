//! Everybody who may dial, by number, and by what policies may call them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use abi::authz::AuthzSource;
use model::{ServiceName, StringMatch};

use crate::identity::Subject;
use crate::matching::stands_for_all;
use crate::term::Mention;

/// Subjects that somebody is, or was until programs may have forgotten it.
#[derive(Debug)]
pub(crate) struct Subjects {
    /// What numbers are made by.
    number: fn(&Subject) -> u64,
    known: HashMap<u64, Known>,
    directory: Directory,
    /// Since the last [`Subjects::take_new`].
    new: Directory,
    /// Without users: to be forgotten when no program can read their rows.
    unused: BTreeSet<u64>,
    /// Those whose number is another's.
    refused: BTreeSet<Arc<Subject>>,
}

#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    users: usize,
}

/// Subjects by name.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    namespaces: Texts,
    principals: Texts,
    waypoints: BTreeMap<ServiceName, BTreeSet<u64>>,
}

/// Numbers by a text, found from both of its ends.
#[derive(Debug, Default)]
struct Texts {
    forwards: BTreeMap<String, BTreeSet<u64>>,
    backwards: BTreeMap<String, BTreeSet<u64>>,
    /// Those that have no text.
    without: BTreeSet<u64>,
}

// === impl Subjects ===

impl Subjects {
    pub(crate) fn new(number: fn(&Subject) -> u64) -> Self {
        Self {
            number,
            known: HashMap::new(),
            directory: Directory::default(),
            new: Directory::default(),
            unused: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// One more address is this subject's. Returns its number, or that of those that can't be told
    /// apart.
    pub(crate) fn hold(&mut self, subject: Subject) -> u64 {
        let number = (self.number)(&subject);
        if let Some(known) = self.known.get_mut(&number) {
            if *known.subject != subject {
                self.refused.insert(Arc::new(subject));
                return AuthzSource::IDENTITY_CLOSED;
            }
            known.users += 1;
            self.unused.remove(&number);
            return number;
        }
        self.directory.add(number, &subject);
        self.new.add(number, &subject);
        self.known.insert(number, Known { subject: Arc::new(subject), users: 1 });
        number
    }

    /// One address fewer.
    pub(crate) fn release(&mut self, number: u64) {
        let Some(known) = self.known.get_mut(&number) else { return };
        known.users -= 1;
        if known.users == 0 {
            self.unused.insert(number);
        }
    }

    /// Forgets whom nobody is. Returns their numbers.
    pub(crate) fn forget_unused(&mut self) -> BTreeSet<u64> {
        let unused = std::mem::take(&mut self.unused);
        for number in &unused {
            if let Some(known) = self.known.remove(number) {
                self.directory.remove(*number, &known.subject);
            }
        }
        unused
    }

    pub(crate) fn has_unused(&self) -> bool {
        !self.unused.is_empty()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Subject>> {
        self.known.get(&number).map(|known| &known.subject)
    }

    /// All of them.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Those that came since the last time.
    pub(crate) fn take_new(&mut self) -> Directory {
        std::mem::take(&mut self.new)
    }

    /// Those that are refused, because their number is another's.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &Arc<Subject>> {
        self.refused.iter()
    }
}

// === impl Directory ===

impl Directory {
    fn add(&mut self, number: u64, subject: &Subject) {
        self.namespaces.add(&subject.identity.namespace, number);
        self.principals.add(&subject.principal, number);
        for waypoint in &subject.waypoints {
            self.waypoints.entry(waypoint.clone()).or_default().insert(number);
        }
    }

    fn remove(&mut self, number: u64, subject: &Subject) {
        self.namespaces.remove(&subject.identity.namespace, number);
        self.principals.remove(&subject.principal, number);
        for waypoint in &subject.waypoints {
            remove_in(&mut self.waypoints, waypoint, number);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.forwards.is_empty() && self.namespaces.without.is_empty()
    }

    /// Those for whom a term with this mention may say something else than for a stranger.
    pub(crate) fn named_by(&self, mention: Mention<'_>) -> Vec<u64> {
        match mention {
            Mention::Namespace(wanted) => self.namespaces.like(wanted),
            Mention::Principal(wanted) => self.principals.like(wanted),
            Mention::Account(account) => {
                let end = format!("/ns/{}/sa/{}", account.namespace, account.name);
                self.principals.like(&StringMatch::Suffix(end))
            }
        }
    }

    /// Those that serve one of these waypoints.
    pub(crate) fn serving(&self, waypoints: &BTreeSet<ServiceName>) -> BTreeSet<u64> {
        let known = waypoints.iter().filter_map(|waypoint| self.waypoints.get(waypoint));
        known.flatten().copied().collect()
    }
}

// === impl Texts ===

impl Texts {
    fn add(&mut self, text: &str, number: u64) {
        if text.is_empty() {
            self.without.insert(number);
            return;
        }
        self.forwards.entry(text.to_owned()).or_default().insert(number);
        self.backwards.entry(reversed(text)).or_default().insert(number);
    }

    fn remove(&mut self, text: &str, number: u64) {
        self.without.remove(&number);
        remove_in(&mut self.forwards, text, number);
        remove_in(&mut self.backwards, &reversed(text), number);
    }

    fn like(&self, wanted: &StringMatch) -> Vec<u64> {
        let numbers = |them: &BTreeSet<u64>| them.iter().copied().collect();
        match wanted {
            _ if stands_for_all(wanted) => numbers(&self.without),
            StringMatch::Exact(text) => self.forwards.get(text).map(numbers).unwrap_or_default(),
            StringMatch::Prefix(start) => beginning_with(&self.forwards, start),
            StringMatch::Suffix(end) => beginning_with(&self.backwards, &reversed(end)),
            StringMatch::Presence => Vec::new(),
        }
    }
}

fn beginning_with(texts: &BTreeMap<String, BTreeSet<u64>>, start: &str) -> Vec<u64> {
    let from =
        texts.range::<str, _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded));
    let them = from.take_while(|(text, _)| text.starts_with(start));
    them.flat_map(|(_, numbers)| numbers).copied().collect()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

fn remove_in<K, Q>(index: &mut BTreeMap<K, BTreeSet<u64>>, key: &Q, number: u64)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}
