//! Which bit of a row is which term of a list of policies: DENY first, then ALLOW, then those that
//! decide nothing, each part from a word of its own.

use std::sync::Arc;

use model::{Match, PolicyAction, PolicyName};

use crate::matching::Dimension;
use crate::rows::{WORD_BITS, put};
use crate::term::{Compiled, Term, Unnamed};

/// The terms of policies, each at its bit.
#[derive(Debug)]
pub(crate) struct Bits {
    policies: Vec<Arc<Compiled>>,
    /// Index of the policy and of its term; none past the end of a part.
    terms: Vec<Option<(u32, u32)>>,
    pub(crate) deny_words: usize,
    pub(crate) allow_words: usize,
    /// How many terms there are before each part, less the number of its first bit, modulo 2^32.
    pub(crate) offsets: [u32; Part::ALL.len()],
    /// Something says what is allowed.
    pub(crate) has_allow: bool,
    /// The bits that ask about each dimension.
    asking: [Vec<u32>; Dimension::ALL.len()],
}

/// What decides, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Deny,
    Allow,
    Observe,
}

impl Part {
    const ALL: [Self; 3] = [Self::Deny, Self::Allow, Self::Observe];
}

// === impl Bits ===

impl Bits {
    pub(crate) fn new(policies: Vec<Arc<Compiled>>) -> Self {
        let mut terms = Vec::new();
        let mut ends = Vec::new();
        let mut count = 0_u32;
        let offsets = Part::ALL.map(|part| {
            let first = terms.len();
            let own = policies.iter().enumerate().filter(|(_, it)| part_of(it) == part);
            terms.extend(own.flat_map(|(policy, compiled)| {
                (0..compiled.terms.len()).map(move |term| Some((policy as u32, term as u32)))
            }));
            let before = count;
            count += (terms.len() - first) as u32;
            terms.resize(terms.len().next_multiple_of(WORD_BITS), None);
            ends.push(terms.len() / WORD_BITS);
            before.wrapping_sub(first as u32)
        });
        let has_allow = policies.iter().any(|it| part_of(it) == Part::Allow);
        let (deny_words, allow_words) = (ends[0], ends[1] - ends[0]);
        let asking = Default::default();
        let mut bits =
            Self { policies, terms, deny_words, allow_words, offsets, has_allow, asking };
        bits.asking = Dimension::ALL.map(|dimension| bits.asking_about(dimension));
        bits
    }

    /// Words of a row.
    pub(crate) fn words(&self) -> usize {
        self.terms.len() / WORD_BITS
    }

    /// The bits whose terms ask about a dimension.
    pub(crate) fn asking(&self, dimension: Dimension) -> &[u32] {
        &self.asking[dimension as usize]
    }

    /// Does a bit's term hold, where the caller knows whether a match does?
    pub(crate) fn holds(&self, bit: u32, fits: impl Fn(&Match) -> bool) -> bool {
        self.term(bit).is_some_and(|(compiled, term)| compiled.holds(term, fits))
    }

    /// The policy and the term of a bit.
    pub(crate) fn term(&self, bit: u32) -> Option<(&Compiled, &Term)> {
        let (policy, term) = self.terms[bit as usize]?;
        let compiled = &self.policies[policy as usize];
        Some((compiled, &compiled.terms[term as usize]))
    }

    /// The row of a value that no policy names.
    pub(crate) fn row(&self, value: Unnamed) -> Vec<u64> {
        let dimension = value.dimension();
        let mut row = vec![u64::MAX; self.words()];
        if dimension == Dimension::DestinationAddress {
            self.clear_padding(&mut row);
        }
        for bit in self.asking(dimension) {
            if !self.term(*bit).is_some_and(|(_, term)| term.holds_for(value)) {
                put(&mut row, *bit, false);
            }
        }
        row
    }

    /// What the bits stand for, without those that fill up words.
    pub(crate) fn entries(&self) -> Vec<u32> {
        let entry = |(policy, term): (u32, u32)| {
            let policy = &self.policies[policy as usize];
            abi::authz::Term::new(policy.slot, policy.terms[term as usize].rule).into()
        };
        self.terms.iter().flatten().copied().map(entry).collect()
    }

    /// A policy that can't be enforced, and its rule that is too many terms.
    pub(crate) fn too_large(&self) -> Option<(&PolicyName, usize)> {
        self.policies.iter().find_map(|it| Some((&it.policy.name, it.too_large?)))
    }

    fn asking_about(&self, dimension: Dimension) -> Vec<u32> {
        let bits = 0..self.terms.len() as u32;
        let asks = |bit: &u32| self.term(*bit).is_some_and(|(_, term)| term.asks_about(dimension));
        bits.filter(asks).collect()
    }

    /// The row of the destination keeps the bits that stand for nothing out of every verdict.
    fn clear_padding(&self, row: &mut [u64]) {
        for (bit, term) in self.terms.iter().enumerate() {
            if term.is_none() {
                put(row, bit as u32, false);
            }
        }
    }
}

fn part_of(compiled: &Compiled) -> Part {
    match compiled.policy.action {
        _ if compiled.policy.is_observer() => Part::Observe,
        PolicyAction::Deny => Part::Deny,
        PolicyAction::Allow | PolicyAction::Audit => Part::Allow,
    }
}
