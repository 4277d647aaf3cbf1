//! What can't be enforced as it is written, and what happens instead.

use std::fmt;

use abi::IpAddress;
use abi::authz::{AuthzDestination, AuthzSource};
use model::WorkloadName;

use crate::addresses::Claim;
use crate::scopes::SetKey;
use crate::sets::Set;
use crate::state::Authz;

/// Names that one problem lists; of more the first are enough.
const NAMES_MAX: usize = 3;

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Whom it is about: workloads, policies, addresses.
    pub subject: String,
    /// What is the matter, and what happens now.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)
    }
}

impl Authz {
    /// What can't be enforced as it is written.
    pub fn problems(&self) -> Vec<Problem> {
        let sets = self.sets.iter().filter_map(|(key, set)| self.set_problem(key, set));
        let mut problems: Vec<Problem> = sets.collect();
        problems.extend(self.destination_problems());
        problems.extend(self.source_problems());
        problems.extend(self.policy_problems());
        problems
    }

    fn set_problem(&self, key: &SetKey, set: &Set) -> Option<Problem> {
        let problem = set.problem.as_ref()?;
        let consequence = match set.is_closed() {
            true => "every connection to them is refused",
            false => "the policies of before are in force",
        };
        let members = set.members.iter().flat_map(|it| self.destinations.claims(*it));
        let workloads = members.map(|(name, _)| name.to_string());
        let others = key.is_for_others().then(|| "addresses that nothing names".to_owned());
        let policies = self.scopes.policies(key, &self.snapshot);
        let policies = listed(policies.iter().map(|policy| policy.name.to_string()));
        Some(Problem {
            subject: listed(others.into_iter().chain(workloads)),
            message: format!("their policies ({policies}): {}; {consequence}", problem.message),
        })
    }

    fn destination_problems(&self) -> Vec<Problem> {
        let claims = |address: &IpAddress| names(self.destinations.claims(*address));
        let disputed = self.destinations.disputed().iter().filter(|it| !self.is_shared(**it));
        let disputed = disputed.map(|address| Problem {
            subject: claims(address),
            message: format!(
                "all have the address {}, and not the same policies; \
                 every connection to it is refused",
                address.ip()
            ),
        });
        let max = self.options.limits.authz_destinations_max;
        let waiting = self.destinations.waiting();
        let short = waiting.first().map(|first| Problem {
            subject: claims(first),
            message: format!(
                "no room for {} addresses of workloads: authz_destinations_max is {max}; every \
                 connection to them, and to addresses that nothing names, is refused",
                waiting.len()
            ),
        });
        disputed.chain(short).collect()
    }

    fn source_problems(&self) -> Vec<Problem> {
        let claims = |address: &IpAddress| names(self.sources.claims(*address));
        let is_node = |it: &IpAddress| self.node_addresses.contains(it) || self.is_shared(*it);
        let disputed = self.sources.disputed().iter().filter(|address| !is_node(address));
        let disputed = disputed.map(|address| Problem {
            subject: claims(address),
            message: format!(
                "all have the address {}, and not the same identity; \
                 what it dials is refused where a policy asks for one",
                address.ip()
            ),
        });
        let max = self.options.limits.authz_sources_max;
        let waiting = self.sources.waiting();
        let short = waiting.first().map(|first| Problem {
            subject: claims(first),
            message: format!(
                "no room for {} addresses: authz_sources_max is {max}; what they dial, and what \
                 addresses dial that nothing names, is refused where a policy asks for an identity",
                waiting.len()
            ),
        });
        let alike = self.subjects.refused().map(|subject| Problem {
            subject: subject.identity.to_string(),
            message: "its number is that of another identity; what it dials is refused where a \
                      policy asks for one"
                .to_owned(),
        });
        disputed.chain(short).chain(alike).collect()
    }

    fn policy_problems(&self) -> Vec<Problem> {
        let max = self.options.limits.authz_policies_max;
        let uncounted: Vec<_> = self.sets.without_slot().collect();
        let uncounted = uncounted.first().map(|first| Problem {
            subject: first.to_string(),
            message: format!(
                "{} policies have no number: authz_policies_max is {max}; they are in force, and \
                 counted together as number 0",
                uncounted.len()
            ),
        });
        let is_there = |name| self.snapshot.policies.contains_key(name);
        let missing = self.locals.policies().filter(|(name, _)| !is_there(*name));
        let missing = missing.map(|(name, workloads)| Problem {
            subject: name.to_string(),
            message: format!(
                "{} name this policy, and it is not known; it has no effect",
                listed(workloads.iter().map(ToString::to_string))
            ),
        });
        // Without policies nothing is judged, and what is named does not matter.
        let missing: Vec<_> = missing.collect();
        uncounted.into_iter().chain(missing).collect()
    }

    /// True when everything of a kind is refused, because something had no room.
    pub(crate) fn others_are_closed(&self) -> bool {
        let value = self.destinations.written(AuthzDestination::OTHERS);
        value.is_some_and(|it| it.set == AuthzDestination::CLOSED)
    }

    /// What is known of sources that nothing names.
    pub(crate) fn other_sources(&self) -> Option<AuthzSource> {
        self.sources.written(AuthzSource::OTHERS)
    }
}

fn names<T>(claims: &[Claim<T>]) -> String {
    let name = |(name, _): &(std::sync::Arc<WorkloadName>, T)| name.to_string();
    listed(claims.iter().map(name))
}

/// A few names, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}
