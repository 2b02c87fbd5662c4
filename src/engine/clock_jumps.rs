//! Wall clocks that are set while the program runs, and databases that are away: what was put off
//! stays put off for as long as was meant, and running steps keep their leases.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::leases::{LEASE, Leases};
use crate::store::{Store, StoreError};

/// From here on it is a clock that was set back, and no unevenness of it.
const MIN_JUMP_BACK: Duration = Duration::from_secs(2);
/// How much later than the look before one may be before the leases of running steps may seem to have ended. Looks are seconds apart.
const MIN_JUMP_AHEAD: Duration = Duration::from_secs(LEASE.as_secs() / 2);
/// The longest that anything is put off after a clock was set back: a step that comes early only looks once more.
const MAX_POSTPONEMENT: Duration = Duration::from_secs(60 * 60);

/// When work was last looked for with success.
#[derive(Default)]
pub(super) struct ClockJumps(Mutex<Option<Timestamp>>);

impl ClockJumps {
    /// Undoes what a jump of the clock since the last look would do to a look at `now`.
    pub async fn undo(
        &self,
        store: &Store,
        leases: &Leases,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let last = *self.last();
        let latest = now + MAX_POSTPONEMENT;
        match last {
            // The clock may have been set back while no process was there to see it.
            None => store.bring_forward(now, Duration::ZERO, latest).await,
            Some(last) if last > now + MIN_JUMP_BACK => {
                let by = Duration::try_from(last.duration_since(now)).unwrap_or_default();
                warn!("the clock was set back by {} s", by.as_secs());
                store.bring_forward(now, by, latest).await
            }
            Some(last) if now > last + MIN_JUMP_AHEAD => {
                // Before this process claims for a second time what it is running already.
                for lease in leases.running() {
                    // False where another replica has it by now; the running step notices that by itself.
                    store.renew(&lease, now, LEASE).await?;
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// Notes that work was looked for at `now`. A look that failed does not count: leases ran on meanwhile.
    pub fn note_look(&self, now: Timestamp) {
        *self.last() = Some(now);
    }

    fn last(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
