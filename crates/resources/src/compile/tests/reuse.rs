//! An address that goes from one workload to another.

use model::WorkloadName;

use super::{WEB, slice};
use crate::testing::{Mesh, service, service_entry, workload_entry};

fn workloads(mesh: &Mesh) -> Vec<String> {
    let workloads = mesh.snapshot.workloads.values();
    let text =
        workloads.map(|it| format!("{} {:?} {:?}", it.name, it.addresses, it.services.len()));
    text.collect()
}

/// Removes `old` and adds `new`, in one update and in two, in both orders. What comes out must not
/// depend on it, and in between nobody who is there loses the address.
fn check(base: &str, old: &str, new: &str, endpoint: &str, workload: &str) {
    let before = [("base.yaml", base), ("old.yaml", old)];
    let both = [("base.yaml", base), ("old.yaml", old), ("new.yaml", new)];
    let neither = [("base.yaml", base)];
    let after = [("base.yaml", base), ("new.yaml", new)];
    for way in [vec![&after[..]], vec![&both[..], &after[..]], vec![&neither[..], &after[..]]] {
        let mut mesh = Mesh::new(&before);
        assert_eq!(mesh.endpoints(WEB).len(), 1);
        for files in way {
            mesh.apply(files);
            let is_there = files.iter().any(|(name, _)| *name != "base.yaml");
            let addresses: Vec<_> =
                mesh.service(WEB).endpoints.iter().map(|it| it.address.to_string()).collect();
            assert_eq!(addresses.contains(&"10.1.0.1".to_owned()), is_there);
        }
        assert_eq!(mesh.endpoints(WEB), [endpoint]);
        assert_eq!(workloads(&mesh), [workload]);
    }
}

#[test]
fn from_one_workload_entry_to_another() {
    check(
        &service("web", "10.0.0.1"),
        &workload_entry("old", "web", "address: 10.1.0.1"),
        &workload_entry("new", "web", "address: 10.1.0.1"),
        "10.1.0.1 80->80 new",
        "default/new [10.1.0.1] 1",
    );
}

#[test]
fn from_one_pod_to_another() {
    let pod = |name| {
        let endpoint = format!("{{addresses: [10.1.0.1], targetRef: {{kind: Pod, name: {name}}}}}");
        slice(name, "IPv4", "{port: 8080}", &endpoint)
    };
    check(
        &service("web", "10.0.0.1"),
        &pod("old"),
        &pod("new"),
        "10.1.0.1 80->8080 new",
        "default/new [10.1.0.1] 1",
    );
}

#[test]
fn from_a_pod_to_a_workload_entry_of_the_same_name() {
    let endpoint = "{addresses: [10.1.0.1], targetRef: {kind: Pod, name: vm}}";
    check(
        &service("web", "10.0.0.1"),
        &slice("s", "IPv4", "{port: 8080}", endpoint),
        &workload_entry("vm", "web", "address: 10.1.0.1"),
        "10.1.0.1 80->80 vm",
        "default/vm [10.1.0.1] 1",
    );
}

#[test]
fn within_one_slice() {
    let pods = |pods: &[(&str, &str)]| {
        let endpoints = pods.iter().map(|(address, name)| {
            format!("{{addresses: [{address}], targetRef: {{kind: Pod, name: {name}}}}}")
        });
        let endpoints: Vec<_> = endpoints.collect();
        service("web", "10.0.0.1") + &slice("s", "IPv4", "{port: 80}", &endpoints.join(", "))
    };
    let mut mesh = Mesh::new(&[("a.yaml", &pods(&[("10.1.0.1", "a"), ("10.1.0.2", "b")]))]);
    // They swap.
    mesh.apply(&[("a.yaml", &pods(&[("10.1.0.2", "a"), ("10.1.0.1", "b")]))]);
    assert_eq!(mesh.endpoints(WEB), ["10.1.0.1 80->80 b", "10.1.0.2 80->80 a"]);
    let a = &mesh.snapshot.workloads[&WorkloadName::new("default", "a")];
    assert_eq!(*a.addresses, ["10.1.0.2".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn an_address_that_is_dialled_goes_from_one_service_to_another() {
    let named = |name: &str| [service(name, "10.0.0.1"), service_entry(name, "10.0.0.1", 80)];
    let holders = |mesh: &Mesh| -> Vec<String> {
        let services = mesh.snapshot.services.values();
        services.map(|it| format!("{} {:?}", it.object_name, it.addresses)).collect()
    };
    for (old, new) in named("old").iter().flat_map(|old| named("new").map(|new| (old.clone(), new)))
    {
        let (old, new) = (("old.yaml", old.as_str()), ("new.yaml", new.as_str()));
        for way in [vec![vec![new]], vec![vec![old, new], vec![new]], vec![vec![], vec![new]]] {
            let mut mesh = Mesh::new(&[old]);
            for files in way {
                mesh.apply(&files);
                let holder = files.first().map(|(file, _)| file.trim_end_matches(".yaml"));
                let expected = holder.map(|name| format!("{name} [10.0.0.1]"));
                assert_eq!(holders(&mesh), Vec::from_iter(expected));
                assert_eq!(mesh.errors().len(), files.len().saturating_sub(1));
            }
        }
    }
}
