//! Pods whose address another pod had just before.

use std::net::SocketAddr;

use testkit::wait_until;

use super::services::cluster_ips;
use e2e::fixture::{self, MESH};
use e2e::world::{PATIENCE, World};

/// How often the address changes hands.
const ROUNDS: usize = 3;
/// Where the network plugin notes what it gave last; without it, it begins from the lowest that is free.
const LAST_GIVEN: &str = "/var/lib/cni/networks/cluster/last_reserved_ip.0";

pub fn an_address_that_another_pod_got_is_never_the_old_service(world: &mut World) {
    let services =
        fixture::service(MESH, "first", "first") + &fixture::service(MESH, "second", "second");
    world.kubectl().apply(&services);
    let client = world.pod(MESH, "client-2");
    let address = |world: &World, name| SocketAddr::new(cluster_ips(world, MESH, name)[0], 80);
    let mut reused = 0;
    let mut last = None;
    for round in 0..ROUNDS {
        for (app, other) in [("first", "second"), ("second", "first")] {
            let name = format!("{app}-{round}");
            let yaml = fixture::pod(MESH, &name, app, 1);
            let node = &world.cluster().nodes[0];
            let _ = std::fs::remove_file(node.path(LAST_GIVEN));
            // The node remembers the address with the hardware of the last pod, for ten seconds.
            node.must("ip", &["neigh", "flush", "dev", "cni0"]);
            world.kubectl().apply(&yaml);
            let pod = world.pod(MESH, &name);
            reused += usize::from(last == Some(pod.address(false)));
            last = Some(pod.address(false));
            let (own, foreign) = (address(world, app), address(world, other));
            assert_eq!(client.must_ask(own).pod, name);
            wait_until("the other service to have no endpoint", PATIENCE, || {
                match client.ask(foreign) {
                    Ok(answer) => {
                        assert_ne!(answer.pod, name, "{other} leads to a pod of {app}");
                        Err(answer.pod)
                    }
                    Err(e) if e.contains("refused") => Ok(()),
                    Err(e) => Err(e),
                }
            });
            world.kubectl().delete(&yaml);
        }
    }
    assert!(
        reused >= ROUNDS,
        "the address was given again {reused} times: the scene proves nothing"
    );
    world.kubectl().delete(&services);
}
