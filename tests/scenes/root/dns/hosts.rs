//! Host names as endpoints: resolved by the daemon, beside the path of the configuration.

use std::net::IpAddr;

use serde_json::Value;
use testkit::{Daemon, Scene, wait_until, yaml};

use super::super::bench::{PATIENCE, PORT, TARGET, assert_has, committed, problems, success};
use super::DnsBench;

/// Dialled by clients, and the host that the endpoints are behind.
const HOST: &str = "api.example.com";

fn entry() -> String {
    let entry = yaml::service_entry("api", HOST).port("http", PORT, TARGET);
    entry.resolution("DNS").to_string()
}

/// A daemon on the node, where it reaches the resolver.
fn start(scene: &Scene, dns: &DnsBench) -> Daemon {
    let resolv_conf = scene.dir().join("node-resolv.conf");
    std::fs::write(&resolv_conf, format!("nameserver {}\n", dns.resolver.v4)).unwrap();
    scene.start_daemon_with(|options| {
        options.netns = Some(scene.network().node().netns().to_owned());
        options.args = vec!["--resolv-conf".into(), resolv_conf.into()];
    })
}

fn host(daemon: &Daemon) -> Value {
    daemon.status()["dns"]["hosts"][0].clone()
}

fn wait_addresses(daemon: &Daemon, addresses: &[IpAddr]) {
    let wanted = serde_json::json!(addresses);
    wait_until("the host's addresses", PATIENCE, || {
        let host = host(daemon);
        if host["addresses"] == wanted { Ok(()) } else { Err(host.to_string()) }
    });
}

/// What the client gets at the address that DNS tells it for the host.
fn who(dns: &DnsBench) -> String {
    let told = dns.dig(dns.resolver.v4.into(), &[HOST]);
    let address: IpAddr = told[0].parse().expect("an address");
    assert!(address.to_string().starts_with("240.240."), "{told:?}");
    dns.bench.who((address, PORT))
}

#[test]
fn a_host_with_an_address_of_its_own_leads_to_what_its_name_resolves_to() {
    let mut dns = DnsBench::new("dns_hosts", &["red", "blue"]);
    let red: IpAddr = dns.bench.pod("red").v4.into();
    let blue: IpAddr = dns.bench.pod("blue").v4.into();
    dns.start_upstream(&[(HOST, red, 1)]);
    dns.bench.scene.config("api.yaml", entry());
    let mut daemon = start(&dns.bench.scene, &dns);
    dns.enrol(&daemon);
    wait_addresses(&daemon, &[red]);
    assert_eq!(who(&dns), "red");
    assert!(problems(&daemon).is_empty(), "{:?}", problems(&daemon));
    // Its addresses are asked for again when their TTL has ended.
    dns.start_upstream(&[(HOST, blue, 1)]);
    wait_addresses(&daemon, &[blue]);
    assert_eq!(who(&dns), "blue");
    // The last good answer stays while there is none, and over a restart.
    dns.upstream = None;
    wait_until("the lookup to fail", PATIENCE, || host(&daemon)["failure"].is_string());
    assert_eq!(host(&daemon)["addresses"][0], blue.to_string());
    assert_eq!(who(&dns), "blue");
    assert_has(&success(&daemon.kmeshctl(&["status"])), &[HOST, "no resolver answered"]);
    daemon.kill9();
    daemon.start();
    daemon.wait_ready(PATIENCE);
    wait_until("the mesh to answer again", PATIENCE, || {
        !dns.dig(dns.resolver.v4.into(), &["+tries=1", HOST]).is_empty()
    });
    assert_eq!(who(&dns), "blue");
    // Nothing of the configuration waited for the name.
    committed(&daemon, || dns.bench.serve(&["red"]));
    dns.start_upstream(&[(HOST, red, 1)]);
    wait_addresses(&daemon, &[red]);
    assert_eq!(who(&dns), "red");
    committed(&daemon, || dns.bench.scene.remove_config("api.yaml"));
    assert_eq!(daemon.status()["dns"]["hosts"].as_array().map(Vec::len), Some(0));
}
