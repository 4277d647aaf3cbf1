//! ServiceEntries and WorkloadEntries.

use std::net::{IpAddr, SocketAddr};

use e2e::fixture::{MESH, PLAIN};
use e2e::world::World;

use super::services::clients;

/// `spec` is the part below the hosts.
fn entry(name: &str, host: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {MESH}}}
spec:
  hosts: [{host}]
  ports: [{{number: 80, name: tcp, protocol: TCP, targetPort: 8080}}]
{spec}"
    )
}

pub fn a_host_without_addresses_is_given_one_and_is_reached_by_name(world: &mut World) {
    let server = world.pod(PLAIN, "server");
    let spec = format!(
        "  location: MESH_EXTERNAL\n  resolution: STATIC\n  endpoints: [{{address: {}}}]\n",
        server.address(false)
    );
    let yaml = entry("given", "given.example.test", &spec);
    world.kubectl().apply(&yaml);
    for client in clients(world) {
        let addresses = client.resolve("given.example.test");
        let given = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[..2] == [240, 240],
            IpAddr::V6(v6) => v6.segments()[..2] == [0x2001, 0x2],
        };
        assert!(addresses.iter().all(given), "those that istiod gives: {addresses:?}");
        assert_eq!(client.must_ask("given.example.test:80").pod, "server");
    }
    world.kubectl().delete(&yaml);
}

pub fn inlined_endpoints_of_both_families_are_reached(world: &mut World) {
    let server = world.pod(PLAIN, "server");
    for (v6, address) in [(false, "240.0.7.1"), (true, "2001:2::7:1")] {
        let spec = format!(
            "  addresses: ['{address}']\n  resolution: STATIC\n  endpoints: [{{address: '{}'}}]\n",
            server.address(v6)
        );
        let yaml = entry("inlined", "inlined.example.test", &spec);
        world.kubectl().apply(&yaml);
        let dialled = SocketAddr::new(address.parse().unwrap(), 80);
        for client in clients(world) {
            let answer = client.must_ask(dialled);
            assert_eq!((answer.pod.as_str(), answer.peer), ("server", Some(dialled)));
        }
        world.kubectl().delete(&yaml);
    }
}

pub fn workload_entries_are_selected(world: &mut World) {
    let servers = world.pods(MESH, "app=web", 2);
    let mut yaml = entry(
        "selecting",
        "selecting.example.test",
        "  addresses: ['240.0.7.2', '2001:2::7:2']\n  resolution: STATIC\n  workloadSelector: {labels: {app: vm}}\n",
    );
    for (server, v6) in servers.iter().zip([false, true]) {
        yaml += &format!(
            "---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {}-vm, namespace: {MESH}, labels: {{app: vm}}}}
spec: {{address: '{}', labels: {{app: vm}}}}
",
            server.name,
            server.address(v6)
        );
    }
    world.kubectl().apply(&yaml);
    for client in clients(world) {
        // No connection changes its family: each address leads to the entry of its own.
        assert_eq!(client.must_ask("240.0.7.2:80").pod, "web-v1");
        assert_eq!(client.must_ask("[2001:2::7:2]:80").pod, "web-v2");
    }
    world.kubectl().delete(&yaml);
}

pub fn an_entry_that_is_removed_is_refused_or_unknown(world: &mut World) {
    let server = world.pod(PLAIN, "server");
    let spec = format!(
        "  addresses: [240.0.7.3]\n  resolution: STATIC\n  endpoints: [{{address: {}}}]\n",
        server.address(false)
    );
    let yaml = entry("removed", "removed.example.test", &spec);
    world.kubectl().apply(&yaml);
    let clients = clients(world);
    clients.iter().for_each(|client| drop(client.must_ask("240.0.7.3:80")));
    world.kubectl().delete(&yaml);
    clients.iter().for_each(|client| drop(client.must_not_reach("240.0.7.3:80")));
}

/// By the daemon, at the resolver of its node.
pub fn an_endpoint_is_looked_up_by_its_name(world: &mut World) {
    let server = world.pod(PLAIN, "server");
    let other = world.pod(MESH, "web-v1");
    let dns = &world.cluster().dns;
    dns.set("backend.example.test", &[server.address(false)]);
    dns.set("later.example.test", &[other.address(false)]);
    let spec = |backend: &str| {
        format!(
            "  addresses: [240.0.7.4]\n  resolution: DNS\n  endpoints: [{{address: {backend}.example.test}}]\n"
        )
    };
    let yaml = entry("looked-up", "looked-up.example.test", &spec("backend"));
    world.kubectl().apply(&yaml);
    for client in clients(world) {
        assert_eq!(client.must_ask("looked-up.example.test:80").pod, "server");
    }
    world.kubectl().apply(&entry("looked-up", "looked-up.example.test", &spec("later")));
    for client in clients(world) {
        testkit::wait_until("the other name's address", e2e::world::PATIENCE, || {
            let answer = client.ask("240.0.7.4:80")?;
            if answer.pod == "web-v1" { Ok(()) } else { Err(answer.pod) }
        });
    }
    world.kubectl().delete(&yaml);
}
