//! What a connect() costs: a loop in a process of its own, because a socket belongs to the cgroup
//! and the network namespace of the process that opens it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
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

/// What a loop dials.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// Which connect().
    pub kind: Kind,
    /// Where to.
    pub address: SocketAddr,
    /// Each call dials one of so many addresses, at random: `address` and those after it.
    pub span: u32,
    /// How often.
    pub count: u32,
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
    /// How many addresses
    #[arg(long, hide = true, default_value_t = 1)]
    pub span: u32,
    /// How often
    #[arg(long, hide = true)]
    pub count: Option<u32>,
}

/// The addresses of a loop, one after the other, the same ones in every run.
pub(crate) struct Addresses {
    first: SocketAddr,
    span: u32,
    state: u64,
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
pub fn measure(pod: &Pod, cgroup: &Path, calls: Calls) -> anyhow::Result<f64> {
    let Calls { kind, address, span, count } = calls;
    let own = std::env::current_exe().context("find this program")?;
    let kind = match kind {
        Kind::Udp => "udp",
        Kind::Tcp => "tcp",
    };
    let mut command = command_in(pod, cgroup, own);
    command.args(["--connects", kind, "--address", &address.to_string()]);
    command.args(["--span", &span.to_string(), "--count", &count.to_string()]);
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
        let addresses = Addresses::new(address, self.span).take(count as usize);
        let total = match kind {
            Kind::Udp => udp(addresses)?,
            Kind::Tcp => tcp(addresses)?,
        };
        println!("{}", total / f64::from(count));
        Ok(true)
    }
}

// === impl Addresses ===

impl Addresses {
    pub(crate) fn new(first: SocketAddr, span: u32) -> Self {
        Self { first, span, state: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        let IpAddr::V4(first) = self.first.ip() else { return Some(self.first) };
        // xorshift: a few instructions, beside the call that is measured.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let offset = ((self.state >> 32) * u64::from(self.span)) >> 32;
        let address = Ipv4Addr::from_bits(first.to_bits() + offset as u32);
        Some(SocketAddr::new(address.into(), self.first.port()))
    }
}

fn udp(addresses: impl Iterator<Item = SocketAddr>) -> anyhow::Result<f64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let started = Instant::now();
    for address in addresses {
        socket.connect(address)?;
    }
    Ok(started.elapsed().as_nanos() as f64)
}

/// Only the call is timed: opening and closing the socket cost as much again.
fn tcp(addresses: impl Iterator<Item = SocketAddr>) -> anyhow::Result<f64> {
    let by_reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let mut total = 0;
    for address in addresses {
        let started = Instant::now();
        let stream = TcpStream::connect(address)?;
        total += started.elapsed().as_nanos();
        setsockopt(&stream, sockopt::Linger, &by_reset)?;
    }
    Ok(total as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_span_is_dialled_from_end_to_end_and_no_further() {
        let first: SocketAddr = "10.96.0.1:80".parse().expect("an address");
        let dialled: BTreeSet<SocketAddr> = Addresses::new(first, 300).take(20_000).collect();
        assert_eq!(dialled.len(), 300);
        assert_eq!(dialled.first(), Some(&first));
        assert_eq!(dialled.last(), "10.96.1.44:80".parse().ok().as_ref());
        assert!(Addresses::new(first, 1).take(100).all(|address| address == first));
    }
}
