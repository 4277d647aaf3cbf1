//! The daemon comes and goes while clients connect without pause; the data path stays.

use std::io::ErrorKind;

use testkit::{Daemon, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, UDP_PORT, VIP, WEB, WEB6, generation, idle_service, links,
    programs, success, uninstall, vip,
};
use super::load::Load;

/// TCP over both families and UDP, all at once.
struct Loads([Load; 3]);

impl Loads {
    fn start(bench: &Bench) -> Self {
        Self([
            Load::tcp(&bench.client, WEB, 2),
            Load::tcp(&bench.client, WEB6, 1),
            Load::udp(&bench.client, (VIP, UDP_PORT).into(), 1),
        ])
    }

    #[track_caller]
    fn more(&self) {
        self.0.iter().for_each(|load| load.more(200));
    }

    #[track_caller]
    fn finish(self) {
        self.0.into_iter().for_each(|load| assert!(load.finish() > 0));
    }
}

/// Ends the daemon, starts it again, and checks that every link is the one from before with a new
/// program in it.
#[track_caller]
fn replace(daemon: &mut Daemon, load: &Loads, end: impl FnOnce(&mut Daemon)) {
    let (links_before, programs_before) = (links(daemon), programs(daemon));
    // The guard has a link in each namespace, which is not one of these.
    let attached = programs_before.iter().filter(|(name, _)| name != "kmesh_authz").count();
    assert_eq!(links_before.len(), attached);
    assert!(!links_before.is_empty());
    end(daemon);
    load.more();
    daemon.start();
    daemon.wait_ready(PATIENCE);
    load.more();
    assert_eq!(links(daemon), links_before, "links are updated in place");
    for (before, after) in programs_before.iter().zip(programs(daemon)) {
        assert_eq!(before.0, after.0);
        assert_ne!(before.1, after.1, "{}: the new daemon brings its own program", after.0);
    }
}

#[test]
fn no_connect_fails_while_the_daemon_is_restarted() {
    let bench = Bench::new("restart", &["red", "blue"]);
    bench.serve(&["red", "blue"]);
    let mut daemon = bench.start();
    let load = Loads::start(&bench);
    for _ in 0..2 {
        replace(&mut daemon, &load, |daemon| {
            let status = daemon.stop().expect("it ran");
            assert!(status.success(), "{status}");
        });
    }
    load.finish();
}

#[test]
fn no_connect_fails_while_the_daemon_is_killed_and_started() {
    let bench = Bench::new("kill", &["red", "blue"]);
    bench.serve(&["red", "blue"]);
    let mut daemon = bench.start();
    let load = Loads::start(&bench);
    for _ in 0..2 {
        replace(&mut daemon, &load, Daemon::kill9);
    }
    load.finish();
}

