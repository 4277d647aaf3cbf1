//! A bpffs of one scene's own: its pins meet nobody else's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::wait::try_until;

const UNMOUNT_DEADLINE: Duration = Duration::from_secs(2);

/// A mounted bpffs, unmounted on Drop; pins that nothing else holds go with it.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Mounts a new bpffs on `path`, which is made when missing.
    #[track_caller]
    pub fn mount(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .unwrap_or_else(|e| panic!("mount -t bpf bpf {}: {e} (needs root)", path.display()));
        Self { path }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let busy = try_until(UNMOUNT_DEADLINE, || match umount2(&self.path, MntFlags::empty()) {
            Err(Errno::EBUSY) => Err(Errno::EBUSY),
            _ => Ok(()),
        });
        if busy.is_err() {
            // Goes when its last user does.
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}
