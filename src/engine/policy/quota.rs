//! How much of a day's quota is left, and when the next day begins.

use jiff::Timestamp;

use crate::cdn::{Limit, Quota};

/// What an account may submit now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLeft {
    /// Targets per request.
    pub per_request: usize,
    /// Targets per day.
    pub total: u64,
    /// Targets left today.
    pub today: u64,
}

/// What may be submitted, from the configured limit, the account's own quota less what was submitted since it was
/// asked, and what was submitted today.
pub fn left(limit: Limit, own: Option<Quota>, since_asked: u64, today: u64) -> QuotaLeft {
    let by_limit = limit.per_day.saturating_sub(today);
    let per_request = own
        .and_then(|own| usize::try_from(own.per_request?).ok())
        .filter(|most| *most > 0)
        .map_or(limit.per_request, |most| most.min(limit.per_request));
    let (total, today) = match own {
        Some(own) => {
            let by_account = own.left.saturating_sub(since_asked);
            if limit.per_day_configured {
                (own.total.min(limit.per_day), by_account.min(by_limit))
            } else {
                (own.total, by_account)
            }
        }
        None => (limit.per_day, by_limit),
    };
    QuotaLeft {
        per_request,
        total,
        today,
    }
}

/// The quota day around a time: 00:00 to 24:00 in UTC+8. No vendor documents the hour or the time zone; the quota
/// is asked for again before anything is sent.
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
            QuotaLeft {
                per_request: 500,
                total: 50_000,
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
            QuotaLeft {
                per_request: 1_000,
                total: 2_000,
                today: 500
            }
        );
    }

    #[test]
    fn where_the_api_cannot_say_the_documented_limit_holds() {
        assert_eq!(
            left(LIMIT, None, 0, 9_900),
            QuotaLeft {
                per_request: 1_000,
                total: 10_000,
                today: 100
            }
        );
        assert_eq!(left(LIMIT, None, 0, 12_000).today, 0);
    }
}
