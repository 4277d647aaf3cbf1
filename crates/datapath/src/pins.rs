//! Where things are pinned: `<bpf file system>/kmesh/s<schema>/{maps,links,guards}`.

use std::fs::{self, File, TryLockError};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result, path_error, sys};

/// Number of the map layouts. Within one number key and value sizes never change (ARCHITECTURE.md, A7).
pub const SCHEMA: u32 = 1;

/// The pin folders.
#[derive(Clone, Debug)]
pub struct Pins {
    product: PathBuf,
}

impl Pins {
    /// The folders below `bpf_fs`.
    pub fn new(bpf_fs: &Path) -> Self {
        Self { product: bpf_fs.join("kmesh") }
    }

    fn schema(&self) -> PathBuf {
        self.product.join(format!("s{SCHEMA}"))
    }

    /// Folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.schema().join("maps")
    }

    /// Folder of the links.
    pub fn links(&self) -> PathBuf {
        self.schema().join("links")
    }

    /// Folder of the links to network namespaces, each under the namespace's cookie.
    pub fn guards(&self) -> PathBuf {
        self.schema().join("guards")
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    pub(crate) fn guard(&self, netns_cookie: u64) -> PathBuf {
        self.guards().join(netns_cookie.to_string())
    }

    /// All links to network namespaces.
    pub(crate) fn guard_pins(&self) -> Result<Vec<PathBuf>> {
        files(&self.guards())
    }

    /// Makes the folders, readable for root alone.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in [self.maps(), self.links(), self.guards()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(path_error("create", &folder))?;
        }
        Ok(())
    }

    /// Locks the pins against every other writer, until the returned file is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        let folder = self.schema();
        let file = File::open(&folder).map_err(path_error("open", &folder))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder }),
            Err(TryLockError::Error(source)) => {
                Err(Error::Path { action: "lock", path: folder, source })
            }
        }
    }

    /// True when something is pinned.
    pub fn exist(&self) -> bool {
        self.product.exists()
    }

    /// Removes every pin: programs detach, maps vanish. Traffic goes on as if there were no mesh.
    /// Links go first, so that no program runs on maps that are half gone.
    ///
    /// # Errors
    /// When a daemon still holds the lock, or a folder cannot be removed.
    pub fn remove_all(&self) -> Result<Vec<PathBuf>> {
        if !self.exist() {
            return Ok(Vec::new());
        }
        let _lock = self.schema().exists().then(|| self.lock()).transpose()?;
        let mut removed = Vec::new();
        for folder in [self.guards(), self.links()] {
            detach_all(&folder)?;
        }
        for folder in [self.guards(), self.links(), self.maps()] {
            remove_files(&folder, &mut removed)?;
        }
        fs::remove_dir_all(&self.product).map_err(path_error("remove", &self.product))?;
        Ok(removed)
    }
}

/// A link without a pin goes when the kernel comes round to it; one that is detached has no effect
/// from now on.
fn detach_all(links: &Path) -> Result<()> {
    for pin in files(links)? {
        let link = sys::open_pinned(&pin).map_err(path_error("open the pinned link", &pin))?;
        sys::link_detach(link.as_fd()).map_err(path_error("detach", &pin))?;
    }
    Ok(())
}

fn remove_files(folder: &Path, removed: &mut Vec<PathBuf>) -> Result<()> {
    for path in files(folder)? {
        fs::remove_file(&path).map_err(path_error("unpin", &path))?;
        removed.push(path);
    }
    Ok(())
}

/// The files of a folder, which may be missing.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(path_error("list", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<std::io::Result<_>>().map_err(path_error("list", folder))
}
