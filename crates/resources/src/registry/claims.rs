//! What belongs to one object alone, and to whom it belongs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{AddressBlock, Protocol, ServiceName};

use super::vips::Vips;
use crate::object::{Body, Object, Port, Service, ServiceEntry};
use crate::{Kind, ObjectKey, Options};

/// A port and its transport.
type Transport = (u16, Protocol);

/// Something that belongs to one object alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// The name of a service.
    Host(ServiceName),
    /// An address or a block: its cluster IPs belong to a Service as a whole, other addresses by
    /// port. A block and a smaller one inside it are different things. The variant without a port
    /// sorts before those with one.
    Block(AddressBlock, Option<Transport>),
    /// A port of all nodes.
    NodePort(Transport),
    /// What the DestinationRules of a namespace say about a host.
    Rules { namespace: String, host: String },
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    holders: BTreeMap<Claim, Arc<ObjectKey>>,
}

/// What an object claims; the addresses that were allocated for it are its own.
pub(super) fn claims(
    key: &ObjectKey,
    object: &Object,
    options: &Options,
    vips: &Vips,
) -> Vec<Claim> {
    match &object.body {
        Body::Service(service) => service_claims(key, service, options),
        Body::ServiceEntry(entry) => entry_claims(key, entry, vips),
        Body::DestinationRule(rule) if rule.is_for_all_clients => {
            let host = options.rule_host(&key.namespace, &rule.host);
            vec![Claim::Rules { namespace: key.namespace.clone(), host }]
        }
        _ => Vec::new(),
    }
}

fn service_claims(key: &ObjectKey, service: &Service, options: &Options) -> Vec<Claim> {
    let host = options.service_host(&key.namespace, &key.name);
    let mut claims = vec![Claim::Host(ServiceName::new(&key.namespace, host))];
    let addresses = service.addresses.iter();
    claims.extend(addresses.map(|address| Claim::Block(AddressBlock::single(*address), None)));
    for address in &service.external_addresses {
        let block = AddressBlock::single(*address);
        claims.extend(transports(&service.ports).map(|port| Claim::Block(block, Some(port))));
    }
    let node_ports = service.node_ports.iter();
    claims.extend(node_ports.map(|port| Claim::NodePort((port.node_port, port.protocol))));
    claims
}

fn entry_claims(key: &ObjectKey, entry: &ServiceEntry, vips: &Vips) -> Vec<Claim> {
    let name = |host: &String| Claim::Host(ServiceName::new(&key.namespace, host));
    let mut claims: Vec<_> = entry.hosts.iter().map(name).collect();
    let addresses = entry.addresses.iter().copied().map(AddressBlock::single);
    for block in addresses.chain(entry.networks.iter().copied()) {
        if entry.ports.is_empty() {
            claims.push(Claim::Block(block, None));
        }
        claims.extend(transports(&entry.ports).map(|port| Claim::Block(block, Some(port))));
    }
    for host in entry.hosts_to_allocate() {
        claims.extend(vips.get(key, host).into_iter().flatten().map(whole));
    }
    claims
}

/// The claim to all of an address.
pub(super) fn whole(address: std::net::IpAddr) -> Claim {
    Claim::Block(AddressBlock::single(address), None)
}

fn transports(ports: &[Port]) -> impl Iterator<Item = Transport> + '_ {
    ports.iter().map(|port| (port.port.port, port.port.protocol))
}

// === impl Claim ===

impl Claim {
    /// The field of an object that makes the claim.
    pub(super) fn field(&self, key: &ObjectKey) -> &'static str {
        match (self, key.kind) {
            (Claim::Host(_), Kind::ServiceEntry) => "spec.hosts",
            (Claim::Host(_), _) => "metadata.name",
            (Claim::Block(..), Kind::ServiceEntry) => "spec.addresses",
            (Claim::Block(_, None), _) => "spec.clusterIPs",
            (Claim::Block(_, Some(_)), _) => "spec.externalIPs",
            (Claim::NodePort(_), _) => "spec.ports",
            (Claim::Rules { .. }, _) => "spec.host",
        }
    }

    /// Between which claims those are that this one might be in the way of, but for the claim to the
    /// whole.
    fn range(&self) -> (Claim, Claim) {
        match self {
            Claim::Block(block, None) => {
                let last = Claim::Block(*block, Some((u16::MAX, Protocol::Udp)));
                (self.clone(), last)
            }
            _ => (self.clone(), self.clone()),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Host(name) => write!(f, "host {}", name.hostname),
            Claim::Block(block, None) => write!(f, "address {block}"),
            Claim::Block(block, Some((port, protocol))) => {
                write!(f, "address {block} port {port} {}", protocol.name())
            }
            Claim::NodePort((port, protocol)) => write!(f, "node port {port} {}", protocol.name()),
            Claim::Rules { host, .. } => write!(f, "host {host}"),
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// From now on the claims are the object's.
    pub(super) fn enter<'c>(
        &mut self,
        key: &Arc<ObjectKey>,
        claims: impl IntoIterator<Item = &'c Claim>,
    ) {
        self.holders.extend(claims.into_iter().map(|claim| (claim.clone(), key.clone())));
    }

    /// The claims are the object's no more.
    pub(super) fn strike<'c>(
        &mut self,
        key: &ObjectKey,
        claims: impl IntoIterator<Item = &'c Claim>,
    ) {
        for claim in claims {
            if self.holders.get(claim).is_some_and(|holder| **holder == *key) {
                self.holders.remove(claim);
            }
        }
    }

    /// Does nobody hold any of it?
    pub(super) fn is_free(&self, claim: &Claim) -> bool {
        self.holders(claim).next().is_none()
    }

    /// Those that hold something of it, and what; the claim to the whole comes first.
    pub(super) fn holders(&self, claim: &Claim) -> impl Iterator<Item = (&Claim, &Arc<ObjectKey>)> {
        let whole = match claim {
            Claim::Block(block, Some(_)) => Some(Claim::Block(*block, None)),
            _ => None,
        };
        let (first, last) = claim.range();
        let whole = whole.and_then(|whole| self.holders.get_key_value(&whole));
        whole.into_iter().chain(self.holders.range(first..=last))
    }
}
