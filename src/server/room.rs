//! The memory that webhook bodies may take, all together.
//!
//! A body takes room chunk by chunk, as it comes: what was only announced takes none. Where there is
//! no room, its sender has to wait, as TCP makes it. Bodies that are all half there could then wait
//! for each other for ever; so some may, one after the other, take what was set aside for whole ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body that counts as small. Small ones have their own part, so that they never wait for large ones.
const SMALL: usize = 1024 * 1024;
/// The part of all room that small bodies have to themselves: one in so many.
const SMALL_PART: usize = 8;
/// Bodies that may come to their end out of what is set aside, at one time, where half the room is enough for that.
const TURNS: usize = 4;

/// Room for all bodies.
pub(super) struct Room {
    small: Part,
    large: Part,
}

/// Room for bodies up to a size.
#[derive(Clone)]
struct Part {
    /// Bytes that are free.
    free: Arc<Semaphore>,
    /// Whole bodies that there is room for beside.
    turns: Arc<Semaphore>,
}

impl Part {
    fn new(bytes: usize, largest: usize) -> Self {
        let turns = (bytes / 2 / largest.max(1)).min(TURNS);
        Self {
            free: Arc::new(Semaphore::new(bytes - turns * largest)),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }
}

impl Room {
    /// Room for so many bytes, for bodies of which the largest has `largest` bytes.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let small = bytes / SMALL_PART;
        Self {
            small: Part::new(small, SMALL.min(largest)),
            large: Part::new(bytes - small, largest),
        }
    }

    /// The share, empty so far, of a body that announced its size if it did.
    pub(super) fn share(&self, announced: Option<usize>) -> Share {
        let is_small = announced.is_some_and(|bytes| bytes <= SMALL);
        let part = if is_small { &self.small } else { &self.large };
        Share {
            part: part.clone(),
            taken: None,
            turn: None,
        }
    }
}

/// What one body takes of the room. Dropping it gives it back.
pub(super) struct Share {
    part: Part,
    taken: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Takes so many bytes more, as soon as they are free. Who came first is served first.
    pub(super) async fn grow(&mut self, bytes: usize) {
        if self.turn.is_some() {
            return;
        }
        // More than a semaphore can count is never free: that waits for its turn.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.part.free).acquire_many_owned(bytes);
        let turn = Arc::clone(&self.part.turns).acquire_owned();
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
    fn room() -> Room {
        Room::new(64 * MIB, 7 * MIB)
    }

    fn grows(share: &mut Share, bytes: usize) -> bool {
        share.grow(bytes).now_or_never().is_some()
    }

    /// Bodies of 7 MiB that hold four sevenths of what they need, until nothing is free.
    fn half_there(room: &Room) -> Vec<Share> {
        let mut shares: Vec<Share> = (0..7).map(|_| room.share(Some(7 * MIB))).collect();
        for share in &mut shares {
            assert!(grows(share, 4 * MIB));
        }
        shares
    }

    #[test]
    fn bodies_that_are_all_half_there_come_to_their_end_in_turn() {
        let room = room();
        let mut waiting = half_there(&room);

        let mut done = 0;
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain_mut(|share| !grows(share, 3 * MIB));
            assert!(waiting.len() < before, "{} wait for each other", before);
            done += before - waiting.len();
        }

        assert_eq!(done, 7);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let room = room();
        let mut shares = half_there(&room);

        let turns = shares
            .iter_mut()
            .filter_map(|share| grows(share, 3 * MIB).then_some(()))
            .count();

        assert_eq!(turns, TURNS);
        assert!(!grows(&mut room.share(None), 1));
        let (mut small, mut held) = (Vec::new(), 0);
        loop {
            let mut share = room.share(Some(MIB));
            if !grows(&mut share, MIB) {
                break;
            }
            held += MIB;
            small.push(share);
        }
        assert_eq!(held, 8 * MIB, "an eighth of all");
    }

    #[test]
    fn small_bodies_do_not_wait_for_large_ones() {
        let room = room();
        let mut shares = half_there(&room);
        for share in &mut shares {
            grows(share, 3 * MIB);
        }

        assert!(grows(&mut room.share(Some(8_000)), 8_000));
        assert!(!grows(&mut room.share(Some(2 * MIB)), 8_000));
    }

    #[test]
    fn what_is_given_back_goes_to_who_waited_longest() {
        let room = room();
        let mut shares = half_there(&room);
        for share in &mut shares {
            grows(share, 3 * MIB);
        }
        let (mut first, mut second) = (room.share(None), room.share(None));
        let mut first = Box::pin(first.grow(3 * MIB));
        let mut second = Box::pin(second.grow(3 * MIB));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());

        // The last one has no turn, and gives back its 4 MiB.
        shares.pop();

        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_some());
    }
}
