//! A container of a pod, as kubelet and a runtime leave it: a process in the pod's network namespace, in
//! a cgroup below `kubepods`, with a resolv.conf of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::cgroup;
use crate::pod::Pod;
use crate::scene::Scene;
use crate::wait::wait_until;

const START_DEADLINE: Duration = Duration::from_secs(10);
/// Name of the one container; runtimes use long hexadecimal numbers.
const CONTAINER: &str = "c0ffee";

/// The layout of one of kubelet's cgroup drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// `kubepods/burstable/podUID/ID`
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/.../cri-containerd-ID.scope`
    Systemd,
}

/// Ended on Drop, and its cgroups removed.
#[derive(Debug)]
pub struct Container {
    child: Child,
    /// Innermost first.
    groups: Vec<PathBuf>,
}

impl Container {
    /// Starts it; `uid` is that of the pod.
    #[track_caller]
    pub fn start(
        scene: &Scene,
        pod: &Pod,
        uid: &str,
        driver: CgroupDriver,
        nameserver: &str,
    ) -> Self {
        let group = scene.cgroup().path().join(place(driver, uid));
        std::fs::create_dir_all(&group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
        let root = scene.cgroup().path();
        let groups = group.ancestors().take_while(|path| *path != root).map(Path::to_owned);
        let resolv_conf = scene.dir().join(format!("resolv.conf.{uid}"));
        std::fs::write(&resolv_conf, format!("nameserver {nameserver}\n")).unwrap();
        let script = format!(
            "mount --bind {} /etc/resolv.conf && echo $$ > {}/cgroup.procs && exec sleep 3600",
            resolv_conf.display(),
            group.display(),
        );
        let mut command: Command = pod.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let child = command.spawn().unwrap_or_else(|e| panic!("start a container: {e}"));
        let container = Self { groups: groups.collect(), child };
        let comm = format!("/proc/{}/comm", container.child.id());
        wait_until("the container to run", START_DEADLINE, || {
            std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep")
        });
        container
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for group in &self.groups {
            // Another pod may still be below the outer ones.
            if std::fs::read_dir(group)
                .is_ok_and(|below| !below.flatten().any(|e| e.path().is_dir()))
            {
                let _ = cgroup::remove(group);
            }
        }
    }
}

fn place(driver: CgroupDriver, uid: &str) -> PathBuf {
    match driver {
        CgroupDriver::Cgroupfs => {
            ["kubepods", "burstable", &format!("pod{uid}"), CONTAINER].iter().collect()
        }
        CgroupDriver::Systemd => [
            "kubepods.slice",
            "kubepods-burstable.slice",
            &format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_")),
            &format!("cri-containerd-{CONTAINER}.scope"),
        ]
        .iter()
        .collect(),
    }
}
