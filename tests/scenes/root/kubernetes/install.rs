//! The daemon puts the plugin on the node, keeps it there, and takes it away when it is uninstalled.

use std::fs;
use std::process::Command;

use serde_json::json;
use testkit::{CniCall, Daemon, PREVIOUS, binary, wait_until};

use super::super::bench::{PATIENCE, success};
use super::super::enrolment::is_enrolled;
use super::{Node, await_figure};

const LIST: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [ {"type": "ptp", "mtu": 1450} ]
}
"#;

struct Host {
    node: Node,
    etc: String,
    bin: String,
}

impl Host {
    fn new(scene: &str) -> Self {
        let node = Node::new(scene);
        let path = |name: &str| node.bench.scene.dir().join(name).to_string_lossy().into_owned();
        let (etc, bin) = (path("net.d"), path("bin"));
        Self { node, etc, bin }
    }

    fn start(&self) -> Daemon {
        let log = self.node.log().to_string_lossy().into_owned();
        let paths = ["--cni-etc-path", &self.etc, "--cni-bin-path", &self.bin];
        let others = ["--install-cni", "on", "--cni-log-file", &log];
        self.node.start_with(&[&paths[..], &others[..]].concat())
    }

    fn list(&self) -> String {
        fs::read_to_string(format!("{}/10-pods.conflist", self.etc)).unwrap_or_default()
    }

    fn write_list(&self) {
        fs::write(format!("{}/10-pods.conflist", self.etc), LIST).expect("write");
    }

    fn await_entry(&self) {
        wait_until("the plugin's entry", PATIENCE, || self.list().contains("kmesh-cni"));
    }
}

#[test]
fn the_plugin_is_kept_in_the_conflist_and_works_from_there() {
    let host = Host::new("install");
    let mut daemon = host.start();
    host.write_list();
    host.await_entry();
    // Another plugin writes its file anew, as after an update.
    host.write_list();
    host.await_entry();
    host.node.label(Some("Kmesh"));
    await_figure(&daemon, "/wanted", &json!(1));
    // What a runtime makes of the entry.
    let list: serde_json::Value = serde_json::from_str(&host.list()).expect("JSON");
    let mut entry = list["plugins"][1].clone();
    entry["cniVersion"] = list["cniVersion"].clone();
    entry["name"] = list["name"].clone();
    let text = entry.to_string();
    let input = format!("{},\"prevResult\":{PREVIOUS}}}", &text[..text.len() - 1]);
    let call: CniCall = host.node.call();
    let answer = call.run_with(format!("{}/kmesh-cni", host.bin).as_ref(), "ADD", &input);
    assert!(answer.ok && is_enrolled(&host.node.bench.client), "{answer:?}");
    daemon.stop();
    assert!(host.list().contains("kmesh-cni"), "pods start without the daemon, too");
    let mut uninstall = Command::new(binary("kmesh-daemon"));
    uninstall.arg("uninstall").arg("--bpf-fs-path").arg(host.node.bench.scene.bpffs().path());
    uninstall.args(["--cni-etc-path", &host.etc, "--cni-bin-path", &host.bin]);
    uninstall.args(["--install-cni", "on"]);
    let told = success(&uninstall.output().expect("it runs"));
    assert!(told.contains("10-pods.conflist without the CNI plugin"), "{told}");
    assert_eq!(host.list(), LIST);
    assert!(!fs::exists(format!("{}/kmesh-cni", host.bin)).unwrap());
    assert!(!is_enrolled(&host.node.bench.client));
}
