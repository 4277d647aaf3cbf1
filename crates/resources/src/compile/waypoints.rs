//! The waypoints of services and workloads, by their labels and those of their namespaces.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ServiceName, Waypoint, WaypointTarget, Waypoints, WorkloadName};

use super::Compiler;
use super::affected::Affected;
use crate::kinds::{USE_WAYPOINT, label};
use crate::object::{Body, Gateway, Object, UseWaypoint};
use crate::registry::{Change, Registry};
use crate::{Kind, ObjectKey};

/// Where Istio's waypoints speak HBONE.
const HBONE_PORT: u16 = 15_008;

/// What goes by a waypoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// To the addresses of services.
    Services,
    /// To the own addresses of workloads.
    Workloads,
}

// === impl Gateway ===

impl Gateway {
    fn is_for(&self, traffic: Traffic) -> bool {
        match traffic {
            Traffic::Services => self.for_services,
            Traffic::Workloads => self.for_workloads,
        }
    }
}

/// The waypoints of an object in force.
pub(super) fn of_object(
    registry: &Registry,
    key: &ObjectKey,
    object: Option<&Object>,
    traffic: Traffic,
) -> Waypoints {
    let own = object.map_or(&UseWaypoint::AsNamespace, |object| &object.use_waypoint);
    let gateway = match own {
        UseWaypoint::None => return Waypoints::default(),
        UseWaypoint::Gateway(gateway) => gateway,
        UseWaypoint::AsNamespace => match of_namespace(registry, &key.namespace) {
            // What stands in the namespace is not said of the waypoints themselves.
            Some(gateway) if !is_waypoint(registry, key) => gateway,
            _ => return Waypoints::default(),
        },
    };
    // One that is not there is for services, as one that does not say what it is for.
    let is_for = waypoint(registry, gateway)
        .map_or(traffic == Traffic::Services, |waypoint| waypoint.is_for(traffic));
    if !is_for {
        return Waypoints::default();
    }
    let host = registry.options().service_host(&gateway.namespace, &gateway.name);
    let target = WaypointTarget::Service(ServiceName::new(&gateway.namespace, host));
    [Waypoint { target, hbone_port: HBONE_PORT, weight: 1 }].into()
}

/// The waypoints of a pod, which need not be known as an object.
pub(super) fn of_pod(registry: &Registry, name: &WorkloadName) -> Waypoints {
    let (namespace, name) = (name.namespace.clone(), name.name.clone());
    let key = ObjectKey { kind: Kind::Pod, namespace, name };
    of_object(registry, &key, registry.get(&key).map(AsRef::as_ref), Traffic::Workloads)
}

fn of_namespace<'r>(registry: &'r Registry, namespace: &str) -> Option<&'r ObjectKey> {
    match &registry.get(&namespace_key(namespace))?.use_waypoint {
        UseWaypoint::Gateway(gateway) => Some(gateway),
        UseWaypoint::AsNamespace | UseWaypoint::None => None,
    }
}

fn namespace_key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::Namespace, namespace: String::new(), name: name.to_owned() }
}

/// The Gateway, if it is a waypoint.
fn waypoint<'r>(registry: &'r Registry, key: &ObjectKey) -> Option<&'r Gateway> {
    match &registry.get(key)?.body {
        Body::Gateway(gateway) if gateway.is_waypoint => Some(gateway),
        _ => None,
    }
}

/// Is this the Service of a waypoint?
fn is_waypoint(registry: &Registry, key: &ObjectKey) -> bool {
    let gateway = ObjectKey { kind: Kind::Gateway, ..key.clone() };
    key.kind == Kind::Service && waypoint(registry, &gateway).is_some()
}

/// What is the matter with the waypoint that an object names: the object, the field, what, and what
/// happens now.
pub(super) struct Note {
    pub(super) key: Arc<ObjectKey>,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) consequence: &'static str,
}

