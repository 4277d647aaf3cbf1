//! A pod: one network namespace with an IPv4 and an IPv6 address, and ways to do things inside it.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

/// A handle: the namespace itself belongs to the [`crate::Network`] and goes with it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name in the scene, such as `client`.
    pub name: String,
    /// Its address on the bridge.
    pub v4: Ipv4Addr,
    /// Its address on the bridge.
    pub v6: Ipv6Addr,
    netns: PathBuf,
}

impl Pod {
    pub(crate) fn new(name: &str, v4: Ipv4Addr, v6: Ipv6Addr, netns_name: &str) -> Self {
        Self { name: name.to_owned(), v4, v6, netns: Path::new("/run/netns").join(netns_name) }
    }

    /// The path that `kmeshctl enroll --netns` and `nsenter --net=` take.
    pub fn netns(&self) -> &Path {
        &self.netns
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets opened there stay there,
    /// whichever thread uses them later. A panic of `work` goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.join();
                work()
            });
            inside.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `program` inside the namespace; the mounts stay the caller's, unlike with `ip netns exec`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns.display())).arg("--").arg(program);
        command
    }

    /// Writes a network sysctl of this namespace, such as `net.ipv4.ip_local_port_range`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value)).unwrap_or_else(|e| {
            panic!("{}: write {value:?} to {}: {e}", self.name, path.display())
        });
    }

    fn join(&self) {
        let path = self.netns.display();
        let netns = File::open(&self.netns).unwrap_or_else(|e| panic!("open {path}: {e}"));
        setns(&netns, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|e| panic!("enter {path}: {e} (needs root)"));
    }
}
