//! Running programs to their end, and children that are ours to end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::try_until;

/// Runs to the end and returns standard output, or what went wrong.
///
/// # Errors
/// The command line, its exit status, and what it wrote.
pub fn output(command: &mut Command, stdin: &str) -> Result<String, String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            format!("{shown}: {e} (is the package that has it installed? cargo xtask deps)")
        })?;
    // A program that ends without reading its input breaks the pipe: its exit status tells more.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes()));
    let done = child.wait_with_output().map_err(|e| format!("{shown}: {e}"))?;
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        let stdout = String::from_utf8_lossy(&done.stdout);
        return Err(format!("{shown}: {}\n{stderr}{stdout}{stdin}", done.status));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// As [`output`], for what cannot fail but by a defect of the bench or a missing privilege.
///
/// # Panics
/// When it fails all the same.
#[track_caller]
pub fn must(command: &mut Command, stdin: &str) -> String {
    output(command, stdin).unwrap_or_else(|e| panic!("{e}"))
}

/// A child in a process group of its own, so that Ctrl-C reaches the bench first and its Drop ends
/// the child, with everything the child started.
#[derive(Debug)]
pub struct OwnChild {
    child: Child,
    ended: bool,
}

impl OwnChild {
    /// Starts it, with nothing on standard input.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, ended: false }
    }

    /// Process id, which is also the number of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, when it ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap_or_else(|e| panic!("wait for a child: {e}"));
        self.ended |= status.is_some();
        status
    }

    /// SIGTERM, and its exit status; `None` when it did not end before `deadline` and was killed.
    pub fn terminate(&mut self, deadline: Duration) -> Option<ExitStatus> {
        if !self.ended {
            // ESRCH only: it ended between the look and the signal.
            let _ = kill(self.nix_pid(), Signal::SIGTERM);
        }
        let status = try_until(deadline, || self.exited()).ok();
        self.kill();
        status
    }

    /// SIGKILL to the whole group, and waits for the child.
    pub fn kill(&mut self) {
        // ESRCH only: nothing of the group is left.
        let _ = killpg(self.nix_pid(), Signal::SIGKILL);
        let _ = self.child.wait();
        self.ended = true;
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}
