//! Decides what to do with a batch that a CDN refused.

use crate::cdn::{CdnError, ErrorClass};

/// Tries of a batch that a CDN answers with an error of its own.
pub const MAX_SUBMISSIONS: i64 = 5;

/// What to do with a refused batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The CDN may have accepted it: look in its history first.
    Recover,
    /// Submit it again after a backoff. If this counts as a try, purges that had [`MAX_SUBMISSIONS`] fail. An
    /// outage does not count: it may last as long as the run may.
    Retry {
        /// Whether this counts as a try.
        counts: bool,
    },
    /// Too many requests per second: submit it again.
    SlowDown,
    /// The daily quota is used up: wait for its renewal.
    AwaitQuota,
    /// Too large, or one of its targets is refused: submit it in batches of at most this many targets, so that a
    /// refused target is alone in the end.
    Split {
        /// Targets per batch.
        cap: i64,
    },
    /// Its only target is refused: fail it.
    Fail,
    /// A person has to act: fail everything planned on this CDN. The next batch would be refused too, and some CDNs
    /// lock keys that keep trying.
    FailQueue,
    /// The service has moved: move everything planned on this CDN to the new one.
    Migrate,
}

/// Whether an error has to be compared with the account's quota: some codes mean "over a limit" both of a day and
/// of a request.
pub fn is_ambiguous(error: &CdnError, targets: i64) -> bool {
    !error.maybe_done && error.class == ErrorClass::QuotaDay && targets > 1
}

/// What to do with a refused batch of `targets` targets. `has_quota`: the account confirmed that today's quota has
/// room for all of them.
pub fn reaction(error: &CdnError, targets: i64, has_quota: bool) -> Reaction {
    if error.maybe_done {
        return Reaction::Recover;
    }
    let halved = Reaction::Split {
        cap: (targets / 2).max(1),
    };
    match error.class {
        ErrorClass::Retry => Reaction::Retry {
            counts: !error.is_outage(),
        },
        ErrorClass::RateLimited => Reaction::SlowDown,
        ErrorClass::QuotaDay if has_quota => halved,
        ErrorClass::QuotaDay => Reaction::AwaitQuota,
        ErrorClass::Split | ErrorClass::BadInput if targets > 1 => halved,
        ErrorClass::Split | ErrorClass::BadInput => Reaction::Fail,
        ErrorClass::Operator => Reaction::FailQueue,
        ErrorClass::Migrated => Reaction::Migrate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Cause;
    use crate::cdn::FailureKind;

    fn vendor(code: &str) -> FailureKind {
        FailureKind::Vendor(code.to_owned())
    }

    fn error(class: ErrorClass, kind: FailureKind) -> CdnError {
        CdnError {
            class,
            kind,
            message: "no".to_owned(),
            retry_after: None,
            maybe_done: false,
            cause: Cause::NONE,
        }
    }

    #[test]
    fn a_batch_whose_answer_was_lost_is_looked_for_whatever_the_error_is() {
        let lost = CdnError {
            maybe_done: true,
            ..error(ErrorClass::QuotaDay, FailureKind::Timeout)
        };

        assert_eq!(reaction(&lost, 7, false), Reaction::Recover);
        assert!(!is_ambiguous(&lost, 7));
    }

    #[test]
    fn an_outage_does_not_count_as_a_try_and_an_answer_does() {
        let outage = error(ErrorClass::Retry, FailureKind::Timeout);
        let answer = error(ErrorClass::Retry, vendor("InternalError"));

        assert_eq!(
            reaction(&outage, 1, false),
            Reaction::Retry { counts: false }
        );
        assert_eq!(
            reaction(&answer, 1, false),
            Reaction::Retry { counts: true }
        );
    }

    #[test]
    fn a_refused_batch_is_halved_until_one_target_stands_alone() {
        let refused = error(ErrorClass::BadInput, vendor("InvalidParameter"));

        assert_eq!(reaction(&refused, 7, false), Reaction::Split { cap: 3 });
        assert_eq!(reaction(&refused, 2, false), Reaction::Split { cap: 1 });
        assert_eq!(reaction(&refused, 1, false), Reaction::Fail);
    }

    #[test]
    fn a_quota_that_is_not_used_up_was_a_limit_of_the_request() {
        let quota = error(ErrorClass::QuotaDay, vendor("LimitExceeded"));

        assert!(is_ambiguous(&quota, 2));
        assert!(!is_ambiguous(&quota, 1));
        assert_eq!(reaction(&quota, 2, true), Reaction::Split { cap: 1 });
        assert_eq!(reaction(&quota, 2, false), Reaction::AwaitQuota);
    }
}
