//! Files that are either the old ones or the new ones, whatever happens in between.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces the file at `path` by one with these bytes and exactly this mode (such as `0o600`; the
/// umask does not count). After a crash there is the old file or the new one, never a part of it. A
/// symbolic link at `path` is replaced, not followed.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with a file name")),
    };
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_remains() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("state.json");
        write_atomically(&path, b"one", 0o644).expect("write");
        write_atomically(&path, b"two", 0o600).expect("write again");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_failure_leaves_no_trace() {
        let directory = tempfile::tempdir().expect("tempdir");
        let taken = directory.path().join("taken");
        fs::create_dir_all(taken.join("inner")).expect("mkdir");
        write_atomically(&taken, b"x", 0o600).expect_err("a directory is in the way");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
        write_atomically(&directory.path().join("missing/file"), b"x", 0o600).expect_err("no dir");
        write_atomically(Path::new("/"), b"x", 0o600).expect_err("no file name");
    }
}
