//! Labels of waypoints, on objects and namespaces, and the Gateways that they name.

use std::sync::Arc;

use model::Waypoint;

use super::*;

/// `NAMESPACE/HOST` of what an object goes by.
fn text(waypoints: &[Waypoint]) -> Vec<String> {
    waypoints.iter().map(ToString::to_string).collect()
}

fn of_service(mesh: &Mesh, host: &str) -> Vec<String> {
    text(&mesh.service(host).waypoints)
}

fn of_workload(mesh: &Mesh, name: &str) -> Vec<String> {
    let name = WorkloadName::new("default", name);
    text(&mesh.snapshot.workloads[&name].waypoints)
}

/// A label in the metadata of an object.
fn labelled(object: &str, labels: &str) -> String {
    object.replacen("metadata: {", &format!("metadata: {{labels: {{{labels}}}, "), 1)
}

fn uses(object: &str, name: &str) -> String {
    labelled(object, &format!("istio.io/use-waypoint: {name}"))
}

fn namespace() -> String {
    "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n".into()
}

/// A waypoint for `purpose`, with its Service.
fn gateway(name: &str, purpose: &str) -> String {
    let gateway = format!(
        "---\n\
         apiVersion: gateway.networking.k8s.io/v1\n\
         kind: Gateway\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           gatewayClassName: istio-waypoint\n  \
           listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]\n"
    );
    match purpose {
        "" => gateway,
        purpose => labelled(&gateway, &format!("istio.io/waypoint-for: {purpose}")),
    }
}

const WP: &str = "default/wp.default.svc.cluster.local";
const NONE: [&str; 0] = [];

#[test]
fn an_object_says_more_than_its_namespace_and_none_says_no() {
    let said = |namespace_label: bool, object: &dyn Fn(String) -> String| {
        let namespace = if namespace_label { uses(&namespace(), "wp") } else { namespace() };
        let web = object(service("web", "10.0.0.1"));
        let text = [namespace, gateway("wp", ""), gateway("other", ""), web].concat();
        of_service(&mesh(&text), WEB)
    };
    assert_eq!(said(false, &|it| it), NONE);
    assert_eq!(said(true, &|it| it), [WP]);
    assert_eq!(said(true, &|it| uses(&it, "none")), NONE);
    assert_eq!(said(false, &|it| uses(&it, "wp")), [WP]);
    let other = said(true, &|it| uses(&it, "other"));
    assert_eq!(other, ["default/other.default.svc.cluster.local"]);
    let elsewhere = said(true, &|it| {
        labelled(&it, "istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra")
    });
    assert_eq!(elsewhere, ["infra/wp.infra.svc.cluster.local"]);
}

#[test]
fn a_waypoint_is_for_services_unless_it_says_otherwise() {
    for (purpose, services, workloads) in [
        ("", true, false),
        ("service", true, false),
        ("workload", false, true),
        ("all", true, true),
        ("none", false, false),
    ] {
        let vm = workload_entry("vm", "web", "address: 10.1.0.1");
        let entry = service_entry("ext", "10.0.0.3", 80);
        let parts = [
            uses(&namespace(), "wp"),
            gateway("wp", purpose),
            service("web", "10.0.0.1"),
            vm,
            entry,
        ];
        let mesh = mesh(&parts.concat());
        let expected = |is: bool| if is { vec![WP.to_owned()] } else { Vec::new() };
        assert_eq!(of_service(&mesh, WEB), expected(services), "{purpose}");
        assert_eq!(of_service(&mesh, "ext.example.com"), expected(services), "{purpose}");
        assert_eq!(of_workload(&mesh, "vm"), expected(workloads), "{purpose}");
        assert_eq!(mesh.of(Severity::Warning), NONE, "what a namespace says is for what it fits");
    }
}

