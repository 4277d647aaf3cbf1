//! Waypoints that a control plane names: several by weight, by address and by name.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use testkit::{Recorder, Reply, wait_until};
use xds::wire::discovery::Resource;
use xds::wire::workload::gateway_address::Destination;
use xds::wire::workload::{
    GatewayAddress, NamespacedHostname, NetworkAddress, Service, WeightedWaypoint,
};

use super::super::bench::{Bench, PATIENCE, VIP, WEB, committed, counter};
use super::super::waypoint::{HEADER, WAYPOINT_PORT};
use super::fake::{Fake, of_pod, of_service, pod, service};

const HBONE_PORT: u32 = 15_008;
const VIPS: [(&str, Ipv4Addr); 2] =
    [("heavy", Ipv4Addr::new(10, 96, 0, 31)), ("light", Ipv4Addr::new(10, 96, 0, 32))];

fn by_name(name: &str) -> GatewayAddress {
    let hostname = format!("{name}.default.svc.cluster.local");
    let name = NamespacedHostname { namespace: "default".into(), hostname };
    GatewayAddress { destination: Some(Destination::Hostname(name)), hbone_mtls_port: HBONE_PORT }
}

fn by_address(address: Ipv4Addr) -> GatewayAddress {
    let address = NetworkAddress { address: address.octets().to_vec(), ..Default::default() };
    GatewayAddress { destination: Some(Destination::Address(address)), hbone_mtls_port: HBONE_PORT }
}

/// The service `web` with one pod, and two waypoints with one each.
fn mesh(bench: &Bench, change: impl FnOnce(&mut Service)) -> Vec<Resource> {
    let mut web = service("web", &[VIP.into()]);
    change(&mut web);
    let own = |name: &str| [IpAddr::from(bench.pod(name).v4)];
    let waypoints = VIPS.iter().flat_map(|(name, vip)| {
        let name = *name;
        [of_service(service(name, &[(*vip).into()])), of_pod(pod(name, &own(name), &[name]))]
    });
    let served = [of_service(web), of_pod(pod("red", &own("red"), &["web"]))];
    served.into_iter().chain(waypoints).collect()
}

fn send(bench: &Bench, times: usize) {
    bench.client.run(|| {
        for _ in 0..times {
            TcpStream::connect(WEB).expect("a connection").write_all(b"hello").unwrap();
        }
    });
}

#[test]
fn connections_go_by_weighted_waypoints_as_often_as_the_weights_say() {
    const TIMES: usize = 400;
    let bench = Bench::new("weighted", &["red", "heavy", "light"]);
    let recorders =
        VIPS.map(|(name, _)| Recorder::start(bench.pod(name), WAYPOINT_PORT, Reply::Keep));
    let fake = Fake::new();
    let weighted = |destination, weight| WeightedWaypoint { destination, weight };
    fake.say(mesh(&bench, |web| {
        web.waypoint = Some(by_name("heavy"));
        let (heavy, light) = (by_name("heavy"), by_address(VIPS[1].1));
        web.weighted_waypoints = vec![weighted(Some(heavy), 3), weighted(Some(light), 1)];
    }));
    let url = fake.url();
    let daemon = bench.scene.start_daemon_with(|options| options.xds_address = Some(url));
    daemon.enrol(&bench.client, None);
    send(&bench, TIMES);
    let whole = [&HEADER[..], b"hello"].concat();
    let counts = wait_until("every byte", PATIENCE, || {
        let counts = recorders
            .each_ref()
            .map(|it| it.received().iter().filter(|bytes| **bytes == whole).count());
        if counts.iter().sum::<usize>() == TIMES { Ok(counts) } else { Err(format!("{counts:?}")) }
    });
    // Five standard deviations of a fair draw of 400 with 3/4.
    assert!(counts[0].abs_diff(300) < 44, "{counts:?}");
}

#[test]
fn a_waypoint_by_name_is_refused_until_it_is_known_and_then_gone_by() {
    let bench = Bench::new("parked", &["red", "heavy", "light"]);
    let recorder = Recorder::start(bench.pod("heavy"), WAYPOINT_PORT, Reply::Keep);
    let fake = Fake::new();
    let whole = || mesh(&bench, |web| web.waypoint = Some(by_name("heavy")));
    let parked = |it: &Resource| !it.name.contains("heavy");
    fake.say(whole().into_iter().filter(parked));
    let url = fake.url();
    let daemon = bench.scene.start_daemon_with(|options| options.xds_address = Some(url));
    daemon.enrol(&bench.client, None);
    assert_eq!(bench.error(WEB), ErrorKind::ConnectionRefused);
    assert!(counter(&daemon, "waypoint_unavailable") > 0);
    committed(&daemon, || fake.say(whole()));
    send(&bench, 1);
    let expected = [&HEADER[..], b"hello"].concat();
    wait_until("the bytes", PATIENCE, || recorder.received() == [expected.clone()]);
}
