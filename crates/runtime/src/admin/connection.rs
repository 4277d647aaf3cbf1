//! One connection to the admin API.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;

use super::respond::error;
use crate::api::DEFAULT_SOCKET;
use crate::shutdown::Shutdown;

/// A connected socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A process of this user, through the Unix socket.
    Unix { uid: u32 },
    /// Anyone, through the TCP port.
    Tcp,
}

impl Caller {
    /// Why this caller may not use this method, if it may not.
    fn refusal(self, method: &Method) -> Option<String> {
        match self {
            // Root, or the daemon's own user, which is root wherever it does its work.
            Caller::Unix { uid } if uid == 0 || uid == geteuid().as_raw() => None,
            Caller::Unix { uid } => {
                Some(format!("the admin socket is for root, not for uid {uid}"))
            }
            Caller::Tcp if [Method::GET, Method::HEAD].contains(method) => None,
            Caller::Tcp => Some(format!(
                "the TCP port of the admin API is read-only; send {method} to the daemon's Unix \
                 socket (kmeshctl does, or `curl --unix-socket {DEFAULT_SOCKET}`)"
            )),
        }
    }
}

/// Serves one connection until it ends or `shutdown`; then the request under way is answered first.
pub(super) async fn serve<S: Stream>(
    stream: S,
    caller: Caller,
    router: Router,
    shutdown: Shutdown,
    head_timeout: Duration,
) {
    let service = service_fn(move |request| answer(request, caller, router.clone()));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?caller, "an admin connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    caller: Caller,
    router: Router,
) -> Result<Response<Body>, Infallible> {
    match caller.refusal(request.method()) {
        Some(reason) => Ok(error(StatusCode::FORBIDDEN, reason)),
        None => router.oneshot(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_use_the_unix_socket() {
        assert_eq!(Caller::Unix { uid: 0 }.refusal(&Method::POST), None);
        assert_eq!(Caller::Unix { uid: geteuid().as_raw() }.refusal(&Method::POST), None);
        for method in [Method::GET, Method::POST] {
            let reason = Caller::Unix { uid: u32::MAX }.refusal(&method).expect("refused");
            assert!(reason.contains("for root"), "{reason}");
        }
    }

    #[test]
    fn the_tcp_port_only_reads() {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(Caller::Tcp.refusal(&method), None);
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let reason = Caller::Tcp.refusal(&method).expect("refused");
            assert!(reason.contains("Unix socket"), "{reason}");
        }
    }
}
