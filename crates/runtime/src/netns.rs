//! Network namespaces of the host: naming them, entering them, finding them again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::sys::statfs::{NSFS_MAGIC, statfs};

/// Why a network namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path names none, or cannot be read.
    #[error("{path}: {source}")]
    Open {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot enter the network namespace {path}: {source}{}", advice_for(.source))]
    Enter {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread could be started to enter it.
    #[error("cannot start a thread to enter {path}: {source}")]
    Thread {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A network namespace that lives as long as this does, whoever leaves it.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    _file: File,
}

impl Held {
    /// Holds the namespace at `path`.
    ///
    /// # Errors
    /// When the path names none.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let file = open(path).map_err(|source| NetnsError::Open { path: path.into(), source })?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { path, _file: file })
    }

    /// A path to it, for this process alone.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Inode of the network namespace at `path`: no two that exist at the same time share one. A path
/// that names something else is an error.
pub fn inode(path: &Path) -> io::Result<u64> {
    Ok(open(path)?.metadata()?.ino())
}

/// True while `path` still names the namespace with this inode.
pub fn alive(path: &Path, expected_inode: u64) -> bool {
    inode(path).is_ok_and(|found| found == expected_inode)
}

/// Moves the calling thread, and no other, into the network namespace at `path`. Needs
/// CAP_SYS_ADMIN. On a thread of an async runtime use [`in_netns`] instead.
pub fn enter(path: &Path) -> Result<(), NetnsError> {
    let file = open(path).map_err(|source| NetnsError::Open { path: path.into(), source })?;
    nix::sched::setns(file, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| NetnsError::Enter { path: path.into(), source: errno.into() })
}

/// Runs `f` on a new thread that has entered the network namespace at `path`, and returns what it
/// returns. Blocks meanwhile. A panic of `f` goes on in the caller.
pub fn in_netns<T: Send>(path: &Path, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    std::thread::scope(|scope| {
        let work = move || enter(path).map(|()| f());
        let thread = std::thread::Builder::new()
            .name("in-netns".into())
            .spawn_scoped(scope, work)
            .map_err(|source| NetnsError::Thread { path: path.into(), source })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The first address of the namespace at `path` that others can reach it at; IPv4 before IPv6.
pub fn global_address(path: &Path) -> Result<Option<IpAddr>, NetnsError> {
    Ok(global_addresses(path)?.first().copied())
}

/// All addresses of the namespace at `path` that others can reach it at; IPv4 before IPv6.
pub fn global_addresses(path: &Path) -> Result<Vec<IpAddr>, NetnsError> {
    in_netns(path, || {
        let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
        let mut addresses: Vec<IpAddr> = interfaces
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
            })
            .filter(is_global)
            .collect();
        addresses.sort_unstable();
        addresses
    })
}

fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

/// Every network namespace that has a mount or a process, by inode, each with a path to it.
pub fn all() -> BTreeMap<u64, PathBuf> {
    let mounts = crate::mounts::table().unwrap_or_default();
    let mounted =
        mounts.into_iter().filter(|mount| mount.root.starts_with("net:[")).map(|mount| mount.point);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_processes = processes.map(|process| process.path().join("ns/net"));
    // Mounts last: they replace the processes' paths, which do not stay.
    of_processes.chain(mounted).filter_map(|path| Some((inode(&path).ok()?, path))).collect()
}

/// A path to the network namespace with this inode, if there is one: a mount of it, which lasts, or
/// else that of a process inside it.
pub fn find_by_inode(inode: u64) -> Option<PathBuf> {
    find_mount(inode).or_else(|| find_process(inode))
}

/// A mount of the network namespace with this inode: a path that lasts as long as the namespace is held.
pub fn find_mount(inode: u64) -> Option<PathBuf> {
    let root = format!("net:[{inode}]");
    let mounts = crate::mounts::table().ok()?;
    mounts
        .into_iter()
        .find(|m| m.kind == "nsfs" && m.root == root && alive(&m.point, inode))
        .map(|m| m.point)
}

/// The process that a path such as `/proc/12/ns/net` names.
pub fn process_of(path: &Path) -> Option<u32> {
    path.to_str()?.strip_prefix("/proc/")?.strip_suffix("/ns/net")?.parse().ok()
}

fn find_process(inode: u64) -> Option<PathBuf> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    // The daemon itself is no lasting name for a namespace that it may only visit.
    pids.retain(|pid| *pid != std::process::id());
    pids.into_iter()
        .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")))
        .find(|path| fs::metadata(path).is_ok_and(|m| m.ino() == inode))
}

/// Opens a network namespace. Looks before it opens: opening a FIFO or a device may block or act.
fn open(path: &Path) -> io::Result<File> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    if statfs(path)?.filesystem_type() != NSFS_MAGIC {
        return Err(wrong("not a network namespace"));
    }
    let file = File::open(path)?;
    // A namespace that is not a mount shows its own name: `net:[4026531840]`.
    if let Ok(name) = fs::read_link(path)
        && let Some((kind, _)) = name.to_string_lossy().split_once(":[")
        && kind != "net"
    {
        return Err(wrong(&format!("a {kind} namespace, not a network namespace")));
    }
    Ok(file)
}

fn advice_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; this needs root (CAP_SYS_ADMIN)",
        io::ErrorKind::InvalidInput => "; it is a namespace of another kind",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/proc/self/ns/net";

    #[test]
    fn the_own_namespace_has_an_inode_and_is_found_by_it() {
        let own = inode(Path::new(OWN)).expect("own namespace");
        assert!(alive(Path::new(OWN), own));
        assert!(!alive(Path::new(OWN), own + 1));
        assert_eq!(find_by_inode(1), None);
    }

    #[test]
    fn a_process_is_known_by_its_path_alone() {
        assert_eq!(process_of(Path::new("/proc/12/ns/net")), Some(12));
        for other in ["/run/netns/12", "/proc/self/ns/net", "/proc/12/ns/mnt", "/proc/ns/net"] {
            assert_eq!(process_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_network_namespace_is_refused_by_name() {
        let error = inode(Path::new("/proc/self/ns/mnt")).expect_err("a mount namespace");
        assert!(error.to_string().contains("mnt namespace"), "{error}");
        let error = inode(Path::new("/proc/self/status")).expect_err("a file");
        assert!(error.to_string().contains("not a network namespace"), "{error}");
        let error = inode(Path::new("/nowhere")).expect_err("no file");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = enter(Path::new("/nowhere")).expect_err("no file");
        assert!(error.to_string().starts_with("/nowhere: "), "{error}");
    }
}

#[cfg(test)]
mod root;
