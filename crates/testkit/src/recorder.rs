//! A waypoint in a pod: it keeps every byte that it gets, understands the header before the first one,
//! and does as it is told with what follows.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::sys::socket;

use crate::pod::Pod;

/// Type and length before the value.
const PREFIX_BYTES: usize = 5;
/// Type and length of the end.
const END_BYTES: usize = 5;

/// What a waypoint does behind the header.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Nothing: it only keeps what it gets.
    Keep,
    /// It says this at once, and then keeps what it gets.
    Say(&'static str),
    /// It returns what it gets.
    Echo,
    /// It says its pod's name and closes.
    Name,
    /// It connects, from its own pod, to where the client wanted to go, and passes on both ways.
    Forward,
}

/// A running waypoint; stopped, and its threads joined, on Drop.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    pod: Pod,
    reply: Reply,
    stop: AtomicBool,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    received: Arc<Mutex<Vec<u8>>>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Listens on every address of the pod.
    #[track_caller]
    pub fn start(pod: &Pod, port: u16, reply: Reply) -> Self {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let bound = pod.run(|| TcpListener::bind(address));
        let listener = bound.unwrap_or_else(|e| panic!("{}: listen on {address}: {e}", pod.name));
        let listener = Arc::new(listener);
        let shared = Arc::new(Shared {
            pod: pod.clone(),
            reply,
            stop: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let thread = std::thread::spawn({
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            move || {
                while let Some(stream) = shared.accept(&listener) {
                    shared.serve(stream);
                }
            }
        });
        Self { shared, listener, thread: Some(thread) }
    }

    /// The bytes of every connection so far, in the order in which they were accepted.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let connections = self.shared.connections();
        connections.iter().map(|it| lock(&it.received).clone()).collect()
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.connections().len()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread that waits in accept().
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let threads: Vec<_> = {
            let mut connections = self.shared.connections();
            connections
                .iter_mut()
                .filter_map(|it| {
                    let _ = it.stream.shutdown(Shutdown::Both);
                    it.thread.take()
                })
                .collect()
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) -> Option<TcpStream> {
        while !self.stop.load(Ordering::Acquire) {
            // An error is a client that went away, or the shutdown that asks to stop.
            if let Ok((stream, _)) = listener.accept() {
                return Some(stream);
            }
        }
        None
    }

    fn serve(self: &Arc<Self>, stream: TcpStream) {
        let Ok(ours) = stream.try_clone() else { return };
        let received = Arc::default();
        let (shared, to) = (Arc::clone(self), Arc::clone(&received));
        let mut connections = self.connections();
        // How a connection ends is the client's affair; what was received is kept.
        let thread = std::thread::spawn(move || drop(shared.converse(stream, &to)));
        connections.push(Connection { received, stream: ours, thread: Some(thread) });
    }

    fn converse(&self, mut stream: TcpStream, received: &Mutex<Vec<u8>>) -> io::Result<()> {
        let _ = stream.set_nodelay(true);
        let Some(dialled) = header(&mut stream, received)? else { return Ok(()) };
        match self.reply {
            Reply::Keep => keep(&mut stream, received, |_| Ok(())),
            Reply::Say(text) => {
                stream.write_all(text.as_bytes())?;
                keep(&mut stream, received, |_| Ok(()))
            }
            Reply::Echo => {
                let mut back = stream.try_clone()?;
                keep(&mut stream, received, |bytes| back.write_all(bytes))
            }
            Reply::Name => {
                let line = format!("{} {}\n", self.pod.name, stream.peer_addr()?);
                stream.write_all(line.as_bytes())?;
                // What is left unread would make the end a reset.
                stream.shutdown(Shutdown::Write)?;
                keep(&mut stream, received, |_| Ok(()))
            }
            Reply::Forward => self.forward(stream, dialled),
        }
    }

    fn forward(&self, client: TcpStream, dialled: SocketAddr) -> io::Result<()> {
        let server = self.pod.run(|| TcpStream::connect(dialled))?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let back = std::thread::spawn(move || {
            let (mut from_server, mut to_client) = (server, client);
            let _ = io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Write);
        });
        let copied = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
        let _ = back.join();
        copied.map(drop)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        lock(&self.connections)
    }
}

/// Reads the header and says where the client wanted to go; `None` when it is none.
fn header(stream: &mut TcpStream, received: &Mutex<Vec<u8>>) -> io::Result<Option<SocketAddr>> {
    let prefix = take(stream, received, PREFIX_BYTES)?;
    let length = match prefix[..] {
        [1, 0, 0, 0, length @ (6 | 18)] => usize::from(length),
        _ => return Ok(None),
    };
    let value = take(stream, received, length)?;
    if take(stream, received, END_BYTES)? != [0xfe, 0, 0, 0, 0] {
        return Ok(None);
    }
    let (address, port) = value.split_at(length - 2);
    let address = match <[u8; 4]>::try_from(address) {
        Ok(v4) => IpAddr::from(Ipv4Addr::from(v4)),
        Err(_) => <[u8; 16]>::try_from(address).map(Ipv6Addr::from).unwrap().into(),
    };
    Ok(Some(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]]))))
}

fn take(stream: &mut TcpStream, received: &Mutex<Vec<u8>>, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    for byte in bytes.chunks_mut(1) {
        stream.read_exact(byte)?;
        lock(received).extend_from_slice(byte);
    }
    Ok(bytes)
}

fn keep(
    stream: &mut TcpStream,
    received: &Mutex<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        lock(received).extend_from_slice(&buffer[..length]);
        each(&buffer[..length])?;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
