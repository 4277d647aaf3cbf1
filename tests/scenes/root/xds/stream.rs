//! The stream itself: how it is opened again, and how often.

use std::time::{Duration, Instant};

use testkit::wait_until;

use super::super::bench::{Bench, PATIENCE, VIP, WEB};
use super::super::load::Load;
use super::fake::{Fake, of_pod, of_service, pod, service};

#[test]
fn a_control_plane_that_comes_back_is_not_stormed() {
    let bench = Bench::new("backoff", &["red"]);
    let fake = Fake::new();
    let red = bench.pod("red");
    let mesh = || {
        let web = of_service(service("web", &[VIP.into()]));
        [web, of_pod(pod("red", &[red.v4.into()], &["web"]))]
    };
    fake.say(mesh());
    let (url, address) = (fake.url(), fake.address());
    let daemon = bench.scene.start_daemon_with(|options| options.xds_address = Some(url));
    daemon.enrol(&bench.client, None);
    let load = Load::tcp(&bench.client, WEB, 2);
    let plane = || daemon.status()["config"]["controlPlane"].clone();
    let attempts = || plane()["attempts"].as_u64().unwrap();
    assert_eq!((attempts(), plane()["streams"].as_u64()), (1, Some(1)));
    fake.kill();
    let gone = Instant::now();
    wait_until("three more attempts", PATIENCE, || attempts() >= 4);
    // At most one a second: the three waits before them are at least 1, 2 and 4 seconds.
    assert!(gone.elapsed() > Duration::from_secs(3), "{:?}", gone.elapsed());
    let again = Fake::at(address);
    again.say(mesh());
    wait_until("a stream to be open again", PATIENCE, || plane()["connected"] == true);
    assert_eq!(plane()["streams"].as_u64(), Some(2));
    // It was told that it knows everything already.
    wait_until("the answer", PATIENCE, || again.state().accepted > 0);
    load.finish();
}
