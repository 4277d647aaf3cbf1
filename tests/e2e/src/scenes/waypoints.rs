//! Waypoints of istiod's choosing, with a recorder in the place of the proxy: it tells each client the bytes
//! that came before its own.

use std::net::{IpAddr, SocketAddr};

use cluster::app::LoadKind;
use testkit::wait_until;

use super::services::{clients, cluster_ips};
use e2e::fixture::{self, MESH};
use e2e::load::Load;
use e2e::pod::Pod;
use e2e::world::{PATIENCE, World};

/// What clients say first.
const GREETING: &str = "hello";
const USE: &str = "istio.io/use-waypoint";
const EVERY_MS: u64 = 4;

/// A Gateway, the Service that istiod makes for it where its templates are installed, and a pod behind that.
fn waypoint(name: &str, kind: &str) -> String {
    let labels = format!(
        "{{app: {name}, gateway.networking.k8s.io/gateway-name: {name}, \
         gateway.istio.io/managed: istio.io-mesh-controller}}"
    );
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {MESH}, labels: {{istio.io/waypoint-for: {kind}}}}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {MESH}
  labels: {{gateway.istio.io/managed: istio.io-mesh-controller, gateway.networking.k8s.io/gateway-name: {name}}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {{gateway.networking.k8s.io/gateway-name: {name}}}
  ports: [{{name: status-port, port: 15021}}, {{name: mesh, port: 15008, appProtocol: hbone}}]
"
    ) + &fixture::pod_with(MESH, &format!("{name}-recorder"), &labels, 2)
}

/// The header for a connection to `to`, with the client's greeting behind it, in hexadecimal.
fn header(to: SocketAddr) -> String {
    let mut bytes = match to.ip() {
        IpAddr::V4(v4) => [&[1, 0, 0, 0, 6][..], &v4.octets()].concat(),
        IpAddr::V6(v6) => [&[1, 0, 0, 0, 18][..], &v6.octets()].concat(),
    };
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes.extend_from_slice(&[0xfe, 0, 0, 0, 0]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn greeting() -> String {
    GREETING.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until a connection of `client` to `to` is answered by a pod whose name begins so; returns the third word
/// of the answer: what a recorder got.
#[track_caller]
fn wait_answered_by(client: &Pod, to: SocketAddr, pod: &str) -> String {
    wait_until(&format!("{} to be led from {to} to {pod}", client.name), PATIENCE, || {
        let answers = client.ask_with(to, Some(GREETING), 1)?;
        let answer = &answers[0];
        if answer.pod.starts_with(pod) {
            Ok(answer.text.split_whitespace().nth(2).unwrap_or_default().to_owned())
        } else {
            Err(answer.pod.clone())
        }
    })
}

fn label(world: &World, kind: &str, name: &str, waypoint: Option<&str>) {
    let label = waypoint.map_or(format!("{USE}-"), |waypoint| format!("{USE}={waypoint}"));
    world.kubectl().run(&["label", "--overwrite", kind, "-n", MESH, name, &label]);
}

fn web(world: &World) -> Vec<SocketAddr> {
    let addresses = cluster_ips(world, MESH, "web");
    addresses.into_iter().map(|address| SocketAddr::new(address, 80)).collect()
}

pub fn a_waypoint_of_a_service_comes_and_goes_under_load(world: &mut World) {
    let yaml = waypoint("first", "service");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "first-recorder");
    let addresses = web(world);
    let clients = clients(world);
    let pairs = || clients.iter().flat_map(|client| addresses.iter().map(move |to| (client, *to)));
    let start = |(client, to)| Load::start(client, to, LoadKind::Speak, 1, EVERY_MS);
    let loads: Vec<Load> = pairs().map(start).collect();
    for _ in 0..2 {
        label(world, "service", "web", Some("first"));
        for (client, to) in pairs() {
            let got = wait_answered_by(client, to, "first-recorder");
            assert_eq!(got, header(to) + &greeting(), "{} to {to}", client.name);
        }
        label(world, "service", "web", None);
        pairs().for_each(|(client, to)| drop(wait_answered_by(client, to, "web-")));
    }
    for counts in loads.into_iter().map(Load::finish) {
        assert!(counts.pods.contains_key("first-recorder"), "{:?}", counts.pods);
        assert!(counts.pods.contains_key("web-v1"), "{:?}", counts.pods);
    }
    world.kubectl().delete(&yaml);
}

pub fn a_waypoint_of_a_service_wins_over_that_of_its_namespace(world: &mut World) {
    let yaml = waypoint("wide", "service")
        + &waypoint("narrow", "service")
        + &fixture::service(MESH, "plain-web", "web");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "wide-recorder");
    world.pod(MESH, "narrow-recorder");
    let namespace = |value: &str| {
        let label = format!("{USE}{value}");
        world.kubectl().run(&["label", "--overwrite", "namespace", MESH, &label]);
    };
    namespace("=wide");
    label(world, "service", "web", Some("narrow"));
    let other = SocketAddr::new(cluster_ips(world, MESH, "plain-web")[0], 80);
    for client in clients(world) {
        let got = wait_answered_by(&client, web(world)[0], "narrow-recorder");
        assert_eq!(got, header(web(world)[0]) + &greeting());
        let got = wait_answered_by(&client, other, "wide-recorder");
        assert_eq!(got, header(other) + &greeting());
    }
    label(world, "service", "web", Some("none"));
    let client = world.pod(MESH, "client-1");
    wait_answered_by(&client, web(world)[0], "web-");
    label(world, "service", "web", None);
    wait_answered_by(&client, web(world)[0], "wide-recorder");
    namespace("-");
    wait_answered_by(&client, web(world)[0], "web-");
    wait_answered_by(&client, other, "web-");
    world.kubectl().delete(&yaml);
}

pub fn a_waypoint_of_a_pod_comes_and_goes(world: &mut World) {
    let yaml = waypoint("pods", "workload");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "pods-recorder");
    let server = world.pod(MESH, "web-v2");
    label(world, "pod", "web-v2", Some("pods"));
    for client in clients(world) {
        for address in &server.addresses {
            let to = SocketAddr::new(*address, 8080);
            let got = wait_answered_by(&client, to, "pods-recorder");
            assert_eq!(got, header(to) + &greeting());
        }
    }
    label(world, "pod", "web-v2", None);
    let to = SocketAddr::new(server.address(false), 8080);
    clients(world).iter().for_each(|client| drop(wait_answered_by(client, to, "web-v2")));
    world.kubectl().delete(&yaml);
}

