//! Who gets what several objects claim.
//!
//! What is in force goes before what changed, and what changed before what is new; among equals the
//! older goes first. An object whose new version is refused falls back to its last good one, and that
//! can't fail: the last good versions were in force together, and they are entered before any other.
//!
//! Only those take part whose version in the files is not the one in force. Nothing else can change
//! its mind, so the others are but names in a ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Candidate;
use super::claims::{self, Claim, Ledger};
use super::vips::Vips;
use crate::object::Object;
use crate::{ObjectKey, Options};

/// Whose version in the files is refused, and why.
pub(super) type Refused = BTreeMap<Arc<ObjectKey>, Conflict>;

/// Why a version is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) claim: Claim,
    pub(super) holder: Arc<ObjectKey>,
}

/// A candidate that claims something.
#[derive(Debug)]
struct Contender {
    key: Arc<ObjectKey>,
    created: Option<Time>,
    fresh: Option<Arc<Version>>,
    last: Option<Arc<Version>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    object: Arc<Object>,
    claims: Vec<Claim>,
}

/// Decides, and enters what is in force then. The result stays the same when it is decided again
/// with that result in force.
pub(super) fn decide(
    candidates: &[Candidate],
    ledger: &mut Ledger,
    options: &Options,
    vips: &Vips,
) -> Refused {
    let contenders = candidates.iter().map(|it| Contender::new(it, options, vips));
    let mut contenders: Vec<_> = contenders.filter(|it| !it.is_modest()).collect();
    contenders.sort_by(|a, b| (&a.created, &a.key).cmp(&(&b.created, &b.key)));
    for contender in &contenders {
        ledger.strike(&contender.key, contender.last.iter().flat_map(|last| &last.claims));
    }
    let refused = loop {
        let refused = refused(&contenders, ledger);
        // One that was refused for the sake of another that was refused itself has a second chance.
        if refused.is_empty() || !adopt(&mut contenders, &refused) {
            break refused;
        }
    };
    for contender in &contenders {
        let fresh = contender.fresh.as_ref().filter(|_| !refused.contains_key(&contender.key));
        let version = fresh.or(contender.last.as_ref());
        ledger.enter(&contender.key, version.iter().flat_map(|version| &version.claims));
    }
    refused
}

/// The contenders whose fresh version is refused. Each round gives those that were refused so far
/// their last good version back, which may cost others theirs; a round without that ends it.
fn refused(contenders: &[Contender], others: &Ledger) -> Refused {
    let mut refused = Refused::new();
    loop {
        let mut ledger = Ledger::default();
        for contender in contenders {
            let stays = !contender.is_changed() || refused.contains_key(&contender.key);
            ledger.enter(&contender.key, contender.kept_claims(stays));
        }
        let changed = contenders.iter().filter(|it| it.last.is_some() && it.is_changed());
        let round = admit(changed, &refused, others, &mut ledger);
        let is_last_round = round.is_empty();
        refused.extend(round);
        if is_last_round {
            let new = contenders.iter().filter(|contender| contender.last.is_none());
            let round = admit(new, &refused, others, &mut ledger);
            refused.extend(round);
            return refused;
        }
    }
}

/// Enters the fresh versions in turn, and returns those that can't be.
fn admit<'a>(
    contenders: impl Iterator<Item = &'a Contender>,
    refused: &Refused,
    others: &Ledger,
    ledger: &mut Ledger,
) -> Refused {
    let mut round = Refused::new();
    for contender in contenders.filter(|contender| !refused.contains_key(&contender.key)) {
        let Some(fresh) = &contender.fresh else { continue };
        let conflict = fresh.claims.iter().find_map(|claim| {
            let holder = holder(claim, &contender.key, [others, ledger])?;
            Some(Conflict { claim: claim.clone(), holder })
        });
        match conflict {
            None => ledger.enter(&contender.key, &fresh.claims),
            Some(conflict) => {
                round.insert(contender.key.clone(), conflict);
            }
        }
    }
    round
}

/// Somebody else who holds something of the claim: whoever holds the first part of it.
fn holder(claim: &Claim, key: &Arc<ObjectKey>, ledgers: [&Ledger; 2]) -> Option<Arc<ObjectKey>> {
    let firsts = ledgers
        .into_iter()
        .filter_map(|ledger| ledger.holders(claim).find(|(_, holder)| *holder != key));
    firsts.min().map(|(_, holder)| holder.clone())
}

/// Puts the versions in force that are not refused. False when they were already.
fn adopt(contenders: &mut [Contender], refused: &Refused) -> bool {
    let mut is_other = false;
    for contender in contenders {
        if contender.is_changed() && !refused.contains_key(&contender.key) {
            contender.last = contender.fresh.clone();
            is_other = true;
        }
    }
    is_other
}

// === impl Contender ===

impl Contender {
    fn new(candidate: &Candidate, options: &Options, vips: &Vips) -> Self {
        let version = |object: &Arc<Object>| {
            let claims = claims::claims(&candidate.key, object, options, vips);
            Arc::new(Version { object: object.clone(), claims })
        };
        let object = candidate.fresh.as_ref().or(candidate.last.as_ref());
        Self {
            key: candidate.key.clone(),
            created: object.and_then(|object| object.created.clone()),
            fresh: candidate.fresh.as_ref().map(version),
            last: candidate.last.as_ref().map(version),
        }
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
