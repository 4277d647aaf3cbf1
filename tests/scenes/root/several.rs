//! Two daemons on one machine: on the same pins one gives way, on pins of their own both work.

use std::io::ErrorKind;

use testkit::{Bpffs, Cgroup, Daemon, DaemonOptions, wait_until, yaml};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, VIP, WEB, idle_service, links, success, uninstall, vip,
};

/// Starts a daemon that must end by itself, and returns what it said.
#[track_caller]
fn must_give_way(options: DaemonOptions) -> String {
    let mut daemon = Daemon::spawn(options);
    wait_until("the second daemon to end", PATIENCE, || !daemon.is_running());
    daemon.logs()
}

#[test]
fn a_second_daemon_on_the_same_pins_gives_way_and_names_the_lock() {
    let bench = Bench::new("same_pins", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let before = links(&daemon);
    let mut second = bench.scene.options();
    second.state_dir = bench.scene.dir().join("second");
    let said = must_give_way(second);
    assert!(said.contains("kmesh/s1 is locked by another kmesh-daemon"), "{said}");
    let mut second = bench.scene.options();
    second.bpf_fs_path = bench.scene.dir().join("bpf/second");
    let said = must_give_way(second);
    assert!(said.contains("a daemon already answers at"), "{said}");
    assert_eq!(links(&daemon), before);
    assert_eq!(bench.who(WEB), "red");
}

/// Options of a second daemon, with another service `web`.
fn beside(bench: &Bench, bpffs: &Bpffs, cgroup: &Cgroup) -> DaemonOptions {
    let place = |name: &str| bench.scene.dir().join(name);
    std::fs::create_dir(place("config-2")).unwrap();
    let slice = yaml::endpoint_slice("web", [(bench.pod("blue").v4, true, "", "")]);
    let text = yaml::join(&[&idle_service("web", VIP), &slice.port("http", TARGET)]);
    std::fs::write(place("config-2/web.yaml"), text).unwrap();
    DaemonOptions {
        config_dir: place("config-2"),
        bpf_fs_path: bpffs.path().to_owned(),
        cgroup2_path: cgroup.path().to_owned(),
        state_dir: place("state-2"),
        ..bench.scene.options()
    }
}

#[test]
fn two_daemons_with_pins_and_cgroups_of_their_own_do_not_disturb_each_other() {
    let bench = Bench::new("side_by_side", &["red", "blue"]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
    let bpffs = Bpffs::mount(bench.scene.dir().join("bpf-2"));
    let mut cgroup = Cgroup::new("side_by_side");
    let mut first = bench.start();
    let mut second = Daemon::spawn(beside(&bench, &bpffs, &cgroup));
    second.wait_ready(PATIENCE);
    second.enrol(&bench.client, None);
    assert_eq!(bench.answers(WEB, 20)["red"], 20);
    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::ConnectionRefused);

    cgroup.enter();
    assert_eq!(bench.answers(WEB, 20)["blue"], 20);
    assert_eq!(bench.error((vip(11), PORT)), ErrorKind::HostUnreachable, "a service of the first");
    first.stop();
    success(&uninstall(bench.scene.bpffs().path()));
    assert_eq!(bench.answers(WEB, 20)["blue"], 20, "the end of the first does not matter");
    drop(cgroup);
    assert_eq!(bench.error(WEB), ErrorKind::HostUnreachable, "back in the cgroup of the first");
    assert!(second.is_running());
    first.start();
    first.wait_ready(PATIENCE);
    assert_eq!(bench.answers(WEB, 20)["red"], 20);
}
