//! Serving the admin API: one router on a Unix socket and, read-only, on a TCP port.
//!
//! Who reaches the Unix socket is root and may do everything. The TCP port answers `GET` and `HEAD`
//! to anyone who reaches it and never changes state.

mod connection;
mod respond;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use respond::{error, json};

use crate::shutdown::Shutdown;
use connection::Caller;
pub use socket::SocketFile;

/// Flag of the daemon that says where the Unix socket is.
pub const SOCKET_FLAG: &str = "--admin-socket";
/// Flag of the daemon that says where the TCP port is.
pub const TCP_FLAG: &str = "--status-addr";

/// Connections served at the same time, per listener; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send a request head, or stay idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests under way may take to end after the shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the admin API cannot be served. Each names the flag to change.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another daemon answers there.
    #[error("a daemon already answers at {path}; stop it, or use another path with {flag}")]
    Taken {
        /// The socket.
        path: PathBuf,
        /// Says where it is.
        flag: &'static str,
    },
    /// Something that is not a socket is in the way.
    #[error("{path} exists and is not a socket; remove it, or use another path with {flag}")]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
        /// Says where the socket is.
        flag: &'static str,
    },
    /// The Unix socket could not be made.
    #[error("cannot listen at {path}: {source}; use another path with {flag}")]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Says where it is.
        flag: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The TCP port could not be bound.
    #[error("cannot listen at {address}: {source}; use another address with {TCP_FLAG}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The admin API's listeners, bound and not yet served. Dropping it removes the socket.
#[derive(Debug)]
pub struct Admin {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// Removed last, after the listeners have closed.
    file: SocketFile,
    head_timeout: Duration,
}

/// Listens at a Unix socket for root alone, as the admin API does: the directory is made when it is
/// missing, the socket of a dead daemon is replaced, and the file goes when the second value is dropped.
/// `flag` is what says where the socket is, for the error.
///
/// # Errors
/// When a live daemon answers there, something else is in the way, or the kernel refuses.
pub async fn bind_private(
    path: &Path,
    flag: &'static str,
) -> Result<(UnixListener, SocketFile), AdminError> {
    socket::bind(path, flag).await
}

/// Binds and serves until `shutdown`; see [`Admin::bind`] and [`Admin::serve`].
pub async fn serve(
    router: Router,
    unix: &Path,
    tcp: Option<SocketAddr>,
    shutdown: Shutdown,
) -> Result<(), AdminError> {
    Admin::bind(unix, tcp).await?.serve(router, shutdown).await;
    Ok(())
}

// === impl Admin ===

impl Admin {
    /// Binds the Unix socket (mode 0600; the directory is made when it is missing) and the TCP port.
    /// The socket of a dead daemon is replaced, that of a live one is an error.
    pub async fn bind(unix: &Path, tcp: Option<SocketAddr>) -> Result<Self, AdminError> {
        let tcp = match tcp {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|source| AdminError::Tcp { address, source })?)
            }
        };
        let (unix, file) = socket::bind(unix, SOCKET_FLAG).await?;
        Ok(Self { unix, tcp, file, head_timeout: HEAD_TIMEOUT })
    }

    /// The TCP address in use, with the port that the kernel chose when 0 was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Serves until `shutdown`, then lets requests under way end, for a few seconds at most, and
    /// removes the socket.
    pub async fn serve(self, router: Router, shutdown: Shutdown) {
        let Self { unix, tcp, file, head_timeout } = self;
        let context = Context { router, shutdown, head_timeout };
        let for_tcp = context.clone();
        let serve_tcp = async {
            if let Some(listener) = tcp {
                accept_all(listener, for_tcp).await;
            }
        };
        tokio::join!(accept_all(unix, context), serve_tcp);
        drop(file);
    }
}

// === Accepting ===

/// What every connection needs.
#[derive(Clone)]
struct Context {
    router: Router,
    shutdown: Shutdown,
    head_timeout: Duration,
}

/// A listener that tells who calls.
trait Accept: Sync {
    type Stream: connection::Stream;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.accept().await?;
        // A peer without credentials is nobody we know.
        let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
        Ok((stream, Caller::Unix { uid }))
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Caller)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Caller::Tcp))
    }
}

async fn accept_all(listener: impl Accept, context: Context) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed, so there is always a place in the end.
            let place = places.clone().acquire_owned().await;
            (place, listener.next().await)
        };
        let (place, accepted) = tokio::select! {
            () = context.shutdown.wait() => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, caller)) => {
                let serving = connection::serve(
                    stream,
                    caller,
                    context.router.clone(),
                    context.shutdown.clone(),
                    context.head_timeout,
                );
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin API could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("admin requests were cut short by the shutdown");
    }
}

#[cfg(test)]
mod tests;
