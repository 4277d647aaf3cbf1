//! What test pods do on request: the protocol between a test and the agent in `cluster-app`.
//!
//! One connection, one line of JSON each way. Where the network of the nodes is out of reach, the same
//! line goes through `kubectl exec POD -- /cluster-app tell`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the agent listens in every test pod.
pub const AGENT_PORT: u16 = 9000;
/// The name server: says who it is, then closes.
pub const NAME_PORT: u16 = 8080;
/// The HTTP server: 200 and its name.
pub const HTTP_PORT: u16 = 8081;
/// Returns what it gets.
pub const ECHO_PORT: u16 = 7000;
/// Returns each datagram behind its name.
pub const UDP_PORT: u16 = 9090;
/// Where a waypoint of the Kmesh kind listens.
pub const RECORDER_PORT: u16 = 15019;

/// What an agent is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Connects `count` times by TCP to HOST:PORT, sends `text` when there is one, and reads to the end.
    Ask {
        /// HOST:PORT; a host name is looked up as the pod's libc does it, once for each connection.
        to: String,
        /// Sent first.
        text: Option<String>,
        /// How often.
        count: u32,
    },
    /// Sends a datagram and waits for the answer.
    AskUdp {
        /// HOST:PORT.
        to: String,
        /// Its text.
        text: String,
    },
    /// Looks a name up.
    Resolve {
        /// The name.
        name: String,
    },
    /// Starts to connect again and again; returns at once.
    Load {
        /// To stop it by.
        id: String,
        /// HOST:PORT.
        to: String,
        /// What each client does.
        kind: LoadKind,
        /// Clients.
        threads: u32,
        /// Pause of a client between two connections, in milliseconds.
        every_ms: u64,
    },
    /// What a load has seen so far.
    Count {
        /// Which.
        id: String,
    },
    /// As `Count`, and ends it.
    Stop {
        /// Which.
        id: String,
    },
    /// What the recorder of this pod has received: the first bytes of each connection, in hexadecimal.
    Records,
    /// Connections or requests for some time, as many as possible.
    Measure {
        /// ADDRESS:PORT of an HTTP server.
        to: SocketAddr,
        /// A new connection for each request.
        connects: bool,
        /// Clients.
        threads: u32,
        /// How long.
        duration_ms: u64,
    },
}

/// What a client of a load does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LoadKind {
    /// A new connection each time, and the line of a name server.
    Connect,
    /// As `Connect`, but the client speaks first: `hello`.
    Speak,
    /// One connection to an echo server for all of it.
    Stream,
}

/// What an agent answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Response {
    /// Why it could not be done at all.
    pub error: Option<String>,
    /// Of `Ask` and `AskUdp`: one for each connection.
    pub answers: Vec<Answer>,
    /// Of `Resolve`.
    pub addresses: Vec<IpAddr>,
    /// Of `Load`, `Count` and `Stop`.
    pub load: LoadCounts,
    /// Of `Records`.
    pub records: Vec<String>,
    /// Of `Measure`: how many, and how many failed.
    pub measured: (u64, u64),
}

/// What one connection learned.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Answer {
    /// Why there was no answer.
    pub error: Option<String>,
    /// The first word: the pod that answered.
    pub pod: String,
    /// All that it said.
    pub text: String,
    /// What getpeername() says to the client.
    pub peer: Option<SocketAddr>,
}

/// What a load has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct LoadCounts {
    /// Connections, or messages of a stream, that were answered.
    pub succeeded: u64,
    /// Those that were not.
    pub failed: u64,
    /// The first failures: when, in milliseconds from the start, and what.
    pub failures: Vec<(u64, String)>,
    /// Answers of each pod.
    pub pods: BTreeMap<String, u64>,
    /// The longest that a client waited for a success, in milliseconds.
    pub longest_ms: u64,
}

/// Asks the agent at `address`.
///
/// # Errors
/// When there is no agent, or it does not answer within `patience`.
pub fn tell(address: SocketAddr, request: &Request, patience: Duration) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
