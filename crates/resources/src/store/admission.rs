//! Who gets what several objects claim.
//!
//! What is in force goes before what changed, and what changed before what is new; among equals the
//! older goes first. An object whose new version is refused falls back to its last good one, and that
//! can't fail: the last good versions were in force together, and they are entered before any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::claims::{self, Claim, Ledger};
use super::{Candidate, InForce, Objects};
use crate::object::Object;
use crate::{ObjectKey, Options};

/// Whose version in the files is refused, and why.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) refused: BTreeMap<ObjectKey, Conflict>,
}

/// Why a version is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) claim: Claim,
    pub(super) holder: ObjectKey,
}

/// A candidate that claims something.
#[derive(Debug)]
struct Contender<'a> {
    key: &'a ObjectKey,
    created: Option<&'a Time>,
    fresh: Option<Arc<Version>>,
    last: Option<Arc<Version>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    object: Arc<Object>,
    claims: Vec<Claim>,
}

/// Decides. The result stays the same when it is decided again with that result in force.
pub(super) fn decide(candidates: &[Candidate<'_>], options: &Options) -> Decision {
    let contenders = candidates.iter().map(|candidate| Contender::new(candidate, options));
    let mut contenders: Vec<_> = contenders.filter(|it| !it.is_modest()).collect();
    contenders.sort_by_key(|contender| (contender.created, contender.key));
    loop {
        let refused = refused(&contenders);
        // One that was refused for the sake of another that was refused itself has a second chance.
        if refused.is_empty() || !adopt(&mut contenders, &refused) {
            return Decision { refused };
        }
    }
}

/// The contenders whose fresh version is refused. Each round gives those that were refused so far
/// their last good version back, which may cost others theirs; a round without that ends it.
fn refused(contenders: &[Contender<'_>]) -> BTreeMap<ObjectKey, Conflict> {
    let mut refused = BTreeMap::new();
    loop {
        let mut ledger = Ledger::default();
        for contender in contenders {
            let stays = !contender.is_changed() || refused.contains_key(contender.key);
            ledger.enter(contender.key, contender.kept_claims(stays));
        }
        let changed = contenders.iter().filter(|it| it.last.is_some() && it.is_changed());
        let round = admit(changed, &refused, &mut ledger);
        let is_last_round = round.is_empty();
        refused.extend(round);
        if is_last_round {
            let new = contenders.iter().filter(|contender| contender.last.is_none());
            let round = admit(new, &refused, &mut ledger);
            refused.extend(round);
            return refused;
        }
    }
}

/// Enters the fresh versions in turn, and returns those that can't be.
fn admit<'a>(
    contenders: impl Iterator<Item = &'a Contender<'a>>,
    refused: &BTreeMap<ObjectKey, Conflict>,
    ledger: &mut Ledger<'a>,
) -> Vec<(ObjectKey, Conflict)> {
    let mut round = Vec::new();
    for contender in contenders.filter(|contender| !refused.contains_key(contender.key)) {
        let Some(fresh) = &contender.fresh else { continue };
        match ledger.conflict(contender.key, &fresh.claims) {
            None => ledger.enter(contender.key, fresh.claims.iter()),
            Some((claim, holder)) => {
                let conflict = Conflict { claim: claim.clone(), holder: holder.clone() };
                round.push((contender.key.clone(), conflict));
            }
        }
    }
    round
}

/// Puts the versions in force that are not refused. False when they were already.
fn adopt(contenders: &mut [Contender<'_>], refused: &BTreeMap<ObjectKey, Conflict>) -> bool {
    let mut is_other = false;
    for contender in contenders {
        if contender.is_changed() && !refused.contains_key(contender.key) {
            contender.last = contender.fresh.clone();
            is_other = true;
        }
    }
    is_other
}

// === impl Decision ===

impl Decision {
    /// What is in force from now on.
    pub(super) fn in_force(&self, candidates: &[Candidate<'_>]) -> Objects {
        let versions = candidates.iter().filter_map(|candidate| {
            let is_refused = self.refused.contains_key(candidate.key);
            let fresh = candidate.fresh.filter(|_| !is_refused);
            let object = fresh.or(candidate.last)?.clone();
            Some((candidate.key.clone(), InForce { object, place: candidate.place.clone() }))
        });
        versions.collect()
    }
}

// === impl Contender ===

impl<'a> Contender<'a> {
    fn new(candidate: &Candidate<'a>, options: &Options) -> Self {
        let key = candidate.key;
        let version = |object: &'a Arc<Object>| {
            let claims = claims::claims(key, object, options);
            Arc::new(Version { object: object.clone(), claims })
        };
        let created = candidate.fresh.or(candidate.last).and_then(|object| object.created.as_ref());
        let (fresh, last) = (candidate.fresh.map(version), candidate.last.map(version));
        Self { key, created, fresh, last }
    }

    /// Claims nothing.
    fn is_modest(&self) -> bool {
        let mut versions = self.fresh.iter().chain(&self.last);
        versions.all(|version| version.claims.is_empty())
    }

    /// Is the version in the files valid and another than the one in force?
    fn is_changed(&self) -> bool {
        self.fresh.is_some() && self.fresh != self.last
    }

    /// What it holds now and goes on to hold: everything, or what the fresh version claims as well.
    fn kept_claims(&self, stays: bool) -> impl Iterator<Item = &Claim> {
        let claims = self.last.iter().flat_map(|last| &last.claims);
        claims.filter(move |claim| {
            stays || self.fresh.as_ref().is_some_and(|fresh| fresh.claims.contains(claim))
        })
    }
}
