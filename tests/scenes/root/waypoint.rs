//! Connections that go by a waypoint: which, whereto, and what happens while there is none.

mod bytes;
mod silent;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use rustix::event::{Timespec, epoll};
use testkit::{Daemon, Nginx, Pod, Recorder, Reply, ask, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, VIP, WEB, WEB6, assert_has, counter, success, vip,
    wait_problems, web_service,
};
use super::load::Load;

/// Where waypoints listen for connections that begin with a header.
pub const WAYPOINT_PORT: u16 = 15_019;
/// The waypoint's own service.
const WAYPOINT_VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 15);
const USE: &str = "istio.io/use-waypoint";

/// The header of `WEB`, byte for byte.
pub const HEADER: [u8; 16] = [1, 0, 0, 0, 6, 10, 96, 0, 10, 0, 80, 0xfe, 0, 0, 0, 0];
/// The header of `WEB6`.
const HEADER6: [u8; 28] = [
    1, 0, 0, 0, 18, 0xfd, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 80, 0xfe, 0, 0, 0,
    0,
];

/// A Gateway that is a waypoint.
fn gateway(name: &str, purpose: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: {name}, labels: {{istio.io/waypoint-for: {purpose}}}}}\n\
         spec: {{gatewayClassName: istio-waypoint, \
         listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n"
    )
}

/// A waypoint's Gateway and Service, with these pods behind it.
fn waypoint(name: &str, address: Ipv4Addr, purpose: &str, pods: &[&Pod]) -> String {
    let service = service(name, address);
    let v4 = yaml::endpoint_slice(name, pods.iter().map(|pod| (pod.v4, true, "", "")));
    let v4 = pods.iter().fold(v4, |slice, pod| slice.pod(pod.v4, &pod.name));
    let v6 = yaml::endpoint_slice(name, pods.iter().map(|pod| (pod.v6, true, "", "")));
    let v6 = v6.name(&format!("{name}-v6")).port("hbone", 15_008);
    yaml::join(&[&gateway(name, purpose), &service, &v4.port("hbone", 15_008), &v6])
}

/// A waypoint's own service.
fn service(name: &str, address: Ipv4Addr) -> yaml::Service {
    yaml::service(name).cluster_ip(address).port("hbone", 15_008, 15_008)
}

/// The service `web` by the waypoint `wp`.
fn web_by(bench: &Bench, name: &str) -> String {
    let labelled = web_service().label(USE, name).to_string();
    bench.web(&["red"]).replacen(&web_service().to_string(), &labelled, 1)
}

/// A client, a server `red` behind `web`, a pod `wp` that is its waypoint.
fn bench(name: &str) -> Bench {
    let bench = Bench::new(name, &["red", "wp"]);
    bench.scene.config("web.yaml", web_by(&bench, "wp"));
    bench.scene.config("wp.yaml", waypoint("wp", WAYPOINT_VIP, "all", &[bench.pod("wp")]));
    bench
}

/// The waypoint's recorder.
fn recorder(bench: &Bench, reply: Reply) -> Recorder {
    Recorder::start(bench.pod("wp"), WAYPOINT_PORT, reply)
}

