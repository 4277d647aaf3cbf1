//! A cgroup v2 group of one scene's own: programs attached to it see this scene's processes only.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ident::Ident;
use crate::mounts::{cgroup2_mount, own_cgroup};
use crate::wait::try_until;

const REMOVE_DEADLINE: Duration = Duration::from_secs(5);

/// A group below the root of the hierarchy, removed on Drop, with every process still in it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Where this process was before it entered.
    original: Option<PathBuf>,
}

impl Cgroup {
    /// An empty group.
    #[track_caller]
    pub fn new(scene: &str) -> Self {
        Self::with_ident(&Ident::new(scene))
    }

    #[track_caller]
    pub(crate) fn with_ident(ident: &Ident) -> Self {
        let path = cgroup2_mount().join(ident.as_str());
        std::fs::create_dir(&path)
            .unwrap_or_else(|e| panic!("make the cgroup {}: {e} (needs root)", path.display()));
        Self { path, original: None }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves this process into the group until Drop. Sockets opened and children started from now on
    /// belong to it.
    #[track_caller]
    pub fn enter(&mut self) {
        let original = own_cgroup();
        if original != self.path {
            move_self(&self.path)
                .unwrap_or_else(|e| panic!("enter the cgroup {}: {e}", self.path.display()));
            self.original = Some(original);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Some(original) = self.original.take() {
            // The group it came from may be gone: the root always takes it.
            if move_self(&original).is_err() {
                let _ = move_self(&cgroup2_mount());
            }
        }
        if let Err(e) = remove(&self.path) {
            eprintln!("testkit: could not remove the cgroup {}: {e}", self.path.display());
        }
    }
}

fn move_self(group: &Path) -> io::Result<()> {
    std::fs::write(group.join("cgroup.procs"), "0")
}

/// Kills what is left in the group and removes it.
pub(crate) fn remove(group: &Path) -> Result<(), String> {
    let own = std::process::id().to_string();
    let inside = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    if inside.lines().any(|pid| pid == own) {
        return Err("this process is still in it".to_owned());
    }
    if !inside.is_empty() {
        let _ = std::fs::write(group.join("cgroup.kill"), "1");
    }
    try_until(REMOVE_DEADLINE, || match std::fs::remove_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    })
}
