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
        let attempts = 0;
        Self {
            writes,
            disposition: Disposition::Reschedule { at, attempts },
        }
    }

    /// The work is due again at `at` and not before; it has failed so often in a row.
    pub fn retry(writes: Vec<Write>, at: Timestamp, attempts: i64) -> Self {
        Self {
            writes,
            disposition: Disposition::Reschedule { at, attempts },
        }
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
