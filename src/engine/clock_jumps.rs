//! Wall clocks that are set while the program runs, and databases that are away: what was put off
//! stays put off for as long as was meant, and running steps keep their leases.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::{Engine, LEASE};
use crate::store::{StoreError, Work};

/// From here on it is a clock that was set back, and no unevenness of it.
const BACK: Duration = Duration::from_secs(2);
/// How much later than the look before one may be before leases in hand may seem to have ended. Looks are seconds apart.
const AHEAD: Duration = Duration::from_secs(LEASE.as_secs() / 2);
/// The longest that anything is put off: a step that comes early only looks once more.
const FARTHEST: Duration = Duration::from_secs(60 * 60);
/// How late a step may come for other reasons than that nobody was there to do it.
const ABSENCE: Duration = Duration::from_secs(5 * 60);

/// Whether nobody was there to do a step when it was due: the program was down, or the clock was set
/// forward. What has had to end by now has its time anew then, since nobody could see how it went.
pub(super) fn came_late(work: &Work, now: Timestamp) -> bool {
    now > work.due_at + ABSENCE
}

/// When work was last looked for with success.
#[derive(Default)]
pub(super) struct ClockJumps {
    last: Mutex<Option<Timestamp>>,
}

impl ClockJumps {
    /// Work was looked for at `now`. A look that failed does not count: leases ran on meanwhile.
    pub fn looked(&self, now: Timestamp) {
        *lock(&self.last) = Some(now);
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// The time, for a look for work: what a jump of the clock since the look before would do is undone first.
    pub(super) async fn look_at_clock(&self) -> Result<Timestamp, StoreError> {
        let now = self.clock.now();
        let last = *lock(&self.jumps.last);
        match last {
            // The clock may have been set back while nobody was here to see it.
            None => {
                self.store
                    .bring_forward(now, Duration::ZERO, now + FARTHEST)
                    .await?;
            }
            Some(last) if last > now + BACK => {
                let by = Duration::try_from(last.duration_since(now)).unwrap_or_default();
                warn!("the clock was set back by {} s", by.as_secs());
                self.store.bring_forward(now, by, now + FARTHEST).await?;
            }
            Some(last) if now > last + AHEAD => self.keep_in_hand(now).await?,
            Some(_) => {}
        }
        Ok(now)
    }

    /// Renews every lease in hand, before this process claims for a second time what it is at already.
    async fn keep_in_hand(&self, now: Timestamp) -> Result<(), StoreError> {
        for lease in self.leases.running() {
            // False where another replica has it by now; the step in hand learns that by itself.
            self.store.renew(&lease, now, LEASE).await?;
        }
        Ok(())
    }
}
