//! A service address dialled over IPv4, IPv6 and IPv4 in IPv6.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use testkit::{Family, Nginx, Servers, yaml};

use super::bench::{Bench, PORT, TARGET, VIP, VIP6, WEB, WEB6, idle_service, success, vip};

#[test]
fn a_client_dials_a_cluster_ip_and_sees_it_as_its_peer() {
    let bench = Bench::new("v4v6", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.scene.start_daemon();
    let mapped = SocketAddr::from((VIP.to_ipv6_mapped(), PORT));
    for dialled in [WEB, WEB6, mapped] {
        assert_eq!(bench.error(dialled), ErrorKind::HostUnreachable, "not enrolled yet: {dialled}");
    }
    daemon.enrol(&bench.client, None);
    let (own_v4, own_v6) = (bench.client.v4, bench.client.v6);
    let own_mapped = own_v4.to_ipv6_mapped();
    for (dialled, own) in
        [(WEB, IpAddr::V4(own_v4)), (WEB6, own_v6.into()), (mapped, own_mapped.into())]
    {
        let answer = bench.ask(dialled).unwrap();
        assert_eq!(answer.pod, "red", "{dialled}");
        assert_eq!(answer.peer, dialled, "getpeername() is what was dialled");
        assert_eq!(answer.local.ip(), own, "{dialled}");
        let (seen, local) = (answer.seen_from, answer.local);
        assert_eq!(seen.ip(), local.ip().to_canonical(), "the server sees the client itself");
        assert_eq!(seen.port(), local.port(), "and its own port");
    }
}

#[test]
fn a_service_with_endpoints_of_one_family_refuses_the_other() {
    let bench = Bench::new("one_family", &["red"]);
    let slice = yaml::endpoint_slice("web", [(bench.pod("red").v4, true, "", "")]);
    let text = yaml::join(&[&super::bench::web_service(), &slice.port("http", TARGET)]);
    bench.scene.config("web.yaml", text);
    let _daemon = bench.start();
    assert_eq!(bench.who(WEB), "red");
    assert_eq!(bench.error(WEB6), ErrorKind::ConnectionRefused);
}

#[test]
fn a_pod_may_be_its_own_endpoint() {
    let bench = Bench::new("hairpin", &[]);
    let _servers = Servers::new(&bench.client).tcp(TARGET, Family::Dual);
    bench.serve(&["client"]);
    let _daemon = bench.start();
    for dialled in [WEB, WEB6] {
        let answer = bench.ask(dialled).unwrap();
        assert_eq!((answer.pod.as_str(), answer.peer), ("client", dialled));
        assert_eq!(answer.seen_from, answer.local);
    }
}

#[test]
fn curl_and_nginx_meet_through_a_cluster_ip() {
    let mut bench = Bench::new("nginx", &[]);
    let server = bench.scene.pod("red");
    let _nginx = Nginx::start(&server, &[TARGET]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
    let _daemon = bench.start();
    let curl = |url: &str| {
        let format = "%{http_code} %{remote_ip} %{remote_port}";
        let mut command = bench.client.command("curl");
        command.args(["-gs", "--max-time", "5", "-w", format, url]).output().unwrap()
    };
    let via_v4 = success(&curl(&format!("http://{VIP}/")));
    assert_eq!(via_v4, format!("red\n200 {VIP} {PORT}"));
    let via_v6 = success(&curl(&format!("http://[{VIP6}]/")));
    assert_eq!(via_v6, format!("red\n200 {VIP6} {PORT}"));
    let refused = curl(&format!("http://{}/", vip(11)));
    assert_eq!(refused.status.code(), Some(7), "curl's word for a refused connection");
}
