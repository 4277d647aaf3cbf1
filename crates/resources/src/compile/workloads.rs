//! The workloads behind the endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ServiceName, Workload, WorkloadName};

use super::Compiler;
use super::affected::{names, owner};
use super::endpoints::{topology_of_pod, topology_of_site};
use super::index::selects;
use super::waypoints::{self, Traffic};
use crate::object::{Address, Body, EndpointSlice, Labels, Object, SliceEndpoint, WorkloadEntry};
use crate::registry::Registry;
use crate::{Kind, ObjectKey};

/// The workload of this name, if there is one; and the slices of Services that mean a pod by the name
/// and do not get it, because a WorkloadEntry has it.
pub(super) fn compile(
    compiler: &Compiler,
    registry: &Registry,
    name: &WorkloadName,
) -> (Option<Workload>, BTreeSet<Arc<ObjectKey>>) {
    let mentions = mentions(compiler, registry, name);
    let key = ObjectKey {
        kind: Kind::WorkloadEntry,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    let object = registry.get(&key);
    match object.map(|object| (object, &object.body)) {
        Some((object, Body::WorkloadEntry(entry))) if entry.destination.is_some() => {
            let slices = mentions.into_iter().map(|mention| mention.slice.clone()).collect();
            (workload(compiler, registry, (&key, object), entry), slices)
        }
        _ => (pod(compiler, registry, &mentions), BTreeSet::new()),
    }
}

/// An endpoint that is a pod's.
struct Mention<'a> {
    slice: &'a Arc<ObjectKey>,
    service: &'a str,
    index: usize,
    endpoint: &'a SliceEndpoint,
}

/// The endpoints of a pod in slices of Services that exist, in the order of these.
fn mentions<'a>(
    compiler: &'a Compiler,
    registry: &'a Registry,
    name: &WorkloadName,
) -> Vec<Mention<'a>> {
    let mentions = compiler.index.pods.of(name).filter_map(|it| {
        let slice: &EndpointSlice = match &registry.get(&it.slice)?.body {
            Body::EndpointSlice(slice) => slice,
            _ => return None,
        };
        registry.get(&owner(&it.slice, slice)?)?;
        Some(Mention {
            slice: &it.slice,
            service: slice.service.as_deref()?,
            index: it.endpoint,
            endpoint: slice.endpoints.get(it.endpoint)?,
        })
    });
    let mut mentions: Vec<_> = mentions.collect();
    mentions.sort_by_key(|it| (&it.slice.namespace, it.service, &it.slice.name, it.index));
    mentions
}

/// The workload of a WorkloadEntry. One whose address must be resolved has none of its own.
fn workload(
    compiler: &Compiler,
    registry: &Registry,
    (key, object): (&ObjectKey, &Object),
    entry: &WorkloadEntry,
) -> Option<Workload> {
    let destination = entry.destination.as_ref()?;
    let topology =
        topology_of_site(registry.options(), &compiler.snapshot.nodes, &destination.site);
    let mut services = BTreeSet::new();
    for service in compiler.index.selection.services(&key.namespace, &entry.labels) {
        let Some(object) = registry.get(service) else { continue };
        if object.body.selector().is_some_and(|selector| selects(selector, &entry.labels)) {
            services.extend(names(registry, service, object));
        }
    }
    let cluster = &registry.options().cluster;
    Some(Workload {
        name: entry.name.clone(),
        uid_prefix: format!("{cluster}/networking.istio.io/WorkloadEntry").into(),
        addresses: match destination.address {
            Address::Ip(address) => [address].into(),
            Address::Host(_) => Box::default(),
        },
        labels: entry.labels.clone(),
        trust_domain: registry.options().own_trust_domain().into(),
        service_account: destination.site.service_account.as_str().into(),
        topology: Arc::new(topology),
        health: entry.health,
        services: services.into_iter().collect(),
        policies: compiler.policies_of(registry, &key.namespace, &entry.labels),
        waypoints: waypoints::of_object(registry, key, Some(object), Traffic::Workloads),
    })
}

/// Labels and service account of a pod, as far as its object is there to say.
fn described(registry: &Registry, name: &WorkloadName) -> (Arc<Labels>, Arc<str>) {
    let (namespace, name) = (name.namespace.clone(), name.name.clone());
    match registry.get(&ObjectKey { kind: Kind::Pod, namespace, name }).map(|it| &it.body) {
        Some(Body::Pod(pod)) => (pod.labels.clone(), pod.service_account.clone()),
        _ => Default::default(),
    }
}

fn pod(compiler: &Compiler, registry: &Registry, mentions: &[Mention<'_>]) -> Option<Workload> {
    let options = registry.options();
    let first = mentions.first()?.endpoint;
    let name = first.pod.as_ref()?;
    let (labels, service_account) = described(registry, name);
    let health = mentions.iter().map(|mention| mention.endpoint.health).min()?;
    let addresses: BTreeSet<_> = mentions.iter().map(|mention| mention.endpoint.address).collect();
    let services: BTreeSet<_> = mentions
        .iter()
        .map(|mention| {
            let namespace = &mention.slice.namespace;
            ServiceName::new(namespace, options.service_host(namespace, mention.service))
        })
        .collect();
    Some(Workload {
        name: name.clone(),
        uid_prefix: format!("{}//Pod", options.cluster).into(),
        addresses: addresses.into_iter().collect(),
        policies: compiler.policies_of(registry, &name.namespace, &labels),
        labels,
        trust_domain: options.own_trust_domain().into(),
        service_account,
        topology: Arc::new(topology_of_pod(&compiler.snapshot.nodes, first)),
        health,
        services: services.into_iter().collect(),
        waypoints: waypoints::of_pod(registry, name),
    })
}
