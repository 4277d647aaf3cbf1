//! A policy as terms. A term is a choice of matches, one for each clause of a rule: it holds where
//! every choice does. In each dimension a term holds or does not, whatever the other dimensions say,
//! and that is what the kernel can look up.

use std::sync::Arc;

use abi::limits::AUTHZ_TERMS_PER_RULE_MAX;
use model::{Clause, Match, Policy, ServiceAccount, StringMatch};

use crate::matching::{Dimension, asks_anything};

/// A policy and its terms.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) policy: Arc<Policy>,
    pub(crate) terms: Vec<Term>,
    /// The first rule that is more terms than there may be; the policy can't be enforced.
    pub(crate) too_large: Option<usize>,
}

/// One of the ways to fulfil a rule.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) rule: usize,
    /// For each clause of the rule that has matches: indices of those of which any is enough.
    choices: Box<[Choice]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    clause: usize,
    matches: Vec<usize>,
}

/// Whom a field of a term is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mention<'a> {
    Namespace(&'a StringMatch),
    Principal(&'a StringMatch),
    Account(&'a ServiceAccount),
}

// === impl Compiled ===

impl Compiled {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        let mut terms = Vec::new();
        let mut too_large = None;
        for (number, rule) in policy.rules.iter().enumerate() {
            match ways(&rule.clauses) {
                Some(ways) => {
                    terms.extend(ways.into_iter().map(|choices| Term { rule: number, choices }));
                }
                None => too_large = too_large.or(Some(number)),
            }
        }
        Self { policy, terms, too_large }
    }

    /// Does a term hold, where the caller knows whether a match does?
    pub(crate) fn holds(&self, term: &Term, fits: impl Fn(&Match) -> bool) -> bool {
        term.choices.iter().all(|choice| self.matches(term, choice).any(&fits))
    }

    /// Does a term ask about this dimension?
    pub(crate) fn asks_about(&self, term: &Term, dimension: Dimension) -> bool {
        self.all_matches(term).any(|it| dimension.is_in(it))
    }

    /// Whom a term is about.
    pub(crate) fn mentions<'a>(&'a self, term: &'a Term) -> impl Iterator<Item = Mention<'a>> {
        self.all_matches(term).flat_map(|it| {
            let namespaces = it.namespaces.iter().chain(&it.not_namespaces);
            let principals = it.principals.iter().chain(&it.not_principals);
            let accounts = it.service_accounts.iter().chain(&it.not_service_accounts);
            namespaces
                .map(Mention::Namespace)
                .chain(principals.map(Mention::Principal))
                .chain(accounts.map(Mention::Account))
        })
    }

    /// The matches that a term is made of.
    pub(crate) fn all_matches<'a>(&'a self, term: &'a Term) -> impl Iterator<Item = &'a Match> {
        term.choices.iter().flat_map(|choice| self.matches(term, choice))
    }

    fn matches<'a>(&'a self, term: &Term, choice: &'a Choice) -> impl Iterator<Item = &'a Match> {
        let clause = &self.policy.rules[term.rule].clauses[choice.clause];
        choice.matches.iter().map(|index| &clause.matches[*index])
    }
}

/// The ways to fulfil all clauses; none when there are too many. A clause without matches is fulfilled,
/// and one whose matches ask nothing can't be.
fn ways(clauses: &[Clause]) -> Option<Vec<Box<[Choice]>>> {
    let max = AUTHZ_TERMS_PER_RULE_MAX as usize;
    let asking = clauses.iter().enumerate().filter(|(_, clause)| !clause.matches.is_empty());
    let mut ways: Vec<Vec<Choice>> = vec![Vec::new()];
    for (number, clause) in asking {
        let choices = choices(number, clause);
        if ways.len() * choices.len() > max {
            return None;
        }
        let with = |way: &Vec<Choice>, choice: &Choice| {
            way.iter().chain([choice]).cloned().collect::<Vec<_>>()
        };
        let longer = ways.iter().flat_map(|way| choices.iter().map(|choice| with(way, choice)));
        ways = longer.collect();
    }
    Some(ways.into_iter().map(Vec::into_boxed_slice).collect())
}

/// The ways to fulfil a clause. Matches that ask about one dimension, and the same one, are one way:
/// any of them is the same as one that asks for the union.
fn choices(number: usize, clause: &Clause) -> Vec<Choice> {
    let mut united: [Vec<usize>; Dimension::ALL.len()] = Default::default();
    let mut apart = Vec::new();
    for (index, it) in clause.matches.iter().enumerate().filter(|(_, it)| asks_anything(it)) {
        let mut asked = (0..united.len()).filter(|at| Dimension::ALL[*at].is_in(it));
        match (asked.next(), asked.next()) {
            (Some(only), None) => united[only].push(index),
            _ => apart.push(vec![index]),
        }
    }
    let ways = united.into_iter().filter(|them| !them.is_empty()).chain(apart);
    ways.map(|matches| Choice { clause: number, matches }).collect()
}

#[cfg(test)]
mod tests {
    use model::{PolicyAction, PolicyName, PolicyScope, Rule};

    use super::*;

    fn ports(ports: &[u16]) -> Match {
        Match { destination_ports: ports.into(), ..Match::default() }
    }

    fn from(namespace: &str) -> Match {
        let namespaces = vec![StringMatch::Exact(namespace.into())];
        Match { namespaces, ..Match::default() }
    }

    fn compiled(rules: Vec<Vec<Vec<Match>>>) -> Compiled {
        let clause = |matches| Clause { matches };
        let rule = |clauses: Vec<_>| Rule { clauses: clauses.into_iter().map(clause).collect() };
        Compiled::new(Arc::new(Policy {
            name: PolicyName::new("shop", "p"),
            scope: PolicyScope::Global,
            action: PolicyAction::Allow,
            is_dry_run: false,
            rules: rules.into_iter().map(rule).collect(),
        }))
    }

    #[test]
    fn matches_of_one_dimension_are_one_term_and_clauses_are_multiplied() {
        let both = Match { destination_ports: vec![1], ..from("a") };
        for (clauses, terms) in [
            (vec![vec![from("a"), from("b")], vec![ports(&[80])]], 1),
            (vec![vec![from("a"), ports(&[80])]], 2),
            (vec![vec![both.clone(), both.clone(), from("a")]], 3),
            (vec![vec![both.clone(), from("a")], vec![both.clone(), ports(&[2])]], 4),
            (vec![vec![]], 1),
            (vec![], 1),
            (vec![vec![Match::default()]], 0),
            (vec![vec![Match::default(), from("a")]], 1),
        ] {
            assert_eq!(compiled(vec![clauses.clone()]).terms.len(), terms, "{clauses:?}");
        }
    }

    #[test]
    fn a_rule_of_too_many_terms_is_named() {
        let both = Match { destination_ports: vec![1], ..from("a") };
        let square = |edge: usize| vec![vec![both.clone(); edge], vec![both.clone(); edge]];
        assert_eq!(compiled(vec![square(16)]).terms.len(), 256);
        assert_eq!(compiled(vec![square(16)]).too_large, None);
        assert_eq!(compiled(vec![vec![], square(17), square(17)]).too_large, Some(1));
    }
}
