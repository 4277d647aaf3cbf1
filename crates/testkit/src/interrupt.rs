//! Ctrl-C as a question: the demo and the benches end by leaving their scopes, so that Drop removes
//! what they made.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether one of SIGINT, SIGTERM and SIGHUP came. None of them ends the process any more.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

/// Somebody asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

// === impl Interrupt ===

impl Interrupt {
    /// Catches the signals from now on.
    pub fn catch() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .unwrap_or_else(|e| panic!("catch signal {signal}: {e}"));
        }
        Self(flag)
    }

    /// Whether one came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// To be asked between two steps.
    ///
    /// # Errors
    /// When one came.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_set() { Err(Interrupted) } else { Ok(()) }
    }
}

// === impl Interrupted ===

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[test]
    fn a_signal_is_an_answer_and_not_the_end() {
        let interrupt = Interrupt::catch();
        assert_eq!(interrupt.check(), Ok(()));
        raise(Signal::SIGHUP).unwrap();
        assert_eq!(interrupt.check(), Err(Interrupted));
    }
}
