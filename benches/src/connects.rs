//! What a connect() costs: a loop in a process of its own, because a socket belongs to the cgroup
//! and the network namespace of the process that opens it.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use testkit::Pod;

/// Which connect().
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Of one UDP socket, again and again: nothing but the call.
    Udp,
    /// Of a new TCP socket each time, to a server that listens; closed by a reset.
    Tcp,
}

/// The hidden arguments by which a bench starts itself for the loop.
#[derive(Clone, Debug, clap::Args)]
pub struct Loop {
    /// Only measure this connect(), and print ns per call
    #[arg(long, hide = true, value_name = "KIND", requires = "address", requires = "count")]
    pub connects: Option<Kind>,
    /// Where to
    #[arg(long, hide = true)]
    pub address: Option<SocketAddr>,
    /// How often
    #[arg(long, hide = true)]
    pub count: Option<u32>,
}

/// `program` inside the pod's network namespace and in this cgroup.
pub fn command_in(pod: &Pod, cgroup: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = pod.command("sh");
    command.args(["-ec", "echo 0 > \"$0/cgroup.procs\"; exec \"$@\""]).arg(cgroup).arg(program);
    command
}

/// ns per connect() of a process in `pod` and `cgroup`.
///
/// # Errors
/// When a connect() fails.
pub fn measure(
    pod: &Pod,
    cgroup: &Path,
    kind: Kind,
    address: SocketAddr,
    count: u32,
) -> anyhow::Result<f64> {
    let own = std::env::current_exe().context("find this program")?;
    let kind = match kind {
        Kind::Udp => "udp",
        Kind::Tcp => "tcp",
    };
    let mut command = command_in(pod, cgroup, own);
    command.args(["--connects", kind, "--address", &address.to_string()]);
    command.args(["--count", &count.to_string()]);
    let done = command.output().context("start the loop of connects")?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{kind} connects to {address}: {stderr}");
    let text = String::from_utf8_lossy(&done.stdout);
    text.trim().parse().with_context(|| format!("{kind} connects: not a number: {text:?}"))
}

// === impl Loop ===

impl Loop {
    /// Runs the loop if the arguments ask for it; true when it ran.
    ///
    /// # Errors
    /// When a connect() fails.
    pub fn run(&self) -> anyhow::Result<bool> {
        let (Some(kind), Some(address), Some(count)) = (self.connects, self.address, self.count)
        else {
            return Ok(false);
        };
        let total = match kind {
            Kind::Udp => udp(address, count)?,
            Kind::Tcp => tcp(address, count)?,
        };
        println!("{}", total / f64::from(count));
        Ok(true)
    }
}

fn udp(address: SocketAddr, count: u32) -> anyhow::Result<f64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let started = Instant::now();
    for _ in 0..count {
        socket.connect(address)?;
    }
    Ok(started.elapsed().as_nanos() as f64)
}

/// Only the call is timed: opening and closing the socket cost as much again.
fn tcp(address: SocketAddr, count: u32) -> anyhow::Result<f64> {
    let by_reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let mut total = 0;
    for _ in 0..count {
        let started = Instant::now();
        let stream = TcpStream::connect(address)?;
        total += started.elapsed().as_nanos();
        setsockopt(&stream, sockopt::Linger, &by_reset)?;
    }
    Ok(total as f64)
}
