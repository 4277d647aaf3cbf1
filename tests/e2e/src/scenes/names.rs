//! Names, as libc in a pod finds them.

use std::net::SocketAddr;

use cluster::app::Request;
use testkit::wait_until;

use super::services::{clients, cluster_ips};
use e2e::fixture::MESH;
use e2e::world::{PATIENCE, World};

pub fn every_form_of_a_services_name_is_known(world: &mut World) {
    let mut expected = cluster_ips(world, MESH, "web");
    expected.sort_unstable();
    for client in clients(world) {
        for name in ["web", "web.mesh", "web.mesh.svc", "web.mesh.svc.cluster.local"] {
            assert_eq!(client.resolve(name), expected, "{name}");
        }
    }
}

pub fn a_name_that_nobody_knows_is_not_found(world: &mut World) {
    for client in clients(world) {
        let request = Request::Resolve { name: "nobody.mesh.svc.cluster.local".to_owned() };
        client.try_tell(&request).expect_err("there is no such service");
    }
}

/// istiod leaves services of this type to DNS.
pub fn an_external_name_is_what_the_clusters_dns_says(world: &mut World) {
    let web = cluster_ips(world, MESH, "web");
    world.kubectl().apply(
        "apiVersion: v1
kind: Service
metadata: {name: alias, namespace: mesh}
spec: {type: ExternalName, externalName: web.mesh.svc.cluster.local}
",
    );
    world.cluster().dns.set("alias.mesh.svc.cluster.local", &web);
    for client in clients(world) {
        let answer = client.must_ask("alias.mesh:80");
        assert!(answer.pod.starts_with("web-"), "{answer:?}");
        assert!(answer.peer.is_some_and(|peer| web.contains(&peer.ip())), "{answer:?}");
    }
}

/// The server is asked for nothing that the mesh knows: it has never heard of these names.
pub fn names_are_known_without_the_clusters_dns(world: &mut World) {
    let client = world.pod(MESH, "client-1");
    let address = SocketAddr::new(world.cluster().nodes[0].v4.into(), 53);
    let dns = world.cluster().nodes[0].try_run(
        "dig",
        &["+short", "+time=2", &format!("@{}", address.ip()), "web.mesh.svc.cluster.local"],
    );
    assert_eq!(dns.expect("the cluster's DNS answers").trim(), "");
    wait_until("the name to be known", PATIENCE, || client.ask("web.mesh.svc.cluster.local:80"));
}
