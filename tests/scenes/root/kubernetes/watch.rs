//! Labels put running pods in and out, whatever happens to the API server and the daemon meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use testkit::{CgroupDriver, Daemon, wait_until};

use super::super::bench::{PATIENCE, WEB, failure, success};
use super::super::enrolment::{enrolments, is_enrolled, netns, path, text};
use super::{NAMESERVER, Node, UID, await_complete, await_figure, namespace, only, pod};

#[test]
fn a_running_pod_is_put_in_and_out_by_its_label_for_either_cgroup_driver() {
    for (scene, driver) in
        [("label_cgroupfs", CgroupDriver::Cgroupfs), ("label_systemd", CgroupDriver::Systemd)]
    {
        let node = Node::new(scene);
        let _container = node.container(driver);
        let daemon = node.start();
        await_complete(&daemon);
        assert!(!is_enrolled(&node.bench.client));
        node.label(Some("Kmesh"));
        node.await_client(true);
        let enrolment = only(&daemon);
        assert_eq!(text(&enrolment, "workload"), "shop/client");
        assert_eq!(text(&enrolment, "origin"), "label");
        assert_eq!(text(&enrolment, "podUid"), UID);
        assert_eq!(text(&enrolment, "netns"), path(&node.bench.client), "a path that lasts");
        assert_eq!(enrolment["resolvers"], json!([NAMESERVER]), "those of its container");
        node.await_annotation(Some("enabled"));
        let told = success(&daemon.kmeshctl(&["explain", "shop/client", "10.96.0.10:80"]));
        assert!(told.contains("shop/client"), "{told}");
        node.label(Some("none"));
        node.await_client(false);
        node.await_annotation(None);
        assert_eq!(enrolments(&daemon).len(), 0);
        assert_eq!(node.api.patches(), 2, "each annotation is written once");
    }
}

#[test]
fn pods_that_are_there_at_the_start_are_found_and_leave_when_they_are_deleted() {
    let node = Node::new("label_start");
    let _container = node.container(CgroupDriver::Cgroupfs);
    node.label_namespace(Some("Kmesh"));
    let daemon = node.start();
    node.await_client(true);
    await_figure(&daemon, "/wanted", &json!(1));
    await_figure(&daemon, "/missing", &json!(0));
    node.api.delete("Pod", "shop", "client");
    node.await_client(false);
    node.api.put(pod("client", UID));
    node.await_client(true);
    let mut finished = pod("client", UID);
    finished["status"]["phase"] = "Succeeded".into();
    node.api.put(finished);
    node.await_client(false);
}

#[test]
fn connections_go_on_when_labels_change_under_them() {
    let node = Node::new("label_load");
    let _container = node.container(CgroupDriver::Cgroupfs);
    let daemon = node.start();
    node.label(Some("Kmesh"));
    node.await_client(true);
    let mut connection = node.bench.client.run(|| TcpStream::connect(WEB).expect("connected"));
    let mut greeting = [0; 1];
    connection.read_exact(&mut greeting).expect("the server speaks first");
    for _ in 0..3 {
        node.label(None);
        node.await_client(false);
        node.label(Some("Kmesh"));
        node.await_client(true);
    }
    connection.write_all(b"\n").expect("it is open");
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).expect("nobody has reset it");
    assert_eq!(enrolments(&daemon).len(), 1);
}

#[test]
fn what_is_known_stays_in_force_while_the_api_server_is_away() {
    let mut node = Node::new("label_away");
    let _container = node.container(CgroupDriver::Cgroupfs);
    node.label(Some("Kmesh"));
    let mut daemon = node.start();
    node.await_client(true);
    node.api.stop();
    await_figure(&daemon, "/connected", &json!(false));
    assert!(is_enrolled(&node.bench.client));
    daemon.restart();
    assert!(is_enrolled(&node.bench.client), "a daemon that has never seen the API server");
    assert_eq!(daemon.status()["kubernetes"]["complete"], false);
    node.label(None);
    node.api.start();
    node.await_client(false);
}

