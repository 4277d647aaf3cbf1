//! Who may connect to whom, as the kernel holds it: keys and values field for field as in
//! `bpf/include/kmesh/abi.h`, and what `authz` asks of `datapath`.
//!
//! A *set* is what holds for a workload: its policies, as terms. A term is one bit. A *row* is the run
//! of words, one bit for each term of a set, that says which terms hold for a value of one dimension.

use crate::IpAddress;
use crate::types::shared;

shared! {
    /// Value of `authz_destinations`: what judges connections to an address.
    AuthzDestination {
        /// Index into `authz_sets`.
        set: u32,
        /// The row of this address.
        row: u32,
    }
}

shared! {
    /// Value of `authz_sources`: who has an address.
    AuthzSource {
        /// Number of the identity.
        identity: u64,
        /// [`AuthzSource::NODE`].
        flags: u32,
        /// Zero.
        reserved: u32,
    }
}

shared! {
    /// Key of `authz_rows`.
    AuthzRowKey {
        /// Index into `authz_sets`.
        set: u32,
        /// [`AuthzRowKey::IDENTITY`] or [`AuthzRowKey::PORT`].
        dimension: u32,
        /// Number of the identity, or the port in host order.
        value: u64,
    }
}

shared! {
    /// Value of `authz_rows` and `authz_blocks`.
    AuthzRow {
        /// Index of its first word in `authz_words`, or [`AuthzRow::ALL`].
        row: u32,
        /// [`AuthzRow::TRUSTED`].
        flags: u32,
    }
}

shared! {
    /// Key of `authz_blocks`, a longest-prefix trie.
    AuthzBlockKey {
        /// Of the 32 of the set and the 128 of the address.
        prefix_bits: u32,
        /// Index into `authz_sets`; for blocks of destinations with [`AuthzBlockKey::DESTINATION`].
        set: u32,
        /// The block.
        address: IpAddress,
    }
}

shared! {
    /// Value of `authz_sets`, an array. Deny terms stand first, then allow terms, then those that
    /// decide nothing; each part begins at a word.
    AuthzSet {
        /// The constants of [`AuthzSet`].
        flags: u32,
        /// Words of a row.
        words: u32,
        /// Words of deny terms.
        deny_words: u32,
        /// Words of allow terms.
        allow_words: u32,
        /// Row of a source without an identity.
        no_identity_row: u32,
        /// Row of an identity that `authz_rows` does not name.
        identity_row: u32,
        /// Row of a source address that `authz_blocks` does not name.
        address_row: u32,
        /// Row of a port that `authz_rows` does not name.
        port_row: u32,
        /// What bits stand for: index into `authz_terms`, less the number of the bit, modulo 2^32, in the
        /// part of deny terms. There is none for the bits that fill up the last word of a part.
        deny_terms: u32,
        /// The same for allow terms.
        allow_terms: u32,
        /// The same for those that decide nothing.
        undecided_terms: u32,
        /// Entries of `authz_terms`, the first at `deny_terms`.
        terms: u32,
        /// Zero.
        reserved: [u32; 4],
    }
}

shared! {
    /// Value of `authz_counts`, per CPU: what a policy did.
    AuthzCount {
        /// Connections that it allowed.
        allowed: u64,
        /// Connections that it denied.
        denied: u64,
        /// Connections that it matched and did not decide.
        dry_run: u64,
    }
}

// === impl AuthzDestination ===

impl AuthzDestination {
    /// Key of the entry that judges connections to all addresses that have none: `::`, which
    /// nothing connects to.
    pub const OTHERS: IpAddress = IpAddress { word: [0; 16] };
    /// The set that refuses everything.
    pub const CLOSED: u32 = 0;
}

// === impl AuthzSource ===

impl AuthzSource {
    /// An address of this node: what it dials is not judged.
    pub const NODE: u32 = 1;
    /// Key of the entry for all addresses that have none: `::`, which nothing connects from. Without it
    /// they have no identity.
    pub const OTHERS: IpAddress = IpAddress { word: [0; 16] };
    /// Number of no identity.
    pub const NO_IDENTITY: u64 = 0;
    /// Number of identities that cannot be told apart: refused.
    pub const IDENTITY_CLOSED: u64 = 1;
}

// === impl AuthzRowKey ===

impl AuthzRowKey {
    /// Who the source is.
    pub const IDENTITY: u32 = 1;
    /// The destination's port.
    pub const PORT: u32 = 2;
}

// === impl AuthzRow ===

impl AuthzRow {
    /// In the place of an index: every bit is set, nothing is read.
    pub const ALL: u32 = u32::MAX;
    /// The identity is a waypoint that the set trusts: it passes.
    pub const TRUSTED: u32 = 1;
}

// === impl AuthzBlockKey ===

impl AuthzBlockKey {
    /// In `set`: the block is one of destinations, for addresses that have no entry.
    pub const DESTINATION: u32 = 1 << 31;
    /// Bits of `set`, which come before those of the address.
    pub const SET_BITS: u32 = 32;
}

impl std::fmt::Display for AuthzRowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.dimension {
            Self::PORT => write!(f, "port {} in set {}", self.value, self.set),
            _ => write!(f, "identity {:#x} in set {}", self.value, self.set),
        }
    }
}

