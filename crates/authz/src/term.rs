//! A policy as terms. A term is a choice of matches, one for each clause of a rule: it holds where
//! every choice does. In each dimension a term holds or does not, whatever the other dimensions say,
//! and that is what the kernel can look up.

use std::sync::Arc;

use abi::limits::AUTHZ_TERMS_PER_RULE_MAX;
use model::{Clause, Match, Policy, ServiceAccount, StringMatch};

use crate::matching::{
    Dimension, Who, asks_anything, fits_destination, fits_port, fits_source, fits_source_address,
};

/// A policy and its terms.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) policy: Arc<Policy>,
    /// Its number.
    pub(crate) slot: u32,
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
    /// The dimensions that it asks about.
    asks: [bool; Dimension::ALL.len()],
    /// Does it hold for the values that no policy names?
    holds_for: [bool; Unnamed::ALL.len()],
}

/// Values that policies do not tell from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// A source without an identity.
    NoIdentity,
    /// An identity that no text is about.
    Identity,
    /// Addresses outside of all blocks.
    SourceAddress,
    DestinationAddress,
    Port,
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
    pub(crate) fn new(policy: Arc<Policy>, slot: u32) -> Self {
        let mut terms = Vec::new();
        let mut too_large = None;
        for (number, rule) in policy.rules.iter().enumerate() {
            match ways(&rule.clauses) {
                Some(ways) => {
                    terms.extend(ways.into_iter().map(|way| Term::new(number, &policy, way)));
                }
                None => too_large = too_large.or(Some(number)),
            }
        }
        Self { policy, slot, terms, too_large }
    }

    /// Does a term hold, where the caller knows whether a match does?
    pub(crate) fn holds(&self, term: &Term, fits: impl Fn(&Match) -> bool) -> bool {
        term.choices.iter().all(|choice| term.matches(&self.policy, choice).any(&fits))
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
        term.choices.iter().flat_map(|choice| term.matches(&self.policy, choice))
    }
}

// === impl Unnamed ===

impl Unnamed {
    const ALL: [Self; 5] = [
        Self::NoIdentity,
        Self::Identity,
        Self::SourceAddress,
        Self::DestinationAddress,
        Self::Port,
    ];

    pub(crate) fn dimension(self) -> Dimension {
        match self {
            Self::NoIdentity | Self::Identity => Dimension::Identity,
            Self::SourceAddress => Dimension::SourceAddress,
            Self::DestinationAddress => Dimension::DestinationAddress,
            Self::Port => Dimension::Port,
        }
    }

    fn fits(self, it: &Match) -> bool {
        match self {
            Self::NoIdentity => fits_source(it, Who::Nobody),
            Self::Identity => fits_source(it, Who::Stranger),
            Self::SourceAddress => fits_source_address(it, |_| false),
            Self::DestinationAddress => fits_destination(it, |_| false),
            Self::Port => fits_port(it, None),
        }
    }
}

// === impl Term ===

impl Term {
    fn new(rule: usize, policy: &Policy, choices: Box<[Choice]>) -> Self {
        let (asks, holds_for) = Default::default();
        let mut term = Self { rule, choices, asks, holds_for };
        term.asks = Dimension::ALL.map(|dimension| {
            let mut choices = term.choices.iter();
            choices.any(|choice| term.matches(policy, choice).any(|it| dimension.is_in(it)))
        });
        term.holds_for = Unnamed::ALL.map(|value| {
            let mut choices = term.choices.iter();
            choices.all(|choice| term.matches(policy, choice).any(|it| value.fits(it)))
        });
        term
    }

    /// Does it hold for a value that no policy names?
    pub(crate) fn holds_for(&self, value: Unnamed) -> bool {
        self.holds_for[value as usize]
    }

    /// Does it ask about this dimension?
    pub(crate) fn asks_about(&self, dimension: Dimension) -> bool {
        self.asks[dimension as usize]
    }

    fn matches<'a>(
        &self,
        policy: &'a Policy,
        choice: &'a Choice,
    ) -> impl Iterator<Item = &'a Match> {
        let clause = &policy.rules[self.rule].clauses[choice.clause];
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
        let policy = Policy {
            name: PolicyName::new("shop", "p"),
            scope: PolicyScope::Global,
            action: PolicyAction::Allow,
            is_dry_run: false,
            rules: rules.into_iter().map(rule).collect(),
        };
        Compiled::new(Arc::new(policy), 1)
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
