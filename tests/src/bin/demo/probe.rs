//! Whether this machine can do it, asked before anything is changed.

use std::process::Command;

use anyhow::{Context, bail};
use testkit::binary;

/// Root by effective user id, which is the owner of this process's directory in /proc.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// `kmesh-daemon probe`; returns how many things it found.
///
/// # Errors
/// What is missing, in the probe's words.
pub fn ask() -> anyhow::Result<usize> {
    // The demo mounts a bpffs of its own, and not over the host's.
    let place = std::env::temp_dir();
    let mut command = Command::new(binary("kmesh-daemon"));
    command.arg("probe").arg("--bpf-fs-path").arg(&place);
    let done = command.output().context("start kmesh-daemon probe")?;
    let text = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        bail!("this machine lacks what the mesh needs; nothing was changed\n\n{text}{stderr}");
    }
    Ok(text.lines().skip(1).filter(|line| line.contains("  yes  ")).count())
}

/// Release of the running kernel.
pub fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
