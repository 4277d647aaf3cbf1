//! Files that are either the old ones or the new ones, whatever happens in between; and files that
//! somebody else arranged.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

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

/// Text of the file at `path` below `root`, where links lead to what they mean inside `root`, such as
/// that of a container: nothing outside is read. What is no regular file or is longer than
/// `bytes_max` is refused, not waited for.
pub fn read_below(root: &Path, path: &Path, bytes_max: u64) -> io::Result<String> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(File::open(root)?, path, how)?);
    if !file.metadata()?.is_file() {
        return Err(refused("not a regular file"));
    }
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(refused(&format!("longer than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

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

    #[test]
    fn links_stay_below_the_root_and_only_short_files_are_read() {
        let directory = tempfile::tempdir().expect("tempdir");
        let (root, etc) = (directory.path().join("root"), directory.path().join("root/etc"));
        fs::create_dir_all(&etc).expect("mkdir");
        fs::write(directory.path().join("secret"), "outside").expect("write");
        fs::write(etc.join("real"), "inside").expect("write");
        symlink("/etc/real", etc.join("absolute")).expect("link");
        symlink("../../../secret", etc.join("outside")).expect("link");
        symlink("/dev/stdin", etc.join("device")).expect("link");
        nix::unistd::mkfifo(&etc.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let read = |name: &str| read_below(&root, &Path::new("/etc").join(name), 6);
        assert_eq!(read("real").expect("read"), "inside");
        assert_eq!(read("absolute").expect("read"), "inside");
        for wrong in ["outside", "device", "fifo", "missing", "."] {
            read(wrong).expect_err(wrong);
        }
        read_below(&root, Path::new("etc/real"), 5).expect_err("too long");
    }
}
