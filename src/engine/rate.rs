//! Requests of one action on one account keep their distance.
//!
//! Only one process at a time works on a line, so remembering when it last sent
//! is enough; a line that changes hands does so after a lease, which is longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Engine;
use crate::purge::PurgeKind;

/// When each line may send next.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<(String, PurgeKind), Timestamp>>);

impl Engine {
    /// Returns when the line may send its next request.
    pub(super) async fn keep_rate(&self, account: &str, kind: PurgeKind, per_second: u32) {
        let now = self.clock.now();
        let at = {
            let mut next = self.rates.0.lock().unwrap_or_else(PoisonError::into_inner);
            let next = next.entry((account.to_owned(), kind)).or_insert(now);
            let at = now.max(*next);
            *next = at + Duration::from_secs(1) / per_second.max(1);
            at
        };
        if let Ok(wait) = Duration::try_from(at.duration_since(now))
            && !wait.is_zero()
        {
            self.clock.sleep(wait).await;
        }
    }
}
