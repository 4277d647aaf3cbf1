//! What policies mean: the reference for the kernel. A DENY that matches decides; then, if there is an
//! ALLOW at all, one must match. What decides nothing (dry run, AUDIT) is told beside it.

use std::net::IpAddr;

use model::{Policy, PolicyAction, PolicyName, Rule};

use crate::block::Block;
use crate::identity::Identity;
use crate::matching::{
    Who, asks_anything, fits_destination, fits_port, fits_source, fits_source_address,
};

/// A connection, as far as policies ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who dials; none when the address is nobody's.
    pub source: Option<Identity>,
    /// From where.
    pub source_address: IpAddr,
    /// To where.
    pub destination_address: IpAddr,
    /// To which port.
    pub destination_port: u16,
}

/// A policy that matches, and the first of its rules that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The policy.
    pub policy: PolicyName,
    /// Index of the rule.
    pub rule: usize,
}

/// Why something is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed: nothing denies it, and no policy says what is allowed.
    Unrestricted,
    /// Allowed by a policy.
    Allowed(Matched),
    /// Denied by a policy.
    Denied(Matched),
    /// Denied: policies say what is allowed, and this is not.
    NotAllowed,
}

/// What policies say about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happens.
    pub decision: Decision,
    /// Policies that match and decide nothing.
    pub observed: Vec<Matched>,
}

/// What `policies`, which all apply, say about a connection. Of several that decide the same way the
/// first is named.
pub fn evaluate<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    connection: &Connection,
) -> Verdict {
    let principal = connection.source.as_ref().map(Identity::principal).unwrap_or_default();
    let who = match &connection.source {
        Some(identity) => Who::Known(identity, &principal),
        None => Who::Nobody,
    };
    let (mut allowed, mut denied, mut has_allow) = (None, None, false);
    let mut observed = Vec::new();
    for policy in policies {
        has_allow |= policy.action == PolicyAction::Allow && !policy.is_observer();
        let Some(rule) = matching_rule(policy, who, connection) else { continue };
        let matched = Matched { policy: policy.name.clone(), rule };
        match policy.action {
            _ if policy.is_observer() => observed.push(matched),
            PolicyAction::Deny => drop(denied.get_or_insert(matched)),
            PolicyAction::Allow | PolicyAction::Audit => drop(allowed.get_or_insert(matched)),
        }
    }
    let decision = match (denied, allowed) {
        (Some(denied), _) => Decision::Denied(denied),
        (None, Some(allowed)) => Decision::Allowed(allowed),
        (None, None) if has_allow => Decision::NotAllowed,
        (None, None) => Decision::Unrestricted,
    };
    Verdict { decision, observed }
}

// === impl Decision ===

impl Decision {
    /// Does the connection come about?
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Unrestricted | Self::Allowed(_))
    }
}

/// The first rule that matches; a policy without rules has none.
pub(crate) fn matching_rule(
    policy: &Policy,
    who: Who<'_>,
    connection: &Connection,
) -> Option<usize> {
    policy.rules.iter().position(|rule| matches(rule, who, connection))
}

/// All clauses, of each any match; a clause without matches is fulfilled.
fn matches(rule: &Rule, who: Who<'_>, connection: &Connection) -> bool {
    let source = Block::single(connection.source_address);
    let destination = Block::single(connection.destination_address);
    rule.clauses.iter().all(|clause| {
        clause.matches.is_empty()
            || clause.matches.iter().any(|it| {
                asks_anything(it)
                    && fits_source(it, who)
                    && fits_source_address(it, |block| Block::from(block).contains(source))
                    && fits_destination(it, |block| Block::from(block).contains(destination))
                    && fits_port(it, Some(connection.destination_port))
            })
    })
}
