//! Who is in the mesh: enrolled by path or process, remembered, and forgotten when it is gone.

use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;
use testkit::{Daemon, Pod, ask, wait_until};

use super::bench::{
    Bench, PATIENCE, PORT, WEB, assert_has, failure, idle_service, refuse_services, success, vip,
};

/// Several periods of five seconds.
const SWEEP_DEADLINE: Duration = Duration::from_secs(20);

/// A process inside a pod, ended on Drop.
struct Sleeper(Child);

impl Sleeper {
    fn new(pod: &Pod) -> Self {
        let child = pod.command("sleep").arg("600").spawn().expect("sleep runs");
        let comm = format!("/proc/{}/comm", child.id());
        wait_until("nsenter to become sleep", PATIENCE, || {
            fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep")
        });
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn enrolments(daemon: &Daemon) -> Vec<Value> {
    daemon.get_json("/enrolments").as_array().expect("an array").clone()
}

pub fn text<'a>(enrolment: &'a Value, key: &str) -> &'a str {
    enrolment[key].as_str().unwrap_or_default()
}

pub fn path(pod: &Pod) -> &str {
    pod.netns().to_str().expect("UTF-8")
}

pub fn netns(action: &str, pod: &Pod) {
    let name = pod.netns().file_name().expect("a name");
    success(&Command::new("ip").args(["netns", action]).arg(name).output().expect("ip runs"));
}

/// What the pod gets from the service `idle`: refused inside the mesh, unreachable outside.
pub fn is_enrolled(pod: &Pod) -> bool {
    match pod.run(|| ask((vip(11), PORT).into())).expect_err("it has no endpoint").kind() {
        ErrorKind::ConnectionRefused => true,
        ErrorKind::HostUnreachable => false,
        other => panic!("{}: {other}", pod.name),
    }
}

/// A bench with the services `web` and `idle`, and a daemon with nobody enrolled.
fn start(scene: &str) -> (Bench, Daemon) {
    let bench = Bench::new(scene, &["red"]);
    bench.serve(&["red"]);
    bench.scene.config("idle.yaml", idle_service("idle", vip(11)));
    let daemon = bench.scene.start_daemon();
    (bench, daemon)
}

#[test]
fn a_namespace_is_in_the_mesh_between_enroll_and_unenroll() {
    let (mut bench, daemon) = start("enrol");
    let outsider = bench.scene.pod("outsider");
    refuse_services(&outsider);
    assert!(!is_enrolled(&bench.client));
    let netns = path(&bench.client).to_owned();
    let by_path = ["enroll", "--netns", &netns, "--workload", "default/client"];
    let told = success(&daemon.kmeshctl(&by_path));
    assert_has(&told, &[&format!("enrolled {netns} (cookie "), "workload default/client)"]);
    assert!(is_enrolled(&bench.client));
    assert_eq!(bench.who(WEB), "red");
    assert!(!is_enrolled(&outsider), "another namespace stays as it is");
    assert_eq!(daemon.status()["enrolled"], 1);
    success(&daemon.kmeshctl(&["unenroll", "--netns", &netns]));
    assert!(!is_enrolled(&bench.client));
    let again = failure(&daemon.kmeshctl(&["unenroll", "--netns", &netns]));
    assert!(again.contains("is not enrolled"), "{again}");
}

#[test]
fn a_namespace_may_be_named_by_a_process_inside_it_or_by_its_cookie() {
    let (bench, daemon) = start("enrol_pid");
    let sleeper = Sleeper::new(&bench.client);
    success(&daemon.kmeshctl(&["enroll", "--pid", &sleeper.pid()]));
    assert!(is_enrolled(&bench.client));
    success(&daemon.kmeshctl(&["unenroll", "--pid", &sleeper.pid()]));
    assert!(!is_enrolled(&bench.client));
    success(&daemon.kmeshctl(&["enroll", "--pid", &sleeper.pid()]));
    let [enrolment] = enrolments(&daemon).try_into().expect("one");
    assert_eq!(text(&enrolment, "netns"), format!("/proc/{}/ns/net", sleeper.pid()));
    drop(sleeper);
    wait_until("the daemon to find the namespace elsewhere", SWEEP_DEADLINE, || {
        let [enrolment] = enrolments(&daemon).try_into().expect("it lives: it stays enrolled");
        let found = text(&enrolment, "netns").to_owned();
        if found == path(&bench.client) { Ok(()) } else { Err(found) }
    });
    assert!(is_enrolled(&bench.client));
    let cookie = enrolment["netnsCookie"].to_string();
    success(&daemon.kmeshctl(&["unenroll", "--cookie", &cookie]));
    assert!(!is_enrolled(&bench.client));
}

