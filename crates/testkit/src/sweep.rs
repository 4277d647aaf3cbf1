//! Removing what a killed process could not remove itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};

use crate::command::output;
use crate::{cgroup, ident, mounts};

/// Removes processes, namespaces, bpffs mounts and directories whose name starts with `prefix`
/// (`kmesh-` for all) and whose maker is dead. Returns what it removed. Those of living processes stay.
pub fn sweep(prefix: &str) -> Vec<String> {
    let mut removed = Vec::new();
    let mut note = |path: &Path, done: bool| {
        if done {
            removed.push(path.display().to_string());
        }
    };
    for path in leftovers(&mounts::cgroup2_mount(), prefix) {
        note(&path, cgroup::remove(&path).is_ok());
    }
    for path in leftovers(Path::new("/run/netns"), prefix) {
        let name = path.file_name().unwrap_or_default();
        note(&path, output(Command::new("ip").args(["netns", "delete"]).arg(name), "").is_ok());
    }
    let temp = std::env::temp_dir();
    for mount in mounts::table() {
        let Ok(below) = mount.point.strip_prefix(&temp) else { continue };
        let Some(first) = below.components().next() else { continue };
        if ident::is_leftover(&first.as_os_str().to_string_lossy(), prefix) {
            note(&mount.point, umount2(&mount.point, MntFlags::MNT_DETACH).is_ok());
        }
    }
    for path in leftovers(&temp, prefix) {
        note(&path, std::fs::remove_dir_all(&path).is_ok());
    }
    removed
}

fn leftovers(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    // No such directory, nothing in it.
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let named = entries
        .flatten()
        .filter(|entry| ident::is_leftover(&entry.file_name().to_string_lossy(), prefix));
    named.map(|entry| entry.path()).collect()
}
