//! How often a site plans: pushes that arrive soon after a plan are planned together.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::cache::LruCache;

/// The shortest time between a site's plan and the start of the next push's run. A CDN takes longer for a purge, and
/// each plan costs requests to the forge and to the CDN.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// At most this much is added to it at random, so that sites that planned at the same time do not do so again.
const MAX_JITTER: Duration = Duration::from_millis(500);
/// Sites to remember.
const MAX_SITES: usize = 4_096;

/// When sites plan next. Only this process knows: after a restart, or on another replica, a site plans at once.
pub(super) struct Pace(Mutex<LruCache<String, Turn>>);

#[derive(Clone, Copy)]
struct Turn {
    planned: Timestamp,
    next: Timestamp,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_SITES)))
    }
}

impl Pace {
    /// Records that a site plans now. `fraction` is random, of [0, 1).
    pub fn plans(&self, site: &str, now: Timestamp, fraction: f64) {
        let turn = Turn {
            planned: now,
            next: now + MIN_INTERVAL + MAX_JITTER.mul_f64(fraction),
        };
        self.0.lock().put(site.to_owned(), turn);
    }

    /// When the run of a push that arrives now starts. A clock that was set back delays nothing.
    pub fn start(&self, site: &str, now: Timestamp) -> Timestamp {
        match self.0.lock().get(site) {
            Some(turn) if turn.planned <= now => now.max(turn.next),
            Some(_) | None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn the_first_push_of_a_site_is_planned_at_once_and_those_that_follow_soon_wait() {
        let pace = Pace::default();
        assert_eq!(pace.start("a", at(5_000)), at(5_000));

        pace.plans("a", at(5_000), 0.0);
        pace.plans("c", at(5_000), 0.5);

        assert_eq!(pace.start("a", at(5_001)), at(6_000));
        assert_eq!(pace.start("a", at(5_999)), at(6_000));
        assert_eq!(pace.start("a", at(7_000)), at(7_000));
        assert_eq!(pace.start("b", at(5_001)), at(5_001));
        assert_eq!(pace.start("c", at(5_001)), at(6_250));
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing() {
        let pace = Pace::default();
        pace.plans("a", at(5_000_000), 0.0);

        assert_eq!(pace.start("a", at(5_000)), at(5_000));
    }
}