fn dial(bench: &Bench, address: SocketAddr) -> TcpStream {
    let stream = bench.client.run(|| TcpStream::connect(address)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits until the recorder has exactly these connections, in any order.
#[track_caller]
fn wait_received(recorder: &Recorder, expected: &[Vec<u8>]) {
    let mut expected = expected.to_vec();
    expected.sort();
    wait_until("the waypoint to have every byte", PATIENCE, || {
        let mut found = recorder.received();
        found.sort();
        if found == expected { Ok(()) } else { Err(short(&found)) }
    });
}

fn short(found: &[Vec<u8>]) -> String {
    let parts =
        found.iter().map(|it| format!("{} bytes {:02x?}", it.len(), &it[..it.len().min(48)]));
    parts.collect::<Vec<_>>().join("; ")
}

/// How many sockets still meet the program that sends headers.
fn watched(daemon: &Daemon) -> u64 {
    let status = daemon.status();
    let mut maps = status["maps"].as_array().expect("an array").iter();
    let map = maps.find(|map| map["name"] == "waypoint_sockets").expect("the map is listed");
    map["entries"].as_u64().expect("a number")
}

fn with(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

/// Asks by what the client dials, and says who answered.
fn answer(bench: &Bench, address: impl Into<SocketAddr>) -> String {
    let mut stream = dial(bench, address.into());
    let mut line = String::new();
    stream.write_all(b"x").unwrap();
    stream.read_to_string(&mut line).unwrap();
    line.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn the_header_says_what_was_dialled_in_both_families_and_v4_mapped() {
    let bench = bench("wp_header");
    let recorder = recorder(&bench, Reply::Keep);
    let _daemon = bench.start();
    let mapped = SocketAddr::from((VIP.to_ipv6_mapped(), PORT));
    let mut expected = Vec::new();
    for (address, header) in [(WEB, &HEADER[..]), (WEB6, &HEADER6), (mapped, &HEADER)] {
        let mut stream = dial(&bench, address);
        assert_eq!(stream.peer_addr().unwrap(), address, "getpeername()");
        stream.write_all(b"hello").unwrap();
        expected.push(with(header, b"hello"));
        wait_received(&recorder, &expected);
    }
}

#[test]
fn a_real_client_reaches_a_real_server_through_a_waypoint_that_is_in_the_mesh_itself() {
    let mut bench = bench("wp_forward");
    bench.servers.clear();
    let _nginx = Nginx::start(bench.pod("red"), &[TARGET]);
    let recorder = recorder(&bench, Reply::Forward);
    let daemon = bench.start();
    // What dials is a waypoint: it goes to the endpoints, or it would dial itself for ever.
    daemon.enrol(bench.pod("wp"), "default/wp");
    let explained = success(&daemon.kmeshctl(&["explain", "default/wp", "10.96.0.10:80"]));
    assert_has(&explained, &["in the mesh, as a waypoint", "balanced over 1 endpoints"]);
    for url in ["http://10.96.0.10/", "http://[fd96::10]/"] {
        let mut curl = bench.client.command("curl");
        let curl = curl.args(["-sS", "--max-time", "10", url, url, url]);
        assert_eq!(
            success(&curl.output().unwrap()),
            "red\nred\nred\n",
            "{url}, three on one connection"
        );
    }
    assert_eq!(recorder.accepted(), 2);
    wait_until("the sockets to be ordinary ones", PATIENCE, || watched(&daemon) == 0);
}

/// It has judged for those whom it serves; elsewhere it is a client like any other.
#[test]
fn what_a_waypoint_dials_passes_where_it_serves_and_is_judged_elsewhere() {
    let bench = Bench::new("wp_trusted", &["red", "blue", "wp"]);
    let [red, blue, wp] = ["red", "blue", "wp"].map(|name| bench.pod(name));
    bench.scene.config("web.yaml", web_by(&bench, "wp"));
    bench.scene.config("wp.yaml", waypoint("wp", WAYPOINT_VIP, "all", &[wp]));
    bench.scene.config("blue.yaml", yaml::workload_entry("blue", blue.v4));
    let nobody = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {name: nobody, namespace: default}\nspec: {}\n";
    bench.scene.config("nobody.yaml", nobody);
    let daemon = bench.start();
    daemon.enrol(red, "default/red");
    daemon.enrol(blue, "default/blue");
    let from = |client: &Pod, server: &Pod| client.run(|| ask((server.v4, TARGET).into()));
    from(wp, red).expect("it serves web, whose endpoint this is");
    for (client, server) in [(wp, blue), (&bench.client, red)] {
        let error = from(client, server).expect_err("nobody is allowed");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    assert_eq!(counter(&daemon, "authz_trusted_waypoint"), 1);
    assert_eq!(counter(&daemon, "authz_not_allowed"), 2);
}

#[test]
fn what_waits_to_be_read_is_told_right_when_the_header_is_on_its_way() {
    let bench = bench("wp_fionread");
    let _recorder = recorder(&bench, Reply::Echo);
    let daemon = bench.start();
    let mut stream = dial(&bench, WEB);
    let mut back = [0; 5];
    stream.write_all(b"first").unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(watched(&daemon), 0, "the answer came behind the acknowledgement of the header");
    stream.write_all(b"again").unwrap();
    wait_until("FIONREAD to say 5", PATIENCE, || {
        let waiting = rustix::io::ioctl_fionread(&stream).unwrap();
        if waiting == 5 { Ok(()) } else { Err(format!("{waiting}")) }
    });
}

/// As an event loop waits: told once for each arrival, or never again.
#[test]
fn an_event_loop_is_woken_by_every_answer() {
    let bench = bench("wp_epoll");
    let _recorder = recorder(&bench, Reply::Echo);
    let _daemon = bench.start();
    let mut stream = dial(&bench, WEB);
    stream.set_nonblocking(true).unwrap();
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&queue, &stream, epoll::EventData::new_u64(7), interest).unwrap();
    for round in 0..50_u32 {
        let sent = round.to_be_bytes();
        stream.write_all(&sent).unwrap();
        let mut back: Vec<u8> = Vec::new();
        while back.len() < sent.len() {
            let mut events = Vec::with_capacity(1);
            let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            let room = rustix::buffer::spare_capacity(&mut events);
            assert_eq!(epoll::wait(&queue, room, Some(&patience)).unwrap(), 1, "{round}");
            let mut piece = [0; 8];
            match stream.read(&mut piece) {
                Ok(length) => back.extend(&piece[..length]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(back, sent);
    }
}

#[test]
fn a_waypoint_that_is_not_known_refuses_and_heals_when_it_appears() {
    let bench = bench("wp_parked");
    bench.scene.remove_config("wp.yaml");
    let _recorder = recorder(&bench, Reply::Name);
    let daemon = bench.start();
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "waypoint_unavailable"), 1);
    wait_problems(&daemon, "the missing waypoint to be named", |problems| {
        let has = |text: &str| problems.iter().any(|problem| problem.contains(text));
        has("there is no Gateway default/wp of class istio-waypoint")
            && has("service default/wp.default.svc.cluster.local: as a waypoint of 1 services")
    });
    let pods = [bench.pod("wp")];
    bench.apply(&daemon, "wp.yaml", waypoint("wp", WAYPOINT_VIP, "all", &pods));
    assert_eq!(answer(&bench, WEB), "wp");
    wait_problems(&daemon, "no problem", <[String]>::is_empty);
    // Known, and nobody behind it.
    bench.apply(&daemon, "wp.yaml", waypoint("wp", WAYPOINT_VIP, "all", &[]));
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "waypoint_unavailable"), 2);
}

#[test]
fn a_waypoint_without_the_listener_is_named_with_what_it_needs() {
    let bench = bench("wp_hbone_only");
    let daemon = bench.start();
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    wait_until("the refusal to be counted", PATIENCE, || counter(&daemon, "waypoint_refused") == 1);
    let at = format!("{}:{WAYPOINT_PORT}", bench.pod("wp").v4);
    wait_problems(&daemon, "the waypoint to be named", |problems| {
        let is = |problem: &&String| {
            problem.contains("waypoint default/wp.default.svc.cluster.local")
                && problem.contains(&at)
        };
        problems.iter().find(is).is_some_and(|problem| problem.contains("HBONE"))
    });
    let _recorder = recorder(&bench, Reply::Name);
    assert_eq!(answer(&bench, WEB), "wp");
    wait_problems(&daemon, "no problem", <[String]>::is_empty);
}

#[test]
fn a_waypoint_named_as_its_own_is_dropped_and_named() {
    let bench = bench("wp_self");
    let own = waypoint("wp", WAYPOINT_VIP, "all", &[bench.pod("wp")]);
    let (plain, labelled) =
        (service("wp", WAYPOINT_VIP), service("wp", WAYPOINT_VIP).label(USE, "wp"));
    let own = own.replacen(&plain.to_string(), &labelled.to_string(), 1);
    bench.scene.config("wp.yaml", own);
    let _recorder = recorder(&bench, Reply::Name);
    let daemon = bench.start();
    assert_eq!(answer(&bench, WEB), "wp", "the service goes by it");
    // Its own address leads to its endpoints, where nothing listens on that port.
    assert_eq!(bench.error((WAYPOINT_VIP, 15_008)), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "waypoint_unavailable"), 0);
    assert_eq!(counter(&daemon, "waypoint_refused"), 0);
    wait_problems(&daemon, "the loop to be named", |problems| {
        problems.iter().any(|problem| problem.contains("it is a waypoint itself"))
    });
}

#[test]
fn a_pod_dialled_at_its_own_address_goes_by_the_waypoint_of_its_namespace_on_every_port() {
    let bench = bench("wp_workload");
    let recorder = recorder(&bench, Reply::Keep);
    let namespace = yaml::namespace("default", &[(USE, "wp")]);
    bench.scene.config("namespace.yaml", namespace);
    let daemon = bench.start();
    let red = bench.pod("red");
    let mut expected = Vec::new();
    for port in [TARGET, 22] {
        dial(&bench, (red.v4, port).into()).write_all(b"hello").unwrap();
        let mut header = vec![1, 0, 0, 0, 6];
        header.extend(red.v4.octets());
        header.extend(port.to_be_bytes());
        header.extend([0xfe, 0, 0, 0, 0]);
        expected.push(with(&header, b"hello"));
        wait_received(&recorder, &expected);
    }
    // The waypoint's own pod is not sent to itself.
    assert_eq!(bench.who((bench.pod("wp").v4, TARGET)), "wp");
    let explained = daemon.kmeshctl(&[
        "explain",
        &bench.client.netns().display().to_string(),
        &format!("{}:22", red.v4),
    ]);
    assert_has(
        &success(&explained),
        &["waypoint default/wp.default.svc.cluster.local:15008", "16 bytes"],
    );
}

#[test]
fn a_waypoint_comes_and_goes_under_load_and_no_connection_fails() {
    let bench = bench("wp_attach");
    bench.serve(&["red"]);
    let recorder = recorder(&bench, Reply::Name);
    let daemon = bench.start();
    let load = Load::start(&bench.client, 4, || {
        let fail = |e: std::io::Error| e.to_string();
        let mut stream = TcpStream::connect(WEB).map_err(fail)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        let mut line = String::new();
        // Nothing is written: by the waypoint, the daemon sends the header.
        stream.read_to_string(&mut line).map_err(fail)?;
        if line.ends_with('\n') { Ok(()) } else { Err(format!("{line:?}")) }
    });
    for _ in 0..5 {
        bench.apply(&daemon, "web.yaml", web_by(&bench, "wp"));
        let before = recorder.accepted();
        wait_until("connections by the waypoint", PATIENCE, || recorder.accepted() > before + 20);
        bench.apply(&daemon, "web.yaml", bench.web(&["red"]));
        load.more(200);
    }
    load.finish();
    assert_eq!(counter(&daemon, "waypoint_unavailable"), 0);
    wait_until("no socket to be watched any more", PATIENCE, || watched(&daemon) == 0);
}

#[test]
fn a_daemon_that_is_killed_leaves_clients_that_speak_first_alone() {
    let bench = bench("wp_killed");
    let recorder = recorder(&bench, Reply::Echo);
    let mut daemon = bench.start();
    let mut open = dial(&bench, WEB);
    daemon.kill9();
    let mut fresh = dial(&bench, WEB);
    for stream in [&mut open, &mut fresh] {
        let mut back = [0; 5];
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");
    }
    // One that waits for the server waits on, and gets its header from the next daemon.
    let mut silent = dial(&bench, WEB);
    daemon.start();
    let hello = with(&HEADER, b"hello");
    wait_received(&recorder, &[hello.clone(), hello.clone(), HEADER.to_vec()]);
    silent.write_all(b"hello").unwrap();
    wait_received(&recorder, &[hello.clone(), hello.clone(), hello]);
    silent.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn without_room_for_what_a_waypoint_must_be_told_the_connection_is_refused() {
    let bench = bench("wp_room");
    let _recorder = recorder(&bench, Reply::Keep);
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--sockets-max".into(), "2".into()];
    });
    daemon.enrol(&bench.client, None);
    let streams = [dial(&bench, WEB), dial(&bench, WEB)];
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    assert_eq!(counter(&daemon, "waypoint_no_room"), 1);
    drop(streams);
}

#[test]
fn the_waypoint_port_is_configuration() {
    let bench = bench("wp_port");
    let recorder = Recorder::start(bench.pod("wp"), 16_019, Reply::Name);
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--waypoint-port".into(), "16019".into()];
    });
    daemon.enrol(&bench.client, None);
    assert_eq!(answer(&bench, WEB), "wp");
    assert_eq!(recorder.accepted(), 1);
    let dump = success(&daemon.kmeshctl(&["dump", "dual-engine", "--bpf"]));
    assert_has(&dump, &["waypoint default/wp.default.svc.cluster.local:15008"]);
    let config = daemon.get_json("/debug/config_dump/dual-engine");
    let services = config["services"].as_array().expect("services");
    let web = services.iter().find(|service| service["name"] == "web").expect("web");
    assert_eq!(web["waypoint"]["destination"], "default/wp.default.svc.cluster.local");
    let _ = vip(1);
}
