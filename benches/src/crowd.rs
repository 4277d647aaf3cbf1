//! Very many open connections: processes that hold a share each, because a process may have only so
//! many files. The ends are processes of this program, started by hidden arguments.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt,
};
use testkit::Pod;

use crate::connects::{Addresses, command_in};

/// Connections of one process, which leaves room below a limit of 20 000 files.
pub const SHARE_MAX: u32 = 12_500;

/// The hidden arguments by which a bench starts itself as one end.
#[derive(Clone, Debug, clap::Args)]
pub struct End {
    /// Open so many connections, and hold them until the end of standard input
    #[arg(long, hide = true, value_name = "COUNT", requires = "towards")]
    pub hold: Option<u32>,
    /// Where to
    #[arg(long, hide = true)]
    pub towards: Option<SocketAddr>,
    /// How many addresses, from there on
    #[arg(long, hide = true, default_value_t = 1)]
    pub among: u32,
    /// Accept connections on this port, and keep them until killed
    #[arg(long, hide = true, value_name = "PORT")]
    pub accept: Option<u16>,
}

/// Processes of one kind; killed on Drop.
#[derive(Debug)]
pub struct Crowd {
    processes: Vec<Child>,
}

// === impl Crowd ===

impl Crowd {
    /// `count` processes in `pod` that share `port`; returns when all of them listen.
    ///
    /// # Errors
    /// When one of them does not.
    pub fn of_servers(pod: &Pod, cgroup: &Path, port: u16, count: u32) -> anyhow::Result<Self> {
        let crowd = Self::start(pod, cgroup, count, |_| vec!["--accept".into(), port.to_string()])?;
        crowd.ready()
    }

    /// Processes in `pod` that hold `connections` in all, towards `span` addresses from `first` on;
    /// returns when all are open.
    ///
    /// # Errors
    /// When a connection is refused, or a process ends.
    pub fn of_clients(
        pod: &Pod,
        cgroup: &Path,
        connections: u32,
        first: SocketAddr,
        span: u32,
    ) -> anyhow::Result<Self> {
        let count = connections.div_ceil(SHARE_MAX);
        let share = |number| connections / count + u32::from(number < connections % count);
        let crowd = Self::start(pod, cgroup, count, |number| {
            let (share, first, span) = (share(number), first.to_string(), span.to_string());
            let arguments = ["--hold", &share.to_string(), "--towards", &first, "--among", &span];
            arguments.map(str::to_owned).to_vec()
        })?;
        crowd.ready()
    }

    fn start(
        pod: &Pod,
        cgroup: &Path,
        count: u32,
        arguments: impl Fn(u32) -> Vec<String>,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut crowd = Self { processes: Vec::new() };
        for number in 0..count {
            let mut command = command_in(pod, cgroup, &own);
            command.args(arguments(number)).stdin(Stdio::piped()).stdout(Stdio::piped());
            crowd.processes.push(command.spawn().context("start one end of connections")?);
        }
        Ok(crowd)
    }

    fn ready(mut self) -> anyhow::Result<Self> {
        for process in &mut self.processes {
            let mut line = String::new();
            if let Some(output) = process.stdout.as_mut() {
                BufReader::new(output).read_line(&mut line)?;
            }
            ensure!(line == "ready\n", "one end of the connections ended; it says why above");
        }
        Ok(self)
    }

    /// Asks all of them to close what they hold, and waits until they have.
    ///
    /// # Errors
    /// When one of them failed.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().for_each(|process| drop(process.stdin.take()));
        for mut process in self.processes.drain(..) {
            let status = process.wait()?;
            ensure!(status.success(), "one end of the connections: {status}");
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // An error means that it has ended already.
            let _ = process.kill();
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

// === impl End ===

impl End {
    /// Is one end if the arguments ask for it; true when it was.
    ///
    /// # Errors
    /// When a connection cannot be opened, or the port is taken.
    pub fn run(&self) -> anyhow::Result<bool> {
        if let Some(port) = self.accept {
            allow_files()?;
            accept(port)?;
        } else if let (Some(count), Some(towards)) = (self.hold, self.towards) {
            allow_files()?;
            hold(Addresses::new(towards, self.among).take(count as usize))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// As many files as this process may ask for.
fn allow_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

fn say_ready() -> std::io::Result<()> {
    let mut output = std::io::stdout();
    output.write_all(b"ready\n")?;
    output.flush()
}

fn hold(addresses: impl Iterator<Item = SocketAddr>) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for address in addresses {
        let stream = TcpStream::connect(address);
        open.push(stream.with_context(|| format!("connection {} to {address}", open.len()))?);
    }
    say_ready()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Until it is killed.
fn accept(port: u16) -> anyhow::Result<()> {
    let server = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&server, sockopt::ReusePort, &true)?;
    bind(server.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))?;
    listen(&server, Backlog::MAXALLOWABLE)?;
    let server = TcpListener::from(server);
    say_ready()?;
    let mut open = Vec::new();
    loop {
        open.push(server.accept()?);
    }
}
