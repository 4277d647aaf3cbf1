//! wrk, run inside a pod and a cgroup.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use testkit::Pod;

/// How wrk is run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Open connections.
    pub connections: u32,
    /// A connection for each request, instead of one for all.
    pub short: bool,
    /// How long.
    pub seconds: u32,
}

/// What wrk counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Requests per second.
    pub per_second: f64,
    /// Requests.
    pub requests: u64,
}

/// Sends requests to `http://<target>/` from `pod`, as a process of `cgroup`.
///
/// # Errors
/// When wrk fails, or reports a socket error or an answer that is not 2xx.
pub fn run(pod: &Pod, cgroup: &Path, target: &str, load: Load) -> anyhow::Result<Figures> {
    let mut command = crate::connects::command_in(pod, cgroup, "wrk");
    command
        .args(["--threads=1", "--timeout=5s"])
        .arg(format!("--connections={}", load.connections));
    command.arg(format!("--duration={}s", load.seconds));
    if load.short {
        command.args(["--header", "Connection: close"]);
    }
    let done = command.arg(format!("http://{target}/")).output().context("start wrk")?;
    let text = String::from_utf8_lossy(&done.stdout);
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "wrk to {target}: {}: {text}{stderr}", done.status);
    parse(&text).with_context(|| format!("wrk to {target}:\n{text}"))
}

fn parse(text: &str) -> anyhow::Result<Figures> {
    for bad in ["Socket errors", "Non-2xx"] {
        if let Some(line) = text.lines().find(|line| line.trim_start().starts_with(bad)) {
            bail!("{}", line.trim());
        }
    }
    let field = |line: &str, place: usize| line.split_whitespace().nth(place).map(str::to_owned);
    let rate = text.lines().find(|line| line.starts_with("Requests/sec:"));
    let total = text.lines().find(|line| line.contains(" requests in "));
    let per_second = rate.and_then(|line| field(line, 1)).context("no Requests/sec")?.parse()?;
    let requests = total.and_then(|line| field(line, 0)).context("no total")?.parse()?;
    Ok(Figures { per_second, requests })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 2s test @ http://10.77.0.4:8080/\n  1 threads and 32 connections\n  \
                        61234 requests in 2.10s, 11.10MB read\nRequests/sec:  29158.21\nTransfer/sec:      5.28MB\n";

    #[test]
    fn reads_the_rate_and_the_total() {
        let figures = parse(TEXT).unwrap();
        assert_eq!(figures, Figures { per_second: 29158.21, requests: 61234 });
    }

    #[test]
    fn a_socket_error_is_an_error() {
        let text = format!("{TEXT}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        assert!(parse(&text).unwrap_err().to_string().contains("read 3"));
    }
}