#[test]
fn what_is_no_namespace_is_refused_and_leaves_no_trace() {
    let (bench, daemon) = start("enrol_wrong");
    for (wrong, told) in [
        ("/run/netns/kmesh-none", "is not a network namespace"),
        ("/etc/passwd", "is not a network namespace"),
        ("/proc/self/ns/mnt", "is not a network namespace"),
    ] {
        let text = failure(&daemon.kmeshctl(&["enroll", "--netns", wrong]));
        assert!(text.contains(told), "{wrong}: {text}");
    }
    let nameless = ["enroll", "--netns", path(&bench.client), "--workload", "client"];
    let text = failure(&daemon.kmeshctl(&nameless));
    assert!(text.contains("NAMESPACE/NAME"), "{text}");
    assert_eq!(enrolments(&daemon), Vec::<Value>::new());
    assert!(!is_enrolled(&bench.client));
}

#[test]
fn enrolments_and_their_names_outlive_the_daemon() {
    let (mut bench, mut daemon) = start("remember");
    let second = bench.scene.pod("second");
    refuse_services(&second);
    daemon.enrol(&bench.client, "default/client");
    daemon.enrol(&second, None);
    let before = enrolments(&daemon);
    assert_eq!(before.len(), 2);
    let end: [fn(&mut Daemon); 2] = [|daemon| _ = daemon.stop(), Daemon::kill9];
    for end in end {
        end(&mut daemon);
        assert!(is_enrolled(&bench.client) && is_enrolled(&second), "no daemon runs");
        daemon.start();
        daemon.wait_ready(PATIENCE);
        assert_eq!(enrolments(&daemon), before);
        assert!(is_enrolled(&bench.client) && is_enrolled(&second));
    }
    daemon.stop();
    fs::remove_file(bench.scene.dir().join("state/enrolments.json")).unwrap();
    daemon.start();
    daemon.wait_ready(PATIENCE);
    assert_eq!(enrolments(&daemon).len(), 2, "without the file only the names are lost");
    assert!(is_enrolled(&bench.client) && is_enrolled(&second));
}

#[test]
fn a_namespace_that_is_gone_is_forgotten_and_its_name_means_nothing() {
    let (mut bench, daemon) = start("gone");
    let (gone, held) = (bench.scene.pod("gone"), bench.scene.pod("held"));
    let sleeper = Sleeper::new(&held);
    for pod in [&bench.client, &gone, &held] {
        daemon.enrol(pod, None);
    }
    for pod in [&gone, &held] {
        netns("delete", pod);
        netns("add", pod);
        success(&pod.command("ip").args(["link", "set", "lo", "up"]).output().unwrap());
        refuse_services(pod);
        assert!(!is_enrolled(pod), "a new namespace under an old name");
    }
    let mut expected = [path(&bench.client).to_owned(), format!("/proc/{}/ns/net", sleeper.pid())];
    expected.sort();
    wait_until("the daemon to notice", SWEEP_DEADLINE, || {
        let mut netns: Vec<_> =
            enrolments(&daemon).iter().map(|it| text(it, "netns").to_owned()).collect();
        netns.sort();
        if netns == expected { Ok(()) } else { Err(format!("{netns:?}, not {expected:?}")) }
    });
    assert!(!is_enrolled(&gone) && !is_enrolled(&held));
    assert!(is_enrolled(&bench.client));
}
