//! Where the host has mounted cgroup v2 and the bpf filesystem.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use procfs::process::Process;

/// Where cgroup v2 is on a host that uses nothing else.
const CGROUP2_USUAL: &str = "/sys/fs/cgroup";

/// One line of the mount table, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is.
    pub(crate) point: PathBuf,
    /// Type of the filesystem.
    pub(crate) kind: String,
    /// What of the filesystem is seen there.
    pub(crate) root: String,
}

/// Why a mount could not be found or made.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount table could not be read.
    #[error("cannot read the mount table /proc/self/mountinfo: {0}; is /proc mounted?")]
    Table(String),
    /// cgroup v2 is nowhere.
    #[error(
        "no cgroup v2 filesystem is mounted; mount one with `mount -t cgroup2 none DIRECTORY`, or \
         name it with --cgroup2-path"
    )]
    NoCgroup2,
    /// The bpf filesystem could not be mounted.
    #[error("cannot mount a bpf filesystem at {path}: {source}{advice}")]
    Bpffs {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        advice: &'static str,
    },
}

/// The cgroup v2 mount that covers all processes: `/sys/fs/cgroup` if it is one, else, as on a host
/// in hybrid mode, the one that shows the whole tree and has the shortest path.
pub fn cgroup2() -> Result<PathBuf, MountError> {
    let seen: Vec<Mount> =
        table()?.into_iter().filter(|m| has_type(&m.point, CGROUP2_SUPER_MAGIC)).collect();
    choose_cgroup2(&seen).ok_or(MountError::NoCgroup2)
}

/// Every mount of a cgroup hierarchy, of version 2 first: on a host in hybrid mode processes are in all
/// of them.
///
/// # Errors
/// When the mount table cannot be read.
pub fn cgroup_hierarchies() -> Result<Vec<PathBuf>, MountError> {
    Ok(order_hierarchies(table()?))
}

/// True when `path` is inside a bpf filesystem. A path that does not exist yet is judged by its
/// nearest ancestor that does.
pub fn bpffs_at(path: &Path) -> bool {
    path.ancestors().find(|p| p.exists()).is_some_and(|p| has_type(p, BPF_FS_MAGIC))
}

/// Mounts a bpf filesystem, for root only, at a directory that exists. Creates nothing else; call it
/// only where [`bpffs_at`] is false, for it would hide what is there.
pub fn mount_bpffs(path: &Path) -> Result<(), MountError> {
    let fail = |source: io::Error, advice| MountError::Bpffs { path: path.into(), source, advice };
    if !path.is_dir() {
        let source = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(fail(source, "; create the directory or name another with --bpf-fs-path"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("bpf"), path, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|errno| fail(errno.into(), advice_for(errno)))
}

/// The mount table of this process.
pub(crate) fn table() -> Result<Vec<Mount>, MountError> {
    let infos = Process::myself()
        .and_then(|process| process.mountinfo())
        .map_err(|error| MountError::Table(error.to_string()))?;
    let mount = |info: procfs::process::MountInfo| Mount {
        point: unescape(&info.mount_point.to_string_lossy()).into(),
        kind: info.fs_type,
        root: info.root,
    };
    Ok(infos.into_iter().map(mount).collect())
}

fn choose_cgroup2(mounts: &[Mount]) -> Option<PathBuf> {
    let cgroup2 = || mounts.iter().filter(|m| m.kind == "cgroup2");
    if let Some(usual) = cgroup2().find(|m| m.point == Path::new(CGROUP2_USUAL) && m.root == "/") {
        return Some(usual.point.clone());
    }
    cgroup2()
        .min_by_key(|m| (m.root != "/", m.point.as_os_str().len(), &m.point))
        .map(|m| m.point.clone())
}

fn order_hierarchies(mut mounts: Vec<Mount>) -> Vec<PathBuf> {
    mounts.retain(|mount| mount.kind == "cgroup2" || mount.kind == "cgroup");
    mounts.sort_by_key(|mount| mount.kind != "cgroup2");
    mounts.into_iter().map(|mount| mount.point).collect()
}

/// True when the filesystem that is visible at `path` is of this type: what lies under a later mount
/// does not count.
fn has_type(path: &Path, kind: FsType) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == kind)
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    known.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

fn advice_for(errno: nix::errno::Errno) -> &'static str {
    match errno {
        nix::errno::Errno::EPERM | nix::errno::Errno::EACCES => "; this needs root (CAP_SYS_ADMIN)",
        nix::errno::Errno::ENODEV => "; this kernel has no bpf filesystem",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, kind: &str, root: &str) -> Mount {
        Mount { point: point.into(), kind: kind.into(), root: root.into() }
    }

    #[test]
    fn the_usual_place_wins_only_when_it_is_cgroup2_itself() {
        let unified = [
            mount("/a", "cgroup2", "/"),
            mount("/sys/fs/cgroup", "cgroup2", "/"),
            mount("/", "x", "/"),
        ];
        assert_eq!(choose_cgroup2(&unified), Some("/sys/fs/cgroup".into()));
        let hybrid = [
            mount("/sys/fs/cgroup", "tmpfs", "/"),
            mount("/sys/fs/cgroup/cpu", "cgroup", "/"),
            mount("/sys/fs/cgroup/unified", "cgroup2", "/"),
        ];
        assert_eq!(choose_cgroup2(&hybrid), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn hierarchies_of_version_2_come_first() {
        let hybrid = vec![
            mount("/sys/fs/cgroup", "tmpfs", "/"),
            mount("/sys/fs/cgroup/cpu", "cgroup", "/"),
            mount("/sys/fs/cgroup/unified", "cgroup2", "/"),
        ];
        let expected = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu"].map(PathBuf::from);
        assert_eq!(order_hierarchies(hybrid), expected);
    }

    #[test]
    fn the_whole_tree_comes_before_a_shorter_path() {
        let several = [
            mount("/c", "cgroup2", "/machine.slice"),
            mount("/mnt/longer", "cgroup2", "/"),
            mount("/mnt/cg", "cgroup2", "/"),
        ];
        assert_eq!(choose_cgroup2(&several), Some("/mnt/cg".into()));
        assert_eq!(choose_cgroup2(&several[..1]), Some("/c".into()));
        assert_eq!(choose_cgroup2(&[]), None);
    }

    #[test]
    fn the_mount_table_of_this_process_can_be_read() {
        assert!(table().expect("mountinfo").iter().any(|m| m.kind == "proc"));
        assert_eq!(unescape("/with\\040space\\134"), "/with space\\");
    }

    #[test]
    fn cgroup2_is_found_where_it_is_mounted() {
        let found = cgroup2().expect("a cgroup v2 mount");
        assert!(found.join("cgroup.controllers").exists(), "{}", found.display());
    }

    #[test]
    fn an_ordinary_directory_is_no_bpf_filesystem() {
        let directory = tempfile::tempdir().expect("tempdir");
        assert!(!bpffs_at(directory.path()));
        assert!(!bpffs_at(&directory.path().join("not/there/yet")));
        let error = mount_bpffs(&directory.path().join("missing")).expect_err("no directory");
        assert!(error.to_string().contains("--bpf-fs-path"), "{error}");
    }
}

#[cfg(test)]
mod root;
