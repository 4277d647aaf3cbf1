//! What the daemon of a node counts.

use std::net::SocketAddr;

use testkit::wait_until;

use super::services::cluster_ips;
use e2e::fixture::MESH;
use e2e::world::{PATIENCE, World};

const CONNECTIONS: u32 = 50;

pub fn connections_and_bytes_are_counted(world: &mut World) {
    let client = world.pod(MESH, "client-1");
    let address = SocketAddr::new(cluster_ips(world, MESH, "web")[0], 80);
    let node = &world.cluster().nodes[0];
    let read = |name: &str| {
        let text = node.must("curl", &["-fsS", "http://127.0.0.1:15200/status/metric"]);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse::<u64>().unwrap()
    };
    let names = ["kmesh_node_connections_opened_total", "kmesh_node_received_bytes_total"];
    let before = names.map(read);
    client.ask_times(address, CONNECTIONS).expect("every connection succeeds");
    wait_until("the counters", PATIENCE, || {
        let after = names.map(read);
        let (opened, bytes) = (after[0] - before[0], after[1] - before[1]);
        // Each answer is a name and an address: more than ten bytes.
        let enough = opened >= CONNECTIONS.into() && bytes >= u64::from(CONNECTIONS) * 10;
        if enough { Ok(()) } else { Err(format!("{opened} connections, {bytes} bytes")) }
    });
}
