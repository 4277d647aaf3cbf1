//! What belongs to one object alone, and to whom it belongs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use model::{Protocol, ServiceName};

use crate::object::{Body, Object};
use crate::{ObjectKey, Options};

/// Something that belongs to one object alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// The name of a service.
    Host(ServiceName),
    /// An address: of a Kubernetes Service all of it, of a ServiceEntry a port. The variant without
    /// a port sorts before those with one.
    Address(IpAddr, Option<(u16, Protocol)>),
    /// What the DestinationRules of a namespace say about a host.
    Rules { namespace: String, host: String },
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Ledger<'a> {
    holders: BTreeMap<&'a Claim, &'a ObjectKey>,
}

/// What an object claims.
pub(super) fn claims(key: &ObjectKey, object: &Object, options: &Options) -> Vec<Claim> {
    match &object.body {
        Body::Service(service) => {
            let host = options.service_host(&key.namespace, &key.name);
            let addresses = service.addresses.iter().map(|address| Claim::Address(*address, None));
            let name = Claim::Host(ServiceName::new(&key.namespace, host));
            std::iter::once(name).chain(addresses).collect()
        }
        Body::ServiceEntry(entry) => {
            let name = |host: &String| Claim::Host(ServiceName::new(&key.namespace, host));
            let mut claims: Vec<_> = entry.hosts.iter().map(name).collect();
            for address in &entry.addresses {
                if entry.ports.is_empty() {
                    claims.push(Claim::Address(*address, None));
                }
                let ports = entry.ports.iter().map(|port| (port.port.port, port.port.protocol));
                claims.extend(ports.map(|port| Claim::Address(*address, Some(port))));
            }
            claims
        }
        Body::DestinationRule(rule) if rule.is_for_all_clients => {
            let host = options.rule_host(&key.namespace, &rule.host);
            vec![Claim::Rules { namespace: key.namespace.clone(), host }]
        }
        _ => Vec::new(),
    }
}

// === impl Claim ===

impl Claim {
    /// The field of an object that makes the claim.
    pub(super) fn field(&self, key: &ObjectKey) -> &'static str {
        match (self, key.kind) {
            (Claim::Host(_), crate::Kind::ServiceEntry) => "spec.hosts",
            (Claim::Host(_), _) => "metadata.name",
            (Claim::Address(..), crate::Kind::ServiceEntry) => "spec.addresses",
            (Claim::Address(..), _) => "spec.clusterIPs",
            (Claim::Rules { .. }, _) => "spec.host",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Host(name) => write!(f, "host {}", name.hostname),
            Claim::Address(address, None) => write!(f, "address {address}"),
            Claim::Address(address, Some((port, protocol))) => {
                write!(f, "address {address} port {port} {}", protocol.name())
            }
            Claim::Rules { host, .. } => write!(f, "host {host}"),
        }
    }
}

// === impl Ledger ===

impl<'a> Ledger<'a> {
    /// The first of the object's claims that another object holds, and that object.
    pub(super) fn conflict(
        &self,
        key: &ObjectKey,
        claims: &'a [Claim],
    ) -> Option<(&'a Claim, &'a ObjectKey)> {
        claims.iter().find_map(|claim| {
            let mut holders = self.holders(claim);
            Some((claim, holders.find(|holder| *holder != key)?))
        })
    }

    /// From now on the claims are the object's.
    pub(super) fn enter(&mut self, key: &'a ObjectKey, claims: impl Iterator<Item = &'a Claim>) {
        self.holders.extend(claims.map(|claim| (claim, key)));
    }

    /// Those that hold something of it.
    fn holders(&self, claim: &Claim) -> impl Iterator<Item = &'a ObjectKey> {
        let (first, last, whole) = match claim {
            Claim::Address(address, port) => (
                Claim::Address(*address, *port),
                Claim::Address(*address, port.or(Some((u16::MAX, Protocol::Udp)))),
                port.map(|_| Claim::Address(*address, None)),
            ),
            _ => (claim.clone(), claim.clone(), None),
        };
        let parts = self.holders.range::<Claim, _>(first..=last).map(|(_, key)| *key);
        let whole = whole.and_then(|whole| self.holders.get(&whole).copied());
        whole.into_iter().chain(parts)
    }
}
