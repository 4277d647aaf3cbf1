//! Policies: their scopes, and which workloads they select.

use model::{PolicyAction, PolicyName, PolicyScope};

use super::*;

/// A policy that allows nothing; `metadata` begins with its name.
fn policy(metadata: &str, spec: &str) -> String {
    format!(
        "---\n\
         apiVersion: security.istio.io/v1\n\
         kind: AuthorizationPolicy\n\
         metadata: {{name: {metadata}}}\n\
         spec: {{{spec}}}\n"
    )
}

fn selector(label: &str) -> String {
    format!("selector: {{matchLabels: {{{label}}}}}")
}

fn pod(name: &str, labels: &str, account: &str) -> String {
    format!(
        "---\n\
         apiVersion: v1\n\
         kind: Pod\n\
         metadata: {{name: {name}, labels: {{{labels}}}}}\n\
         spec: {{containers: [], serviceAccountName: {account}}}\n"
    )
}

fn endpoint(pod: &str, address: &str) -> String {
    format!("{{addresses: [{address}], targetRef: {{kind: Pod, name: {pod}}}}}")
}

fn selected(mesh: &Mesh, name: &str) -> Vec<String> {
    let workload = &mesh.snapshot.workloads[&WorkloadName::new("default", name)];
    workload.policies.iter().map(ToString::to_string).collect()
}

fn scope(mesh: &Mesh, namespace: &str, name: &str) -> PolicyScope {
    mesh.snapshot.policies[&PolicyName::new(namespace, name)].scope
}

#[test]
fn the_scope_is_that_of_namespace_and_selector() {
    let text = format!(
        "{}{}{}{}{}",
        policy("a", ""),
        policy("b", &selector("app: web")),
        policy("c, namespace: istio-system", "action: DENY, rules: [{}]"),
        policy("d", "selector: {}"),
        policy("e", "targetRefs: [{kind: Gateway, name: w}]"),
    );
    let mesh = mesh(&text);
    assert_eq!(scope(&mesh, "default", "a"), PolicyScope::Namespace);
    assert_eq!(scope(&mesh, "default", "b"), PolicyScope::WorkloadSelector);
    assert_eq!(scope(&mesh, "istio-system", "c"), PolicyScope::Global);
    assert_eq!(scope(&mesh, "default", "d"), PolicyScope::Namespace);
    assert_eq!(mesh.snapshot.policies.len(), 4, "one is for a waypoint");
    let options = Options { root_namespace: "default".to_owned(), ..Options::default() };
    let mesh = Mesh::with_options(options, &[("a.yaml", &text)]);
    assert_eq!(scope(&mesh, "default", "a"), PolicyScope::Global);
    assert_eq!(scope(&mesh, "istio-system", "c"), PolicyScope::Namespace);
}

#[test]
fn selectors_are_about_their_namespace_and_those_of_the_root_about_all() {
    let files = format!(
        "{}{}{}{}{}{}{}",
        service("web", "10.0.0.1"),
        slice("s", "IPv4", "{port: 80}", &endpoint("pod", "10.1.0.1")),
        workload_entry("vm", "web", "address: 10.1.0.2"),
        policy("own", &selector("app: web")),
        policy("both", &selector("app: web, tier: front")),
        policy("elsewhere, namespace: other", &selector("app: web")),
        policy("root, namespace: istio-system", &selector("app: web")),
    );
    let mut mesh = mesh(&files);
    assert_eq!(selected(&mesh, "vm"), ["default/own", "istio-system/root"]);
    assert_eq!(selected(&mesh, "pod"), [""; 0], "its labels are not known");
    let pod = pod("pod", "app: web, tier: front", "api");
    mesh.apply(&[("mesh.yaml", &files), ("pod.yaml", &pod)]);
    assert_eq!(selected(&mesh, "pod"), ["default/both", "default/own", "istio-system/root"]);
    let workload = &mesh.snapshot.workloads[&WorkloadName::new("default", "pod")];
    assert_eq!((&*workload.service_account, &*workload.trust_domain), ("api", ""));
    mesh.apply(&[("mesh.yaml", &files), ("pod.yaml", &pod.replace("tier", "level"))]);
    assert_eq!(selected(&mesh, "pod"), ["default/own", "istio-system/root"]);
    mesh.apply(&[("mesh.yaml", &files.replace("app: web, tier", "level"))]);
    assert_eq!(selected(&mesh, "pod"), [""; 0]);
}

#[test]
fn a_selector_that_changes_touches_the_workloads_and_rules_that_change_do_not() {
    let entries =
        ["a", "b"].map(|app| workload_entry(app, app, &format!("address: 10.1.0.{}", app.len())));
    let entries = entries.concat();
    let with = |label: &str, rest: &str| policy("p", &format!("{}{rest}", selector(label)));
    let mut mesh = Mesh::new(&[("e.yaml", &entries), ("p.yaml", &with("app: a", ""))]);
    assert_eq!((selected(&mesh, "a"), selected(&mesh, "b").len()), (vec!["default/p".into()], 0));
    let before = mesh.snapshot.clone();
    mesh.apply(&[("e.yaml", &entries), ("p.yaml", &with("app: a", ", action: DENY, rules: [{}]"))]);
    assert!(before.workloads.ptr_eq(&mesh.snapshot.workloads));
    let changed = &mesh.snapshot.policies[&PolicyName::new("default", "p")];
    assert_eq!(changed.action, PolicyAction::Deny);
    mesh.apply(&[("e.yaml", &entries), ("p.yaml", &with("app: b", ""))]);
    assert_eq!((selected(&mesh, "a").len(), selected(&mesh, "b").len()), (0, 1));
    mesh.apply(&[("e.yaml", &entries), ("p.yaml", &policy("p", ""))]);
    assert_eq!((selected(&mesh, "a").len(), selected(&mesh, "b").len()), (0, 0));
}

#[test]
fn a_policy_with_a_mistake_stays_as_it_was_last_good() {
    let good = policy("p", "action: DENY, rules: [{to: [{operation: {ports: ['80']}}]}]");
    let mut mesh = mesh(&good);
    let before = mesh.snapshot.clone();
    mesh.apply(&[("mesh.yaml", &good.replace("'80'", "'http'"))]);
    assert_eq!(mesh.errors().len(), 1);
    assert_eq!(before.policies, mesh.snapshot.policies);
    mesh.apply(&[]);
    assert!(mesh.snapshot.policies.is_empty());
}

#[test]
fn workloads_are_in_the_trust_domain_of_the_mesh() {
    let options = Options { trust_domain: "td".to_owned(), ..Options::default() };
    let text = workload_entry("vm", "web", "address: 10.1.0.2, serviceAccount: api");
    let mesh = Mesh::with_options(options, &[("a.yaml", &text)]);
    let workload = &mesh.snapshot.workloads[&WorkloadName::new("default", "vm")];
    assert_eq!(workload.trust_domain(), "td");
}