#[test]
fn a_daemon_that_is_killed_while_it_starts_leaves_the_data_path_as_it_was() {
    let bench = Bench::new("kill_start", &["red"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let load = Loads::start(&bench);
    let before = links(&daemon);
    daemon.kill9();
    for attempt in 0..8 {
        daemon.start();
        // Each time a little later in its start.
        load.0[0].more(attempt * 40);
        daemon.kill9();
    }
    daemon.start();
    daemon.wait_ready(PATIENCE);
    load.more();
    assert_eq!(links(&daemon), before);
    load.finish();
}

#[test]
fn no_connect_fails_while_the_daemon_is_killed_in_the_middle_of_changes() {
    let bench = Bench::new("kill_change", &["red", "green", "blue"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let load = Loads::start(&bench);
    let turns: [&[&str]; 4] = [&["red", "blue"], &["green"], &["red", "green", "blue"], &["blue"]];
    for (turn, names) in (0..).zip(turns.iter().cycle().take(12)) {
        bench.serve(names);
        // Before, during and after the commit.
        load.0[0].more(turn * 60);
        daemon.kill9();
        daemon.start();
    }
    daemon.wait_ready(PATIENCE);
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
    load.finish();
}

#[test]
fn no_connect_fails_while_a_restart_changes_the_size_of_a_map() {
    let bench = Bench::new("resize", &["red", "blue"]);
    bench.serve(&["red", "blue"]);
    let mut daemon = bench.start();
    let load = Loads::start(&bench);
    let mut sizes = Vec::new();
    for map in ["enrolments", "frontends", "tables", "slots", "backends"] {
        // One alone, then all of them at once.
        sizes.push(vec![(map, 1_000)]);
    }
    sizes.push(sizes.iter().flatten().map(|(map, _)| (*map, 2_000)).collect());
    for sizes in sizes {
        let args = sizes.iter().flat_map(|(map, max)| [format!("--{map}-max"), max.to_string()]);
        daemon.options().args = args.map(Into::into).collect();
        daemon.restart();
        load.more();
        let status = daemon.status();
        for (map, max) in sizes {
            let mut fills = status["maps"].as_array().expect("an array").iter();
            let fill = fills.find(|fill| fill["name"] == map).expect("the map is listed");
            assert_eq!(fill["entriesMax"], max, "{map}");
        }
    }
    load.finish();
}

#[test]
fn a_daemon_that_cannot_attach_leaves_the_data_path_as_it_was() {
    let bench = Bench::new("no_attach", &["red", "blue"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    assert!(daemon.stop().is_some_and(|status| status.success()));
    let plain = bench.scene.dir().join("plain");
    std::fs::create_dir(&plain).unwrap();
    daemon.options().cgroup2_path = plain;
    for map in ["frontends", "tables", "slots", "backends"] {
        daemon.options().args = vec![format!("--{map}-max").into(), "1000".into()];
        daemon.start();
        let ready = || daemon.request("GET", "/debug/ready", None);
        assert_eq!(wait_until("an answer", PATIENCE, ready).status, 503, "not a cgroup");
        assert_eq!(bench.answers(WEB, 50)["red"], 50, "{map}");
        daemon.kill9();
        assert_eq!(bench.answers(WEB, 50)["red"], 50, "{map}");
    }
    daemon.options().cgroup2_path = bench.scene.cgroup().path().to_owned();
    bench.serve(&["blue"]);
    daemon.restart();
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
}

#[test]
fn what_changes_while_no_daemon_runs_is_in_force_after_the_start() {
    let bench = Bench::new("offline", &["red", "blue"]);
    let other = |names: &[&str]| {
        let endpoints = names.iter().map(|name| (bench.pod(name).v4, true, "", ""));
        let slice = yaml::endpoint_slice("other", endpoints).port("http", TARGET);
        yaml::join(&[&idle_service("other", vip(11)), &slice])
    };
    bench.serve(&["red"]);
    bench.scene.config("other.yaml", other(&["blue"]));
    bench.scene.config("stays.yaml", idle_service("stays", vip(12)));
    let mut daemon = bench.start();
    assert_eq!((bench.who(WEB), bench.who((vip(11), PORT))), ("red".into(), "blue".into()));
    daemon.kill9();
    bench.scene.config("web.yaml", bench.web(&["blue"]));
    bench.scene.remove_config("other.yaml");
    assert_eq!(bench.who(WEB), "red", "nobody has read it yet");
    daemon.start();
    daemon.wait_ready(PATIENCE);
    assert_eq!(generation(&daemon), 1, "the first image is the new one");
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::HostUnreachable, "the service is gone");
    assert_eq!(bench.error((vip(12), PORT)), ErrorKind::ConnectionRefused);
}

#[test]
fn the_data_path_outlives_the_daemon_until_it_is_uninstalled() {
    let bench = Bench::new("uninstall", &["red"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let pins = bench.scene.bpffs().path().join("kmesh");
    let refused = super::bench::failure(&uninstall(bench.scene.bpffs().path()));
    assert!(refused.contains("is locked by another kmesh-daemon"), "{refused}");
    assert!(daemon.stop().is_some_and(|status| status.success()));
    for dialled in [WEB, WEB6] {
        let answer = bench.ask(dialled).unwrap();
        assert_eq!((answer.pod.as_str(), answer.peer), ("red", dialled), "no daemon runs");
    }
    assert!(pins.exists());
    let told = success(&uninstall(bench.scene.bpffs().path()));
    super::bench::assert_has(&told, &["links/kmesh_connect4", "maps/frontends"]);
    assert!(!pins.exists(), "no pin is left");
    for dialled in [WEB, WEB6] {
        assert_eq!(bench.error(dialled), ErrorKind::HostUnreachable);
    }
    let told = success(&uninstall(bench.scene.bpffs().path()));
    assert!(told.contains("nothing is installed"), "{told}");
    daemon.start();
    daemon.wait_ready(PATIENCE);
    assert_eq!(bench.who(WEB), "red", "the state file remembers who is enrolled");
}
