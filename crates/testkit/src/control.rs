//! kmesh-control, started as a user would.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::OwnChild;
use crate::daemon::binary;
use crate::wait::wait_until;

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A control plane on loopback, killed on Drop. Its log is printed when the test panics.
#[derive(Debug)]
pub struct Control {
    config_dir: PathBuf,
    port: u16,
    args: Vec<String>,
    log: PathBuf,
    child: Option<OwnChild>,
}

// === impl Control ===

impl Control {
    /// Starts one that serves `config_dir`, and waits until it takes connections. `dir` is for its log.
    #[track_caller]
    pub fn start(config_dir: &Path, dir: &Path, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (config_dir, log) = (config_dir.to_owned(), dir.join("control.log"));
        let mut control = Self { config_dir, port: free_port(), args, log, child: None };
        control.start_again();
        control
    }

    /// Starts it again after [`Control::kill9`], at the same address.
    ///
    /// # Panics
    /// When it ends, or takes no connections before a deadline.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the control plane runs already");
        let file = OpenOptions::new().create(true).append(true).open(&self.log);
        let file = file.unwrap_or_else(|e| panic!("open {}: {e}", self.log.display()));
        let mut command = Command::new(binary("kmesh-control"));
        command.arg("--config-dir").arg(&self.config_dir);
        command.arg("--listen").arg(self.address()).args(&self.args);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = OwnChild::spawn(&mut command);
        wait_until("the control plane to listen", START_DEADLINE, || {
            if let Some(status) = child.exited() {
                panic!("the control plane ended: {status}\n{}", self.logs());
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|e| e.to_string())
        });
        self.child = Some(child);
    }

    /// `HOST:PORT` where it listens.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// For `--xds-address` of a daemon, without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Kills it.
    pub fn kill9(&mut self) {
        self.child = None;
    }

    /// What it wrote so far, over all its starts.
    pub fn logs(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of the control plane ---\n{}--- end of the log ---", self.logs());
        }
    }
}

/// A port of loopback that nobody listens on.
#[track_caller]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
    listener.unwrap_or_else(|e| panic!("find a port: {e}")).port()
}
