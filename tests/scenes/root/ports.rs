//! Headless services, several ports, and endpoints that each have ports of their own.

use std::io::ErrorKind;
use std::net::SocketAddr;

use testkit::{Daemon, Family, Pod, Servers, yaml};

use super::bench::{Bench, PORT, TARGET, VIP, WEB, counter, vip};

/// A port of a service for administrators, beside [`PORT`].
const ADMIN_PORT: u16 = 9000;

fn frontends(daemon: &Daemon) -> usize {
    let dump = daemon.get_json("/debug/config_dump/bpf/dual-engine");
    dump["frontends"].as_array().expect("an array").len()
}

#[test]
fn a_headless_service_has_no_address_and_its_pods_are_dialled_directly() {
    let bench = Bench::new("headless", &["red"]);
    let red = bench.pod("red").v4;
    let slice = || yaml::endpoint_slice("web", [(red, true, "", "")]).port("http", TARGET);
    let headless = yaml::service("web").headless().port("http", PORT, TARGET);
    bench.scene.config("web.yaml", yaml::join(&[&headless, &slice()]));
    let daemon = bench.start();
    assert_eq!(daemon.status()["config"]["services"], 1, "it is known all the same");
    assert_eq!(frontends(&daemon), 0);
    let unknown = counter(&daemon, "unknown_destination");
    for address in [SocketAddr::from((red, TARGET)), (bench.pod("red").v6, TARGET).into()] {
        let answer = bench.ask(address).unwrap();
        assert_eq!((answer.pod.as_str(), answer.peer), ("red", address));
    }
    assert_eq!(counter(&daemon, "unknown_destination"), unknown + 2);
    let with_address = yaml::service("web").cluster_ip(VIP).port("http", PORT, TARGET);
    bench.apply(&daemon, "web.yaml", yaml::join(&[&with_address, &slice()]));
    assert_eq!(frontends(&daemon), 2, "the port, and the whole address");
    assert_eq!(bench.who(WEB), "red");
}

/// Servers on a port each, so that it shows which one answered.
struct TwoPorts {
    http: Servers,
    admin: Servers,
}

impl TwoPorts {
    fn new(pod: &Pod, http: u16, admin: u16) -> Self {
        let serve = |port| Servers::new(pod).tcp(port, Family::Dual);
        Self { http: serve(http), admin: serve(admin) }
    }

    fn accepted(&self) -> (u64, u64) {
        (self.http.accepted(), self.admin.accepted())
    }
}

#[test]
fn named_target_ports_differ_from_slice_to_slice() {
    let mut bench = Bench::new("ports", &[]);
    let (red, blue) = (bench.scene.pod("red"), bench.scene.pod("blue"));
    let (on_red, on_blue) = (TwoPorts::new(&red, 8081, 9001), TwoPorts::new(&blue, 8082, 9002));
    let service = yaml::service("web")
        .cluster_ip(VIP)
        .port("http", PORT, "http")
        .port("admin", ADMIN_PORT, "admin");
    let slice = |pod: &Pod, http, admin| {
        let slice = yaml::endpoint_slice("web", [(pod.v4, true, "", "")]);
        slice.name(&format!("web-{}", pod.name)).port("http", http).port("admin", admin)
    };
    let slices = [slice(&red, 8081, 9001), slice(&blue, 8082, 9002)];
    bench.scene.config("web.yaml", yaml::join(&[&service, &slices[0], &slices[1]]));
    let _daemon = bench.start();
    let http = bench.answers(WEB, 40);
    let admin = bench.answers((VIP, ADMIN_PORT), 40);
    assert_eq!(on_red.accepted(), (http["red"], admin["red"]));
    assert_eq!(on_blue.accepted(), (http["blue"], admin["blue"]));
}

#[test]
fn a_workload_entry_brings_its_own_port() {
    let mut bench = Bench::new("entry_ports", &[]);
    let (red, blue) = (bench.scene.pod("red"), bench.scene.pod("blue"));
    let _on_red = Servers::new(&red).tcp(8081, Family::Dual);
    let _on_blue = Servers::new(&blue).tcp(TARGET, Family::Dual);
    let entry = yaml::service_entry("web", "web.example.com")
        .address(VIP)
        .port("http", PORT, TARGET)
        .workload_selector("app", "web");
    let workload = |pod: &Pod| yaml::workload_entry(&pod.name, pod.v4).workload_label("app", "web");
    let text = yaml::join(&[&entry, &workload(&red).port("http", 8081), &workload(&blue)]);
    bench.scene.config("web.yaml", text);
    let _daemon = bench.start();
    let counts = bench.answers(WEB, 40);
    assert!(counts["red"] > 0 && counts["blue"] > 0, "{counts:?}");
}

#[test]
fn an_endpoint_that_lacks_a_port_is_not_chosen_for_it() {
    let mut bench = Bench::new("port_lacking", &[]);
    let (red, blue) = (bench.scene.pod("red"), bench.scene.pod("blue"));
    let _on_red = Servers::new(&red).tcp(TARGET, Family::V4);
    let _on_blue = Servers::new(&blue).tcp(TARGET, Family::V4).tcp(9001, Family::V4);
    let service = yaml::service("web")
        .cluster_ip(VIP)
        .port("http", PORT, "http")
        .port("admin", ADMIN_PORT, "admin")
        .port("none", 9999, "none");
    let both = yaml::endpoint_slice("web", [(red.v4, true, "", ""), (blue.v4, true, "", "")]);
    let one = yaml::endpoint_slice("web", [(blue.v4, true, "", "")]).name("web-admin");
    let (both, one) = (both.port("http", TARGET), one.port("admin", 9001));
    bench.scene.config("web.yaml", yaml::join(&[&service, &both, &one]));
    let _daemon = bench.start();
    let http = bench.answers(WEB, 40);
    assert!(http["red"] > 0 && http["blue"] > 0, "{http:?}");
    assert_eq!(bench.answers((VIP, ADMIN_PORT), 40)["blue"], 40);
    assert_eq!(bench.error((VIP, 9999)), ErrorKind::ConnectionRefused, "no endpoint has it");
    assert_eq!(bench.error((vip(99), PORT)), ErrorKind::HostUnreachable, "nobody's address");
}
