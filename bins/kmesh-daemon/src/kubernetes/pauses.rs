//! Pauses between attempts to reach the API server.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The first pause, and the longest, both before jitter.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// After so long without an error the pauses are short again.
const PAUSE_RESET: Duration = Duration::from_secs(30);
/// A pause is longer by up to this part of it, so that the nodes of a cluster do not come all at once.
const JITTER: f64 = 0.5;

/// Each twice as long as the one before.
pub struct Pauses {
    next: Duration,
    last_at: Option<Instant>,
}

impl Pauses {
    /// From the first one on; short again only when all was well for a while.
    pub fn new() -> Self {
        Self { next: PAUSE_MIN, last_at: None }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last_at.replace(now).is_some_and(|last| now - last > PAUSE_RESET) {
            self.next = PAUSE_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        Some(pause.mul_f64(1.0 + rand::random_range(0.0..JITTER)))
    }
}

impl Backoff for Pauses {
    /// Called for every answer: one answer between two failures is not yet a reason to hurry.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_are_short_again_after_a_quiet_while() {
        let mut pauses = Pauses::new();
        let (mut least, most) = (PAUSE_MIN, PAUSE_MAX.mul_f64(1.0 + JITTER));
        for _ in 0..12 {
            let pause = pauses.next().expect("there is always one");
            assert!(least <= pause && pause <= most, "{pause:?} is not in {least:?} to {most:?}");
            least = (least * 2).min(PAUSE_MAX);
            pauses.reset();
        }
        tokio::time::advance(PAUSE_RESET * 2).await;
        assert!(pauses.next().expect("one") < PAUSE_MIN * 2);
    }
}
