//! What a CDN's error comes to for the batch that it refused.

use crate::cdn::{CdnError, ErrorClass};

/// Tries at a batch that a CDN answers with an error of its own.
pub const MAX_SUBMISSIONS: i64 = 5;

/// What becomes of a refused batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The CDN may have taken it: its history is asked first.
    Recover,
    /// It is submitted again after a backoff. Where this counts as a try, purges that had
    /// [`MAX_SUBMISSIONS`] fail. An outage is waited out for as long as the run may last.
    Retry {
        /// Whether it counts.
        counts: bool,
    },
    /// It was one request too many in a second: it is submitted again.
    SlowDown,
    /// The day's quota is used up.
    AwaitQuota,
    /// Too large, or one of its targets is refused: it is submitted in batches of at most this many
    /// targets, so that a refused one stands alone in the end.
    Split {
        /// Targets.
        cap: i64,
    },
    /// Its only target is refused.
    Fail,
    /// A person has to act: everything planned on this CDN fails. The next batch would be refused in the same
    /// way, and some CDNs lock keys that keep trying.
    FailQueue,
    /// The service has moved, and everything planned on this CDN goes with it.
    Migrate,
}

/// Whether an answer has to be held against the account's quota: some codes say "over a limit" of
/// a day and of a request alike.
pub fn is_ambiguous(error: &CdnError, targets: i64) -> bool {
    !error.maybe_done && error.class == ErrorClass::QuotaDay && targets > 1
}

/// What becomes of a batch of so many targets. `has_quota`: the account said, asked anew, that the
/// day's quota leaves room for all of them.
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
