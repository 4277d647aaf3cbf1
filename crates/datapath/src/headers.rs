//! Headers for clients that do not speak first: sent on the client's own socket, through the program
//! that looks at everything that the socket sends, under the socket's lock. The program lets a header
//! pass only while nothing was sent, so the client's own first bytes may come at any moment.
//!
//! A write of the client that sleeps in the middle has given the lock away, and the kernel uses the
//! verdict on it for whatever is sent meanwhile, without asking the program. So the socket is claimed
//! first, and whether the client has spoken is looked up then: one that had is left alone, and what one
//! writes from then on gets no verdict that outlives it (`bpf/progs/header.bpf.c`).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
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
    /// What came too late can be read here.
    sink: TcpStream,
    /// Where the kernel thinks that it came from.
    _source: TcpStream,
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
        let (sink, source) = connected()?;
        maps.set_header_sink(sink.as_fd()).map_err(io::Error::other)?;
        maps.set_header_sender(sys::thread_id()).map_err(io::Error::other)?;
        Ok(Self { maps, sink, _source: source, _of_this_thread: std::marker::PhantomData })
    }

    /// Sends the headers of those connections that still wait for one. Each process is looked
    /// through once, however many of its connections are among them.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    pub fn send(&self, waits: &[HeaderWait]) -> Result<Vec<(SocketAddr, Outcome)>> {
        let mut processes: BTreeMap<u32, HashMap<u64, (HeaderWait, SocketMeta)>> = BTreeMap::new();
        for wait in waits {
            if let Some(meta) = self.pending(wait)? {
                processes.entry(meta.tgid).or_default().insert(wait.inode, (*wait, meta));
            }
        }
        Ok(processes.into_iter().flat_map(|(tgid, waiting)| self.send_in(tgid, waiting)).collect())
    }

    /// What is known of a connection, while nobody has sent its header.
    fn pending(&self, wait: &HeaderWait) -> Result<Option<SocketMeta>> {
        let meta = self.maps.socket(wait.socket)?;
        Ok(meta.filter(|meta| {
            meta.socket_cookie == wait.socket_cookie && meta.header == SocketMeta::HEADER_PENDING
        }))
    }

    /// Sends the headers of one process's sockets, by their inodes.
    fn send_in(
        &self,
        tgid: u32,
        mut waiting: HashMap<u64, (HeaderWait, SocketMeta)>,
    ) -> Vec<(SocketAddr, Outcome)> {
        let mut outcomes = Vec::new();
        let folder = PathBuf::from(format!("/proc/{tgid}/fd"));
        for (number, inode) in sockets_in(&folder) {
            if waiting.is_empty() {
                break;
            }
            if let Some((wait, meta)) = waiting.remove(&inode) {
                let socket = sys::descriptor_of(tgid, number);
                let sent = socket.and_then(|socket| self.send_on(socket.as_fd(), &wait, &meta));
                outcomes.push((dialled(&meta), sent.unwrap_or_else(outcome_of)));
            }
        }
        // Closed, or held by another process than the one that dialled.
        outcomes.extend(waiting.into_values().map(|(_, meta)| {
            let gone = format!("process {tgid} has no descriptor of the socket (any more)");
            (dialled(&meta), Outcome::Failed(io::Error::new(io::ErrorKind::NotFound, gone)))
        }));
        outcomes
    }

    pub(crate) fn send_on(
        &self,
        socket: BorrowedFd<'_>,
        wait: &HeaderWait,
        meta: &SocketMeta,
    ) -> io::Result<Outcome> {
        // The number may have been given to another socket meanwhile.
        if sys::socket_cookie(socket)? != wait.socket_cookie {
            return Err(io::ErrorKind::NotFound.into());
        }
        let _claim = Claim::new(&self.maps, wait.socket_cookie)?;
        sys::wait_for_lock(socket)?;
        if self.pending(wait).map_err(io::Error::other)?.is_none() {
            return Ok(Outcome::NotNeeded);
        }
        sys::send_through_program(socket, &waypoint::header(dialled(meta)))?;
        Ok(if self.came_too_late() { Outcome::NotNeeded } else { Outcome::Sent })
    }

    /// Whether the last header went to the sink, which is empty afterwards.
    pub(crate) fn came_too_late(&self) -> bool {
        let mut bytes = [0; 2 * waypoint::HEADER_V6_BYTES];
        (&self.sink).read(&mut bytes).is_ok_and(|length| length > 0)
    }
}

/// While it lives, the programs know that the header sender is at work on a socket.
struct Claim<'a>(&'a Maps);

impl<'a> Claim<'a> {
    fn new(maps: &'a Maps, socket_cookie: u64) -> io::Result<Self> {
        maps.claim_header(socket_cookie).map_err(io::Error::other)?;
        Ok(Self(maps))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // The index was right a moment ago.
        let _ = self.0.claim_header(0);
    }
}

/// Two ends of one connection; the first does not block.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sink = TcpStream::connect(listener.local_addr()?)?;
    sink.set_nonblocking(true)?;
    Ok((sink, listener.accept()?.0))
}

impl Drop for HeaderSender {
    fn drop(&mut self) {
        if let Err(error) = self.maps.set_header_sender(0) {
            tracing::warn!(%error, "the setting of who sends headers stays");
        }
    }
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

/// What a failure to send says.
fn outcome_of(error: io::Error) -> Outcome {
    match error.raw_os_error() {
        // The client was faster: its buffer is full, or no program looks at the socket any more. Or the
        // connection has ended.
        Some(
            libc::EAGAIN
            | libc::EINVAL
            | libc::EPIPE
            | libc::ECONNRESET
            | libc::ENOTCONN
            | libc::ETIMEDOUT,
        ) => Outcome::NotNeeded,
        _ => Outcome::Failed(error),
    }
}
