//! Maps that are too small for the configuration: named, and no harm to what fits.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use testkit::{Daemon, DaemonOptions, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, VIP, WEB, assert_has, failure, generation, idle_service,
    problems, vip, wait_problems,
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

/// Starts a daemon with a limit in which `z-large` does not fit, and checks that it is named with the
/// limit, and that `web` works.
fn spared(bench: &Bench, limits: &[(&str, u32)], told: &[&str]) -> Daemon {
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = limits.iter().map(|(name, max)| format!("--{name}={max}").into()).collect();
    });
    daemon.enrol(&bench.client, None);
    let list = wait_problems(&daemon, "the limit to be told", |list| !list.is_empty()).join("\n");
    assert_has(&list, told);
    assert_eq!(bench.who(WEB), "red");
    daemon
}

/// How many entries of a map are in use, and how many there can be.
fn fill(daemon: &Daemon, map: &str) -> (u64, u64) {
    let status = daemon.status();
    let mut fills = status["maps"].as_array().expect("an array").iter();
    let fill = fills.find(|fill| fill["name"] == map).expect("the map is listed");
    let number = |field: &str| fill[field].as_u64().expect("a number");
    (number("entries"), number("entriesMax"))
}

#[test]
fn a_port_without_room_among_the_frontends_is_named_and_the_others_work() {
    let bench = Bench::new("frontends", &["red"]);
    bench.scene.config("web.yaml", v4_only(&bench, "red"));
    let large = (1..5).fold(idle_service("z-large", vip(11)), |service, port| {
        service.port(&format!("more-{port}"), port, TARGET)
    });
    bench.scene.config("z-large.yaml", large);
    let service =
        "error: service default/z-large.default.svc.cluster.local: no room for 10.96.0.11";
    // Two for `web`, and two for the first ports of the other.
    let daemon = spared(&bench, &[("frontends-max", 4)], &[service, "frontends_max is 4"]);
    assert_eq!(fill(&daemon, "frontends"), (4, 4));
    bench.scene.remove_config("z-large.yaml");
    wait_problems(&daemon, "no problem to be left", <[String]>::is_empty);
}

#[test]
fn a_port_without_room_among_the_tables_is_named_and_the_others_work() {
    let bench = Bench::new("tables", &["red"]);
    bench.scene.config("web.yaml", v4_only(&bench, "red"));
    bench.scene.config("z-large.yaml", large(1));
    let service = "error: service default/z-large.default.svc.cluster.local: no room";
    let daemon = spared(&bench, &[("tables-max", 1)], &[service, "tables_max is 1"]);
    assert_eq!(fill(&daemon, "tables"), (1, 1));
    assert_eq!(
        bench.error((vip(11), PORT)),
        ErrorKind::ConnectionRefused,
        "its address is its own"
    );
}

#[test]
fn a_block_without_room_is_named_and_the_others_work() {
    let bench = Bench::new("networks", &["red"]);
    bench.scene.config("web.yaml", v4_only(&bench, "red"));
    let red = bench.pod("red").v4;
    let block = |name: &str, block: &str| {
        let entry = yaml::service_entry(name, &format!("{name}.example.com")).address(block);
        entry.port("http", PORT, TARGET).endpoint(red, 1, "")
    };
    let blocks = [block("first", "10.50.0.0/16"), block("second", "10.51.0.0/16")];
    bench.scene.config("blocks.yaml", yaml::join(&[&blocks[0], &blocks[1]]));
    let service = "error: service default/second.example.com: no room for 10.51.0.0/16";
    let daemon = spared(&bench, &[("networks-max", 1)], &[service, "networks_max is 1"]);
    assert_eq!(bench.who(([10, 50, 1, 2], PORT)), "red", "the block that has room");
    assert_eq!(fill(&daemon, "networks"), (1, 1));
    bench.apply(&daemon, "blocks.yaml", &blocks[1]);
    wait_problems(&daemon, "the freed room to be used", <[String]>::is_empty);
    assert_eq!(bench.who(([10, 51, 1, 2], PORT)), "red");
}

#[test]
fn a_namespace_without_room_is_named_and_those_that_are_enrolled_stay() {
    let mut bench = Bench::new("enrolments", &["red"]);
    let second = bench.scene.pod("second");
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    daemon.enrol(&second, None);
    daemon.stop();
    daemon.options().args = vec!["--enrolments-max=1".into()];
    daemon.start();
    wait_until("the daemon to give up", PATIENCE, || !daemon.is_running());
    let flag = "2 network namespaces are enrolled and --enrolments-max is 1";
    assert_has(&daemon.logs(), &[flag]);
    assert_eq!(bench.who(WEB), "red", "the data path is as it was");

    daemon.stop();
    daemon.options().args = vec!["--enrolments-max=2".into()];
    daemon.restart();
    let third = bench.scene.pod("third");
    let netns = third.netns().to_str().expect("UTF-8");
    let told = failure(&daemon.kmeshctl(&["enroll", "--netns", netns]));
    let why = "is not enrolled: 2 network namespaces are, and --enrolments-max is 2";
    assert_has(&told, &[netns, why]);
    assert_eq!(fill(&daemon, "enrolments"), (2, 2));
    daemon.enrol(&bench.client, "default/client");
    daemon.unenrol(&second);
    daemon.enrol(&third, None);
}

#[test]
fn small_batches_bring_everything_into_the_maps_and_out_again() {
    let bench = Bench::new("batches", &["red"]);
    bench.serve(&["red"]);
    let many = |last: u8| {
        let services =
            (11..=last).map(|last| idle_service(&format!("idle-{last}"), vip(last)).to_string());
        services.collect::<Vec<_>>().join("---\n")
    };
    bench.scene.config("idle.yaml", many(60));
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--map-batch-entries=3".into()];
    });
    daemon.enrol(&bench.client, None);
    // A port and the whole address each; `web` has two ports in two families.
    assert_eq!(fill(&daemon, "frontends").0, 50 * 2 + 6);
    assert_eq!(bench.error((vip(60), PORT)), ErrorKind::ConnectionRefused);
    bench.apply(&daemon, "idle.yaml", many(13));
    assert_eq!(fill(&daemon, "frontends").0, 3 * 2 + 6);
    assert_eq!(bench.error((vip(60), PORT)), ErrorKind::HostUnreachable, "nobody's address");
    assert_eq!(bench.who(WEB), "red");
}

/// The service `web` in front of one pod, IPv4 only.
fn v4_only(bench: &Bench, name: &str) -> String {
    let slice = yaml::endpoint_slice("web", [(bench.pod(name).v4, true, "", "")]);
    yaml::join(&[&idle_service("web", VIP), &slice.port("http", TARGET)])
}
