//! Single resources: refused ones, the order in which they come, addresses that move.

use std::net::IpAddr;

use testkit::{Daemon, wait_until};
use xds::wire::workload::WorkloadStatus;

use super::super::bench::{
    Bench, PATIENCE, VIP, VIP6, WEB, WEB6, assert_has, committed, problems, success, wait_problems,
};
use super::super::load::Load;
use super::fake::{Fake, garbage, of_pod, of_service, pod, service};

#[track_caller]
fn start(bench: &Bench, fake: &Fake) -> Daemon {
    let url = fake.url();
    let daemon = bench.scene.start_daemon_with(|options| options.xds_address = Some(url));
    daemon.enrol(&bench.client, None);
    daemon
}

fn vips() -> [IpAddr; 2] {
    [VIP.into(), VIP6.into()]
}

fn addresses(bench: &Bench, name: &str) -> [IpAddr; 2] {
    let pod = bench.pod(name);
    [pod.v4.into(), pod.v6.into()]
}

fn web() -> xds::wire::discovery::Resource {
    of_service(service("web", &vips()))
}

fn serving(bench: &Bench, name: &str) -> xds::wire::discovery::Resource {
    of_pod(pod(name, &addresses(bench, name), &["web"]))
}

#[test]
fn a_bad_resource_is_refused_by_name_and_the_others_apply() {
    let bench = Bench::new("nack", &["red", "blue"]);
    let fake = Fake::new();
    fake.say([web(), serving(&bench, "red")]);
    let daemon = start(&bench, &fake);
    let load = Load::tcp(&bench.client, WEB, 2);
    assert_eq!(fake.state().refused, 0);

    // One that cannot be read, one with a value that nobody knows, and good news beside them.
    let mut strange = pod("red", &addresses(&bench, "red"), &["web"]);
    strange.status = 77;
    let bad = "default/garbage.default.svc.cluster.local";
    committed(&daemon, || {
        fake.say([web(), of_pod(strange), garbage(bad), serving(&bench, "blue")]);
    });
    let found = problems(&daemon).join("\n");
    assert_has(
        &found,
        &[
            &format!("error: {bad}: resource: can't be decoded"),
            "error: Kubernetes//Pod/default/red: status: 77 is not a known value (refused)",
        ],
    );
    wait_until("the refusal to arrive", PATIENCE, || fake.state().refused == 1);
    assert_has(&fake.state().last_refusal, &[bad, "Kubernetes//Pod/default/red: status"]);
    let answers = bench.answers(WEB, 200);
    assert!(answers["red"] > 0 && answers["blue"] > 0, "red is as it was: {answers:?}");

    fake.say([web(), serving(&bench, "red"), serving(&bench, "blue")]);
    wait_problems(&daemon, "no problem to be left", <[String]>::is_empty);
    load.finish();
}

#[test]
fn workloads_may_come_before_their_service_and_stay_after_it() {
    let bench = Bench::new("reorder", &["red"]);
    let fake = Fake::new();
    fake.say([serving(&bench, "red")]);
    let daemon = start(&bench, &fake);
    assert!(bench.ask(WEB).is_err());
    committed(&daemon, || fake.say([serving(&bench, "red"), web()]));
    assert_eq!((bench.who(WEB), bench.who(WEB6)), ("red".into(), "red".into()));
    committed(&daemon, || fake.say([serving(&bench, "red")]));
    assert!(bench.ask(WEB).is_err());
    committed(&daemon, || fake.say([web(), serving(&bench, "red")]));
    assert_eq!(bench.who(WEB), "red");
}

#[test]
fn a_new_pod_with_the_address_of_an_old_one_is_served_whatever_comes_first() {
    let bench = Bench::new("xds_reuse", &["red", "blue"]);
    let fake = Fake::new();
    let stays = || of_pod(pod("stays", &addresses(&bench, "blue"), &["web"]));
    let old = || of_pod(pod("old", &addresses(&bench, "red"), &["web"]));
    let new = || of_pod(pod("a-new", &addresses(&bench, "red"), &["web"]));
    fake.say([web(), stays(), old()]);
    let daemon = start(&bench, &fake);
    let load = Load::tcp(&bench.client, WEB, 2);
    let both_answer = || {
        let answers = bench.answers(WEB, 200);
        assert!(answers["red"] > 0 && answers["blue"] > 0, "{answers:?}");
    };
    both_answer();
    // The new one before the old one is gone, and the old one's end after it.
    fake.say([web(), stays(), old(), new()]);
    both_answer();
    fake.say([web(), stays(), new()]);
    wait_until("the old pod to be gone", PATIENCE, || !dump(&daemon).contains("Pod/default/old"));
    both_answer();
    // The other order: first nobody, then another.
    committed(&daemon, || fake.say([web(), stays()]));
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
    committed(&daemon, || fake.say([web(), stays(), old()]));
    both_answer();
    // One pod becomes another in one step.
    fake.say([web(), stays(), new()]);
    wait_until("the new pod", PATIENCE, || dump(&daemon).contains("Pod/default/a-new"));
    both_answer();
    load.finish();
}

fn dump(daemon: &Daemon) -> String {
    daemon.request("GET", "/debug/config_dump/dual-engine", None).unwrap().body
}

#[test]
fn an_unhealthy_workload_takes_no_connections() {
    let bench = Bench::new("xds_health", &["red", "blue"]);
    let fake = Fake::new();
    let red = |status: WorkloadStatus| {
        let mut red = pod("red", &addresses(&bench, "red"), &["web"]);
        red.status = status.into();
        of_pod(red)
    };
    fake.say([web(), red(WorkloadStatus::Healthy), serving(&bench, "blue")]);
    let daemon = start(&bench, &fake);
    let load = Load::tcp(&bench.client, WEB, 2);
    committed(&daemon, || {
        fake.say([web(), red(WorkloadStatus::Unhealthy), serving(&bench, "blue")]);
    });
    assert_eq!(bench.answers(WEB, 100)["blue"], 100);
    load.finish();
}

#[test]
fn dumps_and_explain_name_the_resource_its_version_and_whether_it_is_in_the_kernel() {
    let bench = Bench::new("origins", &["red"]);
    let fake = Fake::new();
    let idle = of_service(service("headless", &[]));
    let (web, red) = (web(), serving(&bench, "red"));
    let (web_version, red_version) = (web.version.clone(), red.version.clone());
    fake.say([web, red, idle]);
    let daemon = start(&bench, &fake);
    let text = success(&daemon.kmeshctl(&["dump", "dual-engine", "--origins"]));
    let row = |name: &str| {
        let line = text.lines().find(|line| line.contains(name)).expect("a row");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let resource = "default/web.default.svc.cluster.local";
    assert_eq!(row(resource), ["service", resource, "yes", &web_version, resource]);
    let uid = "Kubernetes//Pod/default/red";
    assert_eq!(row("default/red "), ["workload", "default/red", "yes", &red_version, uid]);
    assert_eq!(row("headless")[2], "no", "nothing of it can be dialled");
    let client = bench.client.netns().display().to_string();
    let told = success(&daemon.kmeshctl(&["explain", &client, &WEB.to_string()]));
    assert_has(
        &told,
        &[
            &format!("({resource} version {web_version})"),
            &format!("({uid} version {red_version})"),
        ],
    );
}
