//! One node: its namespaces, and ways to do things inside them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};
use testkit::{binary, output};

use crate::{cgroups, node_init};

/// A node without anything running in it yet. All of it goes on Drop, and when this process dies.
#[derive(Debug)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its address on the link between the nodes.
    pub v4: Ipv4Addr,
    /// Its address on the link between the nodes.
    pub v6: Ipv6Addr,
    /// From 1; the third part of its pods' addresses.
    pub index: u8,
    folder: PathBuf,
    cgroup: String,
    /// The node's first process. Its standard input is the node's life line.
    child: Child,
}

impl Node {
    /// Makes the namespaces of node number `index`; `cgroup` names its cgroups, `folder` holds what is
    /// written inside.
    #[track_caller]
    pub(crate) fn start(index: u8, cgroup: &str, folder: &Path) -> Self {
        let name = format!("node{index}");
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new(binary("cluster-node"));
        command.arg("launch").arg(cgroup).arg(folder).arg(&name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), node_init::READY, "{name} did not start; it said why above");
        let (v4, v6) = (Ipv4Addr::new(10, 99, 0, index), link_v6(index));
        Self { name, v4, v6, index, folder: folder.to_owned(), cgroup: cgroup.to_owned(), child }
    }

    /// `program` inside the node: its namespaces and its cgroups. The environment is the caller's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(binary("cluster-node"));
        command.arg("enter").arg(&self.cgroup).arg(self.pid().to_string()).arg(program);
        command
    }

    /// Runs to the end inside the node, and returns standard output.
    #[track_caller]
    pub fn must(&self, program: &str, arguments: &[&str]) -> String {
        self.try_run(program, arguments).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// As [`Node::must`], for what may fail.
    ///
    /// # Errors
    /// What the program wrote.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        output(self.command(program).args(arguments), "")
    }

    /// Runs `work` on a thread of its own in the node's network. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let path = self.netns();
                let netns =
                    File::open(&path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
                setns(&netns, CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|e| panic!("enter {}: {e} (needs root)", path.display()));
                work()
            });
            inside.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Its network namespace.
    pub fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid()))
    }

    /// The node's first process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the node's own files are, in the paths of the caller, who shares `/tmp` with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the node as the caller sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid()))
    }

    /// Writes a file of the node.
    #[track_caller]
    pub fn write(&self, inside: &str, text: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }

    /// First address of its pods, which the bridge has.
    pub fn pod_gateways(&self) -> (Ipv4Addr, Ipv6Addr) {
        (
            Ipv4Addr::new(10, 244, self.index, 1),
            Ipv6Addr::new(0xfd44, 0, 0, self.index.into(), 0, 0, 0, 1),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(e) = cgroups::kill(&self.cgroup) {
            eprintln!("cluster: could not end the processes of {}: {e}", self.name);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if let Err(e) = cgroups::remove(&self.cgroup) {
            eprintln!("cluster: could not remove the cgroups of {}: {e}", self.name);
        }
    }
}

pub(crate) fn link_v6(index: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, index.into())
}
