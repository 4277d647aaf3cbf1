//! What names mean: the name table of the mesh, a pure value.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use model::{Health, Map, Service, ServiceName, Snapshot, Source};

/// Addresses in one answer: as many IPv6 addresses as fit into a message of TCP.
const ADDRESSES_MAX: usize = 2000;

/// Which names the mesh knows, and their addresses.
///
/// A Kubernetes service is known by its host name and, relative to a client's namespace, by
/// `name`, `name.namespace` and `name.namespace.svc`. A ServiceEntry is known by its hosts, which
/// may begin with `*.`. When a name is declared more than once, a Kubernetes service wins, and
/// ServiceEntries add up. A service without addresses of its own has those of its endpoints, and
/// one name more for each named endpoint: the endpoint's name before its own.
///
/// What a ServiceEntry names without any address stays unknown, so that the real DNS answers.
#[derive(Clone, Debug)]
pub struct NameTable {
    domain: String,
    services: Map<ServiceName, Arc<Service>>,
    /// By name in lower case, without the final dot.
    owners: HashMap<Box<str>, Vec<Owner>>,
    wildcards: usize,
}

/// A service that declares a name.
#[derive(Clone, Debug)]
struct Owner {
    service: Arc<Service>,
    /// The name is that of one endpoint.
    endpoint: Option<Box<str>>,
}

/// What the table knows of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name whose addresses these are, when the client's search list led to another: a CNAME
    /// says so, as in Istio.
    pub alias_of: Option<String>,
    /// Addresses of both families. Empty for a Kubernetes service without usable endpoints: the
    /// name exists.
    pub addresses: Vec<IpAddr>,
}

// === impl NameTable ===

impl NameTable {
    /// A table that knows nothing yet. `cluster_domain` is that of Services: `cluster.local`.
    pub fn new(cluster_domain: &str) -> Self {
        Self {
            domain: normal(cluster_domain),
            services: Map::new(),
            owners: HashMap::new(),
            wildcards: 0,
        }
    }

    /// Brings the table to `snapshot`. The work is in proportion to what changed since the last
    /// snapshot; returns how many services that were.
    pub fn update(&mut self, snapshot: &Snapshot) -> usize {
        let before = std::mem::replace(&mut self.services, snapshot.services.clone());
        let mut changed = 0;
        for item in before.diff(&snapshot.services) {
            changed += 1;
            match item {
                DiffItem::Add(_, service) => self.add(service),
                DiffItem::Remove(_, service) => self.remove(service),
                DiffItem::Update { old: (_, old), new: (_, new) } => {
                    self.remove(old);
                    self.add(new);
                }
            }
        }
        changed
    }

    /// How many names are known, short forms not counted.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// True when no name is known.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// What `name` means to a client in `namespace`; nothing when the mesh does not know it. The
    /// final dot does not matter, and neither does the case.
    ///
    /// In order: the name itself; a short form of a Kubernetes name; a known name with the search
    /// list of the client's resolver behind it, which makes an alias, so that the first of several
    /// tries is answered; a wildcard; a wildcard with the search list behind it.
    pub fn lookup(&self, namespace: &str, name: &str) -> Option<Found> {
        let name = normal(name);
        let search = self.search_list(namespace);
        let direct = self.exact(&name).or_else(|| self.short(&name, &search).map(|found| found.1));
        if let Some(addresses) = direct {
            return Some(Found { alias_of: None, addresses });
        }
        if let Some((target, addresses)) = self.expanded(&name, &search) {
            return Some(Found { alias_of: Some(target), addresses });
        }
        if self.wildcards == 0 {
            return None;
        }
        if let Some(addresses) = self.wildcard(&name) {
            return Some(Found { alias_of: None, addresses });
        }
        search.iter().find_map(|suffix| {
            let target = strip(&name, suffix)?;
            let addresses = self.wildcard(target)?;
            Some(Found { alias_of: Some(target.to_owned()), addresses })
        })
    }

    /// The search list that Kubernetes gives to a pod.
    fn search_list(&self, namespace: &str) -> [String; 3] {
        let domain = &self.domain;
        [
            format!("{}.svc.{domain}", namespace.to_ascii_lowercase()),
            format!("svc.{domain}"),
            domain.clone(),
        ]
    }

    fn exact(&self, name: &str) -> Option<Vec<IpAddr>> {
        addresses(self.owners.get(name)?)
    }

    /// A Kubernetes name without its end, such as `web.shop`: the whole name and its addresses.
    fn short(&self, name: &str, search: &[String; 3]) -> Option<(String, Vec<IpAddr>)> {
        search.iter().find_map(|suffix| {
            let whole = format!("{name}.{suffix}");
            let owners = self.owners.get(whole.as_str())?;
            owners.iter().any(Owner::is_kubernetes).then_some(())?;
            let addresses = addresses(owners)?;
            Some((whole, addresses))
        })
    }