// === impl Compiler ===

impl Compiler {
    /// Notes which waypoint an object names now.
    pub(super) fn use_waypoint(&mut self, change: &Change) {
        let gateway =
            |object: &Option<Arc<Object>>| match object.as_ref().map(|it| &it.use_waypoint) {
                Some(UseWaypoint::Gateway(gateway)) => Some((**gateway).clone()),
                _ => None,
            };
        if let Some(gateway) = gateway(&change.old) {
            self.index.waypoint_users.remove(&gateway, &change.key);
        }
        if let Some(gateway) = gateway(&change.new) {
            self.index.waypoint_users.add(gateway, change.key.clone());
        }
    }

    /// Everything in a namespace that says something else about its waypoint now.
    pub(super) fn touch_namespace(&self, change: &Change, affected: &mut Affected) {
        let said = |object: &Option<Arc<Object>>| object.as_ref().map(|it| it.use_waypoint.clone());
        let old = said(&change.old).unwrap_or_default();
        if old != said(&change.new).unwrap_or_default() {
            self.touch_all_in(&change.key.name, affected);
        }
    }

    /// A Gateway changed: whoever names it, and its own Service.
    pub(super) fn touch_gateway(&self, change: &Change, affected: &mut Affected) {
        let users: BTreeSet<_> = self.index.waypoint_users.of(&*change.key).cloned().collect();
        for user in users {
            match user.kind {
                Kind::Namespace => self.touch_all_in(&user.name, affected),
                Kind::Service | Kind::ServiceEntry => drop(affected.services.insert(user)),
                _ => {
                    let name = WorkloadName::new(&user.namespace, &user.name);
                    affected.workloads.insert(Arc::new(name));
                }
            }
        }
        let service = ObjectKey { kind: Kind::Service, ..(*change.key).clone() };
        affected.services.insert(Arc::new(service));
    }

    fn touch_all_in(&self, namespace: &str, affected: &mut Affected) {
        let first = ServiceName::new(namespace, "");
        let services = self.snapshot.services.range(first..);
        for (name, _) in services.take_while(|(name, _)| name.namespace == namespace) {
            let keys = self.index.hosts.of(&name.hostname);
            affected.services.extend(keys.filter(|key| key.namespace == namespace).cloned());
        }
        let first = Arc::new(WorkloadName::new(namespace, ""));
        let workloads = self.snapshot.workloads.range(first..);
        let workloads = workloads.take_while(|(name, _)| name.namespace == namespace);
        affected.workloads.extend(workloads.map(|(name, _)| name.clone()));
    }

    /// What there is to say about waypoints that objects name.
    pub(super) fn waypoint_notes(&self, registry: &Registry) -> Vec<Note> {
        let mut notes = Vec::new();
        for (gateway, users) in self.index.waypoint_users.iter() {
            let found = waypoint(registry, gateway);
            for key in users.iter() {
                let traffic = match key.kind {
                    Kind::Namespace => None,
                    Kind::Service | Kind::ServiceEntry => Some(Traffic::Services),
                    _ => Some(Traffic::Workloads),
                };
                let (message, consequence) = match (found, traffic) {
                    (None, Some(Traffic::Workloads)) => (
                        format!("there is no {gateway} of class istio-waypoint"),
                        "connections to its own address go there as if there were no waypoint",
                    ),
                    (None, _) => (
                        format!("there is no {gateway} of class istio-waypoint"),
                        "connections go by the Service of that name, and are refused while there is none",
                    ),
                    (Some(found), Some(traffic)) if !found.is_for(traffic) => (
                        format!("{gateway} is not for {traffic:?}").to_lowercase(),
                        "connections go there as if there were no waypoint",
                    ),
                    _ => continue,
                };
                let (key, field) = (key.clone(), label(USE_WAYPOINT));
                notes.push(Note { key, field, message, consequence });
            }
        }
        notes
    }
}
