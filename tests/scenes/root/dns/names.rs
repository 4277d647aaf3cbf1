//! Names of each kind, from each kind of client; and what is none of the mesh's business.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::Child;

use testkit::{NameServer, ask_udp, wait_until, yaml};

use super::super::bench::{
    Bench, PATIENCE, PORT, TARGET, UDP_PORT, VIP, VIP6, assert_has, counter, success, vip,
};
use super::{DnsBench, FOREIGN, FOREIGN_NAME, OUTSIDE, WEB_NAME, dig};

/// Services of every kind that has names.
fn configure(bench: &Bench) {
    let (red, blue) = (bench.pod("red"), bench.pod("blue"));
    let slice = yaml::endpoint_slice("db", [(red.v4, true, "", ""), (blue.v4, true, "", "")]);
    let text = yaml::join(&[
        &yaml::service("api").namespace("shop").cluster_ip(vip(20)).port("http", PORT, TARGET),
        &yaml::service("db").headless().port("http", PORT, TARGET),
        &slice.port("http", TARGET).pod(red.v4, "db-0").pod(blue.v4, "db-1"),
        &yaml::service("vm").headless().port("http", PORT, TARGET).selector("app", "vm"),
        &yaml::workload_entry("vm-1", blue.v4).label("app", "vm"),
        &yaml::service_entry("legacy", "legacy.example.com")
            .port("http", PORT, TARGET)
            .endpoint(red.v4, 1, ""),
        &yaml::service_entry("wild", "*.wild.example.com")
            .address(vip(40))
            .port("http", PORT, TARGET)
            .endpoint(red.v4, 1, ""),
    ]);
    bench.scene.config("names.yaml", text);
}

fn set(lines: Vec<String>) -> BTreeSet<String> {
    lines.into_iter().collect()
}

#[test]
fn names_of_every_kind_are_answered_over_udp_and_tcp_to_both_families() {
    let dns = DnsBench::new("dns_names", &["red", "blue"]);
    configure(&dns.bench);
    let daemon = dns.start();
    let (red, blue) = (dns.bench.pod("red").v4.to_string(), dns.bench.pod("blue").v4.to_string());
    let web = VIP.to_string();
    let expected: &[(&str, &[&str])] = &[
        (WEB_NAME, &[&web]),
        ("web", &[&web]),
        ("web.default", &[&web]),
        ("web.default.svc", &[&web]),
        ("api.shop", &["10.96.0.20"]),
        ("api.shop.svc.cluster.local", &["10.96.0.20"]),
        ("db.default.svc.cluster.local", &[&red, &blue]),
        ("db-0.db.default.svc.cluster.local", &[&red]),
        ("vm-1.vm.default.svc.cluster.local", &[&blue]),
        ("any.wild.example.com", &["10.96.0.40"]),
        (FOREIGN_NAME, &["192.0.2.80"]),
    ];
    for server in dns.resolvers() {
        for transport in ["+notcp", "+tcp"] {
            for (name, addresses) in expected {
                let told = set(dns.dig(server, &[transport, name]));
                let wanted = addresses.iter().map(|address| (*address).to_owned()).collect();
                assert_eq!(told, wanted, "{name} {transport} of {server}");
            }
            assert_eq!(dns.dig(server, &[transport, "web", "AAAA"]), [VIP6.to_string()]);
            let from = if server.is_ipv4() {
                dns.bench.client.v4.to_string()
            } else {
                dns.bench.client.v6.to_string()
            };
            let bound = dns.dig(server, &[transport, "-b", &from, "web"]);
            assert_eq!(bound, [VIP.to_string()], "from a socket bound to {from}");
            // A name of another namespace has no short form here.
            assert_eq!(dns.dig(server, &[transport, "api"]), Vec::<String>::new());
        }
    }
    // A ServiceEntry without an address gets one, and it leads to its endpoints.
    let told = dns.dig(dns.resolver.v4.into(), &["legacy.example.com"]);
    let address: IpAddr = told[0].parse().expect("an address");
    assert_eq!(dns.bench.who((address, PORT)), "red");
    assert_eq!(counter(&daemon, "dns_proxy_silent"), 0);
}

#[test]
fn a_server_on_port_53_that_is_no_resolver_is_left_alone() {
    let mut dns = DnsBench::new("dns_alone", &["red"]);
    let other = dns.bench.scene.pod("other");
    let _server = NameServer::start(&other, &[(WEB_NAME, [192, 0, 2, 99].into(), 60)]);
    let _daemon = dns.start();
    for transport in ["+notcp", "+tcp"] {
        for server in [other.v4.into(), other.v6.into()] {
            assert_eq!(dns.dig(server, &[transport, WEB_NAME]), ["192.0.2.99"]);
        }
        assert_eq!(dns.dig(dns.resolver.v4.into(), &[transport, WEB_NAME]), [VIP.to_string()]);
    }
    // A service that speaks something else on port 53.
    let reply = dns.bench.client.run(|| ask_udp((VIP, UDP_PORT).into(), "x")).expect("a reply");
    assert_eq!(reply.0, "red x");
}

