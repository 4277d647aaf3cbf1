//! Waiting for something to become true: the only place in the tests that may sleep.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The pause between two looks starts here and doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How many times longer than usual to wait: a whole number, for kernels that are emulated.
const PATIENCE_VARIABLE: &str = "KMESH_TEST_PATIENCE";

/// What a look can say: `bool`, `Option<T>`, or `Result<T, E>`, whose error tells what is still wrong.
pub trait Polled {
    /// What [`wait_until`] returns once it is there.
    type Value;
    /// The value, or the state that was seen instead.
    fn polled(self) -> Result<Self::Value, String>;
}

impl Polled for bool {
    type Value = ();
    fn polled(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Polled for Option<T> {
    type Value = T;
    fn polled(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Display> Polled for Result<T, E> {
    type Value = T;
    fn polled(self) -> Result<T, String> {
        self.map_err(|e| e.to_string())
    }
}

/// Looks again and again until `look` succeeds, and returns what it found.
///
/// # Panics
/// After `deadline`, as [`patient`] makes it, with `what` and the last state that was seen.
#[track_caller]
pub fn wait_until<P: Polled>(what: &str, deadline: Duration, look: impl FnMut() -> P) -> P::Value {
    match try_until(deadline, look) {
        Ok(value) => value,
        Err(last) => {
            panic!("waited {:?} for: {what}; last seen: {last}", patient(deadline))
        }
    }
}

/// As [`wait_until`], but the last state comes back instead of a panic. For Drop.
///
/// # Errors
/// The state that was seen last.
pub fn try_until<P: Polled>(
    deadline: Duration,
    mut look: impl FnMut() -> P,
) -> Result<P::Value, String> {
    let (started, deadline) = (Instant::now(), patient(deadline));
    let mut pause = PAUSE_MIN;
    loop {
        match look().polled() {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() >= deadline => return Err(last),
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A deadline for this machine: longer where `KMESH_TEST_PATIENCE` says so.
#[must_use]
pub fn patient(deadline: Duration) -> Duration {
    stretched(deadline, std::env::var(PATIENCE_VARIABLE).ok().as_deref())
}

fn stretched(deadline: Duration, factor: Option<&str>) -> Duration {
    let factor = factor.map_or(Ok(1), str::parse);
    deadline * factor.unwrap_or_else(|e| panic!("{PATIENCE_VARIABLE}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_makes_a_deadline_longer_and_nothing_leaves_it() {
        let usual = Duration::from_secs(2);
        assert_eq!(stretched(usual, None), usual);
        assert_eq!(stretched(usual, Some("5")), Duration::from_secs(10));
    }

    #[test]
    #[should_panic(expected = "KMESH_TEST_PATIENCE: invalid digit")]
    fn patience_that_is_no_number_is_named() {
        stretched(Duration::ZERO, Some("long"));
    }

    #[test]
    fn returns_what_the_look_found() {
        let mut looks = 0;
        let found = wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "for: a pig to fly; last seen: still on the ground")]
    fn says_what_it_waited_for_and_what_it_saw() {
        wait_until("a pig to fly", Duration::from_millis(2), || {
            Err::<(), _>("still on the ground")
        });
    }
}
