//! Who gets what several objects claim.
//!
//! What is in force goes before what changed, and what changed before what is new; among equals the
//! older goes first. An object whose new version is refused falls back to its last good one, and that
//! can't fail: the last good versions were in force together, and they are entered before any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::claims::{self, Claim, Ledger};
use crate::object::Object;
use crate::{ObjectKey, Options};

/// What could be in force for an object; at least one of the two is there.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The version in the files, if it is valid.
    pub(super) fresh: Option<Arc<Object>>,
    /// The version that was in force until now.
    pub(super) last: Option<Arc<Object>>,
}

/// Who is in force, and who is not.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) in_force: BTreeMap<ObjectKey, Arc<Object>>,
    /// Objects whose version in the files is refused.
    pub(super) refused: BTreeMap<ObjectKey, Conflict>,
}

/// Why a version is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) claim: Claim,
    pub(super) holder: ObjectKey,
}

/// A candidate that claims something.
struct Contender {
    key: ObjectKey,
    fresh: Option<Version>,
    last: Option<Version>,
}

struct Version {
    object: Arc<Object>,
    claims: Vec<Claim>,
}

/// Decides.
pub(super) fn decide(candidates: BTreeMap<ObjectKey, Candidate>, options: &Options) -> Decision {
    let mut decision = Decision::default();
    let mut contenders = Vec::new();
    for (key, candidate) in candidates {
        let contender = Contender::new(key, candidate, options);
        if contender.is_modest() {
            let version = contender.fresh.or(contender.last);
            decision.in_force.extend(version.map(|version| (contender.key, version.object)));
        } else {
            contenders.push(contender);
        }
    }
    contenders.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
    decision.refused = refused(&contenders);
    for contender in contenders {
        let is_refused = decision.refused.contains_key(&contender.key);
        let version = match contender.fresh {
            Some(fresh) if !is_refused => Some(fresh),
            _ => contender.last,
        };
        decision.in_force.extend(version.map(|version| (contender.key, version.object)));
    }
    decision
}

/// The contenders whose fresh version is refused. Each round gives those that were refused so far
/// their last good version back, which may cost others theirs; a round without that ends it.
fn refused(contenders: &[Contender]) -> BTreeMap<ObjectKey, Conflict> {
    let mut refused = BTreeMap::new();
    loop {
        let mut ledger = Ledger::default();
        for contender in contenders {
            if let Some(last) = &contender.last
                && (!contender.is_changed() || refused.contains_key(&contender.key))
            {
                ledger.enter(&contender.key, &last.claims);
            }
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
    contenders: impl Iterator<Item = &'a Contender>,
    refused: &BTreeMap<ObjectKey, Conflict>,
    ledger: &mut Ledger<'a>,
) -> Vec<(ObjectKey, Conflict)> {
    let mut round = Vec::new();
    for contender in contenders.filter(|contender| !refused.contains_key(&contender.key)) {
        let Some(fresh) = &contender.fresh else { continue };
        match ledger.conflict(&fresh.claims) {
            None => ledger.enter(&contender.key, &fresh.claims),
            Some((claim, holder)) => {
                let conflict = Conflict { claim: claim.clone(), holder: holder.clone() };
                round.push((contender.key.clone(), conflict));
            }
        }
    }
    round
}

// === impl Contender ===

impl Contender {
    fn new(key: ObjectKey, candidate: Candidate, options: &Options) -> Self {
        let version = |object: Arc<Object>| {
            let claims = claims::claims(&key, &object, options);
            Version { object, claims }
        };
        let (fresh, last) = (candidate.fresh.map(version), candidate.last.map(version));
        Self { key, fresh, last }
    }

    /// Claims nothing.
    fn is_modest(&self) -> bool {
        let mut versions = self.fresh.iter().chain(&self.last);
        versions.all(|version| version.claims.is_empty())
    }

    /// Is the version in the files valid and another than the one in force?
    fn is_changed(&self) -> bool {
        match (&self.fresh, &self.last) {
            (Some(fresh), Some(last)) => fresh.object != last.object,
            (fresh, _) => fresh.is_some(),
        }
    }

    /// Sorts the older first.
    fn seniority(&self) -> (Option<&Time>, &ObjectKey) {
        let version = self.fresh.as_ref().or(self.last.as_ref());
        (version.and_then(|version| version.object.created.as_ref()), &self.key)
    }
}