#[test]
fn the_watch_goes_on_after_bookmarks_disconnections_and_a_version_that_is_too_old() {
    let mut node = Node::new("label_gone");
    let _container = node.container(CgroupDriver::Cgroupfs);
    let daemon = node.start();
    await_complete(&daemon);
    let lists = node.api.lists();
    node.api.bookmark();
    node.api.disconnect();
    node.label(Some("Kmesh"));
    node.await_client(true);
    assert_eq!(node.api.lists(), lists, "a watch goes on from where it was");
    node.api.stop();
    node.label(None);
    node.api.compact();
    node.api.start();
    node.await_client(false);
    assert!(node.api.lists() > lists, "what was lost is read anew");
}

#[test]
fn enrolment_is_right_again_after_everything_that_happened_without_the_daemon() {
    let mut node = Node::new("label_restart");
    let _container = node.container(CgroupDriver::Cgroupfs);
    let other = node.bench.scene.pod("other");
    super::super::bench::refuse_services(&other);
    node.label(Some("Kmesh"));
    let mut daemon = node.start();
    node.await_client(true);
    let end: [fn(&mut Daemon); 2] = [|daemon| _ = daemon.stop(), Daemon::kill9];
    for end in end {
        end(&mut daemon);
        assert!(is_enrolled(&node.bench.client), "no daemon runs");
        node.label(None);
        daemon.start();
        daemon.wait_ready(PATIENCE);
        node.await_client(false);
        end(&mut daemon);
        node.label(Some("Kmesh"));
        daemon.start();
        daemon.wait_ready(PATIENCE);
        node.await_client(true);
    }
    // The pod is gone, and one of the same name has come, with the address of the old one or not.
    daemon.kill9();
    node.api.delete("Pod", "shop", "client");
    node.api.put(pod("client", "another"));
    daemon.start();
    daemon.wait_ready(PATIENCE);
    node.await_client(false);
}

#[test]
fn what_was_enrolled_by_hand_is_nobody_elses() {
    let mut node = Node::new("label_hand");
    let _container = node.container(CgroupDriver::Cgroupfs);
    let stranger = node.bench.scene.pod("stranger");
    super::super::bench::refuse_services(&stranger);
    let daemon = node.start();
    daemon.enrol(&stranger, None);
    daemon.enrol(&node.bench.client, "default/mine");
    node.label(Some("Kmesh"));
    node.await_annotation(Some("enabled"));
    let told = failure(&daemon.kmeshctl(&["unenroll", "--netns", path(&node.bench.client)]));
    assert!(told.contains("change the label instead"), "{told}");
    node.label(None);
    node.api.put(namespace("done"));
    await_figure(&daemon, "/wanted", &json!(0));
    assert!(is_enrolled(&stranger) && is_enrolled(&node.bench.client));
    success(&daemon.kmeshctl(&["unenroll", "--netns", path(&node.bench.client)]));
    assert!(!is_enrolled(&node.bench.client));
}

#[test]
fn a_new_sandbox_of_the_same_pod_takes_the_place_of_the_old_one() {
    let node = Node::new("label_sandbox");
    let container = node.container(CgroupDriver::Cgroupfs);
    node.label(Some("Kmesh"));
    let daemon = node.start();
    node.await_client(true);
    let cookie = only(&daemon)["netnsCookie"].clone();
    drop(container);
    netns("delete", &node.bench.client);
    netns("add", &node.bench.client);
    success(&node.bench.client.command("ip").args(["link", "set", "lo", "up"]).output().unwrap());
    super::super::bench::refuse_services(&node.bench.client);
    let _container = node.container(CgroupDriver::Cgroupfs);
    node.await_client(true);
    wait_until("the old one to be forgotten", Duration::from_secs(20), || {
        let all = enrolments(&daemon);
        if all.len() == 1 { Ok(()) } else { Err(format!("{all:?}")) }
    });
    assert_ne!(only(&daemon)["netnsCookie"], cookie);
}
