//! The signals that ask a program to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, caught from the moment this value exists: neither ends the process any more.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Catches the signals. Must be called inside a tokio runtime.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them and tells its name. May be called again, so that a second signal
    /// can cut a slow shutdown short.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    #[tokio::test]
    async fn a_termination_signal_is_caught_and_named() {
        let mut signals = StopSignals::catch().expect("handlers");
        kill(Pid::this(), Signal::SIGTERM).expect("kill");
        assert_eq!(signals.wait().await, "SIGTERM");
        kill(Pid::this(), Signal::SIGINT).expect("kill");
        assert_eq!(signals.wait().await, "SIGINT");
    }
}
