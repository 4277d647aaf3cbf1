//! The inside of a node: what the program `cluster-node` does before and as the node's first process.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use crate::cgroups;

/// Folders that the node shares with the host for reading and has for itself for writing.
const LAYERED: [&str; 4] = ["/etc", "/opt", "/var/lib", "/var/log"];
/// Folders that start empty.
const EMPTY: [&str; 2] = ["/run", "/mnt"];
/// What the first process says when everything is mounted.
pub const READY: &str = "ready";

/// `launch CGROUP FOLDER NAME`: joins the cgroups, then becomes `unshare`, which becomes `init`.
///
/// # Errors
/// When a group cannot be joined, or there is no `unshare`.
pub fn launch(cgroup: &str, folder: &Path, name: &str) -> Result<()> {
    cgroups::join(cgroup).context("join the node's cgroups")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--uts", "--cgroup"]).arg(std::env::current_exe()?);
    command.arg("init").arg(folder).arg(name);
    Err(command.exec()).context("start unshare (package util-linux)")
}

/// `enter CGROUP PID PROGRAM ARGUMENTS`: becomes a program inside the node whose first process is `pid`.
///
/// # Errors
/// When a group cannot be joined, or there is no `nsenter`.
pub fn enter(cgroup: &str, pid: &str, program: &[OsString]) -> Result<()> {
    cgroups::join(&cgroups::of_processes(cgroup)).context("join the node's cgroups")?;
    let mut command = Command::new("nsenter");
    command.args(["--target", pid, "--mount", "--net", "--uts", "--cgroup", "--"]);
    Err(command.args(program).exec()).context("start nsenter (package util-linux)")
}

/// `init FOLDER NAME`: makes the node's mounts, says so, and ends everything of the node when standard input
/// ends.
///
/// # Errors
/// When something cannot be mounted.
pub fn init(folder: &Path, name: &str) -> Result<()> {
    nix::unistd::sethostname(name).context("set the host name")?;
    // Mounts of a pod with mountPropagation: Bidirectional reach the other pods of the node, and nobody
    // else: unshare has cut the ties to the host.
    set_propagation("/", MsFlags::MS_SHARED)?;
    mount_sysfs()?;
    for path in LAYERED {
        mount_layer(folder, path)?;
    }
    for path in EMPTY {
        mount_type("tmpfs", path, Some("mode=0755"))?;
    }
    for path in ["/etc/cni/net.d", "/opt/cni/bin", "/run/netns", "/var/lib/kubelet"] {
        std::fs::create_dir_all(path).with_context(|| format!("make {path}"))?;
    }
    println!("{READY}");
    io::stdout().flush()?;
    // The end of standard input is the end of whoever made the node.
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest)?;
    cgroups::kill_own().context("end the processes of the node")
}

/// The node's network and its view of the cgroups; both are fixed when they are mounted.
fn mount_sysfs() -> Result<()> {
    let unified = cgroups::is_unified();
    let named = v1_names(&std::fs::read_to_string("/proc/self/cgroup")?);
    mount_type("sysfs", "/sys", None)?;
    mount_type("bpf", "/sys/fs/bpf", Some("mode=0700"))?;
    if unified {
        mount_type("cgroup2", cgroups::MOUNTS, None)?;
        return cgroups::leave_the_root().context("make room below the root of the cgroups");
    }
    mount_type("tmpfs", cgroups::MOUNTS, Some("mode=0755"))?;
    for (folder, options) in named {
        let path = format!("{}/{folder}", cgroups::MOUNTS);
        std::fs::create_dir(&path).with_context(|| format!("make {path}"))?;
        mount_type("cgroup", &path, Some(&options))?;
    }
    let path = format!("{}/unified", cgroups::MOUNTS);
    std::fs::create_dir(&path).with_context(|| format!("make {path}"))?;
    mount_type("cgroup2", &path, None)
}

/// (folder, mount options) of each v1 hierarchy, from lines such as `4:memory:/` and `9:name=systemd:/`.
fn v1_names(text: &str) -> Vec<(String, String)> {
    let controllers = text.lines().filter_map(|line| line.split(':').nth(1));
    let named =
        controllers.filter(|name| !name.is_empty()).map(|name| match name.strip_prefix("name=") {
            Some(folder) => (folder.to_owned(), format!("none,{name}")),
            None => (name.to_owned(), name.to_owned()),
        });
    named.collect()
}

fn mount_layer(folder: &Path, path: &str) -> Result<()> {
    let part = path.trim_start_matches('/').replace('/', "-");
    let (upper, work) = (folder.join(&part), folder.join(format!("{part}.work")));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory)?;
    }
    let (upper, work) = (upper.display(), work.display());
    mount_type("overlay", path, Some(&format!("lowerdir={path},upperdir={upper},workdir={work}")))
}

fn mount_type(fstype: &str, path: &str, options: Option<&str>) -> Result<()> {
    mount(Some(fstype), path, Some(fstype), MsFlags::empty(), options)
        .with_context(|| format!("mount -t {fstype} on {path}"))
}

fn set_propagation(path: &str, kind: MsFlags) -> Result<()> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_REC | kind, None::<&str>)
        .with_context(|| format!("change the propagation of {path}"))
}

/// The command line of `cluster-node`.
///
/// # Errors
/// Whatever the part that was asked for says.
pub fn main(arguments: &[OsString]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["launch", cgroup, folder, name] => launch(cgroup, Path::new(folder), name),
        ["init", folder, name] => init(Path::new(folder), name),
        ["enter", cgroup, pid, _, ..] => enter(cgroup, pid, &arguments[3..]),
        _ => bail!("this program is started by the tests: launch, init or enter"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_v1_hierarchy_is_mounted_by_its_controllers_or_its_name() {
        let text = "9:name=systemd:/x\n2:cpu,cpuacct:/x\n0::/x\n";
        let pair = |folder: &str, options: &str| (folder.to_owned(), options.to_owned());
        assert_eq!(
            v1_names(text),
            [pair("systemd", "none,name=systemd"), pair("cpu,cpuacct", "cpu,cpuacct")]
        );
    }
}
