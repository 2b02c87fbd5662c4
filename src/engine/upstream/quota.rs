//! How much of a day's quota is left, and when the next one begins.
//!
//! The account's own quota is asked for where the CDN can say it; what was
//! handed over since is taken from the store. A limit in the configuration
//! holds on top of that, and where nobody can say, the documented one does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::debug;

use crate::cdn::{Cdn, Limit, Quota};
use crate::engine::Engine;
use crate::purge::PurgeKind;
use crate::store::{StoreError, Upstream};

/// How long an answer about quotas is gone by.
const FRESH: Duration = Duration::from_secs(600);

/// What accounts said of their quotas, and when. Only saves requests: it may be lost.
#[derive(Default)]
pub(in crate::engine) struct Quotas(Mutex<HashMap<String, Asked>>);

#[derive(Clone)]
struct Asked {
    at: Timestamp,
    said: BTreeMap<PurgeKind, Quota>,
}

/// What may be handed over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Room {
    /// Targets in one request.
    pub per_request: usize,
    /// Targets left today.
    pub today: u64,
}

impl Engine {
    /// What an account may be handed now.
    pub(in crate::engine) async fn room(
        &self,
        cdn: &dyn Cdn,
        account: &str,
        kind: PurgeKind,
        limit: Limit,
    ) -> Result<Room, StoreError> {
        let now = self.clock.now();
        let asked = self.quota_of(cdn, account, now).await?;
        let own = asked.said.get(&kind).copied();
        let since_asked = match own {
            Some(_) => self.store.submitted_since(account, kind, asked.at).await?,
            None => 0,
        };
        let today = self
            .store
            .submitted_since(account, kind, quota_day(now).0)
            .await?;
        Ok(left(limit, own, since_asked, today))
    }

    /// Whether an account says, asked anew, that so many targets are still free today.
    pub(in crate::engine) async fn says_free(
        &self,
        cdn: &dyn Cdn,
        kind: PurgeKind,
        targets: u64,
    ) -> Result<bool, StoreError> {
        self.forget_quota(&cdn.account());
        let now = self.clock.now();
        let asked = self.quota_of(cdn, &cdn.account(), now).await?;
        let quota = asked.said.get(&kind);
        Ok(quota.is_some_and(|quota| quota.left >= targets))
    }

    /// Forgets what an account said: it turned out otherwise, or a new day began.
    pub(in crate::engine) fn forget_quota(&self, account: &str) {
        self.quotas
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(account);
    }

    async fn quota_of(
        &self,
        cdn: &dyn Cdn,
        account: &str,
        now: Timestamp,
    ) -> Result<Asked, StoreError> {
        let known = self
            .quotas
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(account)
            .cloned();
        if let Some(asked) = known
            && now < asked.at + FRESH
            && quota_day(asked.at) == quota_day(now)
        {
            return Ok(asked);
        }
        let upstream = Upstream::Cdn(account.to_owned());
        if self.left_alone(&upstream).await?.is_some() {
            let said = BTreeMap::new();
            return Ok(Asked { at: now, said });
        }
        let said = self.heard(&upstream, cdn.quota()).await;
        let said = said.unwrap_or_else(|error| {
            debug!(account, "cannot ask for the quota: {error}");
            BTreeMap::new()
        });
        let asked = Asked { at: now, said };
        self.quotas
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(account.to_owned(), asked.clone());
        Ok(asked)
    }
}

/// What may be handed over, from the limit, the account's own quota with what
/// was handed over since it was asked for, and what was handed over today.
fn left(limit: Limit, own: Option<Quota>, since_asked: u64, today: u64) -> Room {
    let by_limit = limit.per_day.saturating_sub(today);
    let per_request = own
        .and_then(|own| usize::try_from(own.per_request?).ok())
        .filter(|most| *most > 0)
        .map_or(limit.per_request, |most| most.min(limit.per_request));
    let today = match own {
        Some(own) => {
            let by_account = own.left.saturating_sub(since_asked);
            if limit.per_day_configured {
                by_account.min(by_limit)
            } else {
                by_account
            }
        }
        None => by_limit,
    };
    Room { per_request, today }
}

/// The quota day around a moment: from 00:00 to 24:00 in UTC+8. No vendor
/// documents hour or zone; the quota is asked for again before anything is sent.
pub fn quota_day(now: Timestamp) -> (Timestamp, Timestamp) {
    const DAY: i64 = 24 * 60 * 60;
    const OFFSET: i64 = 8 * 60 * 60;
    let begin = (now.as_second() + OFFSET).div_euclid(DAY) * DAY - OFFSET;
    let at = |second| Timestamp::from_second(second).unwrap_or(now);
    (at(begin), at(begin + DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        per_request: 1_000,
        per_day: 10_000,
        per_day_configured: false,
        requests_per_second: 20,
    };

    #[test]
    fn the_quota_day_begins_at_midnight_in_utc_plus_8() {
        let before: Timestamp = "2026-11-22T15:59:59Z".parse().unwrap();
        let after: Timestamp = "2026-11-22T16:00:00Z".parse().unwrap();

        assert_eq!(quota_day(before).1.to_string(), "2026-11-22T16:00:00Z");
        assert_eq!(quota_day(after).0.to_string(), "2026-11-22T16:00:00Z");
        assert_eq!(quota_day(after).1.to_string(), "2026-11-23T16:00:00Z");
    }

    #[test]
    fn the_accounts_own_quota_counts_more_than_the_documented_one() {
        let own = Quota {
            per_request: Some(500),
            total: 50_000,
            left: 40_000,
        };

        assert_eq!(
            left(LIMIT, Some(own), 1_000, 11_000),
            Room {
                per_request: 500,
                today: 39_000
            }
        );
    }

    #[test]
    fn a_configured_limit_holds_on_top_of_the_accounts_own() {
        let own = Quota {
            per_request: None,
            total: 50_000,
            left: 40_000,
        };
        let configured = Limit {
            per_day: 2_000,
            per_day_configured: true,
            ..LIMIT
        };

        assert_eq!(
            left(configured, Some(own), 0, 1_500),
            Room {
                per_request: 1_000,
                today: 500
            }
        );
    }

    #[test]
    fn where_nobody_can_say_the_documented_limit_holds() {
        assert_eq!(
            left(LIMIT, None, 0, 9_900),
            Room {
                per_request: 1_000,
                today: 100
            }
        );
        assert_eq!(left(LIMIT, None, 0, 12_000).today, 0);
    }
}
