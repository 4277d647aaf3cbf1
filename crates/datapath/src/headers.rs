//! Headers for clients that do not speak first: sent on the client's own socket, through the program
//! that looks at everything that the socket sends, under the socket's lock. The program lets a header
//! pass only while nothing was sent, so the client's own first bytes may come at any moment.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use abi::{HeaderWait, SocketMeta, waypoint};

use crate::{Maps, Result, sys};

/// Inode of the host's PID namespace (`PROC_PID_INIT_INO` of the kernel).
const HOST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What became of one header.
#[derive(Debug)]
pub enum Outcome {
    /// It is on its way.
    Sent,
    /// The client spoke itself, or the connection is gone.
    NotNeeded,
    /// It could not be sent; the waypoint goes on waiting until the client speaks.
    Failed(io::Error),
}

/// Sends headers. Not `Send`: the programs know the thread that made it.
pub struct HeaderSender {
    maps: Arc<Maps>,
    _of_this_thread: std::marker::PhantomData<*const ()>,
}

impl HeaderSender {
    /// Makes the calling thread the one that sends headers.
    ///
    /// # Errors
    /// When the process does not see the host's processes, or the setting cannot be written.
    pub fn new(maps: Arc<Maps>) -> io::Result<Self> {
        if fs::metadata("/proc/self/ns/pid")?.ino() != HOST_PID_NAMESPACE {
            return Err(io::Error::other(
                "the daemon is in a PID namespace of its own: run it in the host's (`hostPID: true`)",
            ));
        }
        maps.set_header_sender(sys::thread_id()).map_err(io::Error::other)?;
        Ok(Self { maps, _of_this_thread: std::marker::PhantomData })
    }

    /// Sends the headers of those connections that still wait for one. Each process is looked
    /// through once, however many of its connections are among them.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    pub fn send(&self, waits: &[HeaderWait]) -> Result<Vec<(SocketAddr, Outcome)>> {
        let mut processes: BTreeMap<u32, HashMap<u64, (u64, SocketMeta)>> = BTreeMap::new();
        for wait in waits {
            let Some(meta) = self.maps.socket(wait.socket)? else { continue };
            let same = meta.socket_cookie == wait.socket_cookie;
            if same && meta.header == SocketMeta::HEADER_PENDING {
                let waiting = processes.entry(meta.tgid).or_default();
                waiting.insert(wait.inode, (wait.socket_cookie, meta));
            }
        }
        Ok(processes.into_iter().flat_map(|(tgid, waiting)| send_in(tgid, waiting)).collect())
    }
}

impl Drop for HeaderSender {
    fn drop(&mut self) {
        if let Err(error) = self.maps.set_header_sender(0) {
            tracing::warn!(%error, "the setting of who sends headers stays");
        }
    }
}

/// Sends the headers of one process's sockets, by their inodes.
fn send_in(tgid: u32, mut waiting: HashMap<u64, (u64, SocketMeta)>) -> Vec<(SocketAddr, Outcome)> {
    let mut outcomes = Vec::new();
    let folder = PathBuf::from(format!("/proc/{tgid}/fd"));
    for (number, inode) in sockets_in(&folder) {
        if waiting.is_empty() {
            break;
        }
        if let Some((cookie, meta)) = waiting.remove(&inode) {
            outcomes.push((dialled(&meta), send_on(tgid, number, cookie, &meta)));
        }
    }
    // Closed, or held by another process than the one that dialled.
    outcomes.extend(waiting.into_values().map(|(_, meta)| {
        let gone = format!("process {tgid} has no descriptor of the socket (any more)");
        (dialled(&meta), Outcome::Failed(io::Error::new(io::ErrorKind::NotFound, gone)))
    }));
    outcomes
}

fn dialled(meta: &SocketMeta) -> SocketAddr {
    SocketAddr::new(meta.original_address.ip(), meta.original_port.get())
}

/// Number and inode of each socket of a process; what vanishes meanwhile is left out.
fn sockets_in(folder: &std::path::Path) -> impl Iterator<Item = (i32, u64)> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, inode))
    })
}

fn send_on(tgid: u32, number: i32, cookie: u64, meta: &SocketMeta) -> Outcome {
    let sent = sys::descriptor_of(tgid, number).and_then(|socket| {
        // The number may have been given to another socket meanwhile.
        if sys::socket_cookie(socket.as_fd())? != cookie {
            return Err(io::ErrorKind::NotFound.into());
        }
        sys::send_through_program(socket.as_fd(), &waypoint::header(dialled(meta)))
    });
    let Err(error) = sent else { return Outcome::Sent };
    match error.raw_os_error() {
        // The program dropped it, or does not look at the socket any more: the client was faster.
        // Or the connection has ended.
        Some(
            libc::EACCES
            | libc::EINVAL
            | libc::EPIPE
            | libc::ECONNRESET
            | libc::ENOTCONN
            | libc::ETIMEDOUT,
        ) => Outcome::NotNeeded,
        _ => Outcome::Failed(error),
    }
}
