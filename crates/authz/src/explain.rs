//! Why a connection is allowed or refused, in words for an operator. What the programs look up in rows
//! is found out anew here, from the policies themselves.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use abi::authz::{AuthzDestination, AuthzSource};
use model::{PolicyAction, PolicyName, PolicyScope, ServiceName, WorkloadName};

use crate::addresses::agree;
use crate::evaluate::{Connection, Decision, Verdict, evaluate, matching_rule};
use crate::identity::{Identity, Subject};
use crate::matching::Who;
use crate::scopes::SetKey;
use crate::sets::Set;
use crate::state::Authz;

/// What happens to a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happens.
    pub outcome: Outcome,
    /// Whom the source is taken for.
    pub source: Source,
    /// The workloads of the destination's address; empty for one that nothing names.
    pub destination: Vec<Arc<WorkloadName>>,
    /// The policies that apply to the destination.
    pub considered: Vec<Considered>,
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passes: nothing is judged, because there is no policy, or because that is switched off.
    NotJudged,
    /// It passes: it comes from this node itself, as kubelet's probes do.
    FromNode,
    /// It passes: it comes from the waypoint of the destination, which judged it.
    FromWaypoint(ServiceName),
    /// It is refused, because its policies can't be enforced. The reason.
    Closed(String),
    /// Policies decide.
    Judged(Verdict),
}

/// Whom a source is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This node itself.
    Node,
    /// Nobody that is known.
    Unknown,
    /// Somebody.
    Known(Identity),
    /// One of several that can't be told apart.
    Ambiguous(String),
}

/// A policy that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Its name.
    pub policy: PolicyName,
    /// What it does.
    pub action: PolicyAction,
    /// Why it applies.
    pub scope: PolicyScope,
    /// It decides nothing.
    pub is_observer: bool,
    /// Index of the first of its rules that matches.
    pub rule: Option<usize>,
}

// === impl Authz ===

impl Authz {
    /// What happens to a connection between these addresses, and why.
    pub fn explain(&self, source: IpAddr, destination: IpAddr, port: u16) -> Explanation {
        let (source, destination) = (source.to_canonical(), destination.to_canonical());
        let claims = match self.is_shared(destination.into()) {
            true => &[],
            false => self.destinations.claims(destination.into()),
        };
        let subject = self.subject(source);
        let taken_for = self.taken_for(source, subject);
        let key = match claims {
            [] => Some(&self.others),
            [(_, key), ..] => agree(claims).then_some(key),
        };
        let connection = Connection {
            source: subject.map(|subject| subject.identity.clone()),
            source_address: source,
            destination_address: destination,
            destination_port: port,
        };
        let outcome = match (self.is_active, key) {
            (None | Some(false), _) => Outcome::NotJudged,
            _ if taken_for == Source::Node => Outcome::FromNode,
            (_, None) => Outcome::Closed("several workloads have the destination's address".into()),
            (_, Some(key)) => self.judge(key, &connection, &taken_for, subject),
        };
        let considered = key.map(|key| self.considered(key, &connection)).unwrap_or_default();
        let destination = claims.iter().map(|(name, _)| name.clone()).collect();
        Explanation { outcome, source: taken_for, destination, considered }
    }

    fn judge(
        &self,
        key: &SetKey,
        connection: &Connection,
        taken_for: &Source,
        subject: Option<&Subject>,
    ) -> Outcome {
        if let Some(problem) = self.why_closed(key, connection) {
            return Outcome::Closed(problem);
        }
        if let Some(waypoint) = subject.and_then(|subject| self.trusted_by(key, subject)) {
            return Outcome::FromWaypoint(waypoint);
        }
        if let Source::Ambiguous(problem) = taken_for
            && self.sets.get(key).is_some_and(Set::asks_for_identity)
        {
            return Outcome::Closed(problem.clone());
        }
        let policies = self.scopes.policies(key, &self.snapshot);
        Outcome::Judged(evaluate(policies.into_iter().map(AsRef::as_ref), connection))
    }

