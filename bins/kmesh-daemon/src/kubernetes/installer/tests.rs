//! The installer on directories of its own: what it picks, what it leaves alone, what it undoes.

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::args::Args;

const LIST: &str = "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"pods\",\n  \"x\": 1.50,\n  \
                    \"plugins\": [\n    {\"type\": \"ptp\"}\n  ]\n}\n";

struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::write(dir.path().join("built"), "a program").expect("write");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn args(&self, more: &[&str]) -> KubernetesArgs {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let (etc, bin, plugin) = (path("net.d"), path("bin"), path("built"));
        let mut words = vec!["kmesh-daemon", "--cni-etc-path", &etc, "--cni-bin-path", &bin];
        words.extend(["--cni-plugin", &plugin]);
        words.extend(more);
        Args::try_parse_from(words).expect("valid arguments").kubernetes
    }

    fn installer(&self, more: &[&str]) -> Installer {
        Installer::new(&self.args(more)).expect("an installer")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("net.d").join(name), text).expect("write");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path("net.d").join(name)).expect("read")
    }
}

#[tokio::test]
async fn the_plugin_comes_before_its_entry_and_both_go_again() {
    let node = Node::new();
    let installer = node.installer(&[]);
    let told = format!("{:#}", installer.install().expect_err("there is no conflist"));
    assert!(told.contains("added as soon as there is one"), "{told}");
    assert_eq!(fs::read(node.path("bin/kmesh-cni")).expect("the plugin"), b"a program");
    node.write("10-pods.conflist", LIST);
    node.write("20-other.conflist", LIST);
    fs::set_permissions(node.path("net.d/10-pods.conflist"), fs::Permissions::from_mode(0o640))
        .expect("chmod");
    let path = node.path("net.d/10-pods.conflist");
    assert_eq!(installer.install().expect("installed"), Outcome::Written(path.clone()));
    assert_eq!(installer.install().expect("installed"), Outcome::Kept(path.clone()));
    assert!(node.read("10-pods.conflist").contains("\"type\":\"kmesh-cni\""));
    assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o640);
    assert_eq!(node.read("20-other.conflist"), LIST);
    let mode = fs::metadata(node.path("bin/kmesh-cni")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let changed = uninstall(&node.args(&[]).places).expect("uninstalled");
    assert_eq!(changed.len(), 2);
    assert_eq!(node.read("10-pods.conflist"), LIST);
    assert!(!node.path("bin/kmesh-cni").exists());
    assert!(uninstall(&node.args(&[]).places).expect("nothing is left").is_empty());
}

#[tokio::test]
async fn what_the_runtime_uses_now_is_what_the_plugin_is_added_to() {
    let node = Node::new();
    let installer = node.installer(&["--cni-policy", "closed"]);
    node.write("10-pods.conflist", LIST);
    installer.install().expect("installed");
    assert!(node.read("10-pods.conflist").contains("\"policy\":\"closed\""));
    node.write("10-pods.conflist", LIST);
    installer.install().expect("somebody wrote it anew");
    assert!(node.read("10-pods.conflist").contains("kmesh-cni"));
    node.write("05-first.conflist", LIST);
    installer.install().expect("another one is used now");
    assert!(node.read("05-first.conflist").contains("kmesh-cni"));
    node.write("01-single.conf", r#"{"cniVersion":"1.0.0","name":"a","type":"ptp"}"#);
    let told = format!("{:#}", installer.install().expect_err("nothing can be chained to it"));
    assert!(told.contains("01-single.conf") && told.contains("make it a .conflist"), "{told}");
}

#[tokio::test]
async fn a_file_that_is_named_is_the_one() {
    let node = Node::new();
    let installer = node.installer(&["--conflist-name", "20-mine.conflist"]);
    node.write("10-pods.conflist", LIST);
    installer.install().expect_err("it is not there yet");
    node.write("20-mine.conflist", LIST);
    installer.install().expect("installed");
    assert_eq!(node.read("10-pods.conflist"), LIST);
    assert!(node.read("20-mine.conflist").contains("kmesh-cni"));
}

#[tokio::test]
async fn a_new_plugin_replaces_the_old_one() {
    let node = Node::new();
    let installer = node.installer(&[]);
    node.write("10-pods.conflist", LIST);
    installer.install().expect("installed");
    fs::write(node.path("built"), "b program").expect("write");
    installer.install().expect("installed");
    assert_eq!(fs::read(node.path("bin/kmesh-cni")).expect("the plugin"), b"b program");
    fs::remove_file(node.path("built")).expect("remove");
    installer.install().expect_err("there is nothing to install");
    assert!(Installer::new(&node.args(&[])).is_err(), "and it is said at the start");
}
