//! The result of a step.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::{Disposition, StoreError, Write};

/// The result of a step: its writes and the disposition of its work item, for one transaction.
pub(super) struct Outcome {
    pub writes: Vec<Write>,
    pub disposition: Disposition,
}

impl Outcome {
    /// The work item is done for now.
    pub fn complete(writes: Vec<Write>) -> Self {
        Self {
            writes,
            disposition: Disposition::Complete,
        }
    }

    /// The work is due again at `at`, or as soon as it is enqueued.
    pub fn reschedule(writes: Vec<Write>, at: Timestamp) -> Self {
        Self {
            writes,
            disposition: Disposition::Reschedule { at },
        }
    }

    /// The work is due again at `until` and not before, after `attempts` failures in a row.
    pub fn postpone(writes: Vec<Write>, until: Timestamp, attempts: i64) -> Self {
        Self {
            writes,
            disposition: Disposition::Postpone { until, attempts },
        }
    }

    /// Whether it leaves work that is due at `now`.
    pub fn continues(&self, now: Timestamp) -> bool {
        let is_due_again = match self.disposition {
            Disposition::Continue | Disposition::Complete => false,
            Disposition::Reschedule { at } => at <= now,
            Disposition::Postpone { until, .. } => until <= now,
        };
        let enqueues = |write: &Write| match write {
            Write::Enqueue(_, at) => *at <= now,
            other => matches!(other, Write::EnqueueSubmits(_) | Write::NewRun(_)),
        };
        is_due_again || self.writes.iter().any(enqueues)
    }

    /// Adds writes before its own.
    pub fn after(mut self, writes: Vec<Write>) -> Self {
        self.writes.splice(0..0, writes);
        self
    }
}

/// Why a step failed. It will run again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has taken over the work.
    #[error("the lease is lost")]
    LeaseLost,
    /// The step has to wait this long: the circuit is open, or another step comes first.
    #[error("it has to wait")]
    NotYet(Duration),
}
