//! The mesh to resources and back.

use super::*;
use crate::facts::{read_address, read_policy};
use crate::{Change, Options, Registry};
use resources::{FileContent, Store};

/// A mesh with everything that a directory can say.
const EVERYTHING: &str = include_str!("../../../resources/tests/everything.yaml");

fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
    let mut store = Store::new(resources::Options::default());
    let text = |text: &str| FileContent::Text(text.into());
    store.apply(&files.iter().map(|(name, it)| ((*name).into(), text(it))).collect()).snapshot
}

fn encoder() -> Encoder {
    Encoder::new(EncodeOptions { cluster: "Kubernetes".into(), network: String::new() })
}

fn registry() -> Registry {
    Registry::new(Options {
        domain: "cluster.local".into(),
        cluster: "Kubernetes".into(),
        network: String::new(),
    })
}

/// Gives a client what differs between two sets of resources.
fn tell(registry: &mut Registry, old: &Resources, new: &Resources) {
    let change = |it: model::Difference<'_, String, Arc<Resource>>| match it.new {
        Some(resource) => {
            Change::Set(resource.name.as_str().into(), read_address(resource).expect("it is valid"))
        }
        None => Change::Removed(it.key.as_str().into()),
    };
    registry.update(model::diff(old, new).map(change).collect());
}

/// What the wire carries, with endpoints in an order of their own.
fn carried(snapshot: &Snapshot) -> (Vec<Service>, Vec<Workload>) {
    let services = snapshot.services.values().map(|service| {
        let mut service = (**service).clone();
        service.endpoints.sort_by_key(|it| format!("{it:?}"));
        service.unresolved.sort_by_key(|it| format!("{it:?}"));
        service
    });
    (services.collect(), snapshot.workloads.values().map(|it| (**it).clone()).collect())
}

#[track_caller]
fn assert_same(left: &Snapshot, right: &Snapshot) {
    let (left, right) = (carried(left), carried(right));
    for (left, right) in left.0.iter().zip(&right.0) {
        assert_eq!(left, right);
    }
    assert_eq!(left.0.len(), right.0.len());
    for (left, right) in left.1.iter().zip(&right.1) {
        assert_eq!(left, right);
    }
    assert_eq!(left.1.len(), right.1.len());
}

#[test]
fn a_client_has_the_same_mesh_again() {
    let told = snapshot(&[("everything.yaml", EVERYTHING)]);
    assert!(told.services.len() > 3, "{}", told.services.len());
    let mut encoder = encoder();
    encoder.update(&told);
    let mut registry = registry();
    tell(&mut registry, &Resources::default(), encoder.resources());
    let heard = registry.current();
    assert_eq!(*heard.findings, []);
    assert_same(&told, &heard.snapshot);
}

#[test]
fn step_by_step_or_at_once_the_resources_are_the_same() {
    let documents: Vec<&str> = EVERYTHING.split("\n---\n").collect();
    let (mut stepwise, mut registry) = (encoder(), registry());
    let mut before = Resources::default();
    let mut states: Vec<Vec<(String, &str)>> = Vec::new();
    for count in (0..=documents.len()).chain((0..documents.len()).rev()) {
        let files = documents[..count].iter().enumerate();
        states.push(files.map(|(index, text)| (format!("{index:03}.yaml"), *text)).collect());
    }
    for files in &states {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        let told = snapshot(&files);
        stepwise.update(&told);
        let mut at_once = encoder();
        at_once.update(&told);
        assert_eq!(stepwise.resources(), at_once.resources());
        tell(&mut registry, &before, stepwise.resources());
        before = stepwise.resources().clone();
        assert_same(&told, &registry.current().snapshot);
    }
    assert!(before.is_empty());
}

#[test]
fn policies_and_who_names_them_are_heard_as_they_are_told() {
    let told = snapshot(&[("everything.yaml", EVERYTHING)]);
    let mut encoder = encoder();
    encoder.update(&told);
    let mut registry = registry();
    let change = |resource: &Arc<Resource>| {
        let policy = read_policy(resource).expect("it is valid");
        Change::Set(resource.name.as_str().into(), policy)
    };
    registry.update_policies(encoder.policies().values().map(change).collect());
    let heard = registry.current().snapshot;
    assert_eq!(told.policies.len(), 2);
    assert_eq!(told.policies, heard.policies);
    assert!(told.policies.values().any(|policy| policy.is_dry_run));
    let named = told.workloads.values().filter(|it| !it.policies.is_empty()).count();
    assert!(named > 0, "a workload names a policy");
    encoder.update(&Snapshot::default());
    assert!(encoder.policies().is_empty());
}

#[test]
fn what_the_wire_can_not_say_is_not_told_and_mentioned() {
    let audit = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {name: a, namespace: shop}\nspec: {action: AUDIT, rules: [{}]}\n";
    let told = snapshot(&[("a.yaml", audit)]);
    let mut encoder = encoder();
    encoder.update(&told);
    assert!(encoder.policies().is_empty());
    let [finding] = &encoder.findings()[..] else { panic!("{:?}", encoder.findings()) };
    assert_eq!((finding.resource.as_str(), finding.field), ("shop/a", "action"));
}
