//! Who reaches whom, and as whom: itself, its neighbours, the host, loopback, node ports.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use testkit::{Answer, Daemon, Family, Pod, Servers, ask, ask_udp, yaml};

use super::bench::{
    Bench, PORT, TARGET, UDP_PORT, VIP, WEB, WEB6, assert_has, counter, failure, idle_service,
    refuse_services, success, vip, wait_problems,
};

/// A node port of the service `web`.
const NODE_PORT: u16 = 30_080;

#[track_caller]
fn answer(pod: &Pod, address: SocketAddr) -> Answer {
    pod.run(|| ask(address)).unwrap_or_else(|e| panic!("{} to {address}: {e}", pod.name))
}

/// The address of `pod` of the family of `other`.
fn own(pod: &Pod, other: SocketAddr) -> IpAddr {
    if other.is_ipv4() { pod.v4.into() } else { pod.v6.into() }
}

#[test]
fn a_pod_that_dials_its_own_service_reaches_itself_from_its_own_address() {
    let bench = Bench::new("hairpin", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let red = bench.pod("red");
    daemon.enrol(red, None);
    for dialled in [WEB, WEB6] {
        let answer = answer(red, dialled);
        assert_eq!((answer.pod.as_str(), answer.peer), ("red", dialled));
        assert_eq!((answer.seen_from, answer.seen_from.ip()), (answer.local, own(red, dialled)));
    }
    let dns = SocketAddr::from((VIP, UDP_PORT));
    assert_eq!(red.run(|| ask_udp(dns, "x")).unwrap(), ("red x".to_owned(), dns));
}

#[test]
fn pods_of_one_node_see_each_other_s_own_addresses() {
    let bench = Bench::new("same_node", &["red", "blue"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    daemon.enrol(bench.pod("red"), None);
    daemon.enrol(bench.pod("blue"), None);
    for pod in [&bench.client, bench.pod("blue")] {
        for dialled in [WEB, WEB6] {
            let answer = answer(pod, dialled);
            assert_eq!((answer.pod.as_str(), answer.peer), ("red", dialled));
            assert_eq!(
                (answer.seen_from, answer.seen_from.ip()),
                (answer.local, own(pod, dialled))
            );
        }
    }
}

#[test]
fn the_host_is_in_the_mesh_only_when_it_is_asked_for_as_the_host() {
    let bench = Bench::new("host", &["red"]);
    bench.serve(&["red"]);
    // The node of the scene plays the host, and the daemon runs there.
    let host = bench.scene.network().node();
    refuse_services(host);
    let netns = host.netns().to_str().unwrap().to_owned();
    let daemon = bench.scene.start_daemon_with(|options| {
        options.netns = Some(netns.clone().into());
    });
    let refused = failure(&daemon.kmeshctl(&["enroll", "--netns", &netns]));
    assert_has(&refused, &[&netns, "is the network namespace of the host", "enroll --host"]);
    assert_eq!(daemon.status()["enrolled"], 0);
    let outside = host.run(|| ask(WEB)).expect_err("not in the mesh").kind();
    assert_eq!(outside, ErrorKind::HostUnreachable);

    success(&daemon.kmeshctl(&["enroll", "--host", "--netns", &netns]));
    let inside = answer(host, WEB);
    assert_eq!((inside.pod.as_str(), inside.peer), ("red", WEB));
    assert_eq!(inside.seen_from.ip(), IpAddr::from(host.v4));
    success(&daemon.kmeshctl(&["unenroll", "--netns", &netns]));
    assert!(host.run(|| ask(WEB)).is_err());
    // A pod needs no such word.
    daemon.enrol(&bench.client, None);
    assert_eq!(bench.who(WEB), "red");
}

#[test]
fn pods_of_the_host_s_network_are_endpoints_that_share_an_address() {
    let bench = Bench::new("host_network", &[]);
    let host = bench.scene.network().node();
    let servers = [TARGET, TARGET + 1].map(|port| Servers::new(host).tcp(port, Family::V4));
    let slices = [(TARGET, "a"), (TARGET + 1, "b")].map(|(port, name)| {
        let slice = yaml::endpoint_slice("web", [(host.v4, true, "", "node")]);
        slice.name(&format!("web-{name}")).port("http", port).pod(host.v4, name)
    });
    bench
        .scene
        .config("web.yaml", yaml::join(&[&idle_service("web", VIP), &slices[0], &slices[1]]));
    let _daemon = bench.start();
    let seen = bench.ask(WEB).expect("an answer");
    assert_eq!((seen.pod.as_str(), seen.seen_from), ("node", seen.local));
    bench.answers(WEB, 40);
    let accepted = servers.each_ref().map(Servers::accepted);
    assert!(accepted[0] > 0 && accepted[1] > 0, "{accepted:?}: by port they are two");
}

#[test]
fn an_endpoint_on_loopback_is_each_client_itself_and_only_istio_may_say_so() {
    let bench = Bench::new("loopback", &["red"]);
    let _own = Servers::new(&bench.client).tcp(TARGET, Family::Dual);
    let entry = |name: &str, vip: IpAddr, endpoint: &str| {
        let entry = yaml::service_entry(name, &format!("{name}.example.com")).address(vip);
        entry.port("http", PORT, TARGET).endpoint(endpoint, 1, "")
    };
    let entries =
        yaml::join(&[&entry("four", WEB.ip(), "127.0.0.1"), &entry("six", WEB6.ip(), "::1")]);
    bench.scene.config("agent.yaml", entries);
    let daemon = bench.start();
    daemon.enrol(bench.pod("red"), None);
    for pod in [&bench.client, bench.pod("red")] {
        for dialled in [WEB, WEB6] {
            let answer = answer(pod, dialled);
            assert_eq!((answer.pod.as_str(), answer.peer), (pod.name.as_str(), dialled));
            assert!(answer.seen_from.ip().is_loopback(), "{}", answer.seen_from);
        }
    }
    let slice = yaml::endpoint_slice("own", [("127.0.0.1", true, "", "")]).port("http", TARGET);
    bench.scene.config("own.yaml", yaml::join(&[&idle_service("own", vip(11)), &slice]));
    let told = wait_problems(&daemon, "the slice to be refused", |told| !told.is_empty());
    let what = "endpoints[0].addresses[0]: \"127.0.0.1\" is a loopback address";
    assert_has(&told.join("\n"), &["EndpointSlice default/own-v4", what]);
}

/// The service `web` on `red` of this node and `blue` of another, with a node port.
fn exposed(bench: &Bench, names: &[(&str, &'static str)], policy: &str) -> String {
    let endpoints = names.iter().map(|(name, node)| (bench.pod(name).v4, true, "", *node));
    let slice = yaml::endpoint_slice("web", endpoints).port("http", TARGET);
    let service = yaml::service("web")
        .cluster_ip(VIP)
        .port("http", PORT, TARGET)
        .field("type", "NodePort")
        .field("externalIPs", "[203.0.113.7]")
        .field("externalTrafficPolicy", policy)
        .to_string()
        .replacen("port: 80\n", &format!("port: 80\n      nodePort: {NODE_PORT}\n"), 1);
    yaml::join(&[&service, &slice])
}

fn start_on_node(bench: &Bench) -> Daemon {
    let address = bench.scene.network().node().v4;
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--node-address".into(), address.to_string().into()];
    });
    daemon.enrol(&bench.client, None);
    daemon
}

#[test]
fn a_node_port_is_the_mesh_s_inside_and_nobody_s_outside() {
    let mut bench = Bench::new("node_port", &["red"]);
    let outsider = bench.scene.pod("outsider");
    let node = SocketAddr::from((bench.scene.network().node().v4, NODE_PORT));
    bench.scene.config("web.yaml", exposed(&bench, &[("red", "node")], "Cluster"));
    let daemon = start_on_node(&bench);
    let inside = bench.ask(node).expect("an answer");
    assert_eq!((inside.pod.as_str(), inside.peer), ("red", node));
    assert_eq!(inside.seen_from, inside.local, "no address is translated");
    let outside = outsider.run(|| ask(node)).expect_err("no kube-proxy here").kind();
    assert_eq!(outside, ErrorKind::ConnectionRefused, "by the kernel: nobody listens");
    // Another node's address and loopback are left alone, whoever serves them.
    let passed = counter(&daemon, "unknown_destination");
    for elsewhere in [IpAddr::from(outsider.v4), IpAddr::from([127, 0, 0, 1])] {
        assert_eq!(bench.error((elsewhere, NODE_PORT)), ErrorKind::ConnectionRefused);
    }
    assert_eq!(counter(&daemon, "unknown_destination"), passed + 2);
}

#[test]
fn a_local_node_port_stays_on_the_node_or_is_refused_and_external_addresses_do_not_care() {
    let bench = Bench::new("external_local", &["red", "blue"]);
    let (here, there) = (("red", "node"), ("blue", "elsewhere"));
    bench.scene.config("web.yaml", exposed(&bench, &[here, there], "Local"));
    let daemon = start_on_node(&bench);
    let node = SocketAddr::from((bench.scene.network().node().v4, NODE_PORT));
    let inside = [WEB, SocketAddr::from(([203, 0, 113, 7], PORT))];
    assert_eq!(bench.answers(node, 40), [("red".to_owned(), 40)].into());
    for dialled in inside {
        let everywhere = bench.answers(dialled, 40);
        assert!(everywhere["red"] > 0 && everywhere["blue"] > 0, "{dialled}: {everywhere:?}");
    }
    bench.apply(&daemon, "web.yaml", exposed(&bench, &[there], "Local"));
    assert_eq!(bench.error(node), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "no_endpoint"), 1);
    for dialled in inside {
        assert_eq!(bench.who(dialled), "blue");
    }
}
