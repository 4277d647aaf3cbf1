//! The admin server on a real Unix socket and a real TCP port.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::api::{ConfigStatus, LoggerInfo, Status};
use crate::client::{AdminClient, ClientError};
use crate::shutdown::{self, Trigger};

/// Longest wait in a test.
const PATIENCE: Duration = Duration::from_secs(10);

struct Served {
    directory: tempfile::TempDir,
    tcp: SocketAddr,
    trigger: Trigger,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(head_timeout: Duration) -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let any_port = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let path = directory.path().join("run/admin.sock");
        let mut admin = Admin::bind(&path, any_port).await.expect("bind");
        admin.head_timeout = head_timeout;
        let tcp = admin.tcp_address().expect("a TCP port");
        let (trigger, shutdown) = shutdown::channel();
        let task = tokio::spawn(admin.serve(router(), shutdown));
        Self { directory, tcp, trigger, task }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/admin.sock")
    }

    async fn stop(self) {
        self.trigger.fire();
        timeout(PATIENCE, self.task).await.expect("ends in time").expect("ends well");
        assert!(!self.directory.path().join("run/admin.sock").exists());
    }
}

fn router() -> Router {
    let status = || async {
        let config = ConfigStatus { services: 3, ..ConfigStatus::default() };
        json(&Status { ready: true, config, ..Status::default() })
    };
    Router::new()
        .route("/status", get(status))
        .route("/debug/loggers", post(|axum::Json(i): axum::Json<LoggerInfo>| async { i.level }))
        .route("/bad", get(|| async { error(StatusCode::CONFLICT, "try again") }))
        .route("/slow", get(slow))
}

/// The request to `/slow` has arrived, and may be answered.
static ARRIVED: tokio::sync::Notify = tokio::sync::Notify::const_new();
static ANSWER: tokio::sync::Notify = tokio::sync::Notify::const_new();

async fn slow() {
    ARRIVED.notify_one();
    ANSWER.notified().await;
}

/// Sends bytes and reads until the server closes.
async fn raw<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.expect("closed in time").expect("text");
    answer
}

#[tokio::test]
async fn the_unix_socket_reads_and_writes() {
    let served = Served::start(HEAD_TIMEOUT).await;
    let mode = fs::metadata(served.socket()).expect("socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = AdminClient::new(served.socket());
    let status = client.status().await.expect("status");
    assert_eq!((status.ready, status.config.services), (true, 3));
    let logger = LoggerInfo { name: "default".into(), level: "debug".into() };
    assert_eq!(client.set_logger(&logger).await.expect("set"), "debug");
    match client.get_text("/bad").await {
        Err(ClientError::Refused { status: 409, message }) => assert_eq!(message, "try again"),
        other => panic!("not a refusal: {other:?}"),
    }
    served.stop().await;
}

#[tokio::test]
async fn the_tcp_port_reads_and_refuses_to_write() {
    let served = Served::start(HEAD_TIMEOUT).await;
    let connect = || TcpStream::connect(served.tcp);
    let get = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(connect().await.expect("connect"), get).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\n    \"ready\": true,\n"), "{answer}");
    let head = get.replace("GET", "HEAD");
    let answer = raw(connect().await.expect("connect"), &head).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = format!(
            "{method} /debug/loggers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let answer = raw(connect().await.expect("connect"), &request).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{method}: {answer}");
        assert!(answer.contains("Unix socket"), "{method}: {answer}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a daemon that dies"));
    assert!(path.exists());
    let first = Admin::bind(&path, None).await.expect("replaces the stale socket");
    assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    let error = Admin::bind(&path, None).await.expect_err("the first one is alive");
    assert!(matches!(error, AdminError::Taken { .. }), "{error}");
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    assert!(error.to_string().contains(SOCKET_FLAG), "{error}");
    drop(first);
    assert!(!path.exists(), "the socket goes with its daemon");
}

#[tokio::test]
async fn what_is_not_a_socket_stays() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("precious");
    fs::write(&path, "data").expect("write");
    let error = Admin::bind(&path, None).await.expect_err("a file is in the way");
    assert!(matches!(error, AdminError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("still there"), b"data");
    let error = Admin::bind(&path.join("below"), None).await.expect_err("not a directory");
    assert!(error.to_string().contains(SOCKET_FLAG), "{error}");
}

#[tokio::test]
async fn a_daemon_does_not_remove_the_socket_of_its_successor() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("admin.sock");
    let first = Admin::bind(&path, None).await.expect("bind");
    fs::remove_file(&path).expect("an operator cleans up");
    let second = Admin::bind(&path, None).await.expect("bind again");
    drop(first);
    assert!(path.exists());
    drop(second);
}

#[tokio::test]
async fn a_taken_port_names_the_flag_and_leaves_no_socket() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("admin.sock");
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = taken.local_addr().expect("address");
    let error = Admin::bind(&path, Some(address)).await.expect_err("taken");
    assert!(matches!(error, AdminError::Tcp { .. }), "{error}");
    assert!(error.to_string().contains(TCP_FLAG), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_dropped() {
    let served = Served::start(Duration::from_millis(50)).await;
    let unfinished = "GET /status HTTP/1.1\r\nHost:";
    raw(UnixStream::connect(served.socket()).await.expect("connect"), unfinished).await;
    raw(TcpStream::connect(served.tcp).await.expect("connect"), unfinished).await;
    raw(TcpStream::connect(served.tcp).await.expect("connect"), "").await;
    served.stop().await;
}

#[tokio::test]
async fn more_clients_than_places_are_served_in_turn() {
    let served = Served::start(Duration::from_millis(300)).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(TcpStream::connect(served.tcp).await.expect("connect"));
    }
    // The Unix socket has places of its own; the TCP port has one as soon as an idle client goes.
    AdminClient::new(served.socket()).status().await.expect("at once");
    let get = "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(TcpStream::connect(served.tcp).await.expect("connect"), get).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let served = Served::start(HEAD_TIMEOUT).await;
    let client = AdminClient::new(served.socket());
    let slow = tokio::spawn(async move { client.get_text("/slow").await });
    let idle = UnixStream::connect(served.socket()).await.expect("connect");
    ARRIVED.notified().await;
    let stop = tokio::spawn(served.stop());
    ANSWER.notify_one();
    slow.await.expect("task").expect("answered");
    stop.await.expect("stopped");
    drop(idle);
}
