//! A shared budget for the memory and disk space that arriving webhook bodies may use.
//!
//! A body reserves bytes chunk by chunk as it arrives; a Content-Length alone reserves nothing. If no memory is
//! free, a small body is written to disk; if there is no disk space either, the sender waits through TCP
//! backpressure.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a large body reserves on disk at first. This limits their number, since each needs a file and a block
/// of memory.
const MIN_DISK_BYTES: usize = 8 * 1024 * 1024;

/// Bodies up to this size, in bytes, have memory of their own, so that larger ones do not delay ordinary pushes.
const TINY_BYTES: usize = 64 * 1024;

/// The memory and the disk space for all bodies, in bytes.
pub(super) struct BodyBudget {
    memory: Arc<Semaphore>,
    /// For bodies with a tiny Content-Length: a quarter of the memory, in addition to it.
    tiny: Arc<Semaphore>,
    disk: Arc<Semaphore>,
    min_disk_bytes: usize,
}

impl BodyBudget {
    /// A budget with this much memory and disk space, for bodies of at most `largest` bytes.
    pub(super) fn new(memory: usize, disk: usize, largest: usize) -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self {
            memory: semaphore(memory),
            tiny: semaphore(memory / 4),
            disk: semaphore(disk),
            min_disk_bytes: MIN_DISK_BYTES.min(largest),
        }
    }

    /// An empty memory reservation for a small body with this Content-Length.
    pub(super) fn in_memory(&self, announced: Option<usize>) -> Reservation {
        match announced {
            Some(bytes) if bytes <= TINY_BYTES => Reservation::empty(&self.tiny, 0),
            Some(_) | None => Reservation::empty(&self.memory, 0),
        }
    }

    /// An empty disk reservation for a large body.
    pub(super) fn on_disk(&self) -> Reservation {
        Reservation::empty(&self.disk, self.min_disk_bytes)
    }
}

/// A body's reservation. Dropping it releases it.
pub(super) struct Reservation {
    free: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    /// The minimum reservation in bytes.
    least: usize,
    /// The body's bytes so far.
    size: usize,
}

impl Reservation {
    fn empty(free: &Arc<Semaphore>, least: usize) -> Self {
        Self {
            free: Arc::clone(free),
            taken: None,
            least,
            size: 0,
        }
    }

    /// The additional reservation for this many more bytes. Sizes beyond `u32` are never available.
    fn needed(&self, bytes: usize) -> u32 {
        let taken = self.taken.as_ref().map_or(0, |taken| taken.num_permits());
        let all = (self.size + bytes).max(self.least);
        u32::try_from(all.saturating_sub(taken)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, bytes: usize, permit: OwnedSemaphorePermit) {
        self.size += bytes;
        match &mut self.taken {
            Some(taken) => taken.merge(permit),
            None => self.taken = Some(permit),
        }
    }

    /// Reserves this many more bytes, if they are free now.
    pub(super) fn try_grow(&mut self, bytes: usize) -> bool {
        let needed = self.needed(bytes);
        match Arc::clone(&self.free).try_acquire_many_owned(needed) {
            Ok(permit) => {
                self.add(bytes, permit);
                true
            }
            Err(_) => false,
        }
    }

    /// Reserves this many more bytes once they are free. Requests are served in order.
    pub(super) async fn grow(&mut self, bytes: usize) {
        let needed = self.needed(bytes);
        // Fails only if the semaphore is closed, which never happens.
        if let Ok(permit) = Arc::clone(&self.free).acquire_many_owned(needed).await {
            self.add(bytes, permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// A megabyte of memory and 32 on disk.
    fn budget() -> BodyBudget {
        BodyBudget::new(MIB, 32 * MIB, 25 * MIB)
    }

    fn grows(reservation: &mut Reservation, bytes: usize) -> bool {
        reservation.grow(bytes).now_or_never().is_some()
    }

    #[test]
    fn no_more_is_held_in_memory_than_the_budget_has() {
        let budget = budget();
        let mut reservations: Vec<Reservation> = (0..9).map(|_| budget.in_memory(None)).collect();

        let held = reservations
            .iter_mut()
            .filter_map(|reservation| reservation.try_grow(MIB / 8).then_some(()))
            .count();

        assert_eq!(held, 8);
        reservations.pop();
        assert!(!budget.in_memory(None).try_grow(1));
        reservations.pop();
        assert!(budget.in_memory(None).try_grow(MIB / 8));
    }

    #[test]
    fn tiny_bodies_have_memory_that_larger_ones_cannot_take() {
        let budget = budget();
        let mut all = budget.in_memory(Some(MIB));
        assert!(all.try_grow(MIB));

        let mut tiny: Vec<Reservation> =
            (0..5).map(|_| budget.in_memory(Some(64 * 1024))).collect();
        let held: Vec<bool> = tiny
            .iter_mut()
            .map(|reservation| reservation.try_grow(64 * 1024))
            .collect();

        assert_eq!(held, [true, true, true, true, false]);
    }

    #[test]
    fn each_large_body_reserves_some_megabytes_and_more_only_as_it_comes() {
        let budget = budget();
        let mut first = budget.on_disk();
        assert!(grows(&mut first, 1));
        assert!(grows(&mut first, 8 * MIB - 1));
        assert!(grows(&mut first, 8 * MIB));

        let mut others: Vec<Reservation> = (0..3).map(|_| budget.on_disk()).collect();
        let grown: Vec<bool> = others
            .iter_mut()
            .map(|reservation| grows(reservation, 1))
            .collect();

        assert_eq!(grown, [true, true, false]);
    }

    #[test]
    fn what_is_given_back_goes_to_who_waited_longest() {
        let budget = budget();
        let (mut all, mut first, mut second) =
            (budget.on_disk(), budget.on_disk(), budget.on_disk());
        assert!(grows(&mut all, 32 * MIB));
        let mut first = Box::pin(first.grow(20 * MIB));
        let mut second = Box::pin(second.grow(20 * MIB));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());

        drop(all);

        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_some());
    }
}
