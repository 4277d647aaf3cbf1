//! Maps that are too small for the configuration: named, and no harm to what fits.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use testkit::{Daemon, DaemonOptions, yaml};

use super::bench::{
    Bench, PORT, TARGET, WEB, assert_has, generation, idle_service, problems, vip, wait_problems,
};

/// The service `z-large` with so many endpoints that nobody needs to reach.
fn large(endpoints: u8) -> String {
    let addresses = (1..=endpoints).map(|last| (Ipv4Addr::new(10, 78, 0, last), true, "", ""));
    let slice = yaml::endpoint_slice("z-large", addresses).port("http", TARGET);
    yaml::join(&[&idle_service("z-large", vip(11)), &slice])
}

fn backends_max(options: &mut DaemonOptions) {
    options.args.extend(["--backends-max".into(), "4".into()]);
}

/// The service without room is named, with the limit that stood in the way.
#[track_caller]
fn assert_named(daemon: &Daemon) {
    let told = wait_problems(daemon, "the limit to be told", |list| !list.is_empty()).join("\n");
    let service = "error: service default/z-large.default.svc.cluster.local: ";
    assert_has(&told, &[service, "backends_max is 4"]);
}

#[test]
fn a_service_with_too_many_endpoints_is_named_and_the_others_work() {
    let bench = Bench::new("backends", &["red"]);
    bench.serve(&["red"]);
    bench.scene.config("z-large.yaml", large(9));
    let daemon = bench.scene.start_daemon_with(backends_max);
    daemon.enrol(&bench.client, None);
    assert_named(&daemon);
    assert_eq!(bench.who(WEB), "red");
    bench.scene.remove_config("z-large.yaml");
    wait_problems(&daemon, "no problem to be left", <[String]>::is_empty);
    assert_eq!(bench.who(WEB), "red");
}

#[test]
fn a_service_that_grows_over_the_limit_keeps_its_last_good_endpoints() {
    let bench = Bench::new("growth", &["red"]);
    bench.scene.config("z-large.yaml", large(1));
    let daemon = bench.scene.start_daemon_with(backends_max);
    daemon.enrol(&bench.client, None);
    assert_eq!(problems(&daemon), Vec::<String>::new());
    bench.apply(&daemon, "z-large.yaml", large(9));
    assert_named(&daemon);
    let dump = daemon.get_json("/debug/config_dump/bpf/dual-engine");
    let backends = dump["backends"].as_array().expect("an array");
    assert_eq!(backends.len(), 1, "{backends:?}");
    assert_eq!(backends[0]["ip"], "10.78.0.1");
    bench.apply(&daemon, "z-large.yaml", idle_service("z-large", vip(11)));
    assert_eq!(problems(&daemon), Vec::<String>::new());
    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::ConnectionRefused);
}

#[test]
fn many_changes_do_not_use_up_a_small_map() {
    let bench = Bench::new("churn", &["red", "blue"]);
    bench.serve(&["red"]);
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args.extend(["--slots-max", "8", "--tables-max", "8"].map(Into::into));
        backends_max(options);
    });
    daemon.enrol(&bench.client, None);
    for (turn, name) in ["blue", "red"].into_iter().cycle().take(6).enumerate() {
        bench.apply(&daemon, "web.yaml", v4_only(&bench, name));
        assert_eq!(problems(&daemon), Vec::<String>::new(), "change {turn}");
        assert_eq!(bench.who(WEB), name);
    }
    assert!(generation(&daemon) >= 7);
}

/// The service `web` in front of one pod, IPv4 only.
fn v4_only(bench: &Bench, name: &str) -> String {
    let slice = yaml::endpoint_slice("web", [(bench.pod(name).v4, true, "", "")]);
    yaml::join(&[&idle_service("web", super::bench::VIP), &slice.port("http", TARGET)])
}
