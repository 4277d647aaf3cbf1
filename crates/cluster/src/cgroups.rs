//! A node's cgroups: one of its name in every hierarchy, v1 and v2, which its cgroup namespace has as
//! its root.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::try_until;

/// Where the hierarchies are mounted, on the host and in a node.
pub(crate) const MOUNTS: &str = "/sys/fs/cgroup";
/// Processes that are killed leave their groups when the kernel has buried them.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);
/// In a pure v2 hierarchy a group has processes or groups with controllers, never both: the node's own
/// processes are in this one.
const LEAF: &str = "system";

/// The top of every mounted hierarchy.
pub(crate) fn hierarchies() -> io::Result<Vec<PathBuf>> {
    if is_unified() {
        return Ok(vec![MOUNTS.into()]);
    }
    let entries = std::fs::read_dir(MOUNTS)?.flatten().map(|entry| entry.path());
    // Links such as cpu -> cpu,cpuacct name a hierarchy a second time.
    Ok(entries.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect())
}

/// Whether there is one hierarchy only, the second version.
pub(crate) fn is_unified() -> bool {
    Path::new(MOUNTS).join("cgroup.controllers").exists()
}

/// Moves this process into the node's groups, which are made when they are missing.
pub(crate) fn join(name: &str) -> io::Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        if !group.exists() {
            std::fs::create_dir(&group)?;
            inherit_cpuset(&hierarchy, &group)?;
        }
        std::fs::write(group.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Inside the node: makes room for groups with controllers beside its own processes. v2 alone needs it.
pub(crate) fn leave_the_root() -> io::Result<()> {
    let root = Path::new(MOUNTS);
    std::fs::create_dir_all(root.join(LEAF))?;
    std::fs::write(root.join(LEAF).join("cgroup.procs"), "0")?;
    let controllers = std::fs::read_to_string(root.join("cgroup.controllers"))?;
    let enable: Vec<String> =
        controllers.split_whitespace().map(|name| format!("+{name}")).collect();
    std::fs::write(root.join("cgroup.subtree_control"), enable.join(" "))
}

/// The group that a process of the node joins from outside.
pub(crate) fn of_processes(name: &str) -> String {
    if is_unified() { format!("{name}/{LEAF}") } else { name.to_owned() }
}

/// Removes the node's groups, with all below them. Its processes are dying.
pub(crate) fn remove(name: &str) -> Result<(), String> {
    for hierarchy in hierarchies().map_err(|e| e.to_string())? {
        let group = hierarchy.join(name);
        try_until(REMOVE_DEADLINE, || match remove_tree(&group) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(format!("{}: {e}", group.display()))
            }
            _ => Ok(()),
        })?;
    }
    Ok(())
}

/// Kills every process of the node, from outside.
pub(crate) fn kill(name: &str) -> io::Result<()> {
    std::fs::write(second_version().join(name).join("cgroup.kill"), "1")
}

/// Kills every process of the node, the caller with them, from inside: the node is all that it sees.
pub(crate) fn kill_own() -> io::Result<()> {
    std::fs::write(second_version().join("cgroup.kill"), "1")
}

/// The hierarchy that can kill; each process is in it.
fn second_version() -> PathBuf {
    let mounts = Path::new(MOUNTS);
    if is_unified() { mounts.to_owned() } else { mounts.join("unified") }
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}

/// A new group of the cpuset controller (v1) has no processors and takes no process.
fn inherit_cpuset(parent: &Path, group: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if group.join(file).exists() && !is_unified() {
            std::fs::copy(parent.join(file), group.join(file))?;
        }
    }
    Ok(())
}
