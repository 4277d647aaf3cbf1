//! Every way of choosing an endpoint, and every kind of address that can be dialled.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use testkit::{Daemon, ask_udp, within_sigma, yaml};

use super::bench::{Bench, PORT, TARGET, UDP_PORT, VIP, WEB, assert_has, counter, success};

/// A node port of the service `web`.
const NODE_PORT: u16 = 30_080;
/// An address of the node, as its Node object would say.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A DestinationRule for `web` whose load balancer is `balancer`, in YAML flow style.
fn rule(balancer: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web}}\n\
         spec: {{host: web, trafficPolicy: {{loadBalancer: {balancer}}}}}\n"
    )
}

fn start_with(bench: &Bench, args: &[&str]) -> Daemon {
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args.extend(args.iter().map(Into::into));
    });
    daemon.enrol(&bench.client, None);
    daemon
}

#[test]
fn round_robin_gives_each_endpoint_exactly_its_turn() {
    let bench = Bench::new("round-robin", &["red", "green", "blue"]);
    bench.serve(&["red", "green", "blue"]);
    bench.scene.config("rule.yaml", rule("{simple: ROUND_ROBIN}"));
    let _daemon = bench.start();
    let counts: Vec<u64> = bench.answers(WEB, 300).into_values().collect();
    assert_eq!(counts, [100, 100, 100]);
}

#[test]
fn least_request_prefers_the_endpoint_with_fewer_live_connections() {
    let bench = Bench::new("least", &["red", "green"]);
    bench.serve(&["red"]);
    bench.scene.config("rule.yaml", rule("{simple: LEAST_REQUEST}"));
    let daemon = bench.start();
    let held: Vec<TcpStream> = bench
        .client
        .run(|| (0..20).map(|_| TcpStream::connect(WEB).expect("a connection")).collect());
    bench.apply(&daemon, "web.yaml", bench.web(&["red", "green"]));
    // Two draws of two endpoints: only red and red stays with red, one time in four.
    let busy = || within_sigma(&bench.answers(WEB, 2_000), &[("red", 1), ("green", 3)], 3.0);
    busy().or_else(|_| busy()).expect("three in four go to the idle one");
    drop(held);
    let idle = || within_sigma(&bench.answers(WEB, 2_000), &[("red", 1), ("green", 1)], 3.0);
    idle().or_else(|_| idle()).expect("even again when the connections have ended");
}

#[test]
fn a_session_stays_with_its_endpoint_until_that_goes() {
    let bench = Bench::new("session", &["red", "green", "blue"]);
    let with_sessions = |names: &[&str]| {
        bench.web(names).replacen("spec:\n", "spec:\n  sessionAffinity: ClientIP\n", 1)
    };
    bench.scene.config("web.yaml", with_sessions(&["red", "green", "blue"]));
    let mut daemon = bench.start();
    let first = bench.who(WEB);
    assert_eq!(bench.answers(WEB, 200), [(first.clone(), 200)].into());
    daemon.restart();
    assert_eq!(bench.answers(WEB, 50), [(first.clone(), 50)].into(), "over a restart");
    let left: Vec<&str> =
        ["red", "green", "blue"].into_iter().filter(|name| *name != first).collect();
    bench.apply(&daemon, "web.yaml", with_sessions(&left));
    let second = bench.who(WEB);
    assert_ne!(second, first);
    assert_eq!(bench.answers(WEB, 100), [(second, 100)].into());
}

#[test]
fn consistent_hashing_knows_a_client_by_its_address() {
    let bench = Bench::new("hash", &["red", "green", "blue"]);
    bench.serve(&["red", "green", "blue"]);
    bench.scene.config("rule.yaml", rule("{consistentHash: {useSourceIp: true}}"));
    let daemon = bench.start();
    let chosen = bench.who(WEB);
    assert_eq!(bench.answers(WEB, 100), [(chosen.clone(), 100)].into());
    // An endpoint that the client does not use goes: most clients stay, this one must.
    let left: Vec<&str> = ["red", "green", "blue"]
        .into_iter()
        .filter(|name| *name == chosen)
        .chain(["red", "green", "blue"].into_iter().find(|name| *name != chosen))
        .collect();
    bench.apply(&daemon, "web.yaml", bench.web(&left));
    assert_eq!(bench.answers(WEB, 100), [(chosen, 100)].into());
}

#[test]
fn registry_only_refuses_what_nothing_names_and_nothing_else() {
    let bench = Bench::new("registry", &["red", "stranger"]);
    bench.serve(&["red"]);
    let daemon = start_with(&bench, &["--outbound-policy", "registry-only"]);
    let stranger = SocketAddr::new(IpAddr::V4(bench.pod("stranger").v4), TARGET);
    assert_eq!(bench.error(stranger), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "not_in_registry"), 1);
    assert_eq!(bench.who(WEB), "red");
    let red = SocketAddr::new(IpAddr::V4(bench.pod("red").v4), TARGET);
    assert_eq!(bench.who(red), "red", "the own address of a workload");
    assert_eq!(bench.servers["stranger"].accepted(), 0);
}

