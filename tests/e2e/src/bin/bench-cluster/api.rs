//! Many objects into the API server: HTTP/1.1 through `kubectl proxy`, on a few connections that are kept.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use cluster::Node;
use serde_json::Value;
use testkit::{OwnChild, wait_until};

/// Connections at once: more make the API server no faster.
const CLIENTS: usize = 6;
const PORT: u16 = 8001;
const START_DEADLINE: Duration = Duration::from_secs(10);

/// One request: method, path, body.
pub type Call = (&'static str, String, Value);

/// `kubectl proxy` in a node; ends on Drop.
pub struct Api<'a> {
    node: &'a Node,
    _proxy: OwnChild,
}

impl<'a> Api<'a> {
    /// Starts it.
    pub fn start(node: &'a Node, mut kubectl: std::process::Command) -> Self {
        kubectl.args(["proxy", &format!("--port={PORT}")]).stdout(std::process::Stdio::null());
        let proxy = OwnChild::spawn(&mut kubectl);
        wait_until("kubectl proxy", START_DEADLINE, || {
            node.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)))
        });
        Self { node, _proxy: proxy }
    }

    /// Makes all calls, in no order; each must succeed.
    pub fn call_all(&self, calls: &[Call]) {
        let part = calls.len().div_ceil(CLIENTS).max(1);
        std::thread::scope(|scope| {
            for calls in calls.chunks(part) {
                scope.spawn(|| self.node.run(|| call_each(calls)));
            }
        });
    }
}

fn call_each(calls: &[Call]) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for (method, path, body) in calls {
        let body = body.to_string();
        let kind =
            if *method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (status, answer) = read_answer(&mut reader);
        assert!(status.contains(" 20"), "{method} {path}: {status}: {answer}");
    }
}

/// The status line and the body, with a length or in chunks.
fn read_answer(reader: &mut impl BufRead) -> (String, String) {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let status = line();
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let field = line().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(text) = field.strip_prefix("content-length: ") {
            length = text.parse().unwrap();
        }
        is_chunked |= field == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    loop {
        if is_chunked {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            length = usize::from_str_radix(size.trim(), 16).unwrap();
        }
        let from = body.len();
        body.resize(from + length, 0);
        reader.read_exact(&mut body[from..]).unwrap();
        if is_chunked {
            reader.read_line(&mut String::new()).unwrap();
        }
        if !is_chunked || length == 0 {
            return (status, String::from_utf8_lossy(&body).into_owned());
        }
    }
}
