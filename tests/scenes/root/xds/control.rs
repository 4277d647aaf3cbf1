//! kmesh-control in front of daemons: what the files say is in force on each node.

use std::io::ErrorKind;
use std::process::Command;

use testkit::{Bpffs, Cgroup, Control, Daemon, wait_until};

use super::super::bench::{
    Bench, PATIENCE, PORT, WEB, WEB6, assert_has, committed, idle_service, problems, success, vip,
};
use super::super::load::Load;

#[track_caller]
fn start(bench: &Bench, control: &Control) -> Daemon {
    let url = control.url();
    let daemon = bench.scene.start_daemon_with(|options| options.xds_address = Some(url));
    daemon.enrol(&bench.client, None);
    daemon
}

#[test]
fn what_the_files_say_reaches_a_daemon_by_way_of_the_control_plane() {
    let bench = Bench::new("control", &["red", "blue"]);
    bench.serve(&["red"]);
    let control = Control::start(&bench.scene.config_dir(), bench.scene.dir(), &[]);
    let daemon = start(&bench, &control);
    assert_eq!(problems(&daemon), Vec::<String>::new());
    assert_eq!((bench.who(WEB), bench.who(WEB6)), ("red".into(), "red".into()));
    let (load, udp) =
        (Load::tcp(&bench.client, WEB, 2), Load::udp(&bench.client, (vip(10), 53).into(), 1));
    bench.apply(&daemon, "web.yaml", bench.web(&["blue"]));
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
    bench.apply(&daemon, "idle.yaml", idle_service("idle", vip(20)));
    assert_eq!(bench.error((vip(20), PORT)), ErrorKind::ConnectionRefused, "no endpoint");
    committed(&daemon, || bench.scene.remove_config("idle.yaml"));
    assert_eq!(bench.error((vip(20), PORT)), ErrorKind::HostUnreachable, "gone with its file");
    load.finish();
    udp.finish();
    let plane = daemon.status()["config"]["controlPlane"].clone();
    assert_eq!((&plane["connected"], &plane["refused"]), (&true.into(), &0.into()), "{plane}");
}

#[test]
fn a_control_plane_that_is_away_fails_no_connection_and_its_news_come_when_it_is_back() {
    let bench = Bench::new("control_away", &["red", "blue"]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(20)));
    let mut control = Control::start(&bench.scene.config_dir(), bench.scene.dir(), &[]);
    let mut daemon = start(&bench, &control);
    let load = Load::tcp(&bench.client, WEB, 2);
    control.kill9();
    wait_until("the daemon to notice", PATIENCE, || {
        daemon.status()["config"]["controlPlane"]["connected"] == false
    });
    bench.scene.config("web.yaml", bench.web(&["blue"]));
    bench.scene.remove_config("idle.yaml");
    load.more(500);
    assert_eq!(bench.who(WEB), "red", "what was known stays");
    control.start_again();
    wait_until("the news", PATIENCE, || bench.who(WEB) == "blue");
    wait_until("the removal", PATIENCE, || {
        bench.error((vip(20), PORT)) == ErrorKind::HostUnreachable
    });
    // And the other way round: a daemon that was killed is told everything again.
    daemon.kill9();
    load.more(200);
    daemon.start();
    daemon.wait_ready(PATIENCE);
    load.more(200);
    assert_eq!(bench.answers(WEB, 20)["blue"], 20);
    load.finish();
}

#[test]
fn a_daemon_without_a_control_plane_waits_for_it_and_keeps_the_last_image() {
    let bench = Bench::new("control_late", &["red"]);
    bench.serve(&["red"]);
    let mut control = Control::start(&bench.scene.config_dir(), bench.scene.dir(), &[]);
    let mut daemon = start(&bench, &control);
    let load = Load::tcp(&bench.client, WEB, 2);
    control.kill9();
    daemon.kill9();
    daemon.start();
    wait_until("the admin API", PATIENCE, || daemon.request("GET", "/debug/ready", None).is_ok());
    let ready = daemon.request("GET", "/debug/ready", None).unwrap();
    assert_eq!(ready.status, 503);
    assert_has(&ready.body, &["nothing is known from the control plane"]);
    load.more(500);
    control.start_again();
    daemon.wait_ready(PATIENCE);
    load.more(200);
    load.finish();
}

#[test]
fn two_nodes_have_one_control_plane() {
    let bench = Bench::new("two_nodes", &["red", "blue"]);
    bench.serve(&["red"]);
    let control = Control::start(&bench.scene.config_dir(), bench.scene.dir(), &[]);
    let first = start(&bench, &control);
    let bpffs = Bpffs::mount(bench.scene.dir().join("bpf-2"));
    let mut cgroup = Cgroup::new("two_nodes");
    let mut options = bench.scene.options();
    options.xds_address = Some(control.url());
    options.bpf_fs_path = bpffs.path().to_owned();
    options.cgroup2_path = cgroup.path().to_owned();
    options.state_dir = bench.scene.dir().join("state-2");
    options.node_name = "node-2".into();
    let mut second = Daemon::spawn(options);
    second.wait_ready(PATIENCE);
    second.enrol(&bench.client, None);
    assert_eq!(bench.who(WEB), "red");
    cgroup.enter();
    assert_eq!(bench.who(WEB), "red");
    committed(&first, || committed(&second, || bench.serve(&["blue"])));
    assert_eq!(bench.answers(WEB, 20)["blue"], 20);
}

#[test]
fn over_tls_the_daemon_checks_who_answers() {
    let bench = Bench::new("control_tls", &["red"]);
    bench.serve(&["red"]);
    let (cert, key) = (bench.scene.dir().join("cert.pem"), bench.scene.dir().join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-subj", "/CN=control.test", "-addext"]);
    openssl.args([
        "subjectAltName=DNS:control.test",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert);
    success(&openssl.output().expect("openssl runs"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let config = bench.scene.config_dir();
    let args = ["--tls-cert", cert, "--tls-key", key];
    let control = Control::start(&config, bench.scene.dir(), &args);
    let mut options = bench.scene.options();
    options.xds_address = Some(control.address());
    options.args = ["--xds-root-cert", cert].map(Into::into).into();
    let mut daemon = Daemon::spawn(options);
    let said = "certificate";
    wait_until("the wrong name to be noticed", PATIENCE, || {
        let ready = daemon.request("GET", "/debug/ready", None).map_err(|e| e.to_string())?;
        if ready.body.contains(said) { Ok(()) } else { Err(ready.body) }
    });
    daemon.kill9();
    daemon.options().args.extend(["--xds-server-name", "control.test"].map(Into::into));
    daemon.start();
    daemon.wait_ready(PATIENCE);
    daemon.enrol(&bench.client, None);
    assert_eq!(bench.who(WEB), "red");
}
