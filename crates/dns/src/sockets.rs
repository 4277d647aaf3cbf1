//! Sockets towards resolvers, made in the network namespace that they belong to.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::Instant;

/// Idle UDP sockets kept for reuse, of one pool.
const IDLE_SOCKETS_MAX: usize = 4;
/// A socket serves so many queries before its source port changes.
const QUERIES_PER_SOCKET_MAX: u32 = 16;
/// A socket older than this is not used again.
const SOCKET_AGE_MAX: Duration = Duration::from_secs(10);

/// Makes the sockets that queries leave through. It decides the network namespace, and whatever
/// else a socket must carry so that it is not captured itself, such as a mark.
///
/// The functions may block; they are called where blocking is allowed.
pub trait SocketFactory: Send + Sync + 'static {
    /// A UDP socket of the family of `upstream`, bound to a port that the kernel chose.
    ///
    /// # Errors
    /// When the kernel gives none.
    fn udp(&self, upstream: SocketAddr) -> io::Result<std::net::UdpSocket>;

    /// A TCP socket of the family of `upstream`, not connected.
    ///
    /// # Errors
    /// When the kernel gives none.
    fn tcp(&self, upstream: SocketAddr) -> io::Result<TcpSocket>;
}

/// Plain sockets of the network namespace that the program runs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnSockets;

/// UDP sockets that are used one query at a time. Making one may cost a thread that enters a
/// namespace, so a few are used again, but never for long: the source port protects against forged
/// replies (RFC 5452 section 4.5).
pub(crate) struct SocketPool {
    factory: Arc<dyn SocketFactory>,
    idle: Mutex<Vec<PooledSocket>>,
}

/// A socket connected to one upstream.
pub(crate) struct PooledSocket {
    pub(crate) socket: UdpSocket,
    upstream: SocketAddr,
    uses: u32,
    made: Instant,
}

// === impl OwnSockets ===

impl SocketFactory for OwnSockets {
    fn udp(&self, upstream: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let any: SocketAddr = match upstream {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        std::net::UdpSocket::bind(any)
    }

    fn tcp(&self, upstream: SocketAddr) -> io::Result<TcpSocket> {
        match upstream {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
    }
}

// === impl SocketPool ===

impl SocketPool {
    pub(crate) fn new(factory: Arc<dyn SocketFactory>) -> Self {
        Self { factory, idle: Mutex::default() }
    }

    /// A socket connected to `upstream`: an idle one, or a new one.
    pub(crate) async fn take(&self, upstream: SocketAddr) -> io::Result<PooledSocket> {
        if let Some(pooled) = self.take_idle(upstream) {
            return Ok(pooled);
        }
        let factory = self.factory.clone();
        let socket = off_loop(move || {
            let socket = factory.udp(upstream)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .await?;
        let socket = UdpSocket::from_std(socket)?;
        // Connected: the kernel drops what does not come from the upstream, and tells at once when
        // nobody listens there.
        socket.connect(upstream).await?;
        Ok(PooledSocket { socket, upstream, uses: 1, made: Instant::now() })
    }

    /// Keeps a socket whose query was answered.
    pub(crate) fn put_back(&self, pooled: PooledSocket) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if pooled.uses < QUERIES_PER_SOCKET_MAX && idle.len() < IDLE_SOCKETS_MAX {
            idle.push(pooled);
        }
    }

    /// A TCP socket for `upstream`.
    pub(crate) async fn tcp(&self, upstream: SocketAddr) -> io::Result<TcpSocket> {
        let factory = self.factory.clone();
        off_loop(move || factory.tcp(upstream)).await
    }

    fn take_idle(&self, upstream: SocketAddr) -> Option<PooledSocket> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|pooled| pooled.made.elapsed() < SOCKET_AGE_MAX);
        let index = idle.iter().position(|pooled| pooled.upstream == upstream)?;
        let mut pooled = idle.swap_remove(index);
        pooled.uses += 1;
        Some(pooled)
    }
}

/// Runs what may block on a thread for that.
async fn off_loop<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
