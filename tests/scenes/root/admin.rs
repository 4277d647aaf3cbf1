//! The admin API and `kmeshctl`, as an operator uses them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::{Value, json};
use testkit::{Daemon, wait_until};

use super::bench::{
    Bench, PATIENCE, PORT, VIP, WEB, assert_has, failure, idle_service, success, vip,
};

const CONFIG_DUMP: &str = "/debug/config_dump/dual-engine";
const BPF_DUMP: &str = "/debug/config_dump/bpf/dual-engine";

/// A request to the TCP port: status line and body.
fn over_tcp(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The first of a list of the answer, which has all of `wanted` as keys.
#[track_caller]
fn assert_keys(value: &Value, list: &str, wanted: &[&str]) {
    let first = &value[list][0];
    let missing: Vec<_> = wanted.iter().filter(|key| !keys(first).contains(**key)).collect();
    assert!(missing.is_empty(), "{list} lack {missing:?}: {first:#}");
}

#[test]
fn the_tcp_port_reads_and_the_unix_socket_of_root_writes() {
    let bench = Bench::new("admin", &["red"]);
    bench.serve(&["red"]);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap();
    let mut daemon = bench.scene.start_daemon_with(|o| o.status_addr = free.to_string());
    let (status, body) = over_tcp(free, "GET", "/version");
    assert!(status.ends_with("200 OK"), "{status}");
    let version: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(version, daemon.get_json("/version"));
    for method in ["POST", "DELETE", "PUT"] {
        for path in ["/enrolments", "/debug/loggers", "/status"] {
            let (status, body) = over_tcp(free, method, path);
            assert!(status.contains(" 403 "), "{method} {path}: {status}");
            assert!(body.contains("read-only"), "{body}");
        }
    }
    let socket = daemon.options().admin_socket();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o7777, 0o600);
    let loud = json!({"name": "default", "level": "debug"});
    let set = daemon.request("POST", "/debug/loggers", Some(&loud)).unwrap();
    assert_eq!((set.status, set.body.as_str()), (200, "OK"));
    daemon.stop();
    assert!(!socket.exists(), "it goes with the daemon");
    assert!(TcpStream::connect(free).is_err());
}

#[test]
fn the_daemon_is_ready_when_the_first_image_is_in_force_and_not_before() {
    let bench = Bench::new("ready", &["red"]);
    bench.serve(&["red"]);
    let (link, plain) = (bench.scene.dir().join("cgroup"), bench.scene.dir().join("plain"));
    fs::create_dir(&plain).unwrap();
    // A directory that no program can be attached to, at first.
    symlink(&plain, &link).unwrap();
    let mut options = bench.scene.options();
    options.cgroup2_path = link.clone();
    let mut daemon = Daemon::spawn(options);
    let ready = |daemon: &Daemon| daemon.request("GET", "/debug/ready", None);
    let answer = wait_until("an answer", PATIENCE, || ready(&daemon));
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("attach"), "it says why: {}", answer.body);
    assert_eq!(daemon.status()["ready"], false);
    fs::remove_file(&link).unwrap();
    symlink(bench.scene.cgroup().path(), &link).unwrap();
    daemon.wait_ready(PATIENCE);
    assert_eq!(ready(&daemon).unwrap().body, "OK");
    assert_eq!(daemon.status()["ready"], true);
    daemon.enrol(&bench.client, None);
    assert_eq!(bench.who(WEB), "red");
}

#[test]
fn dumps_have_the_keys_of_kmesh_and_those_of_the_maps() {
    let bench = Bench::new("dumps", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let config = daemon.get_json(CONFIG_DUMP);
    assert_eq!(keys(&config), BTreeSet::from(["workloads", "services", "policies"]));
    let workload = ["uid", "addresses", "protocol", "name", "namespace", "status", "locality"];
    assert_keys(&config, "workloads", &workload);
    let service = ["name", "namespace", "hostname", "vips", "ports", "loadBalancer", "waypoint"];
    assert_keys(&config, "services", &service);
    assert_eq!(config["services"][0]["hostname"], "web.default.svc.cluster.local");

    let bpf = daemon.get_json(BPF_DUMP);
    let maps = ["workloadPolicies", "backends", "endpoints", "frontends", "services"];
    assert_eq!(keys(&bpf), BTreeSet::from(maps));
    assert_keys(&bpf, "backends", &["backendUid", "ip", "serviceCount", "services"]);
    assert_keys(&bpf, "endpoints", &["serviceId", "slot", "backendUid", "targetPort"]);
    assert_keys(&bpf, "frontends", &["address", "port", "protocol", "action", "owner"]);
    let table = ["serviceId", "name", "endpointCount", "lbPolicy", "servicePort", "targetPort"];
    assert_keys(&bpf, "services", &table);
    let dialled: Vec<_> = bpf["frontends"].as_array().unwrap().iter().collect();
    assert!(dialled.iter().any(|f| f["address"] == VIP.to_string() && f["port"] == PORT));

    for path in ["/debug/config_dump/kernel-native", "/debug/config_dump/bpf/kernel-native"] {
        let answer = daemon.request("GET", path, None).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (400, "\n\tInvalid Client Mode\n"));
    }
    assert_eq!(daemon.request("GET", "/nothing", None).unwrap().status, 404);
}