#[test]
fn foreign_names_are_forwarded_and_their_ttl_counts_down() {
    let mut dns = DnsBench::new("dns_ttl", &["red"]);
    let short = ("short.example.com", IpAddr::from([192, 0, 2, 1]), 1);
    dns.start_upstream(&[short]);
    let _daemon = dns.start();
    let server = dns.resolver.v4.into();
    let ttl = |name: &str| -> u32 {
        let told = dns.dig(server, &["+noshort", "+noall", "+answer", name]).concat();
        told.split_whitespace().nth(1).expect("a TTL").parse().expect("a number")
    };
    assert_eq!(ttl(FOREIGN_NAME), 60);
    wait_until("its TTL to count down", PATIENCE, || ttl(FOREIGN_NAME) < 60);
    assert_eq!(dns.upstream().asked(FOREIGN_NAME), 1, "the answer was kept");
    assert_eq!(ttl(short.0), 1);
    wait_until("an answer that has ended to be asked for again", PATIENCE, || {
        ttl(short.0);
        dns.upstream().asked(short.0) > 1
    });
    assert!(ttl(WEB_NAME) <= 30, "a client sees changes of the mesh soon");
    let none = dns.dig(server, &["+noshort", "+noall", "+comments", "none.example.com"]);
    assert!(none.concat().contains("NXDOMAIN"), "{none:?}");
}

#[test]
fn a_resolver_that_is_a_service_is_captured_and_asked_through_its_endpoints() {
    let mut dns = DnsBench::new("dns_vip", &["red"]);
    let kube_dns = vip(53);
    let service = yaml::service("kube-dns")
        .cluster_ip(kube_dns)
        .udp_port("dns", 53, 53)
        .port("dns-tcp", 53, 53);
    let slice = yaml::endpoint_slice("kube-dns", [(dns.resolver.v4, true, "", "")])
        .udp_port("dns", 53)
        .port("dns-tcp", 53);
    dns.bench.scene.config("kube-dns.yaml", yaml::join(&[&service, &slice]));
    let mut daemon = dns.bench.scene.start_daemon();
    daemon.enrol_with_resolvers(&dns.bench.client, "default/client", &[kube_dns.into()]);
    let told = |transport: &str, name: &str| dns.dig(kube_dns.into(), &[transport, name]);
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(told(transport, "web"), [VIP.to_string()]);
        assert_eq!(told(transport, FOREIGN_NAME), [FOREIGN.to_string()]);
    }
    daemon.kill9();
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(told(transport, WEB_NAME), [OUTSIDE.to_string()], "balanced as a service");
    }
    dns.upstream = None;
    drop(daemon);
}

#[test]
fn a_namespace_that_leaves_the_mesh_or_wants_none_asks_its_own_resolver() {
    let dns = DnsBench::new("dns_leave", &["red"]);
    let mut daemon = dns.start();
    let port_is_free = || {
        let bind = || std::net::UdpSocket::bind("127.0.0.1:15053").map(drop);
        dns.bench.client.run(bind).map_err(|e| e.to_string())
    };
    port_is_free().expect_err("the proxy has it");
    assert_eq!(daemon.status()["dns"]["served"], 1);
    daemon.unenrol(&dns.bench.client);
    assert_eq!(dns.web(), [OUTSIDE.to_string()]);
    port_is_free().expect("the server is gone");
    let netns = dns.bench.client.netns().to_str().expect("UTF-8").to_owned();
    success(&daemon.kmeshctl(&["enroll", "--netns", &netns, "--dns", "off"]));
    assert_eq!(dns.web(), [OUTSIDE.to_string()]);
    let resolver = dns.resolver.v4.to_string();
    success(&daemon.kmeshctl(&["enroll", "--netns", &netns, "--resolver", &resolver]));
    assert_eq!(dns.web(), [VIP.to_string()]);
    let told = success(&daemon.kmeshctl(&["explain", &netns, &format!("{resolver}:53")]));
    assert_has(&told, &["DNS", "a resolver of the namespace", "answered by the DNS proxy"]);
    assert_eq!(dns.dig(dns.resolver.v6.into(), &[WEB_NAME]), [OUTSIDE.to_string()], "not named");
    daemon.restart();
    dns.wait_captured();
    daemon.options().args = vec!["--dns-proxy".into(), "false".into()];
    daemon.restart();
    assert_eq!(dns.web(), [OUTSIDE.to_string()], "switched off as a whole");
    assert_eq!(daemon.status()["dns"]["enabled"], false);
    port_is_free().expect("there is no server");
    let told = success(&daemon.kmeshctl(&["explain", &netns, &format!("{resolver}:53")]));
    assert!(!told.contains("resolver of the namespace"), "{told}");
}

