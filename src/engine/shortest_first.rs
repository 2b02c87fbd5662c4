//! Turns for the work on large bodies: of those that wait for one, the body with the fewest bytes left goes first.
//!
//! Bodies that share the time evenly are all complete at the same late time, when their senders may have given up. Like
//! this, most of them are complete long before that, and a small one waits for none of the others. Some of the turns go
//! to the body that has waited longest, so that small ones without end do not keep a larger one waiting for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Every so many turns, one goes to the body that has waited longest.
const TURNS_PER_LONGEST: u64 = 4;

/// A number of turns. Clones share them.
#[derive(Clone)]
pub(super) struct ShortestFirst(Arc<Mutex<Turns>>);

struct Turns {
    free: usize,
    /// Who waits, by the bytes left and then by the order of arrival.
    waiting: BTreeMap<(usize, u64), oneshot::Sender<Turn>>,
    /// How many have waited so far.
    waits: u64,
    /// How many turns were handed on so far.
    handed_on: u64,
}

/// A turn, until it is dropped.
pub(super) struct Turn(ShortestFirst);

impl ShortestFirst {
    /// As many turns at a time.
    pub fn new(turns: usize) -> Self {
        Self(Arc::new(Mutex::new(Turns {
            free: turns,
            waiting: BTreeMap::new(),
            waits: 0,
            handed_on: 0,
        })))
    }

    /// Waits for the turn of a body that has so many bytes left. None only if the program ends.
    pub async fn turn(&self, left: usize) -> Option<Turn> {
        let given = {
            let mut turns = self.0.lock();
            if turns.free > 0 {
                turns.free -= 1;
                return Some(Turn(self.clone()));
            }
            let (give, given) = oneshot::channel();
            turns.waits += 1;
            let place = (left, turns.waits);
            turns.waiting.insert(place, give);
            given
        };
        given.await.ok()
    }

    /// The next one that still waits; if there is none, the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut turns = self.0.lock();
        turns.waiting.retain(|_, waiting| !waiting.is_closed());
        turns.handed_on += 1;
        let places = turns.waiting.keys();
        let place = match turns.handed_on.is_multiple_of(TURNS_PER_LONGEST) {
            true => places.min_by_key(|(_, wait)| *wait),
            false => places.min(),
        };
        let next = place
            .copied()
            .and_then(|place| turns.waiting.remove(&place));
        if next.is_none() {
            turns.free += 1;
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = self.0.next() {
            // If it has stopped waiting by now, this turn is dropped in its place, and the next one gets it.
            let _ = next.send(Turn(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_one_with_the_fewest_bytes_left_goes_first_and_of_two_the_earlier_one() {
        let turns = ShortestFirst::new(1);
        let held = turns.turn(0).now_or_never().flatten();
        let lefts = [(3, "a"), (1, "b"), (1, "c"), (2, "d")];
        let mut waiting: Vec<_> = lefts
            .iter()
            .map(|(left, name)| (*name, Box::pin(turns.turn(*left))))
            .collect();
        for (_, turn) in &mut waiting {
            assert!(turn.now_or_never().is_none());
        }

        drop(held);
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let next = waiting
                .iter_mut()
                .position(|(_, turn)| turn.now_or_never().is_some())
                .unwrap();
            order.push(waiting.remove(next).0);
        }

        assert_eq!(order, ["b", "c", "d", "a"]);
    }

    #[test]
    fn small_ones_without_end_do_not_keep_a_large_one_waiting() {
        let turns = ShortestFirst::new(1);
        let mut held = turns.turn(0).now_or_never().flatten();
        let mut large = Box::pin(turns.turn(100));
        assert!((&mut large).now_or_never().is_none());

        for _ in 0..TURNS_PER_LONGEST {
            let mut small = Box::pin(turns.turn(1));
            assert!((&mut small).now_or_never().is_none());
            drop(held.take());
            if (&mut large).now_or_never().is_some() {
                return;
            }
            held = small.now_or_never().flatten();
        }
        panic!("the large one still waits");
    }

    #[test]
    fn who_stops_waiting_costs_no_turn() {
        let turns = ShortestFirst::new(1);
        let held = turns.turn(0).now_or_never().flatten();
        let mut given_up = Box::pin(turns.turn(1));
        let mut patient = Box::pin(turns.turn(2));
        assert!((&mut given_up).now_or_never().is_none());
        assert!((&mut patient).now_or_never().is_none());
        let mut late = Box::pin(turns.turn(3));
        assert!((&mut late).now_or_never().is_none());

        drop(given_up);
        drop(held);
        // It was given the turn, and does not take it.
        drop(patient);

        assert!((&mut late).now_or_never().flatten().is_some());
    }

    #[test]
    fn as_many_go_at_once_as_there_are_turns() {
        let turns = ShortestFirst::new(2);

        let held = [(); 3].map(|()| turns.turn(1).now_or_never().flatten());

        assert_eq!(held.map(|turn| turn.is_some()), [true, true, false]);
    }
}