#[test]
fn kmeshctl_shows_version_status_and_dumps_as_tables() {
    let bench = Bench::new("kmeshctl", &["red"]);
    bench.serve(&["red"]);
    bench.scene.config("bad.yaml", idle_service("bad", vip(2)).field("type", "Cluster"));
    let daemon = bench.scene.start_daemon();
    daemon.enrol(&bench.client, "default/client");
    let show = |args: &[&str]| success(&daemon.kmeshctl(args));
    assert_has(&show(&["version"]), &["client version: ", "kmesh-daemon version: ", "(1 daemon)"]);
    let status = show(&["status"]);
    let heads = ["ready:       yes", "mode:        dual-engine", "enrolled:    1"];
    assert_has(&status, &heads);
    assert_has(&status, &["PROBLEMS IN THE CONFIGURATION\n  error: bad.yaml document 1: "]);
    assert_has(&status, &["default/client", path_of(&bench), "no_endpoint", "kmesh_connect4"]);
    for heading in [
        vec!["NETNS", "COOKIE", "WORKLOAD", "ORIGIN", "RESOLVERS"],
        vec!["REASON", "OUTCOME", "COUNT", "MEANING"],
        vec!["MAP", "ENTRIES", "MAX", "FILL", "BYTES"],
        vec!["LINK", "ID", "PINNED"],
    ] {
        assert_heading(&status, &heading);
    }
    let dump = show(&["dump", "dual-engine"]);
    assert_heading(&dump, &["NAME", "NAMESPACE", "ADDRESSES", "PROTOCOL", "STATUS"]);
    assert_heading(&dump, &["NAME", "NAMESPACE", "HOSTNAME", "VIPS"]);
    assert_has(&dump, &["web.default.svc.cluster.local", "/10.96.0.10,/fd96::10"]);
    let bpf = show(&["dump", "dual-engine", "--bpf"]);
    let frontends = ["FRONTEND", "PORT", "PROTOCOL", "ACTION", "UPSTREAM", "WAYPOINT", "OWNER"];
    assert_heading(&bpf, &frontends);
    assert_heading(&bpf, &["SERVICE", "SLOT", "BACKEND", "TARGET_PORT"]);
    let json: Value = serde_json::from_str(&show(&["dump", "dual-engine", "-o", "json"])).unwrap();
    assert_eq!(json, daemon.get_json(CONFIG_DUMP));
    let wrong = failure(&daemon.kmeshctl(&["dump", "kernel-native"]));
    assert!(wrong.contains("does not run in this mode"), "{wrong}");
}

fn path_of(bench: &Bench) -> &str {
    bench.client.netns().to_str().expect("UTF-8")
}

/// One line of `text` has exactly these columns.
#[track_caller]
fn assert_heading(text: &str, columns: &[&str]) {
    let is_heading = |line: &str| line.split_whitespace().eq(columns.iter().copied());
    assert!(text.lines().any(is_heading), "no heading {columns:?} in:\n{text}");
}

#[test]
fn kmeshctl_shows_and_sets_the_levels_of_loggers() {
    let bench = Bench::new("loggers", &[]);
    let daemon = bench.scene.start_daemon();
    let show = |args: &[&str]| success(&daemon.kmeshctl(args));
    assert_eq!(show(&["log"]), "Existing Loggers:\n\tdefault\n\tbpf\n");
    assert_eq!(show(&["log", "default"]), "Logger Name: default\nLogger Level: info\n");
    assert_eq!(show(&["log", "--set", "default:debug"]), "OK\n");
    assert_eq!(show(&["log", "default"]), "Logger Name: default\nLogger Level: debug\n");
    let wrong = failure(&daemon.kmeshctl(&["log", "--set", "default:loud"]));
    assert!(wrong.contains("is not a log level"), "{wrong}");
}

#[test]
fn kmeshctl_without_a_daemon_says_so() {
    let bench = Bench::new("nobody", &[]);
    let mut daemon = bench.scene.start_daemon();
    daemon.stop();
    let told = failure(&daemon.kmeshctl(&["status"]));
    assert!(told.contains("no daemon answers at"), "{told}");
    let version = success(&daemon.kmeshctl(&["version"]));
    assert_has(&version, &["client version: ", "kmesh-daemon version: not known"]);
}
