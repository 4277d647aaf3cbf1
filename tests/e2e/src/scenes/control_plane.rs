//! Control planes that are not there.

use std::net::SocketAddr;
use std::time::Instant;

use cluster::app::LoadKind;
use testkit::wait_until;

use super::services::{clients, cluster_ips};
use e2e::fixture::{self, MESH};
use e2e::load::Load;
use e2e::world::{PATIENCE, World};

const EVERY_MS: u64 = 4;

fn loads(world: &World) -> Vec<Load> {
    let mut loads = Vec::new();
    for client in clients(world) {
        for address in cluster_ips(world, MESH, "web") {
            let to = SocketAddr::new(address, 80);
            loads.push(Load::start(&client, to, LoadKind::Connect, 1, EVERY_MS));
        }
        loads.push(Load::start(&client, "web.mesh:80", LoadKind::Connect, 1, EVERY_MS));
    }
    loads
}

pub fn connections_go_on_without_the_api_server(world: &mut World) {
    let loads = loads(world);
    world.cluster().restart_api_server();
    loads.iter().for_each(|load| load.more(100));
    loads.into_iter().for_each(|load| drop(load.finish()));
    // A change after it is told as before.
    let yaml = fixture::service(MESH, "after-the-api-server", "web");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "client-1").must_ask("after-the-api-server.mesh:80");
    world.kubectl().delete(&yaml);
}

pub fn connections_go_on_without_istiod_and_changes_come_afterwards(world: &mut World) {
    let attempts = |world: &World| {
        let status = world.mesh.status("node1");
        status["config"]["controlPlane"]["attempts"].as_u64().expect("attempts")
    };
    let outage = world.outage;
    let loads = loads(world);
    let before = attempts(world);
    let clock = Instant::now();
    world.cluster().stop_istiod();
    let yaml = fixture::service(MESH, "meanwhile", "web");
    world.kubectl().apply(&yaml);
    let away =
        || if clock.elapsed() >= outage { Ok(()) } else { Err(format!("{:?}", clock.elapsed())) };
    wait_until("istiod to be away for long enough", outage * 2, away);
    let tried = attempts(world) - before;
    assert!(tried >= 1, "the outage was noticed");
    assert!(
        tried <= outage.as_secs(),
        "{tried} attempts within {outage:?}: more than one a second"
    );
    world.cluster().start_istiod();
    // The daemon waits longer after each failure, and hears of it then.
    let client = world.pod(MESH, "client-1");
    wait_until("the change of meanwhile", PATIENCE * 4, || client.ask("meanwhile.mesh:80"));
    loads.into_iter().for_each(|load| drop(load.finish()));
    world.kubectl().delete(&yaml);
}
