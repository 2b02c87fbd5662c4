//! Which transactions may wait for the write connection.
//!
//! Many steps may end at the same time, and a webhook's sender waits for an answer. So only a few background
//! transactions wait for the connection at a time: any other transaction waits for at most these. If the disk is slow,
//! its commits take longer than many transactions, and all may wait, so that they share few commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits for background transactions.
const PERMITS: u32 = 64;
/// Those that one takes: with a fast disk, two wait for the connection at a time.
const PERMITS_ON_FAST_DISK: u32 = 32;
const PERMITS_ON_SLOW_DISK: u32 = 1;
/// How long the last commit took if the disk is slow: about as long as two large background transactions. A commit takes
/// some milliseconds on a fast disk, too, if there is much to write.
const SLOW_COMMIT: Duration = Duration::from_millis(8);

/// Which transactions go first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    Normal,
    /// Few such transactions wait for the connection at a time.
    Background,
}

/// Admits transactions to the queue for the connection.
pub(super) struct Admission {
    /// Fair.
    background: Arc<Semaphore>,
    /// Whether the last commit was slow.
    slow: AtomicBool,
}

impl Admission {
    pub fn new() -> Self {
        Self {
            background: Arc::new(Semaphore::new(PERMITS as usize)),
            slow: AtomicBool::new(false),
        }
    }

    /// Waits until a transaction may wait for the connection. A background one holds the permit until it has ended.
    pub async fn admit(&self, priority: Priority) -> Option<OwnedSemaphorePermit> {
        if priority == Priority::Normal {
            return None;
        }
        let permits = match self.slow.load(Ordering::Relaxed) {
            true => PERMITS_ON_SLOW_DISK,
            false => PERMITS_ON_FAST_DISK,
        };
        let background = Arc::clone(&self.background);
        // The semaphore is never closed.
        background.acquire_many_owned(permits).await.ok()
    }

    /// Records how long a commit took.
    pub fn committed(&self, took: Duration) {
        self.slow.store(took >= SLOW_COMMIT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// The permits of those of 100 background transactions that are admitted at once.
    fn admitted(admission: &Admission) -> Vec<OwnedSemaphorePermit> {
        let each = (0..100).map(|_| admission.admit(Priority::Background).now_or_never());
        each.flatten().flatten().collect()
    }

    #[test]
    fn two_background_transactions_are_admitted_at_a_time_and_others_at_once() {
        let admission = Admission::new();

        let mut permits = admitted(&admission);
        assert_eq!(permits.len(), 2);
        assert!(admission.admit(Priority::Normal).now_or_never().is_some());

        permits.pop();
        assert_eq!(admitted(&admission).len(), 1);
    }

    #[test]
    fn on_a_slow_disk_64_are_admitted_until_a_commit_is_fast_again() {
        let admission = Admission::new();

        admission.committed(SLOW_COMMIT);
        assert_eq!(admitted(&admission).len(), 64);

        admission.committed(Duration::from_millis(1));
        assert_eq!(admitted(&admission).len(), 2);
    }
}
