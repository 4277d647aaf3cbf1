//! A runtime makes sandboxes: the plugin has them enrolled before it returns.

use std::fs;

use serde_json::{Value, json};
use testkit::{CgroupDriver, PREVIOUS, wait_until};

use super::super::bench::{PATIENCE, refuse_services, success};
use super::super::enrolment::{enrolments, is_enrolled, netns, text};
use super::{MODE, NAMESERVER, Node, UID, await_complete, await_figure, only, pod};

#[test]
fn a_pod_is_enrolled_when_the_plugin_returns_and_taken_out_when_it_ends() {
    let node = Node::new("cni_add");
    let daemon = node.start();
    await_complete(&daemon);
    node.label_namespace(Some("Kmesh"));
    let call = node.call();
    await_figure(&daemon, "/wanted", &json!(1));
    let answer = call.run("ADD");
    assert!(is_enrolled(&node.bench.client), "before anything of it runs: {answer:?}");
    assert_eq!((answer.ok, answer.text.as_str(), answer.errors.as_str()), (true, PREVIOUS, ""));
    let enrolment = only(&daemon);
    assert_eq!(text(&enrolment, "origin"), "cni");
    assert_eq!(text(&enrolment, "workload"), "shop/client");
    assert_eq!(enrolment["resolvers"], json!(["192.0.2.10"]), "what the runtime gives it");
    let sandbox = json!({"network": "pods", "containerId": "sandbox-client", "ifname": "eth0"});
    assert_eq!(enrolment["sandbox"], sandbox);
    node.await_annotation(Some("enabled"));
    for command in ["CHECK", "STATUS"] {
        assert_eq!(
            (call.run(command).ok, call.run(command).text.as_str()),
            (true, ""),
            "{command}"
        );
    }
    let answer = call.run("DEL");
    assert_eq!((answer.ok, answer.text.as_str()), (true, ""));
    assert!(!is_enrolled(&node.bench.client));
    assert!(call.run("DEL").ok, "a runtime may repeat itself");
    assert_eq!(node.logged(), "");
}

#[test]
fn a_pod_that_does_not_belong_to_the_mesh_is_left_alone() {
    let node = Node::new("cni_out");
    let daemon = node.start();
    await_complete(&daemon);
    assert!(node.call().run("ADD").ok && !is_enrolled(&node.bench.client));
    assert!(node.call().run("DEL").ok);
    node.label_namespace(Some("Kmesh"));
    let other = [("none", "u-none"), ("sidecar", "u-sidecar")];
    for (name, uid) in other {
        let mut pod = pod(name, uid);
        match name {
            "none" => pod["metadata"]["labels"][MODE] = "none".into(),
            _ => pod["metadata"]["annotations"]["sidecar.istio.io/status"] = "{}".into(),
        }
        node.api.put(pod);
    }
    await_figure(&daemon, "/pods", &json!(3));
    await_figure(&daemon, "/wanted", &json!(1));
    for (name, uid) in other {
        assert!(node.call_for(&node.bench.client, name, uid).run("ADD").ok);
        assert!(!is_enrolled(&node.bench.client), "{name}");
    }
    await_figure(&daemon, "/cni/leftAlone", &json!(3));
}

#[test]
fn a_pod_that_the_watch_has_not_told_of_yet_is_waited_for() {
    let mut node = Node::new("cni_late");
    let late = node.bench.scene.pod("late");
    refuse_services(&late);
    let daemon = node.start();
    await_complete(&daemon);
    let call = node.call_for(&late, "late", "u-late");
    let answer = std::thread::scope(|scope| {
        let runtime = scope.spawn(|| call.run("ADD"));
        // The daemon's socket, bound under a name of its own, and one more for each connection.
        let socket = node.bench.scene.dir().join("state/.cni.sock");
        let socket = socket.to_string_lossy().into_owned();
        wait_until("the plugin to have asked", PATIENCE, || {
            fs::read_to_string("/proc/net/unix")
                .is_ok_and(|table| table.matches(&socket).count() > 1)
        });
        let mut pod = pod("late", "u-late");
        pod["metadata"]["labels"][MODE] = "Kmesh".into();
        node.api.put(pod);
        runtime.join().expect("the plugin ran")
    });
    assert!(answer.ok && is_enrolled(&late), "{answer:?}");
    await_figure(&daemon, "/cni/enrolled", &json!(1));
}

#[test]
fn a_label_that_comes_between_the_sandbox_and_the_first_container_counts_at_once() {
    let node = Node::new("cni_between");
    let daemon = node.start();
    await_complete(&daemon);
    assert!(node.call().run("ADD").ok && !is_enrolled(&node.bench.client));
    node.label(Some("Kmesh"));
    node.await_client(true);
    assert_eq!(text(&only(&daemon), "origin"), "label");
    assert_eq!(only(&daemon)["resolvers"], json!(["192.0.2.10"]));
    assert!(node.call().run("DEL").ok && !is_enrolled(&node.bench.client));
}

