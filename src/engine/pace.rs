//! How often a site plans: pushes that arrive soon after a plan are planned together.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::cache::LruCache;

/// The shortest time between a site's plan and the start of the next push's run. A CDN takes longer for a purge, and
/// each plan costs requests to the forge and to the CDN.
const PLAN_INTERVAL: Duration = Duration::from_secs(1);
/// Sites to remember.
const MAX_SITES: usize = 4_096;

/// When sites planned last. Only this process knows: after a restart, or on another replica, a site plans at once.
pub(super) struct Pace(Mutex<LruCache<String, Timestamp>>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_SITES)))
    }
}

impl Pace {
    /// Records that a site plans now.
    pub fn plans(&self, site: &str, now: Timestamp) {
        self.0.lock().put(site.to_owned(), now);
    }

    /// When the run of a push that arrives now starts. A clock that was set back delays nothing.
    pub fn start(&self, site: &str, now: Timestamp) -> Timestamp {
        match self.0.lock().get(site) {
            Some(planned) if *planned <= now => now.max(*planned + PLAN_INTERVAL),
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

        pace.plans("a", at(5_000));

        assert_eq!(pace.start("a", at(5_001)), at(6_000));
        assert_eq!(pace.start("a", at(5_999)), at(6_000));
        assert_eq!(pace.start("a", at(7_000)), at(7_000));
        assert_eq!(pace.start("b", at(5_001)), at(5_001));
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing() {
        let pace = Pace::default();
        pace.plans("a", at(5_000_000));

        assert_eq!(pace.start("a", at(5_000)), at(5_000));
    }
}
