//! The daemon gives no answer: every way of that, and both policies.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{CgroupDriver, CniCall, PREVIOUS, wait_until};

use super::super::bench::PATIENCE;
use super::super::enrolment::is_enrolled;
use super::{Node, await_complete, await_figure};

/// Short enough for a test, long enough for a busy machine.
const TIMEOUT_MS: u64 = 700;

fn with_policy(node: &Node, policy: &str) -> CniCall {
    let mut call = node.call();
    call.entry["policy"] = policy.into();
    call.entry["timeoutMs"] = TIMEOUT_MS.into();
    call
}

/// Both policies against a daemon that gives no answer for this reason.
#[track_caller]
fn follows_the_policy(node: &Node, reason: &str) {
    let open = with_policy(node, "open");
    let started = Instant::now();
    let answer = open.run("ADD");
    assert_eq!((answer.ok, answer.text.as_str()), (true, PREVIOUS), "{reason}: {answer:?}");
    assert!(answer.errors.contains(&format!("let go ({reason})")), "{answer:?}");
    assert!(node.logged().contains(&format!("ADD shop/client let go ({reason})")));
    for command in ["CHECK", "DEL", "STATUS"] {
        assert!(open.run(command).ok, "{reason}: {command}");
    }
    let closed = with_policy(node, "closed");
    assert_eq!(closed.run("ADD").code(), 11, "{reason}");
    assert_eq!(closed.run("CHECK").code(), 11, "{reason}");
    assert_eq!(closed.run("STATUS").code(), 50, "{reason}");
    assert!(closed.run("DEL").ok, "{reason}");
    assert!(node.logged().contains(&format!("ADD shop/client refused ({reason})")));
    assert!(started.elapsed() < PATIENCE, "everything is bounded");
}

#[test]
fn a_daemon_that_is_down_and_its_dead_socket_follow_the_policy() {
    let node = Node::new("policy_down");
    follows_the_policy(&node, "daemon_away");
    let mut daemon = node.start();
    daemon.kill9();
    assert!(node.socket().exists(), "a killed daemon leaves its socket");
    follows_the_policy(&node, "daemon_away");
    // The pod started without an answer, and its container runs: it is enrolled, and counted.
    let _container = node.container(CgroupDriver::Cgroupfs);
    node.label(Some("Kmesh"));
    daemon.start();
    daemon.wait_ready(PATIENCE);
    node.await_client(true);
    // One note for each sandbox: the second call was for the same one.
    await_figure(&daemon, "/cni/letGo", &json!([["daemon_away", 1]]));
    assert!(daemon.logs().contains("a pod started without an answer of this daemon"));
}

#[test]
fn a_daemon_that_hangs_follows_the_policy() {
    let node = Node::new("policy_hung");
    let daemon = node.start();
    await_complete(&daemon);
    let pid = nix::unistd::Pid::from_raw(daemon.pid().expect("it runs") as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    follows_the_policy(&node, "daemon_silent");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    await_figure(&daemon, "/cni/letGo", &json!([["daemon_silent", 1]]));
}

#[test]
fn an_answer_without_meaning_follows_the_policy() {
    let node = Node::new("policy_garbage");
    for (answer, reason) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "answer_unclear"),
        (b"{\"outcome\":\"perhaps\"}", "answer_unclear"),
        (&[0xff; 4096], "answer_unclear"),
        (b"", "daemon_away"),
    ] {
        let _ = std::fs::remove_file(node.socket());
        let listener = UnixListener::bind(node.socket()).expect("bind");
        let server = thread::spawn(move || {
            // As many as `follows_the_policy` asks.
            for _ in 0..8 {
                let (mut stream, _) = listener.accept().expect("a plugin");
                let mut question = Vec::new();
                stream.read_to_end(&mut question).expect("a question");
                // It may not wait for the end.
                let _ = stream.write_all(answer);
            }
        });
        follows_the_policy(&node, reason);
        server.join().expect("the server ends");
    }
}

#[test]
fn a_daemon_that_speaks_slowly_is_not_waited_for() {
    let node = Node::new("policy_slow");
    let listener = UnixListener::bind(node.socket()).expect("bind");
    // It accepts, says a little, and nothing more as long as the test runs.
    let (hold, held) = std::sync::mpsc::channel();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"{\"outcome\":");
            if hold.send(stream).is_err() {
                return;
            }
        }
    });
    follows_the_policy(&node, "daemon_silent");
    drop(held);
}

#[test]
fn what_is_enrolled_stays_when_the_daemon_stops_and_a_pod_without_an_answer_is_found() {
    let node = Node::new("policy_back");
    let _container = node.container(CgroupDriver::Systemd);
    node.label(Some("Kmesh"));
    let mut daemon = node.start();
    node.await_client(true);
    daemon.stop();
    assert!(!node.socket().exists(), "a daemon that stops takes its socket along");
    assert!(is_enrolled(&node.bench.client));
    assert!(with_policy(&node, "open").run("ADD").ok);
    daemon.start();
    daemon.wait_ready(PATIENCE);
    wait_until("the note to be counted", Duration::from_secs(20), || {
        daemon.status()["kubernetes"]["cni"]["letGo"] == json!([["daemon_away", 1]])
    });
    let metrics = daemon.request("GET", "/status/metric", None).expect("metrics").body;
    assert!(metrics.contains("kmesh_cni_let_go_total{reason=\"daemon_away\"} 1"), "{metrics}");
    assert!(is_enrolled(&node.bench.client));
}