impl std::fmt::Display for AuthzBlockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (set, address) = (self.set & !Self::DESTINATION, self.address.ip());
        let side = if self.set & Self::DESTINATION == 0 { "source" } else { "destination" };
        let bits = self.prefix_bits.saturating_sub(Self::SET_BITS);
        let bits = if address.is_ipv4() { bits.saturating_sub(96) } else { bits };
        write!(f, "{side} {address}/{bits} in set {set}")
    }
}

// === impl AuthzSet ===

impl AuthzSet {
    /// It refuses everything.
    pub const CLOSED: u32 = 1;
    /// What no allow term matches is refused, also where there is no allow term.
    pub const HAS_ALLOW: u32 = 2;
    /// Rows of identities are looked up.
    pub const USES_IDENTITY: u32 = 4;
    /// Rows of source addresses are looked up.
    pub const USES_ADDRESS: u32 = 8;
    /// Rows of ports are looked up.
    pub const USES_PORT: u32 = 16;
    /// Some rows of identities have [`AuthzRow::TRUSTED`].
    pub const HAS_TRUSTED: u32 = 32;
    /// An address that has no entry has its row in `authz_blocks`.
    pub const USES_DESTINATION: u32 = 64;
}

/// One entry of `authz_terms`: the policy and the rule that a bit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Index into `authz_counts`.
    pub policy: u32,
    /// Number of the rule, [`Term::MORE_RULES`] for every later one.
    pub rule: u8,
}

// === impl Term ===

impl Term {
    /// This rule or a later one.
    pub const MORE_RULES: u8 = u8::MAX;
    const POLICY_BITS: u32 = 24;

    /// The term of the rule with this index.
    pub fn new(policy: u32, rule: usize) -> Self {
        Self { policy, rule: u8::try_from(rule).unwrap_or(Self::MORE_RULES) }
    }
}

impl From<Term> for u32 {
    fn from(term: Term) -> u32 {
        term.policy | u32::from(term.rule) << Term::POLICY_BITS
    }
}

impl From<u32> for Term {
    fn from(word: u32) -> Self {
        let policy = word & ((1 << Self::POLICY_BITS) - 1);
        Self { policy, rule: (word >> Self::POLICY_BITS) as u8 }
    }
}

/// One write. A list of them is applied in order and stops at the first that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Store words of rows.
    Words {
        /// Index of the first.
        first: u32,
        /// The words.
        words: Vec<u64>,
    },
    /// Store what bits stand for: see [`Term`].
    Terms {
        /// Index of the first.
        first: u32,
        /// The terms.
        terms: Vec<u32>,
    },
    /// Store a set.
    Set {
        /// Index into `authz_sets`.
        index: u32,
        /// The set.
        value: AuthzSet,
    },
    /// Name the row of an identity or a port.
    Row {
        /// In which set, for which value.
        key: AuthzRowKey,
        /// The row.
        value: AuthzRow,
    },
    /// The value has the set's default row.
    RemoveRow {
        /// In which set, for which value.
        key: AuthzRowKey,
    },
    /// Name the row of a block of addresses.
    Block {
        /// In which set, for which block.
        key: AuthzBlockKey,
        /// The row.
        value: AuthzRow,
    },
    /// The block's addresses have the row of the next larger block.
    RemoveBlock {
        /// In which set, for which block.
        key: AuthzBlockKey,
    },
    /// Say who has an address.
    Source {
        /// The address.
        address: IpAddress,
        /// Who has it.
        value: AuthzSource,
    },
    /// Nobody that is known has the address.
    RemoveSource {
        /// The address.
        address: IpAddress,
    },
    /// Say what judges connections to an address: the flip from old policies to new ones.
    Destination {
        /// The address, or [`AuthzDestination::OTHERS`].
        address: IpAddress,
        /// What judges.
        value: AuthzDestination,
    },
    /// The address is one of the others.
    RemoveDestination {
        /// The address.
        address: IpAddress,
    },
    /// Count from zero for a policy that had no number before.
    ResetCount {
        /// Index into `authz_counts`.
        policy: u32,
    },
    /// Whether anything is judged: [`crate::Settings::AUTHZ`].
    Active(bool),
}

/// What the maps hold, read back after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// All entries of `authz_sources`.
    pub sources: Vec<(IpAddress, AuthzSource)>,
    /// All entries of `authz_destinations`.
    pub destinations: Vec<(IpAddress, AuthzDestination)>,
    /// The sets that destinations name, by index.
    pub sets: Vec<(u32, AuthzSet)>,
    /// All entries of `authz_rows`.
    pub rows: Vec<(AuthzRowKey, AuthzRow)>,
    /// All entries of `authz_blocks`.
    pub blocks: Vec<(AuthzBlockKey, AuthzRow)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_comes_back_from_its_word_and_late_rules_share_a_number() {
        let term = Term { policy: 0x00ab_cdef, rule: 7 };
        assert_eq!(u32::from(term), 0x07ab_cdef);
        assert_eq!(Term::from(0x07ab_cdef), term);
        assert_eq!(Term::new(1, 254).rule, 254);
        assert_eq!(Term::new(1, 255).rule, Term::MORE_RULES);
        assert_eq!(Term::new(1, 100_000).rule, Term::MORE_RULES);
    }
}
