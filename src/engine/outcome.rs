//! What a step comes to.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::{Disposition, StoreError, Write};

/// What a step comes to: what it writes, and what becomes of its work item, in one transaction.
pub(super) struct Outcome {
    pub writes: Vec<Write>,
    pub disposition: Disposition,
}

impl Outcome {
    /// There is nothing more to do for now.
    pub fn complete(writes: Vec<Write>) -> Self {
        Self {
            writes,
            disposition: Disposition::Complete,
        }
    }

    /// The work is due again at `at`, or earlier if it is enqueued meanwhile.
    pub fn reschedule(writes: Vec<Write>, at: Timestamp) -> Self {
        Self {
            writes,
            disposition: Disposition::Reschedule { at },
        }
    }

    /// The work is due again at `until` and not before; it has failed so often in a row.
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

    /// The same, with these writes before its own.
    pub fn after(mut self, writes: Vec<Write>) -> Self {
        self.writes.splice(0..0, writes);
        self
    }
}

/// Why a step came to nothing. It is done again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has the work by now.
    #[error("the lease has passed on")]
    LeaseLost,
    /// It has to wait for so long: the circuit is open, or another step comes first.
    #[error("it has to wait")]
    NotYet(Duration),
}
