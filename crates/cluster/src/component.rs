//! A long-running program of the cluster: its command line, its log, and its life.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::OwnChild;

const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A program that can be stopped and started again. Killed on Drop.
#[derive(Debug)]
pub struct Component {
    name: String,
    log: PathBuf,
    command: Command,
    child: Option<OwnChild>,
}

impl Component {
    /// Starts it. What it writes goes to `NAME.log` in `logs`.
    #[track_caller]
    pub(crate) fn start(name: &str, logs: &Path, command: Command) -> Self {
        let log = logs.join(format!("{name}.log"));
        let mut component = Self { name: name.to_owned(), log, command, child: None };
        component.resume();
        component
    }

    /// Starts it again.
    #[track_caller]
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let file = OpenOptions::new().create(true).append(true).open(&self.log);
        let file = file.unwrap_or_else(|e| panic!("open {}: {e}", self.log.display()));
        self.command.stdout(file.try_clone().unwrap()).stderr(file);
        self.child = Some(OwnChild::spawn(&mut self.command));
    }

    /// Asks it to end, and ends it where it does not.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.terminate(STOP_DEADLINE);
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Panics with the end of its log when it has ended by itself.
    #[track_caller]
    pub(crate) fn check(&mut self) {
        let Some(status) = self.child.as_mut().and_then(OwnChild::exited) else { return };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        panic!("{} ended, {status}; the end of {}:\n{tail}", self.name, self.log.display());
    }
}
