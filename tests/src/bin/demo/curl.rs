//! Requests by curl, many by one process, each over a connection of its own.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context, bail};
use testkit::Pod;

/// Status, peer name and answering pod of each request; a pod's name is the header `X-Pod`.
const FORMAT: &str = "%{http_code}|%{remote_ip}|%header{x-pod}\n";

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Requests by the pod that answered.
    pub by_pod: BTreeMap<String, u64>,
    /// Requests by the peer name that the client saw.
    pub by_peer: BTreeMap<String, u64>,
    /// Requests without an answer.
    pub failed: u64,
}

/// Sends `count` requests to `http://<target>/` from a pod.
///
/// # Errors
/// When curl does not run. A request that fails is an answer.
pub fn get(pod: &Pod, target: &str, count: u64) -> anyhow::Result<Answers> {
    let mut command = pod.command("curl");
    command.args(["--silent", "--max-time", "10", "--output", "/dev/null"]);
    command.args(["--header", "Connection: close", "--write-out", FORMAT]);
    // The numbers make it so many URLs; the servers ignore the query.
    command.arg(format!("http://{target}/?[1-{count}]"));
    let done = command.output().context("start curl; is it installed?")?;
    let answers = parse(&String::from_utf8_lossy(&done.stdout));
    if answers.total() != count {
        let stderr = String::from_utf8_lossy(&done.stderr);
        bail!("curl made {} of {count} requests, {}: {stderr}", answers.total(), done.status);
    }
    Ok(answers)
}

/// A client whose connect() failed, and what the kernel said.
pub fn refusal(pod: &Pod, address: std::net::SocketAddr) -> (io::Result<()>, std::time::Duration) {
    pod.run(|| {
        let started = std::time::Instant::now();
        let result = std::net::TcpStream::connect(address).map(drop);
        (result, started.elapsed())
    })
}

fn parse(text: &str) -> Answers {
    let mut answers = Answers::default();
    for line in text.lines() {
        let mut fields = line.split('|');
        let (status, peer, pod) = (fields.next(), fields.next(), fields.next());
        match (status, peer, pod) {
            (Some("200"), Some(peer), Some(pod)) => {
                *answers.by_pod.entry(pod.to_owned()).or_default() += 1;
                *answers.by_peer.entry(peer.to_owned()).or_default() += 1;
            }
            _ => answers.failed += 1,
        }
    }
    answers
}

// === impl Answers ===

impl Answers {
    /// Requests, answered or not.
    pub fn total(&self) -> u64 {
        self.by_pod.values().sum::<u64>() + self.failed
    }

    /// How often this pod answered.
    pub fn of(&self, pod: &str) -> u64 {
        self.by_pod.get(pod).copied().unwrap_or(0)
    }

    /// The pods that answered, as a list.
    pub fn pods(&self) -> String {
        list(&self.by_pod)
    }

    /// The peer names that the client saw, as a list.
    pub fn peers(&self) -> String {
        list(&self.by_peer)
    }
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "nobody".to_owned();
    }
    counts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_pod_and_by_peer_name() {
        let answers = parse("200|10.96.0.10|web-1\n200|10.96.0.10|web-2\n000||\n");
        assert_eq!((answers.of("web-1"), answers.of("web-2"), answers.failed), (1, 1, 1));
        assert_eq!(answers.total(), 3);
        assert_eq!(
            (answers.pods().as_str(), answers.peers().as_str()),
            ("web-1, web-2", "10.96.0.10")
        );
        assert_eq!(Answers::default().pods(), "nobody");
    }
}
