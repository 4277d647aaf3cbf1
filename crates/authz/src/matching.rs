//! What one match of a policy asks, one dimension at a time. The source of these rules is Istio's
//! ztunnel (`src/rbac.rs`): of one kind of field any value and none of the `not_` values, and all kinds;
//! a match without a field matches nothing.
//!
//! A source that is not known has no text, and a text that is not there is like none: positive fields
//! do not match, `not_` fields do. (ztunnel compares namespaces with the empty text instead; the two
//! differ for policies that name the empty text alone, which Istio's API refuses.)

use model::{AddressBlock, Match, ServiceAccount, StringMatch};

use crate::identity::{Identity, Subject};

/// What a match can ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dimension {
    /// Who dials.
    Identity,
    /// From where.
    SourceAddress,
    /// Which address.
    DestinationAddress,
    /// Which port.
    Port,
}

/// Whom a source is taken for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    /// Nobody.
    Nobody,
    /// Somebody whom no text names but those that stand for everybody.
    Stranger,
    /// Somebody, with the principal.
    Known(&'a Identity, &'a str),
}

// === impl Dimension ===

impl Dimension {
    pub(crate) const ALL: [Self; 4] =
        [Self::Identity, Self::SourceAddress, Self::DestinationAddress, Self::Port];

    /// Does the match ask about it?
    pub(crate) fn is_in(self, it: &Match) -> bool {
        match self {
            Self::Identity => {
                !(it.namespaces.is_empty()
                    && it.not_namespaces.is_empty()
                    && it.principals.is_empty()
                    && it.not_principals.is_empty()
                    && it.service_accounts.is_empty()
                    && it.not_service_accounts.is_empty())
            }
            Self::SourceAddress => !(it.source_ips.is_empty() && it.not_source_ips.is_empty()),
            Self::DestinationAddress => {
                !(it.destination_ips.is_empty() && it.not_destination_ips.is_empty())
            }
            Self::Port => !(it.destination_ports.is_empty() && it.not_destination_ports.is_empty()),
        }
    }
}

// === impl Who ===

impl<'a> From<&'a Subject> for Who<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self::Known(&subject.identity, &subject.principal)
    }
}

impl Who<'_> {
    fn has_namespace(self, wanted: &StringMatch) -> bool {
        match self {
            Self::Nobody => false,
            Self::Stranger => stands_for_all(wanted),
            Self::Known(identity, _) => is_like(wanted, &identity.namespace),
        }
    }

    fn has_principal(self, wanted: &StringMatch) -> bool {
        match self {
            Self::Nobody => false,
            Self::Stranger => stands_for_all(wanted),
            Self::Known(_, principal) => is_like(wanted, principal),
        }
    }

    fn is_account(self, wanted: &ServiceAccount) -> bool {
        match self {
            Self::Nobody | Self::Stranger => false,
            Self::Known(identity, principal) => {
                !principal.is_empty()
                    && *identity.namespace == wanted.namespace
                    && *identity.service_account == wanted.name
            }
        }
    }
}

/// Does the match fit this source?
pub(crate) fn fits_source(it: &Match, who: Who<'_>) -> bool {
    fits(&it.namespaces, &it.not_namespaces, |wanted| who.has_namespace(wanted))
        && fits(&it.principals, &it.not_principals, |wanted| who.has_principal(wanted))
        && fits(&it.service_accounts, &it.not_service_accounts, |wanted| who.is_account(wanted))
}

/// Does it fit a source address, of which the caller knows whether a block contains it?
pub(crate) fn fits_source_address(it: &Match, is_in: impl Fn(&AddressBlock) -> bool) -> bool {
    fits(&it.source_ips, &it.not_source_ips, is_in)
}

/// Does it fit a destination address, of which the caller knows whether a block contains it?
pub(crate) fn fits_destination(it: &Match, is_in: impl Fn(&AddressBlock) -> bool) -> bool {
    fits(&it.destination_ips, &it.not_destination_ips, is_in)
}

/// Does it fit this port? None is a port that no policy names.
pub(crate) fn fits_port(it: &Match, port: Option<u16>) -> bool {
    fits(&it.destination_ports, &it.not_destination_ports, |wanted| Some(*wanted) == port)
}

/// Has it any field? One without matches nothing.
pub(crate) fn asks_anything(it: &Match) -> bool {
    Dimension::ALL.iter().any(|dimension| dimension.is_in(it))
}

/// True for what every text that is there is like.
pub(crate) fn stands_for_all(wanted: &StringMatch) -> bool {
    match wanted {
        StringMatch::Presence => true,
        StringMatch::Prefix(part) | StringMatch::Suffix(part) => part.is_empty(),
        StringMatch::Exact(_) => false,
    }
}

fn is_like(wanted: &StringMatch, text: &str) -> bool {
    let is_there = !text.is_empty();
    is_there
        && match wanted {
            StringMatch::Exact(whole) => text == whole,
            StringMatch::Prefix(part) => text.starts_with(part.as_str()),
            StringMatch::Suffix(part) => text.ends_with(part.as_str()),
            StringMatch::Presence => true,
        }
}

fn fits<T>(wanted: &[T], unwanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    (wanted.is_empty() || wanted.iter().any(&is)) && !unwanted.iter().any(is)
}
