//! `kmesh-daemon check`, `probe` and `version`, and a start without privileges: nothing is changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Scene, binary, yaml};

use super::bench::{PORT, TARGET, assert_has, daemon_command, failure, idle_service, success, vip};

fn check(dir: &Path) -> Output {
    daemon_command(["check".as_ref(), dir.as_os_str()])
}

#[test]
fn check_tells_what_is_wrong_with_a_directory_and_what_is_not() {
    let scene = Scene::new("check");
    let slice = yaml::endpoint_slice("good", [("10.77.0.9", true, "", "")]).port("http", TARGET);
    let good = yaml::join(&[&idle_service("good", vip(1)), &slice.pod("10.77.0.9", "good-1")]);
    scene.config("good.yaml", &good);
    let told = success(&check(&scene.config_dir()));
    assert_eq!(told, "1 services, 1 workloads; 0 errors, 0 warnings\n");

    let misspelt = idle_service("misspelt", vip(2)).field("sessionAfinity", "ClientIP");
    scene.config("misspelt.yaml", misspelt);
    let told = success(&check(&scene.config_dir()));
    assert_has(&told, &["warning: misspelt.yaml document 1: ", "0 errors, 1 warnings"]);

    let bad = idle_service("bad", vip(3)).field("type", "Cluster");
    scene.config("bad.yaml", bad);
    scene.config("twin.yaml", idle_service("twin", vip(1)));
    let found = check(&scene.config_dir());
    assert_eq!(found.status.code(), Some(1));
    let lines = [
        "error: bad.yaml document 1: Service default/bad: spec.type: ",
        "error: twin.yaml document 1: Service default/twin: spec.clusterIPs: address 10.96.0.1 \
         belongs to Service default/good (good.yaml)",
        "2 services, 1 workloads; 2 errors, 1 warnings",
    ];
    assert_has(&failure(&found), &lines);

    let missing = failure(&check(&scene.dir().join("missing")));
    assert!(missing.contains("missing"), "{missing}");
    assert!(!scene.bpffs().path().join("kmesh").exists(), "nothing was loaded");
}

#[test]
fn check_knows_the_sizes_of_the_maps() {
    let scene = Scene::new("check_sizes");
    let addresses = (1..=9).map(|last| (format!("10.78.0.{last}"), true, "", ""));
    let slice = yaml::endpoint_slice("large", addresses).port("http", TARGET);
    scene.config("large.yaml", yaml::join(&[&idle_service("large", vip(1)), &slice]));
    success(&check(&scene.config_dir()));
    let dir = scene.config_dir();
    let args = ["--backends-max".as_ref(), "4".as_ref(), "check".as_ref(), dir.as_os_str()];
    let told = failure(&daemon_command(args));
    assert_has(&told, &["large.default.svc.cluster.local", "backends_max is 4", "1 errors"]);
}

#[test]
fn probe_lists_what_is_needed_and_finds_it_here() {
    let scene = Scene::new("probe");
    let args = ["probe".as_ref(), "--bpf-fs-path".as_ref(), scene.bpffs().path().as_os_str()];
    let told = success(&daemon_command(args));
    let mut lines = told.lines();
    let heading: Vec<_> = lines.next().expect("a heading").split_whitespace().collect();
    assert_eq!(heading, ["KIND", "NAME", "PRESENT", "NEED", "WITHOUT", "IT"]);
    for kind in ["capability", "mount", "program", "map", "helper"] {
        assert!(told.lines().any(|line| line.trim_start().starts_with(kind)), "{kind}:\n{told}");
    }
    let is_lacking = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.windows(2).any(|pair| pair == ["no", "required"])
    };
    assert_eq!(lines.filter(is_lacking).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn version_is_json_with_the_keys_of_kmesh() {
    let told: Value = serde_json::from_str(&success(&daemon_command(["version"]))).unwrap();
    for key in ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "compiler", "platform"] {
        assert!(told[key].is_string(), "{key}: {told}");
    }
}

/// `kmesh-daemon ARGS` by uid 0 without any capability.
fn powerless(scene: &Scene, args: &[&str]) -> Output {
    // A copy that its owner can reach: the way to the original may need a capability.
    let copy = scene.dir().join("kmesh-daemon");
    if !copy.exists() {
        fs::copy(binary("kmesh-daemon"), &copy).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(copy).args(args);
    command.output().expect("setpriv runs")
}

#[test]
fn without_privileges_the_daemon_stops_and_names_them_before_it_changes_anything() {
    let scene = Scene::new("powerless");
    scene.config("idle.yaml", idle_service("idle", vip(1)).port("more", PORT + 1, TARGET));
    let place = |name: &str| scene.dir().join(name).to_str().expect("UTF-8").to_owned();
    let (state, socket, config, bpf) =
        (place("new-state"), place("new-state/admin.sock"), place("config"), place("bpf"));
    let run = ["--config-dir", &config, "--state-dir", &state, "--admin-socket", &socket];
    let more = ["--bpf-fs-path", &bpf, "--status-addr", "none"];
    let told = failure(&powerless(&scene, &[&run[..], &more].concat()));
    let missing = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"];
    assert_has(&told, &missing);
    assert_has(&told, &["lacks what the mesh needs; nothing was changed", "run as root or add"]);
    assert!(!Path::new(&state).exists(), "no state");
    assert!(!Path::new(&bpf).join("kmesh").exists(), "no pins");

    let told = failure(&powerless(&scene, &["probe", "--bpf-fs-path", &bpf]));
    assert_has(&told, &missing);
    assert!(told.contains("The kernel was not asked"), "{told}");
    success(&powerless(&scene, &["check", &config]));
}
