//! Limits how many refused webhooks are logged: anyone can send them, and each line costs more than the answer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// Refused requests that are logged in [`PERIOD`].
const MAX_LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

/// Counts the refused requests of the current period.
#[derive(Default)]
pub(super) struct RefusalLog(Mutex<Option<Period>>);

struct Period {
    began: Instant,
    refused: u32,
}

/// Whether a refused request is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Written,
    /// It is not; the log says so once.
    FirstLeftOut,
    LeftOut,
}

impl RefusalLog {
    /// Logs a refused request with `write`, unless too many were logged just before.
    pub fn log(&self, now: Instant, write: impl FnOnce()) {
        match self.next(now) {
            Line::Written => write(),
            Line::FirstLeftOut => {
                warn!("more requests are refused; only {MAX_LINES} of them are logged each second");
            }
            Line::LeftOut => {}
        }
    }

    fn next(&self, now: Instant) -> Line {
        let mut period = self.0.lock();
        let period = match &mut *period {
            Some(current) if now.saturating_duration_since(current.began) < PERIOD => current,
            other => other.insert(Period {
                began: now,
                refused: 0,
            }),
        };
        period.refused = period.refused.saturating_add(1);
        match period.refused - 1 {
            0..MAX_LINES => Line::Written,
            MAX_LINES => Line::FirstLeftOut,
            _ => Line::LeftOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refused_requests_is_logged_as_far_as_the_limit_and_says_that_more_follow() {
        let (log, now) = (RefusalLog::default(), Instant::now());

        let lines: Vec<Line> = (0..1_000).map(|_| log.next(now)).collect();

        let (written, rest) = lines.split_at(MAX_LINES as usize);
        assert!(written.iter().all(|line| *line == Line::Written));
        assert_eq!(rest[0], Line::FirstLeftOut);
        assert!(rest[1..].iter().all(|line| *line == Line::LeftOut));
    }

    #[test]
    fn each_period_is_logged_anew() {
        let (log, now) = (RefusalLog::default(), Instant::now());
        for _ in 0..100 {
            log.next(now);
        }

        assert_eq!(log.next(now + PERIOD / 2), Line::LeftOut);
        assert_eq!(log.next(now + PERIOD), Line::Written);
    }
}
