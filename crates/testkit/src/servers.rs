//! Tiny real servers on threads, with their sockets inside a pod. They say who answered.
//!
//! A name server writes `<pod> <peer address>\n` and closes; it does not read, so a client that sends
//! to it may get a reset instead of the line. An echo server keeps the connection and returns what
//! it gets; a UDP server returns `<pod> <what it got>`. Servers by address name the address that they
//! were reached at in the place of the pod.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, sockopt};

use crate::pod::Pod;

/// How long a UDP server waits before it looks whether it should stop.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Which addresses a server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The pod's IPv4 address.
    V4,
    /// The pod's IPv6 address.
    V6,
    /// Both, by one socket on `[::]`.
    Dual,
}

/// Servers of one pod; stopped, and their threads joined, on Drop.
#[derive(Debug)]
pub struct Servers {
    pod: Pod,
    shared: Arc<Shared>,
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicU64,
    datagrams: AtomicU64,
    connections: Mutex<Connections>,
}

/// Open echo connections, so that stopping can end their threads.
#[derive(Debug, Default)]
struct Connections {
    next: u64,
    streams: HashMap<u64, TcpStream>,
    threads: HashMap<u64, JoinHandle<()>>,
}

impl Servers {
    /// No server yet.
    pub fn new(pod: &Pod) -> Self {
        let shared = Arc::new(Shared::default());
        Self { pod: pod.clone(), shared, listeners: Vec::new(), threads: Vec::new() }
    }

    /// Adds a TCP name server.
    #[track_caller]
    pub fn tcp(mut self, port: u16, family: Family) -> Self {
        let name = self.pod.name.clone();
        self.listen(port, family, move |_, mut stream, peer| {
            // The client may be gone already: that is its affair.
            let _ = stream.write_all(format!("{name} {peer}\n").as_bytes());
        });
        self
    }

    /// Adds a TCP name server on every address of the pod, which names the one that it was reached at.
    #[track_caller]
    pub fn tcp_by_address(mut self, port: u16) -> Self {
        self.listen(port, Family::Dual, |_, mut stream, peer| {
            let Ok(local) = stream.local_addr() else { return };
            let _ = stream.write_all(format!("{} {peer}\n", local.ip().to_canonical()).as_bytes());
        });
        self
    }

    /// Adds a UDP echo server on every address of the pod, which names the one that it was reached at
    /// and answers from there.
    #[track_caller]
    pub fn udp_by_address(mut self, port: u16) -> Self {
        let socket = self.bind_udp(port, Family::Dual);
        socket::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || {
            while !shared.stop.load(Ordering::Acquire) {
                // An error is the look whether it should stop.
                if answer_from_where_it_came(&socket).is_ok() {
                    shared.datagrams.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
        self
    }

    /// Adds a TCP echo server, one thread for each connection.
    #[track_caller]
    pub fn echo(mut self, port: u16, family: Family) -> Self {
        self.listen(port, family, |shared, stream, _| shared.echo(stream));
        self
    }

    /// Adds a UDP echo server.
    #[track_caller]
    pub fn udp(mut self, port: u16, family: Family) -> Self {
        let socket = self.bind_udp(port, family);
        let (shared, name) = (Arc::clone(&self.shared), self.pod.name.clone());
        self.threads.push(std::thread::spawn(move || serve_udp(&shared, &socket, &name)));
        self
    }

    /// TCP connections accepted so far, by all servers of this pod.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Datagrams received so far, by all servers of this pod.
    pub fn datagrams(&self) -> u64 {
        self.shared.datagrams.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn bind_udp(&self, port: u16, family: Family) -> UdpSocket {
        let address = SocketAddr::new(self.address(family), port);
        let bound = self.pod.run(|| UdpSocket::bind(address));
        let socket = bound.unwrap_or_else(|e| panic!("{}: bind udp {address}: {e}", self.pod.name));
        socket.set_read_timeout(Some(STOP_LOOK)).unwrap();
        socket
    }

    fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.pod.v4.into(),
            Family::V6 => self.pod.v6.into(),
            Family::Dual => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    #[track_caller]
    fn listen(
        &mut self,
        port: u16,
        family: Family,
        serve: impl Fn(&Arc<Shared>, TcpStream, SocketAddr) + Send + 'static,
    ) {
        let address = SocketAddr::new(self.address(family), port);
        let bound = self.pod.run(|| TcpListener::bind(address));
        let listener =
            bound.unwrap_or_else(|e| panic!("{}: listen on {address}: {e}", self.pod.name));
        let listener = Arc::new(listener);
        self.listeners.push(Arc::clone(&listener));
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || {
            while let Some((stream, peer)) = shared.accept(&listener) {
                serve(&shared, stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
        }));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for listener in &self.listeners {
            // Wakes the thread that waits in accept().
            let _ = socket::shutdown(
                std::os::fd::AsRawFd::as_raw_fd(listener.as_ref()),
                socket::Shutdown::Both,
            );
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.shared.end_connections();
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        while !self.stop.load(Ordering::Acquire) {
            // An error is a client that went away, or the shutdown that asks to stop.
            if let Ok(accepted) = listener.accept() {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                return Some(accepted);
            }
        }
        None
    }

    fn echo(self: &Arc<Self>, stream: TcpStream) {
        let Ok(ours) = stream.try_clone() else { return };
        let mut connections = self.connections();
        let id = connections.next;
        connections.next += 1;
        connections.streams.insert(id, ours);
        let shared = Arc::clone(self);
        let thread = std::thread::spawn(move || {
            let _ = echo_until_closed(stream);
            let mut connections = shared.connections();
            connections.streams.remove(&id);
            connections.threads.remove(&id);
        });
        connections.threads.insert(id, thread);
    }

    fn end_connections(&self) {
        let threads: Vec<_> = {
            let mut connections = self.connections();
            for stream in connections.streams.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            connections.threads.drain().map(|(_, thread)| thread).collect()
        };
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn echo_until_closed(mut stream: TcpStream) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

fn serve_udp(shared: &Shared, socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 64 * 1024];
    while !shared.stop.load(Ordering::Acquire) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        shared.datagrams.fetch_add(1, Ordering::Relaxed);
        let mut reply = format!("{name} ").into_bytes();
        reply.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&reply, from);
    }
}

/// Receives one datagram and returns it, behind the address that it was sent to, from that address.
fn answer_from_where_it_came(socket: &UdpSocket) -> io::Result<()> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let (length, from, info) = {
        let mut pieces = [io::IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::empty();
        let got = socket::recvmsg::<SockaddrIn6>(fd, &mut pieces, Some(&mut control), flags)?;
        let info = got.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
            _ => None,
        });
        (got.bytes, got.address, info)
    };
    let (Some(from), Some(mut info)) = (from, info) else { return Ok(()) };
    let local = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
    let mut reply = format!("{local} ").into_bytes();
    reply.extend_from_slice(&buffer[..length]);
    // The address alone: the interface that it came by is not always the way back.
    info.ipi6_ifindex = 0;
    let control = [ControlMessage::Ipv6PacketInfo(&info)];
    let pieces = [io::IoSlice::new(&reply)];
    socket::sendmsg(fd, &pieces, &control, MsgFlags::empty(), Some(&from))?;
    Ok(())
}
