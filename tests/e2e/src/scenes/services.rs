//! Services and pods of one cluster, by address and by name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use cluster::app::{Answer, Request};
use testkit::wait_until;

use e2e::fixture::{MESH, PLAIN};
use e2e::pod::Pod;
use e2e::world::{PATIENCE, World};

/// So many that each of two pods is met, but for one run in a million million.
const MANY: u32 = 40;

pub(super) fn clients(world: &World) -> Vec<Pod> {
    vec![world.pod(MESH, "client-1"), world.pod(MESH, "client-2")]
}

pub(super) fn cluster_ips(world: &World, namespace: &str, name: &str) -> Vec<IpAddr> {
    let service = world.service(namespace, name);
    let addresses = service["spec"]["clusterIPs"].as_array().expect("cluster IPs");
    addresses.iter().map(|address| address.as_str().unwrap().parse().unwrap()).collect()
}

fn who(answers: &[Answer]) -> BTreeSet<&str> {
    answers.iter().map(|answer| answer.pod.as_str()).collect()
}

pub fn a_cluster_ip_reaches_every_pod_of_both_nodes_in_both_families(world: &mut World) {
    let addresses = cluster_ips(world, MESH, "web");
    assert_eq!(addresses.len(), 2, "one of each family: {addresses:?}");
    for client in clients(world) {
        for address in &addresses {
            let address = SocketAddr::new(*address, 80);
            let answers = client.ask_times(address, MANY).expect("every connection succeeds");
            assert_eq!(who(&answers), ["web-v1", "web-v2"].into(), "{} to {address}", client.name);
        }
    }
}

pub fn a_pod_is_reached_by_its_own_address(world: &mut World) {
    for client in clients(world) {
        for server in world.pods(MESH, "app=web", 2) {
            for address in &server.addresses {
                let answer = client.must_ask(SocketAddr::new(*address, 8080));
                assert_eq!(answer.pod, server.name);
            }
        }
    }
}

pub fn a_headless_service_is_its_pods(world: &mut World) {
    let servers = world.pods(MESH, "app=web", 2);
    let mut expected: Vec<IpAddr> = servers.iter().flat_map(|pod| pod.addresses.clone()).collect();
    expected.sort_unstable();
    for client in clients(world) {
        wait_until("the addresses of all pods", PATIENCE, || {
            let found = client.resolve("headless.mesh.svc.cluster.local");
            if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
        });
        client.must_ask("headless.mesh:8080");
    }
}

pub fn datagrams_reach_a_cluster_ip(world: &mut World) {
    for client in clients(world) {
        for address in cluster_ips(world, MESH, "web") {
            let address = SocketAddr::new(address, 83);
            let request = Request::AskUdp { to: address.to_string(), text: "ping".to_owned() };
            let answers = client.tell(&request).answers;
            let answer = &answers[0];
            assert_eq!(answer.error, None);
            assert!(answer.pod.starts_with("web-") && answer.text.ends_with("ping"), "{answer:?}");
            assert_eq!(answer.peer, Some(address), "the reply comes from where it was sent to");
        }
    }
}

pub fn the_client_sees_the_address_that_it_dialled_and_the_server_the_client(world: &mut World) {
    for client in clients(world) {
        for address in cluster_ips(world, MESH, "web") {
            let dialled = SocketAddr::new(address, 80);
            let answer = client.must_ask(dialled);
            assert_eq!(answer.peer, Some(dialled));
            let seen = answer.text.split_whitespace().nth(1).expect("the client's address");
            let seen: SocketAddr = seen.parse().expect("an address");
            assert_eq!(seen.ip(), client.address(address.is_ipv6()), "no address is translated");
        }
    }
}

pub fn another_namespace_is_reached_by_its_full_name(world: &mut World) {
    for client in clients(world) {
        for name in ["server.plain", "server.plain.svc", "server.plain.svc.cluster.local"] {
            assert_eq!(client.must_ask(format!("{name}:80")).pod, "server");
        }
    }
}

/// Nobody translates for it: there is no kube-proxy. It says that the others are reached through us.
pub fn a_pod_outside_of_the_mesh_reaches_no_cluster_ip(world: &mut World) {
    let outsider = world.pod(PLAIN, "outsider");
    let server = world.pod(PLAIN, "server");
    assert_eq!(outsider.must_ask(SocketAddr::new(server.address(false), 8080)).pod, "server");
    if world.has_nodes() {
        for address in cluster_ips(world, MESH, "web") {
            outsider.ask(SocketAddr::new(address, 80)).expect_err("no kube-proxy, no mesh");
        }
    }
}