#[test]
fn a_pod_that_nobody_knows_follows_its_namespace_until_it_is_seen() {
    let mut node = Node::new("cni_unknown");
    let unknown = node.bench.scene.pod("unknown");
    refuse_services(&unknown);
    let daemon = node.start();
    await_complete(&daemon);
    let call = node.call_for(&unknown, "unknown", "u-unknown");
    let answer = call.run("ADD");
    assert!(answer.ok && !is_enrolled(&unknown), "nothing says that it belongs to the mesh");
    node.label_namespace(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    assert!(call.run("ADD").ok && is_enrolled(&unknown), "its namespace says so");
    let let_go = json!([["pod_undecided", 2]]);
    await_figure(&daemon, "/cni/letGo", &let_go);
    assert!(is_enrolled(&unknown), "the watch knows nothing of it, and leaves it");
    let mut closed = call.clone();
    closed.entry["policy"] = "closed".into();
    assert_eq!(closed.run("ADD").code(), 11, "nobody has decided");
    let mut pod = pod("unknown", "u-unknown");
    pod["metadata"]["labels"][MODE] = "none".into();
    node.api.put(pod);
    wait_until("the pod's own label to count", PATIENCE, || !is_enrolled(&unknown));
}

#[test]
fn check_finds_what_is_not_as_it_should_be() {
    let node = Node::new("cni_check");
    let daemon = node.start();
    node.label(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    let call = node.call();
    assert_eq!(call.run("CHECK").code(), 100);
    assert!(call.run("ADD").ok && call.run("CHECK").ok);
}

#[test]
fn garbage_is_what_the_runtime_does_not_name() {
    let mut node = Node::new("cni_gc");
    let (kept, garbage) = (node.bench.scene.pod("kept"), node.bench.scene.pod("garbage"));
    let daemon = node.start();
    node.label_namespace(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    for (pod, name) in [(&kept, "kept"), (&garbage, "garbage")] {
        refuse_services(pod);
        node.api.put(super::pod(name, name));
        assert!(node.call_for(pod, name, name).run("ADD").ok);
    }
    daemon.enrol(&node.bench.client, None);
    let mut call = node.call();
    let valid = json!([{"containerID": "sandbox-kept", "ifname": "eth0"}]);
    call.entry["cni.dev/valid-attachments"] = valid.clone();
    call.entry["name"] = "another".into();
    assert!(call.run("GC").ok && is_enrolled(&garbage), "another network's garbage");
    call.entry["name"] = "pods".into();
    assert!(call.run("GC").ok);
    assert!(!is_enrolled(&garbage) && is_enrolled(&kept) && is_enrolled(&node.bench.client));
}

#[test]
fn resolvers_that_the_runtime_does_not_tell_are_those_of_the_first_container() {
    let node = Node::new("cni_dns");
    let daemon = node.start();
    node.label(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    let mut call = node.call();
    call.entry["runtimeConfig"] = Value::Null;
    call.entry.as_object_mut().unwrap().remove("runtimeConfig");
    assert!(call.run("ADD").ok);
    assert_eq!(only(&daemon)["resolvers"], json!([]));
    let _container = node.container(CgroupDriver::Cgroupfs);
    wait_until("the resolvers to be known", PATIENCE, || {
        only(&daemon)["resolvers"] == json!([NAMESERVER])
    });
    let problems = daemon.status()["dns"]["problems"].clone();
    assert_eq!(problems, json!([]), "its queries are answered");
}

#[test]
fn enrolments_by_the_plugin_outlive_the_daemon_and_not_the_sandbox() {
    let node = Node::new("cni_restart");
    let mut daemon = node.start();
    node.label(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    assert!(node.call().run("ADD").ok);
    let before = only(&daemon);
    daemon.kill9();
    daemon.start();
    daemon.wait_ready(PATIENCE);
    await_complete(&daemon);
    assert_eq!(only(&daemon), before);
    daemon.kill9();
    let call = node.call();
    assert!(call.run("DEL").ok, "nobody listens");
    netns("delete", &node.bench.client);
    netns("add", &node.bench.client);
    success(&node.bench.client.command("ip").args(["link", "set", "lo", "up"]).output().unwrap());
    refuse_services(&node.bench.client);
    daemon.start();
    daemon.wait_ready(PATIENCE);
    assert_eq!(enrolments(&daemon), Vec::<Value>::new(), "the namespace is gone");
    assert!(!is_enrolled(&node.bench.client));
    let mut again = call;
    again.container_id = "sandbox-again".into();
    await_complete(&daemon);
    assert!(again.run("ADD").ok && is_enrolled(&node.bench.client));
    assert_eq!(text(&only(&daemon), "podUid"), UID);
}
