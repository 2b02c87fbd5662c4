//! Handles wall-clock jumps and database outages: postponed work keeps its delay, and running steps keep their
//! leases.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::leases::{LEASE, Leases};
use crate::store::{Store, StoreError};

/// A smaller step back counts as jitter, not as a clock that was set back.
const MIN_JUMP_BACK: Duration = Duration::from_secs(2);
/// After a longer gap between two claims, the leases of running steps may seem to have expired. Claims are seconds
/// apart.
const MIN_JUMP_AHEAD: Duration = Duration::from_secs(LEASE.as_secs() / 2);
/// The longest postponement after a clock was set back. A step that runs early only checks once more.
const MAX_POSTPONEMENT: Duration = Duration::from_secs(60 * 60);

/// The time of the last successful claim.
#[derive(Default)]
pub(super) struct ClockJumps(Mutex<Option<Timestamp>>);

impl ClockJumps {
    /// Corrects the effects of a clock jump since the last claim, before a claim at `now`.
    pub async fn undo(
        &self,
        store: &Store,
        leases: &Leases,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let last = *self.last();
        let latest = now + MAX_POSTPONEMENT;
        match last {
            // The clock may have been set back while no process was running.
            None => store.bring_forward(now, Duration::ZERO, latest).await,
            Some(last) if last > now + MIN_JUMP_BACK => {
                let by = Duration::try_from(last.duration_since(now)).unwrap_or_default();
                warn!("the clock was set back by {} s", by.as_secs());
                store.bring_forward(now, by, latest).await
            }
            Some(last) if now > last + MIN_JUMP_AHEAD => {
                // Otherwise this process would claim the steps that it is running a second time.
                for lease in leases.running() {
                    // False if another replica has taken it over; the running step finds that out by itself.
                    store.renew(&lease, now, LEASE).await?;
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// Records a claim at `now`. A claim that failed does not count: leases kept running in that time.
    pub fn note_look(&self, now: Timestamp) {
        *self.last() = Some(now);
    }

    fn last(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
