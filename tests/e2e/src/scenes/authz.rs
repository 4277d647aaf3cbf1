//! AuthorizationPolicies, as istiod tells them.

use std::net::SocketAddr;

use cluster::app::{ECHO_PORT, LoadKind, NAME_PORT};
use testkit::wait_until;

use e2e::fixture::{MESH, PLAIN};
use e2e::load::Load;
use e2e::pod::{self, Pod};
use e2e::world::{PATIENCE, World};

/// Connections that must all come about, or none of them.
const TIMES: u32 = 100;
/// Between two messages on an open connection.
const EVERY_MS: u64 = 20;

fn policy(action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: web, namespace: {MESH}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  action: {action}
  rules: {rules}
"
    )
}

/// The addresses of the pods behind `web`, one on each node, in both families.
fn addresses(world: &World) -> Vec<SocketAddr> {
    let pods = ["web-v1", "web-v2"].map(|name| world.pod(MESH, name));
    let each = pods.iter().flat_map(|pod| [pod.address(false), pod.address(true)]);
    each.map(|address| SocketAddr::new(address, NAME_PORT)).collect()
}

/// Every address answers every time.
fn assert_allowed(client: &Pod, addresses: &[SocketAddr]) {
    for address in addresses {
        client.ask_times(address, TIMES).unwrap_or_else(|e| panic!("{address}: {e}"));
    }
}

/// No address answers even once, from the time that the policy has come.
fn assert_refused(client: &Pod, addresses: &[SocketAddr]) {
    for address in addresses {
        wait_until(&format!("{address} to refuse {}", client.name), PATIENCE, || {
            match client.ask(address) {
                Err(error) if error.contains("refused") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let refused = (0..TIMES).filter(|_| client.ask(address).is_err()).count();
        assert_eq!(refused, TIMES as usize, "{address}");
    }
}

fn wait_allowed(client: &Pod, addresses: &[SocketAddr]) {
    for address in addresses {
        wait_until(&format!("{address} to answer {}", client.name), PATIENCE, || {
            client.ask(address).map(drop)
        });
    }
    assert_allowed(client, addresses);
}

pub fn policies_of_istiod_decide_at_the_syn_on_both_nodes(world: &mut World) {
    let (client, outsider) = (world.pod(MESH, "client-1"), world.pod(PLAIN, "outsider"));
    let addresses = addresses(world);
    assert_allowed(&outsider, &addresses);

    let deny = policy("DENY", &format!("[{{from: [{{source: {{namespaces: [{PLAIN}]}}}}]}}]"));
    world.kubectl().apply(&deny);
    assert_refused(&outsider, &addresses);
    assert_allowed(&client, &addresses);

    // The usual principal, which names the trust domain that istiod leaves out.
    let principal = format!("cluster.local/ns/{MESH}/sa/default");
    let allow = format!("[{{from: [{{source: {{principals: [{principal}]}}}}]}}]");
    world.kubectl().apply(&policy("ALLOW", &allow));
    wait_allowed(&client, &addresses);
    assert_refused(&outsider, &addresses);
    client.must_ask("web.mesh:80");

    // Kubelet's probes went on all the time.
    for name in ["web-v1", "web-v2"] {
        let object = world.kubectl().get(&["pod", "-n", MESH, name]);
        assert!(pod::is_ready(&object), "{name} is ready");
        assert_eq!(object["status"]["containerStatuses"][0]["restartCount"], 0, "{name}");
    }
    world.kubectl().delete(&deny);
    wait_allowed(&outsider, &addresses);
}

pub fn connections_that_a_policy_refuses_are_reset_and_others_go_on(world: &mut World) {
    let (client, outsider) = (world.pod(MESH, "client-1"), world.pod(PLAIN, "outsider"));
    let open = |pod: &Pod, address: &SocketAddr| {
        Load::start(pod, SocketAddr::new(address.ip(), ECHO_PORT), LoadKind::Stream, 1, EVERY_MS)
    };
    let addresses = addresses(world);
    let refused: Vec<Load> = addresses.iter().map(|address| open(&outsider, address)).collect();
    let kept: Vec<Load> = addresses.iter().map(|address| open(&client, address)).collect();
    let connects = Load::start(&client, addresses[0], LoadKind::Connect, 4, 0);

    let deny = policy("DENY", &format!("[{{from: [{{source: {{namespaces: [{PLAIN}]}}}}]}}]"));
    world.kubectl().apply(&deny);
    for load in refused {
        let counts = wait_until("the connection to end", PATIENCE, || {
            let counts = load.counts();
            if counts.failed > 0 { Ok(counts) } else { Err(format!("{counts:?}")) }
        });
        // Reset, not silent; then refused.
        let (_, first) = &counts.failures[0];
        assert!(first.contains("reset") || first.contains("refused"), "{first}");
        load.stop();
    }
    connects.more(100);
    connects.finish();
    kept.into_iter().for_each(|load| _ = load.finish());
    world.kubectl().delete(&deny);
    wait_allowed(&outsider, &addresses);
}
