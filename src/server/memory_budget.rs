//! A budget for the memory that webhook bodies may take, all together.
//!
//! A body reserves memory chunk by chunk as it arrives; what was only announced reserves none. Where no
//! memory is free, the sender waits, as TCP makes it. Bodies that have half arrived could then wait for each
//! other for ever. To avoid that deadlock, a few at a time may finish from a reserve for whole bodies.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body that counts as small. Small ones have a pool of their own, so that they never wait for large ones.
const SMALL_BODY_BYTES: usize = 1024 * 1024;
/// Small bodies have one in so many bytes to themselves.
const SMALL_POOL_DIVISOR: usize = 8;
/// Bodies that may finish from the reserve at one time, where half the budget is enough for that.
const MAX_WHOLE_BODIES: usize = 4;

/// The memory for all bodies, in bytes.
pub(super) struct MemoryBudget {
    small: Pool,
    large: Pool,
}

/// The memory for bodies up to a size.
#[derive(Clone)]
struct Pool {
    /// Bytes that are free.
    free: Arc<Semaphore>,
    /// Whole bodies that there is memory for besides.
    turns: Arc<Semaphore>,
}

impl Pool {
    fn new(bytes: usize, largest: usize) -> Self {
        let turns = (bytes / 2 / largest.max(1)).min(MAX_WHOLE_BODIES);
        Self {
            free: Arc::new(Semaphore::new(bytes - turns * largest)),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }
}

impl MemoryBudget {
    /// A budget of so many bytes, for bodies of which the largest has `largest` bytes.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let small = bytes / SMALL_POOL_DIVISOR;
        Self {
            small: Pool::new(small, SMALL_BODY_BYTES.min(largest)),
            large: Pool::new(bytes - small, largest),
        }
    }

    /// The reservation, empty so far, of a body that announced its size if it did.
    pub(super) fn reserve(&self, announced: Option<usize>) -> Reservation {
        let is_small = announced.is_some_and(|bytes| bytes <= SMALL_BODY_BYTES);
        let pool = if is_small { &self.small } else { &self.large };
        Reservation {
            pool: pool.clone(),
            taken: None,
            turn: None,
        }
    }
}

/// The memory that one body has reserved. Dropping it frees it.
pub(super) struct Reservation {
    pool: Pool,
    taken: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Reserves so many bytes more, as soon as they are free. Reservations are served in the order of asking.
    pub(super) async fn grow(&mut self, bytes: usize) {
        if self.turn.is_some() {
            return;
        }
        // More than a semaphore can count is never free: that waits for its turn.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.pool.free).acquire_many_owned(bytes);
        let turn = Arc::clone(&self.pool.turns).acquire_owned();
        // Both fail only when they are closed, and nobody closes them.
        tokio::select! {
            biased;
            Ok(more) = free => match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            },
            Ok(turn) = turn => self.turn = Some(turn),
            else => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// An eighth for small bodies, four turns of 7 MiB, and 28 MiB that are free for large ones.
    fn budget() -> MemoryBudget {
        MemoryBudget::new(64 * MIB, 7 * MIB)
    }

    fn grows(reservation: &mut Reservation, bytes: usize) -> bool {
        reservation.grow(bytes).now_or_never().is_some()
    }

    /// Bodies of 7 MiB that hold four sevenths of what they need, until nothing is free.
    fn half_there(memory: &MemoryBudget) -> Vec<Reservation> {
        let mut reservations: Vec<Reservation> =
            (0..7).map(|_| memory.reserve(Some(7 * MIB))).collect();
        for reservation in &mut reservations {
            assert!(grows(reservation, 4 * MIB));
        }
        reservations
    }

    #[test]
    fn bodies_that_are_all_half_there_come_to_their_end_in_turn() {
        let memory = budget();
        let mut waiting = half_there(&memory);

        let mut done = 0;
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain_mut(|reservation| !grows(reservation, 3 * MIB));
            assert!(waiting.len() < before, "{} wait for each other", before);
            done += before - waiting.len();
        }

        assert_eq!(done, 7);
    }

    #[test]
    fn no_more_is_held_than_there_is_memory_for() {
        let memory = budget();
        let mut reservations = half_there(&memory);

        let turns = reservations
            .iter_mut()
            .filter_map(|reservation| grows(reservation, 3 * MIB).then_some(()))
            .count();

        assert_eq!(turns, MAX_WHOLE_BODIES);
        assert!(!grows(&mut memory.reserve(None), 1));
        let (mut small, mut held) = (Vec::new(), 0);
        loop {
            let mut reservation = memory.reserve(Some(MIB));
            if !grows(&mut reservation, MIB) {
                break;
            }
            held += MIB;
            small.push(reservation);
        }
        assert_eq!(held, 8 * MIB, "an eighth of all");
    }

    #[test]
    fn small_bodies_do_not_wait_for_large_ones() {
        let memory = budget();
        let mut reservations = half_there(&memory);
        for reservation in &mut reservations {
            grows(reservation, 3 * MIB);
        }

        assert!(grows(&mut memory.reserve(Some(8_000)), 8_000));
        assert!(!grows(&mut memory.reserve(Some(2 * MIB)), 8_000));
    }

    #[test]
    fn what_is_given_back_goes_to_who_waited_longest() {
        let memory = budget();
        let mut reservations = half_there(&memory);
        for reservation in &mut reservations {
            grows(reservation, 3 * MIB);
        }
        let (mut first, mut second) = (memory.reserve(None), memory.reserve(None));
        let mut first = Box::pin(first.grow(3 * MIB));
        let mut second = Box::pin(second.grow(3 * MIB));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());

        // The last one has no turn, and gives back its 4 MiB.
        reservations.pop();

        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_some());
    }
}
