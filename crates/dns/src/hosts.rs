//! Endpoints that the configuration knows by name only, put in the place of their names: a pure
//! value, whose work is in proportion to what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use model::{Map, Service, ServiceName, Snapshot, UnresolvedEndpoint};

use crate::lookups::Addresses;

/// A snapshot whose services have, beside their own endpoints, those at the addresses of names.
///
/// A name without a known address adds nothing. Services without names are shared with the snapshot
/// as it was configured.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    configured: Map<ServiceName, Arc<Service>>,
    addresses: Addresses,
    /// Which services mention a name.
    services_of: BTreeMap<String, BTreeSet<ServiceName>>,
    resolved: Snapshot,
}

// === impl Hosts ===

impl Hosts {
    /// Takes a new configuration. Returns true when the set of [`Self::names`] changed.
    pub fn set_snapshot(&mut self, snapshot: &Snapshot) -> bool {
        let services = self.resolved.services.clone();
        self.resolved = Snapshot { services, ..snapshot.clone() };
        let before = std::mem::replace(&mut self.configured, snapshot.services.clone());
        let mut names_changed = false;
        for item in before.diff(&snapshot.services) {
            match item {
                DiffItem::Add(_, service) => names_changed |= self.add(service),
                DiffItem::Remove(name, service) => {
                    names_changed |= self.forget(service);
                    self.resolved.services.remove(name);
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => {
                    names_changed |= self.forget(old);
                    names_changed |= self.add(new);
                }
            }
        }
        names_changed
    }

    /// Takes what names resolve to. Returns true when this changed the endpoints of a service.
    pub fn set_addresses(&mut self, addresses: &Addresses) -> bool {
        let before = std::mem::replace(&mut self.addresses, addresses.clone());
        let mut touched = BTreeSet::new();
        for item in before.diff(addresses) {
            let (DiffItem::Add(name, _)
            | DiffItem::Remove(name, _)
            | DiffItem::Update { new: (name, _), .. }) = item;
            touched.extend(self.services_of.get(name).into_iter().flatten().cloned());
        }
        for name in &touched {
            if let Some(service) = self.configured.get(name).cloned() {
                self.put(&service);
            }
        }
        !touched.is_empty()
    }

    /// All names that services mention, which somebody has to look up.
    pub fn names(&self) -> BTreeSet<String> {
        self.services_of.keys().cloned().collect()
    }

    /// The mesh, with every endpoint that is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.resolved
    }

    /// Returns true when a name is new.
    fn add(&mut self, service: &Arc<Service>) -> bool {
        let mut new = false;
        for endpoint in &service.unresolved {
            let services = self.services_of.entry(endpoint.hostname.clone()).or_default();
            new |= services.is_empty();
            services.insert(service.name.clone());
        }
        self.put(service);
        new
    }

    /// Returns true when nobody mentions a name any more.
    fn forget(&mut self, service: &Service) -> bool {
        let mut gone = false;
        for endpoint in &service.unresolved {
            let Some(services) = self.services_of.get_mut(&endpoint.hostname) else { continue };
            services.remove(&service.name);
            if services.is_empty() {
                self.services_of.remove(&endpoint.hostname);
                gone = true;
            }
        }
        gone
    }

    fn put(&mut self, service: &Arc<Service>) {
        let resolved = resolve(service, &self.addresses);
        self.resolved.services.insert(service.name.clone(), resolved);
    }
}

fn resolve(service: &Arc<Service>, addresses: &Addresses) -> Arc<Service> {
    let mut endpoints = Vec::new();
    for unresolved in &service.unresolved {
        let Some(known) = addresses.get(&unresolved.hostname) else { continue };
        endpoints.extend(counted(unresolved, known).map(|address| unresolved.at(address)));
    }
    if endpoints.is_empty() {
        return service.clone();
    }
    let mut resolved = Service::clone(service);
    resolved.endpoints.extend(endpoints);
    Arc::new(resolved)
}

/// The addresses that count: all, or the first of each family, which is all that a client of that
/// family can use.
fn counted<'a>(
    unresolved: &'a UnresolvedEndpoint,
    known: &'a [IpAddr],
) -> impl Iterator<Item = IpAddr> + 'a {
    let first = |v4: bool| known.iter().position(|address| address.is_ipv4() == v4);
    let firsts = [first(true), first(false)];
    let counts =
        move |index: usize| !unresolved.first_address_only || firsts.contains(&Some(index));
    known.iter().enumerate().filter(move |(index, _)| counts(*index)).map(|(_, address)| *address)
}