    fn why_closed(&self, key: &SetKey, connection: &Connection) -> Option<String> {
        let problem = self.sets.get(key).and_then(|set| set.problem.as_ref());
        let message = problem.map(|problem| problem.message.clone());
        let address = connection.destination_address.into();
        let written = self.destinations.written(address).or_else(|| {
            let claims = self.destinations.claims(address);
            let is_known = !claims.is_empty() && !self.is_shared(address);
            let others = self.destinations.written(AuthzDestination::OTHERS);
            others.filter(|_| !is_known || self.others_are_closed())
        });
        let is_closed = written.is_none_or(|it| it.set == AuthzDestination::CLOSED);
        let no_room = || "there is no room for all addresses of workloads".to_owned();
        is_closed.then(|| message.unwrap_or_else(no_room))
    }

    /// The subject that an address has, if it has one and no other.
    fn subject(&self, source: IpAddr) -> Option<&Subject> {
        let claims = self.sources.claims(source.into());
        let is_placed = self.sources.written(source.into()).is_some();
        let (_, number) = claims.first().filter(|_| agree(claims) && is_placed)?;
        self.subjects.get(*number).map(AsRef::as_ref)
    }

    fn taken_for(&self, source: IpAddr, subject: Option<&Subject>) -> Source {
        let written = self.sources.written(source.into()).or_else(|| self.other_sources());
        let is_closed = |it: AuthzSource| it.identity == AuthzSource::IDENTITY_CLOSED;
        match (written, subject) {
            (Some(it), _) if it.flags & AuthzSource::NODE != 0 => Source::Node,
            (Some(it), _) if is_closed(it) => {
                let several = "several workloads have the source's address, or it had no room";
                Source::Ambiguous(several.to_owned())
            }
            (_, Some(subject)) => Source::Known(subject.identity.clone()),
            (_, None) => Source::Unknown,
        }
    }

    fn considered(&self, key: &SetKey, connection: &Connection) -> Vec<Considered> {
        let principal = connection.source.as_ref().map(Identity::principal).unwrap_or_default();
        let who = match &connection.source {
            Some(identity) => Who::Known(identity, &principal),
            None => Who::Nobody,
        };
        let policies = self.scopes.policies(key, &self.snapshot).into_iter();
        policies
            .map(|policy| Considered {
                policy: policy.name.clone(),
                action: policy.action,
                scope: policy.scope,
                is_observer: policy.is_observer(),
                rule: matching_rule(policy, who, connection),
            })
            .collect()
    }

    /// Numbers of policies, by which events and counters name them, and their names.
    pub fn policies(&self) -> impl Iterator<Item = (u32, &PolicyName)> {
        self.sets.slots()
    }
}

// === impl Outcome ===

impl Outcome {
    /// Does the connection come about?
    pub fn is_allowed(&self) -> bool {
        match self {
            Self::NotJudged | Self::FromNode | Self::FromWaypoint(_) => true,
            Self::Closed(_) => false,
            Self::Judged(verdict) => verdict.decision.is_allowed(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJudged => f.write_str("allowed: no policy is in force"),
            Self::FromNode => f.write_str("allowed: it comes from this node"),
            Self::FromWaypoint(name) => write!(f, "allowed: it comes from the waypoint {name}"),
            Self::Closed(problem) => write!(f, "refused: {problem}"),
            Self::Judged(verdict) => verdict.decision.fmt(f),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrestricted => f.write_str("allowed: no policy says otherwise"),
            Self::Allowed(by) => write!(f, "allowed by rule {} of {}", by.rule, by.policy),
            Self::Denied(by) => write!(f, "refused by rule {} of {}", by.rule, by.policy),
            Self::NotAllowed => f.write_str("refused: no policy allows it"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("this node"),
            Self::Unknown => f.write_str("nobody that is known"),
            Self::Known(identity) => identity.fmt(f),
            Self::Ambiguous(problem) => f.write_str(problem),
        }
    }
}
