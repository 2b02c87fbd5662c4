//! When to try again after a failure.

use std::time::Duration;

/// The first wait after a failure.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How long to wait after a failure that follows `attempts` others. Doubles from one second to one minute; a random
/// part of up to half of it (`fraction` in `0.0..1.0`) is subtracted, so that many steps do not return at once.
pub fn backoff(attempts: i64, fraction: f64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or(0);
    let full = INITIAL_BACKOFF
        .saturating_mul(1 << doublings)
        .min(MAX_BACKOFF);
    full.mul_f64(1.0 - fraction.clamp(0.0, 1.0) / 2.0)
}

/// Like [`backoff`], but not shorter than the upstream asked for.
pub fn backoff_at_least(attempts: i64, fraction: f64, asked: Option<Duration>) -> Duration {
    backoff(attempts, fraction).max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let waits: Vec<u64> = (0..8).map(|n| backoff(n, 0.0).as_secs()).collect();

        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn jitter_takes_off_at_most_half() {
        assert_eq!(backoff(3, 0.999_999).as_secs(), 4);
        assert!(backoff(3, 0.5) < backoff(3, 0.1));
    }

    #[test]
    fn a_wait_is_never_shorter_than_the_upstream_asked_for() {
        let asked = Some(Duration::from_secs(90));

        assert_eq!(backoff_at_least(0, 0.3, asked), Duration::from_secs(90));
    }
}