#[test]
fn a_port_that_somebody_has_costs_the_mesh_its_answers_and_nobody_else() {
    let dns = DnsBench::new("dns_taken", &["red"]);
    let taken = dns.bench.client.run(|| std::net::UdpSocket::bind("127.0.0.1:15053")).unwrap();
    let daemon = dns.bench.scene.start_daemon();
    daemon.enrol_with_resolvers(&dns.bench.client, "default/client", &[dns.resolver.v4.into()]);
    assert_eq!(dns.web(), [OUTSIDE.to_string()]);
    let problems = daemon.status()["dns"]["problems"].to_string();
    assert_has(&problems, &["default/client", "127.0.0.1:15053", "in use"]);
    drop(taken);
    dns.wait_captured();
    assert_eq!(daemon.status()["dns"]["problems"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_resolver_that_has_no_room_is_asked_as_if_there_were_no_proxy() {
    let dns = DnsBench::new("dns_room", &["red"]);
    let daemon = dns.bench.scene.start_daemon_with(|options| {
        options.args = vec!["--resolvers-max".into(), "1".into()];
    });
    daemon.enrol_with_resolvers(&dns.bench.client, "default/client", &dns.resolvers());
    assert_eq!(dns.web(), [OUTSIDE.to_string()]);
    let problems = daemon.status()["dns"]["problems"].to_string();
    assert_has(&problems, &["default/client", "map resolvers"]);
    assert_eq!(dns.bench.who((VIP, PORT)), "red", "the namespace is in the mesh all the same");
}

/// A process of a mount namespace of its own, as that of a container; killed on Drop.
struct Container(Child);

impl Container {
    /// In the client's network namespace, with `resolv_conf` as `/etc/resolv.conf`.
    fn new(dns: &DnsBench, resolv_conf: &Path) -> Self {
        let script = format!(
            "mount --bind {} /etc/resolv.conf && exec nsenter --net={} sleep 600",
            resolv_conf.display(),
            dns.bench.client.netns().display()
        );
        let mut command = std::process::Command::new("unshare");
        let child = command.args(["--mount", "sh", "-c", &script]).spawn().expect("unshare runs");
        let comm = format!("/proc/{}/comm", child.id());
        wait_until("the container to run", PATIENCE, || {
            std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep")
        });
        Self(child)
    }

    /// What the C library finds for a name.
    fn getent(&self, name: &str) -> Vec<String> {
        let pid = self.0.id().to_string();
        let mut command = std::process::Command::new("nsenter");
        command.args(["--mount", "--net", "--target", &pid, "getent", "ahosts", name]);
        let text = success(&command.output().expect("nsenter runs"));
        let stream = text.lines().filter(|line| line.contains("STREAM"));
        stream.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_container_is_served_by_its_resolv_conf_and_search_list() {
    let dns = DnsBench::new("dns_libc", &["red"]);
    let resolv_conf = dns.bench.scene.dir().join("resolv.conf");
    let text = format!(
        "nameserver {}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5\n",
        dns.resolver.v6
    );
    std::fs::write(&resolv_conf, text).unwrap();
    let container = Container::new(&dns, &resolv_conf);
    let daemon = dns.bench.scene.start_daemon();
    let pid = container.0.id().to_string();
    let enroll = ["enroll", "--pid", &pid, "--workload", "default/client"];
    success(&daemon.kmeshctl(&enroll));
    let enrolment = daemon.get_json("/enrolments");
    assert_eq!(enrolment[0]["resolvers"][0], dns.resolver.v6.to_string());
    for name in ["web", "web.default", WEB_NAME] {
        let mut told = container.getent(name);
        told.sort_unstable();
        assert_eq!(told, [VIP.to_string(), VIP6.to_string()], "{name}");
    }
    assert_eq!(container.getent(FOREIGN_NAME), [FOREIGN.to_string()]);
    assert_eq!(dig(&dns.bench.client, dns.resolver.v4.into(), &[WEB_NAME]), [OUTSIDE.to_string()]);
}

#[test]
fn a_namespace_that_is_gone_is_let_go_of_at_once() {
    let mut dns = DnsBench::new("dns_gone", &["red"]);
    let daemon = dns.start();
    let short_lived = dns.bench.scene.pod("short");
    daemon.enrol_with_resolvers(&short_lived, "default/short", &[dns.resolver.v4.into()]);
    dns.bench.scene.remove_pod(&short_lived);
    wait_until("its server to end", PATIENCE, || daemon.status()["dns"]["served"] == 1);
    wait_until("its link to vanish with it", PATIENCE, || {
        let mut links = dns.bench.scene.network().node().command("ip");
        let text = success(&links.args(["-brief", "link"]).output().expect("ip runs"));
        if text.lines().filter(|line| line.starts_with('v')).count() == 3 {
            Ok(())
        } else {
            Err(text)
        }
    });
}