    /// A known name with one of the search list behind it.
    fn expanded(&self, name: &str, search: &[String; 3]) -> Option<(String, Vec<IpAddr>)> {
        let whole = search.iter().find_map(|suffix| {
            let target = strip(name, suffix)?;
            Some((target.to_owned(), self.exact(target)?))
        });
        // A short form of several labels; one label was found above if it is known at all.
        whole.or_else(|| {
            let target = strip(name, &search[0])?;
            target.contains('.').then(|| self.short(target, search))?
        })
    }

    /// The longest wildcard above `name`.
    fn wildcard(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut rest = name;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(addresses) = self.exact(&format!("*.{above}")) {
                return Some(addresses);
            }
            rest = above;
        }
        None
    }

    fn add(&mut self, service: &Arc<Service>) {
        for (name, endpoint) in declared(service) {
            let entry = self.owners.entry(name).or_insert_with_key(|name| {
                self.wildcards += usize::from(name.starts_with("*."));
                Vec::new()
            });
            let at = entry.partition_point(|owner| owner.service.name < service.name);
            entry.insert(at, Owner { service: service.clone(), endpoint });
        }
    }

    fn remove(&mut self, service: &Service) {
        for (name, _) in declared(service) {
            let Some(owners) = self.owners.get_mut(&name) else { continue };
            owners.retain(|owner| owner.service.name != service.name);
            if owners.is_empty() {
                self.wildcards -= usize::from(name.starts_with("*."));
                self.owners.remove(&name);
            }
        }
    }
}

// === impl Owner ===

impl Owner {
    fn is_kubernetes(&self) -> bool {
        self.service.source == Source::Kubernetes
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match &self.endpoint {
            None => service_addresses(&self.service),
            Some(name) => self
                .service
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.health != Health::Unhealthy)
                .filter(|endpoint| {
                    endpoint
                        .workload
                        .as_ref()
                        .is_some_and(|workload| workload.name.eq_ignore_ascii_case(name))
                })
                .map(|endpoint| endpoint.address)
                .collect(),
        }
    }
}

/// Names that a service declares, each once, with the endpoint when it is the name of one.
fn declared(service: &Service) -> Declared {
    let host = normal(&service.name.hostname);
    // `*` alone would swallow the whole DNS.
    if host.is_empty() || host == "*" {
        return Vec::new();
    }
    let mut names: Declared = Vec::new();
    if is_headless(service) && !host.starts_with("*.") {
        let endpoints: BTreeSet<String> = service
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.workload.as_ref())
            .map(|workload| workload.name.to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        for endpoint in endpoints {
            names.push((format!("{endpoint}.{host}").into(), Some(endpoint.into())));
        }
    }
    names.push((host.into(), None));
    names
}

type Declared = Vec<(Box<str>, Option<Box<str>>)>;

/// Addresses of a name with these owners; nothing when the real DNS knows better.
fn addresses(owners: &[Owner]) -> Option<Vec<IpAddr>> {
    let kubernetes = owners.iter().any(Owner::is_kubernetes);
    let mut all: Vec<IpAddr> = Vec::new();
    let mut seen = BTreeSet::new();
    for owner in owners.iter().filter(|owner| !kubernetes || owner.is_kubernetes()) {
        all.extend(owner.addresses().into_iter().filter(|address| seen.insert(*address)));
    }
    all.truncate(ADDRESSES_MAX);
    (kubernetes || !all.is_empty()).then_some(all)
}

/// A headless service has no address, or the unspecified one.
fn is_headless(service: &Service) -> bool {
    service.addresses.iter().all(IpAddr::is_unspecified)
}

fn service_addresses(service: &Service) -> Vec<IpAddr> {
    if !is_headless(service) {
        return service.addresses.iter().copied().filter(|a| !a.is_unspecified()).collect();
    }
    // Blocks of addresses: which address of them is meant only the real DNS can say.
    if !service.networks.is_empty() {
        return Vec::new();
    }
    let with = |health: Health| -> Vec<IpAddr> {
        let endpoints = service.endpoints.iter();
        endpoints.filter(|endpoint| endpoint.health == health).map(|e| e.address).collect()
    };
    let healthy = with(Health::Healthy);
    if healthy.is_empty() { with(Health::Terminating) } else { healthy }
}

/// `name` without `.suffix` behind it.
fn strip<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    name.strip_suffix(suffix)?.strip_suffix('.').filter(|rest| !rest.is_empty())
}

/// Lower case, without the final dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
