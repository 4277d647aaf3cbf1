//! The daemon under test: started as a user would, spoken to through its admin socket.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{self, Response};
use crate::command::OwnChild;
use crate::pod::Pod;
use crate::wait::wait_until;

const READY_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How the daemon is started. [`crate::Scene::options`] fills the paths.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// `--config-dir`.
    pub config_dir: PathBuf,
    /// `--xds-address`, in the place of the directory.
    pub xds_address: Option<String>,
    /// `--bpf-fs-path`.
    pub bpf_fs_path: PathBuf,
    /// `--cgroup2-path`.
    pub cgroup2_path: PathBuf,
    /// `--state-dir`; the admin socket is `admin.sock` in it, the log is beside it.
    pub state_dir: PathBuf,
    /// `--status-addr`: `none`, or an address such as `127.0.0.1:0`.
    pub status_addr: String,
    /// `--node-name`.
    pub node_name: String,
    /// `--locality`: `REGION/ZONE/SUBZONE`.
    pub locality: String,
    /// The network namespace that it runs in; the caller's when none is named.
    pub netns: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

/// A daemon, killed on Drop. Its log is printed when the test panics.
#[derive(Debug)]
pub struct Daemon {
    options: DaemonOptions,
    child: Option<OwnChild>,
}

// === impl DaemonOptions ===

impl DaemonOptions {
    /// Where the admin API listens.
    pub fn admin_socket(&self) -> PathBuf {
        self.state_dir.join("admin.sock")
    }

    fn log(&self) -> PathBuf {
        self.state_dir.with_extension("log")
    }

    fn command(&self) -> Command {
        let program = binary("kmesh-daemon");
        let mut command = match &self.netns {
            None => Command::new(program),
            Some(netns) => {
                let mut nsenter = Command::new("nsenter");
                nsenter.arg(format!("--net={}", netns.display())).arg("--").arg(program);
                nsenter
            }
        };
        match &self.xds_address {
            Some(address) => command.args(["--xds-address", address, "--xds-token", "none"]),
            None => command.arg("--config-dir").arg(&self.config_dir),
        };
        command
            .arg("--bpf-fs-path")
            .arg(&self.bpf_fs_path)
            .arg("--cgroup2-path")
            .arg(&self.cgroup2_path)
            .arg("--state-dir")
            .arg(&self.state_dir)
            .arg("--admin-socket")
            .arg(self.admin_socket())
            .args(["--status-addr", &self.status_addr])
            .args(["--node-name", &self.node_name])
            .args(["--locality", &self.locality])
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

// === impl Daemon ===

impl Daemon {
    /// Starts it, without waiting for anything.
    #[track_caller]
    pub fn spawn(options: DaemonOptions) -> Self {
        let mut daemon = Self { options, child: None };
        daemon.start();
        daemon
    }

    /// Starts it again after [`Daemon::kill9`] or [`Daemon::stop`], without waiting for anything.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = self.options.log();
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.unwrap_or_else(|e| panic!("open {}: {e}", log.display()));
        let mut command = self.options.command();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        self.child = Some(OwnChild::spawn(&mut command));
    }

    /// Waits until the first image is committed.
    ///
    /// # Panics
    /// When it ends, or is not ready before `deadline`.
    #[track_caller]
    pub fn wait_ready(&mut self, deadline: Duration) {
        let socket = self.options.admin_socket();
        let child = self.child.as_mut().unwrap_or_else(|| panic!("the daemon was not started"));
        wait_until("the daemon to be ready", deadline, || {
            if let Some(status) = child.exited() {
                panic!("the daemon ended before it was ready: {status}");
            }
            match admin::request(&socket, "GET", "/debug/ready", None) {
                Ok(response) if response.status == 200 => Ok(()),
                Ok(response) => Err(format!("{} {}", response.status, response.body)),
                Err(e) => Err(e.to_string()),
            }
        });
    }

    /// Stops it when it runs, starts it, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start();
        self.wait_ready(READY_DEADLINE);
    }

    /// SIGTERM, and its exit status; `None` when it did not run.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let status = child.terminate(STOP_DEADLINE);
        assert!(status.is_some(), "the daemon did not end within {STOP_DEADLINE:?} of SIGTERM");
        status
    }

    /// SIGKILL: it gets no chance to say goodbye.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(OwnChild::pid)
    }

    /// Whether it runs: started, and not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.exited().is_none())
    }

    /// One request of the admin API.
    ///
    /// # Errors
    /// When there is no answer; an answer with an error status is not an `Err`.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Response> {
        let body = body.map(Value::to_string);
        admin::request(&self.options.admin_socket(), method, path, body.as_deref())
    }

    /// GET that must be answered with 200 and JSON.
    #[track_caller]
    pub fn get_json(&self, path: &str) -> Value {
        self.must("GET", path, None)
    }

    /// `GET /status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.get_json("/status")
    }

    /// Enrols the pod's namespace, as `NAMESPACE/NAME` when given. Returns the enrolment.
    #[track_caller]
    pub fn enrol<'a>(&self, pod: &Pod, workload: impl Into<Option<&'a str>>) -> Value {
        let mut body = json!({ "netns": pod.netns() });
        if let Some(workload) = workload.into() {
            body["workload"] = workload.into();
        }
        self.must("POST", "/enrolments", Some(&body))
    }

    /// Enrols the pod's namespace with resolvers of the caller's choice.
    #[track_caller]
    pub fn enrol_with_resolvers(&self, pod: &Pod, workload: &str, resolvers: &[IpAddr]) -> Value {
        let body = json!({
            "netns": pod.netns(), "workload": workload, "dns": "given", "resolvers": resolvers,
        });
        self.must("POST", "/enrolments", Some(&body))
    }

    /// Ends the enrolment of the pod's namespace. Returns what it was.
    #[track_caller]
    pub fn unenrol(&self, pod: &Pod) -> Value {
        self.must("DELETE", "/enrolments", Some(&json!({ "netns": pod.netns() })))
    }

    /// `kmeshctl` with `args`, run to its end against this daemon.
    #[track_caller]
    pub fn kmeshctl(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(binary("kmeshctl"));
        command.args(args).env("KMESH_ADMIN_SOCKET", self.options.admin_socket());
        command.output().unwrap_or_else(|e| panic!("run kmeshctl: {e}"))
    }

    /// What it wrote so far, over all its starts.
    pub fn logs(&self) -> String {
        let bytes = std::fs::read(self.options.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Leaves it running when this process ends; see [`crate::Scene::keep`].
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// How it was started; a change holds from the next [`Daemon::start`] on.
    pub fn options(&mut self) -> &mut DaemonOptions {
        &mut self.options
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let response = self
            .request(method, path, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}; is the daemon running?"));
        let Response { status, body: text } = response;
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e} in {text}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}--- end of the log ---", self.logs());
        }
    }
}

/// The path of a program of this workspace: in `KMESH_BIN_DIR`, or where cargo puts it beside this
/// executable.
///
/// # Panics
/// When it is not there, with what to do.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let from_env = std::env::var_os("KMESH_BIN_DIR").map(PathBuf::from);
    let executable = std::env::current_exe().unwrap_or_else(|e| panic!("find this program: {e}"));
    // target/<profile>/demo and target/<profile>/deps/scene-0123: the parent or its parent.
    let beside = executable.ancestors().skip(1).take(2).map(Path::to_owned);
    let places: Vec<PathBuf> = match from_env {
        Some(directory) => vec![directory],
        None => beside.collect(),
    };
    let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not in {places:?}: run `make test` or `cargo build --workspace` first")
    })
}