#[test]
fn a_pod_has_the_waypoint_of_its_label_or_of_its_namespace() {
    let endpoint = "{addresses: [10.1.0.2], targetRef: {kind: Pod, name: web-1}}";
    let slice = slice("s", "IPv4", "{port: 80}", endpoint);
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-1}\n";
    let base = [gateway("wp", "all"), service("web", "10.0.0.1"), slice].concat();
    let with =
        |more: &[String]| of_workload(&mesh(&[base.clone(), more.concat()].concat()), "web-1");
    assert_eq!(with(&[namespace()]), NONE);
    assert_eq!(with(&[uses(&namespace(), "wp")]), [WP]);
    assert_eq!(with(&[namespace(), uses(pod, "wp")]), [WP]);
    assert_eq!(with(&[uses(&namespace(), "wp"), uses(pod, "none")]), NONE);
}

#[test]
fn the_service_of_a_waypoint_does_not_inherit_one_and_may_be_marked() {
    let own = service("wp", "10.0.0.9");
    let parts = [uses(&namespace(), "wp"), gateway("wp", ""), own];
    assert_eq!(of_service(&mesh(&parts.concat()), "wp.default.svc.cluster.local"), NONE);
    // As Istio marks what it makes for a Gateway.
    let marked =
        labelled(&service("web", "10.0.0.1"), "gateway.istio.io/managed: istio.io-mesh-controller");
    let parts = [uses(&namespace(), "wp"), gateway("wp", ""), marked];
    assert_eq!(of_service(&mesh(&parts.concat()), WEB), NONE);
}

#[test]
fn labels_that_lead_nowhere_are_named() {
    let warnings = |text: &[String]| mesh(&text.concat()).of(Severity::Warning);
    let web = || uses(&service("web", "10.0.0.1"), "wp");
    let missing = warnings(&[web()]);
    assert_eq!(
        missing,
        ["warning: mesh.yaml document 1: Service default/web: \
          metadata.labels.istio.io/use-waypoint: there is no Gateway default/wp of class \
          istio-waypoint; connections go by the Service of that name, and are refused while there \
          is none"]
    );
    assert_eq!(of_service(&mesh(&web()), WEB), [WP], "it is not sent there past the waypoint");
    let wrong = warnings(&[gateway("wp", "workload"), web()]);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("is not for services"), "{wrong:?}");
    let lonely = labelled(&service("web", "10.0.0.1"), "istio.io/use-waypoint-namespace: infra");
    assert!(warnings(&[lonely])[0].contains("set without istio.io/use-waypoint"));
    let ingress = gateway("wp", "").replace("istio-waypoint", "istio");
    assert!(warnings(&[ingress])[0].contains("only istio-waypoint is"));
    let odd = Mesh::new(&[("mesh.yaml", gateway("wp", "pods").as_str())]);
    assert!(odd.errors()[0].contains("\"pods\" is not one of"), "{:?}", odd.errors());
}

#[test]
fn a_change_of_a_namespace_or_of_a_gateway_reaches_whom_it_concerns() {
    let rest = [service("web", "10.0.0.1"), workload_entry("vm", "web", "address: 10.1.0.1")];
    let elsewhere = service("web", "10.0.0.2").replacen("{name", "{namespace: other, name", 1);
    let files = |namespace: String, gateway: String| {
        [namespace, gateway, rest.concat(), elsewhere.clone()].concat()
    };
    let mut mesh = mesh(&files(namespace(), gateway("wp", "all")));
    let before = mesh.snapshot.clone();
    mesh.apply(&[("mesh.yaml", &files(uses(&namespace(), "wp"), gateway("wp", "all")))]);
    assert_eq!(
        (of_service(&mesh, WEB), of_workload(&mesh, "vm")),
        (vec![WP.into()], vec![WP.into()])
    );
    let other = ServiceName::new("other", "web.other.svc.cluster.local");
    assert!(Arc::ptr_eq(&before.services[&other], &mesh.snapshot.services[&other]));
    mesh.apply(&[("mesh.yaml", &files(uses(&namespace(), "wp"), gateway("wp", "workload")))]);
    assert_eq!((of_service(&mesh, WEB), of_workload(&mesh, "vm")), (vec![], vec![WP.into()]));
    mesh.apply(&[("mesh.yaml", &files(namespace(), gateway("wp", "workload")))]);
    assert_eq!((of_service(&mesh, WEB), of_workload(&mesh, "vm")), (vec![], vec![]));
}
