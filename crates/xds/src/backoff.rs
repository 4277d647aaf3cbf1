//! How long to wait before the next connection.

use std::time::Duration;

/// The least time between two attempts, so that a control plane that comes back is not stormed.
const FIRST: Duration = Duration::from_secs(1);
/// The longest, before the random part.
const LONGEST: Duration = Duration::from_secs(16);

/// The wait after `failures` attempts in a row that led to nothing. `random` is from 0 to 1; up to
/// half of the wait is added by it, so that nodes do not come at once.
pub fn delay(failures: u32, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let base = doubled.min(LONGEST);
    base + base.mul_f64(random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_are_never_less_than_a_second() {
        let seconds = |failures| delay(failures, 0.0).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 1000].map(seconds), [1, 1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(delay(1, 1.0), Duration::from_millis(1500));
        assert_eq!(delay(9, 1.0), Duration::from_secs(24));
    }
}
