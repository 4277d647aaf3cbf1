//! Who dials.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use model::{ServiceName, Workload};
use siphasher::sip::SipHasher13;

/// Keys of the hash that numbers come from. Another key is another number for everybody: a daemon would
/// not recognise what the one before it wrote.
const HASH_KEYS: (u64, u64) = (0x6b6d_6573_6820_6e75, 0x6d62_6572_2077_686f);
/// Numbers below this mean something else: no identity, identities that cannot be told apart.
const NUMBER_MIN: u64 = 2;

/// Whom a source is taken for: what its certificate would say under mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Trust domain, never empty.
    pub trust_domain: Arc<str>,
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Kubernetes service account; empty when it is not known, and then there is no principal.
    pub service_account: Arc<str>,
}

/// An identity, and the waypoints that those who have it serve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subject {
    pub(crate) identity: Identity,
    /// The principal; empty when there is none.
    pub(crate) principal: Arc<str>,
    /// Services of the waypoints.
    pub(crate) waypoints: BTreeSet<ServiceName>,
}

// === impl Identity ===

impl Identity {
    /// The identity of a workload.
    pub fn of(workload: &Workload) -> Self {
        Self {
            trust_domain: workload.trust_domain().into(),
            namespace: workload.name.namespace.as_str().into(),
            service_account: workload.service_account.clone(),
        }
    }

    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`, which policies name; empty without a service
    /// account.
    pub fn principal(&self) -> String {
        let Self { trust_domain, namespace, service_account } = self;
        match &**service_account {
            "" => String::new(),
            account => format!("{trust_domain}/ns/{namespace}/sa/{account}"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal().as_str() {
            "" => write!(f, "{}/ns/{}", self.trust_domain, self.namespace),
            principal => f.write_str(principal),
        }
    }
}

// === impl Subject ===

impl Subject {
    pub(crate) fn new(identity: Identity, waypoints: BTreeSet<ServiceName>) -> Self {
        let principal = identity.principal().into();
        Self { identity, principal, waypoints }
    }

    /// Its number in the kernel, the same after a restart.
    pub(crate) fn number(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(HASH_KEYS.0, HASH_KEYS.1);
        let Identity { trust_domain, namespace, service_account } = &self.identity;
        let waypoints = self.waypoints.iter().flat_map(|it| [&*it.namespace, &*it.hostname]);
        for text in [&**trust_domain, &**namespace, &**service_account].into_iter().chain(waypoints)
        {
            hasher.write_u64(text.len() as u64);
            hasher.write(text.as_bytes());
        }
        hasher.finish().max(NUMBER_MIN)
    }
}
