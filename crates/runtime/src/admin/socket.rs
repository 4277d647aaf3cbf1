//! The Unix socket of the admin API as a file: made whole, private, and removed in the end.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::AdminError;

/// Mode of the socket: only its owner may connect.
const MODE: u32 = 0o600;
/// Mode of the directory when it has to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// The file of a bound socket. Dropping it removes the file, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Listens at `path`. The socket appears there only when it is private and ready, by a rename over
/// what a dead daemon left.
pub(super) async fn bind(
    path: &Path,
    flag: &'static str,
) -> Result<(UnixListener, SocketFile), AdminError> {
    make_room(path, flag).await?;
    listen(path).map_err(|source| AdminError::Unix { path: path.into(), flag, source })
}

/// Makes sure that nothing alive is at `path`.
async fn make_room(path: &Path, flag: &'static str) -> Result<(), AdminError> {
    let fail = |source| AdminError::Unix { path: path.into(), flag, source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    if !found.file_type().is_socket() {
        return Err(AdminError::InTheWay { path: path.into(), flag });
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(AdminError::Taken { path: path.into(), flag }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Another daemon has just removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fail(error)),
    }
}

fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    if !directory.as_os_str().is_empty() {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    }
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = directory.join(temporary);
    // Left by a process of the same id that died between here and the rename.
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    let mut file = SocketFile::of(temporary)?;
    fs::set_permissions(&file.path, Permissions::from_mode(MODE))?;
    fs::rename(&file.path, path)?;
    file.path = path.to_owned();
    Ok((listener, file))
}

// === impl SocketFile ===

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