/// The header goes without the client's help.
pub fn a_client_that_waits_for_the_server_gets_through(world: &mut World) {
    let yaml = waypoint("patient", "service");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "patient-recorder");
    label(world, "service", "web", Some("patient"));
    let to = web(world)[0];
    for client in clients(world) {
        wait_answered_by(&client, to, "patient-recorder");
        let answer = client.ask(to).expect("the recorder answers when nothing more comes");
        assert_eq!(answer.text.split_whitespace().nth(2), Some(header(to).as_str()));
    }
    label(world, "service", "web", None);
    clients(world).iter().for_each(|client| drop(wait_answered_by(client, to, "web-")));
    world.kubectl().delete(&yaml);
}

pub fn without_its_waypoint_a_service_is_refused_and_never_reached_past_it(world: &mut World) {
    let yaml = waypoint("missing", "service");
    world.kubectl().apply(&yaml);
    world.pod(MESH, "missing-recorder");
    label(world, "service", "web", Some("missing"));
    let (client, to) = (world.pod(MESH, "client-1"), web(world)[0]);
    wait_answered_by(&client, to, "missing-recorder");
    world.kubectl().run(&["delete", "pod", "-n", MESH, "missing-recorder"]);
    wait_until("the connection to be refused", PATIENCE, || match client.ask(to) {
        Ok(answer) => {
            assert!(!answer.pod.starts_with("web-"), "it went past the waypoint");
            Err(answer.pod)
        }
        Err(e) if e.contains("refused") => Ok(()),
        Err(e) => Err(e),
    });
    label(world, "service", "web", None);
    wait_answered_by(&client, to, "web-");
    world.kubectl().delete(&yaml);
}
