//! The other end of the admin API: what `kmeshctl` asks the daemon with.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::api::{
    AuthzExplanation, AuthzRequest, AuthzSetting, AuthzStatus, EnrolRequest, Enrolment, ErrorBody,
    ExplainRequest, Explanation, LoggerInfo, Status, UnenrolRequest, Version, path,
};

/// How long the daemon may take over one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer that is read, bytes. A dump of 100 000 workloads has about 60 MB.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Why the daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error("no daemon answers at {path}; is kmesh-daemon running? use --socket for another path")]
    NoDaemon {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error("not allowed to use {path}: the admin socket is for root; run this as root")]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be reached for another reason.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon did not answer in time.
    #[error("the daemon at {path} gave no answer within {} s; see its log", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("the daemon at {path} broke off: {reason}; see its log")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The daemon said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the daemon said.
        message: String,
    },
    /// The answer is not what this version of the API promises.
    #[error(
        "the answer to {request} is not understood: {reason}; is the daemon of another version?"
    )]
    Answer {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks one daemon through its Unix socket; each request is a connection of its own.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    /// A client of the daemon whose admin socket is at `socket`. Nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    // === Typed requests ===

    /// Which build the daemon is.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get(path::VERSION).await
    }

    /// Everything about the running daemon.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(path::STATUS).await
    }

    /// The network namespaces that the mesh handles.
    pub async fn enrolments(&self) -> Result<Vec<Enrolment>, ClientError> {
        self.get(path::ENROLMENTS).await
    }

    /// Enrols a network namespace.
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<Enrolment, ClientError> {
        self.post(path::ENROLMENTS, request).await
    }

    /// Ends an enrolment and tells which it was.
    pub async fn unenrol(&self, request: &UnenrolRequest) -> Result<Enrolment, ClientError> {
        self.delete(path::ENROLMENTS, request).await
    }

    /// What would happen to a connection.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ClientError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("from", &request.from)
            .append_pair("to", &request.to)
            .append_pair("protocol", &request.protocol)
            .finish();
        self.get(&format!("{}?{query}", path::EXPLAIN)).await
    }

    /// What is enforced of policies.
    pub async fn authz(&self) -> Result<AuthzStatus, ClientError> {
        self.get(path::AUTHZ).await
    }

    /// Sets whether policies are enforced.
    pub async fn set_authz(&self, setting: AuthzSetting) -> Result<AuthzStatus, ClientError> {
        self.post(&format!("{}?enable={}", path::AUTHZ, setting.enable), &()).await
    }

    /// Why a connection is allowed or refused.
    pub async fn explain_authz(
        &self,
        request: &AuthzRequest,
    ) -> Result<AuthzExplanation, ClientError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("from", &request.from)
            .append_pair("to", &request.to)
            .finish();
        self.get(&format!("{}?{query}", path::AUTHZ_EXPLAIN)).await
    }

    /// Names of the loggers.
    pub async fn loggers(&self) -> Result<Vec<String>, ClientError> {
        self.get(path::LOGGERS).await
    }

    /// Level of one logger.
    pub async fn logger(&self, name: &str) -> Result<LoggerInfo, ClientError> {
        self.get(&format!("{}?name={}", path::LOGGERS, escape(name))).await
    }

    /// Sets the level of a logger and returns the daemon's reply.
    pub async fn set_logger(&self, logger: &LoggerInfo) -> Result<String, ClientError> {
        self.text(Method::POST, path::LOGGERS, json_body(logger)?).await
    }

    // === Requests ===

    /// `GET`, the answer as a value.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.value(Method::GET, path, Bytes::new()).await
    }

    /// `GET`, the answer as it is.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.text(Method::GET, path, Bytes::new()).await
    }

    /// `POST` of a value, the answer as a value.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.value(Method::POST, path, json_body(body)?).await
    }

    /// `DELETE` with a value that names what is to go, the answer as a value.
    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.value(Method::DELETE, path, json_body(body)?).await
    }

    async fn value<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let request = format!("{method} {path}");
        let text = self.text(method, path, body).await?;
        serde_json::from_str(&text)
            .map_err(|error| ClientError::Answer { request, reason: error.to_string() })
    }

    async fn text(&self, method: Method, path: &str, body: Bytes) -> Result<String, ClientError> {
        match timeout(REQUEST_TIMEOUT, self.exchange(method, path, body)).await {
            Ok(Ok((status, text))) if status.is_success() => Ok(text),
            Ok(Ok((status, text))) => Err(refused(status, &text)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Timeout { path: self.socket.clone() }),
        }
    }

    /// One request on a connection of its own.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, String), ClientError> {
        let broken = |error: &dyn std::fmt::Display| ClientError::Broken {
            path: self.socket.clone(),
            reason: error.to_string(),
        };
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let bytes = body.map_err(|error| broken(&error))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
        };
        // The connection moves the bytes and must be polled until the answer is there; an error on
        // it shows in the answer too.
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = answer.as_mut() => answer,
            _ = connection => answer.await,
        }
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        let path = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { path }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { path },
            _ => ClientError::Connect { path, source },
        }
    }
}

fn json_body(value: &impl Serialize) -> Result<Bytes, ClientError> {
    let body = serde_json::to_vec(value).map_err(|error| ClientError::Answer {
        request: "the request itself".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Bytes::from(body))
}

/// What the daemon said: the text of an [`ErrorBody`], or else the plain text.
fn refused(status: StatusCode, text: &str) -> ClientError {
    let message = match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => body.error,
        Err(_) if text.trim().is_empty() => format!("the daemon answers {status}"),
        Err(_) => text.trim().to_owned(),
    };
    ClientError::Refused { status: status.as_u16(), message }
}

/// Escapes what may not stand in a query.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gives_the_words_of_the_daemon() {
        let said = |status, text: &str| refused(status, text).to_string();
        assert_eq!(said(StatusCode::NOT_FOUND, r#"{"error": "no such netns"}"#), "no such netns");
        assert_eq!(said(StatusCode::BAD_REQUEST, crate::api::WRONG_MODE), "Invalid Client Mode");
        assert_eq!(said(StatusCode::BAD_GATEWAY, ""), "the daemon answers 502 Bad Gateway");
    }

    #[test]
    fn a_name_cannot_break_the_request_line() {
        assert_eq!(escape("cni installer&x=é"), "cni%20installer%26x%3D%C3%A9");
    }

    #[tokio::test]
    async fn a_missing_daemon_is_told_apart_from_a_foreign_socket() {
        let directory = tempfile::tempdir().expect("tempdir");
        let socket = directory.path().join("admin.sock");
        let error = AdminClient::new(&socket).version().await.expect_err("nothing there");
        assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
        assert!(error.to_string().contains("is kmesh-daemon running? use --socket"), "{error}");
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
        let error = AdminClient::new(&socket).version().await.expect_err("dead socket");
        assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_an_error_at_once() {
        let directory = tempfile::tempdir().expect("tempdir");
        let socket = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).expect("bind");
        let peer = tokio::spawn(async move { listener.accept().await.map(drop) });
        let error = AdminClient::new(&socket).version().await.expect_err("hung up");
        assert!(matches!(error, ClientError::Broken { .. }), "{error}");
        peer.await.expect("peer").expect("accept");
    }
}

#[cfg(test)]
mod root;