#[test]
fn a_service_entry_answers_for_every_address_of_its_block() {
    let bench = Bench::new("block", &["red"]);
    let entry = yaml::service_entry("egress", "egress.example.com")
        .address("10.50.0.0/16")
        .port("http", PORT, TARGET)
        .endpoint(bench.pod("red").v4, 1, "");
    bench.scene.config("egress.yaml", entry);
    let _daemon = bench.start();
    for last in [[0, 1], [3, 4], [255, 254]] {
        let dialled = SocketAddr::from(([10, 50, last[0], last[1]], PORT));
        let answer = bench.ask(dialled).expect("an answer");
        assert_eq!((answer.pod.as_str(), answer.peer), ("red", dialled));
    }
}

/// The service `web` with a node port and an external address.
fn exposed(bench: &Bench) -> String {
    let spec = "spec:\n  type: NodePort\n  externalIPs: [203.0.113.7]\n";
    let web = bench.web(&["red"]).replacen("spec:\n", spec, 1);
    web.replacen("port: 80\n", &format!("port: 80\n      nodePort: {NODE_PORT}\n"), 1)
}

#[test]
fn a_node_port_is_dialled_where_the_node_object_says() {
    let bench = Bench::new("node-object", &["red"]);
    let node = |address: Ipv4Addr| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: node}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
        )
    };
    bench.scene.config("web.yaml", exposed(&bench));
    bench.scene.config("node.yaml", node(NODE));
    let daemon = bench.start();
    assert_eq!(bench.who((NODE, NODE_PORT)), "red");
    let moved = Ipv4Addr::new(192, 0, 2, 2);
    bench.apply(&daemon, "node.yaml", node(moved));
    assert_eq!(bench.who((moved, NODE_PORT)), "red");
    let dump = success(&daemon.kmeshctl(&["dump", "dual-engine", "--bpf"]));
    assert!(!dump.contains(&NODE.to_string()), "nothing is left at the old address: {dump}");
}

#[test]
fn a_node_port_leads_to_the_service() {
    let bench = Bench::new("node-port", &["red"]);
    bench.scene.config("web.yaml", exposed(&bench));
    let _daemon = start_with(&bench, &["--node-address", &NODE.to_string()]);
    assert_eq!(bench.who((NODE, NODE_PORT)), "red");
    assert_eq!(bench.who((Ipv4Addr::new(203, 0, 113, 7), PORT)), "red");
}

#[test]
fn explain_asks_the_live_maps_and_tells_the_verdict() {
    let bench = Bench::new("explain", &["red", "green"]);
    bench.serve(&["red", "green"]);
    let daemon = bench.scene.start_daemon();
    daemon.enrol(&bench.client, Some("shop/cart"));
    let explain = |to: &str| success(&daemon.kmeshctl(&["explain", "shop/cart", to]));
    let told = explain(&WEB.to_string());
    assert_has(&told, &["shop/cart dials 10.96.0.10:80", "in the mesh", "2 slots", "50.0 %"]);
    assert_has(&told, &["balanced over 2 endpoints"]);
    assert_has(&explain("web.default.svc.cluster.local:80"), &["balanced over 2 endpoints"]);
    assert_has(&explain(&format!("{VIP}:81")), &["refused (no_service_port)"]);
    assert_has(&explain("192.0.2.9:80"), &["ALLOW_ANY", "passed (unknown_destination)"]);
    let stranger = daemon.kmeshctl(&["explain", "shop/nobody", "192.0.2.9:80"]);
    assert!(!stranger.status.success());
}

#[test]
fn fill_levels_and_reasons_are_metrics() {
    let bench = Bench::new("metrics", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    bench.error((VIP, 81));
    let block = yaml::service_entry("egress", "egress.example.com").address("10.50.0.0/16");
    let block = block.port("http", PORT, TARGET).endpoint(bench.pod("red").v4, 1, "");
    bench.apply(&daemon, "egress.yaml", block);
    let _held = bench.client.run(|| TcpStream::connect(WEB)).expect("a connection");
    bench.client.run(|| ask_udp((VIP, UDP_PORT).into(), "x")).expect("an answer");
    let text = daemon.request("GET", "/status/metric", None).expect("an answer").body;
    let refused = "kmesh_reasons_total{reason=\"no_service_port\",outcome=\"refused\"} 1";
    assert_has(&text, &[refused]);
    // `red` in each family, a table for each of two ports and one for the block.
    for (map, count) in [
        ("enrolments", 1),
        ("frontends", 7),
        ("tables", 5),
        ("cursors", 5),
        ("slots", 5),
        ("backends", 2),
        ("loads", 2),
        ("networks", 1),
        ("sockets", 1),
        ("affinities", 0),
        ("udp_flows", 2),
    ] {
        let line = format!("kmesh_map_entry_count{{map=\"{map}\"}} {count}\n");
        let max = format!("kmesh_map_entry_max{{map=\"{map}\"}} ");
        assert_has(&text, &[&line, &max]);
    }
}
