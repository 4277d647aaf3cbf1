//! A change compiles what it concerns, and leaves the rest alone.

use std::sync::Arc;

use model::{Service, Snapshot, Workload};

use super::slice;
use crate::testing::{Mesh, destination_rule, service, service_entry, workload_entry};

/// The services and workloads that are not the same `Arc` as before, by short name.
fn changed(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let services = new.services.iter().filter(|(name, service)| {
        let same = |known: &Arc<Service>| Arc::ptr_eq(known, service);
        !old.services.get(*name).is_some_and(same)
    });
    let workloads = new.workloads.iter().filter(|(name, workload)| {
        let same = |known: &Arc<Workload>| Arc::ptr_eq(known, workload);
        !old.workloads.get(*name).is_some_and(same)
    });
    let services = services.map(|(_, service)| service.object_name.clone());
    services.chain(workloads.map(|(name, _)| name.name.clone())).collect()
}

fn node(region: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n1, labels: \
         {{topology.kubernetes.io/region: {region}}}}}\n"
    )
}

#[test]
fn nothing_else_is_touched() {
    const NODE: usize = 0;
    const VM: usize = 1;
    let pod = "{addresses: [10.1.0.9], nodeName: n1, targetRef: {kind: Pod, name: pod}}";
    let vm = workload_entry("vm", "other", "address: 10.1.0.1");
    let inline = "resolution: STATIC\n  \
                  endpoints: [{address: 10.1.0.2, labels: {kubernetes.io/hostname: n1}}]";
    let base = [
        node("eu"),
        vm.replace("labels: {", "labels: {kubernetes.io/hostname: n1, "),
        service("web", "10.0.0.1"),
        service("other", "10.0.0.2"),
        service_entry("ext", "10.0.0.3", 80).replace("resolution: STATIC", inline),
        slice("s", "IPv4", "{port: 80}", pod),
    ];
    let rule = |host: &str| destination_rule("r", host, "{simple: ROUND_ROBIN}");
    let new = base.len();
    for (index, document, expected) in [
        (NODE, node("us"), vec!["ext", "other", "web", "pod", "vm"]),
        (
            NODE,
            node("eu") + "status: {addresses: [{type: InternalIP, address: 10.9.0.1}]}\n",
            vec![],
        ),
        (VM, workload_entry("vm", "web", "address: 10.1.0.1"), vec!["other", "web", "vm"]),
        (new, workload_entry("new", "web", "address: 10.1.0.2"), vec!["web", "new"]),
        (new, workload_entry("new", "nobody", "address: 10.1.0.2"), vec!["new"]),
        (new, service("third", "10.0.0.4"), vec!["third"]),
        (
            new,
            service("third", "10.0.0.4").replace("app: third", "app: other"),
            vec!["third", "vm"],
        ),
        (new, rule("web"), vec!["web"]),
        (new, rule("other.default"), vec!["other"]),
        (new, rule("*.example.com"), vec!["ext"]),
        (new, rule("nobody"), vec![]),
    ] {
        let mut mesh = Mesh::new(&[("a.yaml", &base.concat())]);
        let before = mesh.snapshot.clone();
        let mut documents = base.to_vec();
        match documents.get_mut(index) {
            Some(old) => old.clone_from(&document),
            None => documents.push(document.clone()),
        }
        mesh.apply(&[("a.yaml", &documents.concat())]);
        assert_eq!(mesh.errors(), [""; 0]);
        assert_eq!(changed(&before, &mesh.snapshot), expected, "{document}");
    }
}

#[test]
fn what_depends_on_a_service_follows_it() {
    let web = service("web", "10.0.0.1");
    let rest = [
        workload_entry("vm", "web", "address: 10.1.0.1"),
        destination_rule("r", "web.default", "{simple: ROUND_ROBIN}"),
        slice(
            "s",
            "IPv4",
            "{port: 80}",
            "{addresses: [10.1.0.9], targetRef: {kind: Pod, name: pod}}",
        ),
    ]
    .concat();
    let with = [("rest.yaml", rest.as_str()), ("web.yaml", &web)];
    let mut mesh = Mesh::new(&with);
    let all = (mesh.snapshot.clone(), mesh.problems.clone());
    assert_eq!(all.1, []);
    assert_eq!(all.0.workloads.len(), 2);
    mesh.apply(&with[..1]);
    assert_eq!(mesh.snapshot.workloads.len(), 1);
    assert_eq!(mesh.problems.len(), 2, "{:?}", mesh.problems);
    mesh.apply(&with);
    assert_eq!((mesh.snapshot, mesh.problems), all);
}
