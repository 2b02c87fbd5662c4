//! Minimum transfer rates: how long to wait for a transfer, depending on the bytes so far.

use std::time::Duration;

use tokio::time::Instant;

/// The transfer rate, in bytes per second, below which a peer counts as stalled. A line of 1 Mbit/s carries eight
/// times as much.
const MIN_BYTES_PER_SECOND: u32 = 16 * 1024;

/// The patience with a peer that sends or reads: at most a given time, and less for one that was slow before.
///
/// Time reduces it, and transferred bytes restore it at a fixed rate. So a peer that stops is detected after
/// `most`, and so is one that stays slower than the rate, even if it keeps moving single bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    most: Duration,
    left: Duration,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, left: most }
    }

    /// The patience left now.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// When the patience ends if nothing is transferred.
    pub(super) fn ends_at(&self, now: Instant) -> Instant {
        now + self.left
    }

    pub(super) fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    pub(super) fn moved(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let restored = Duration::from_secs(1) * bytes / MIN_BYTES_PER_SECOND;
        self.left = self.left.saturating_add(restored).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_stops_is_waited_for_so_long_and_no_longer() {
        let mut patience = Patience::new(3 * SECOND);

        patience.moved(1024 * 1024);
        patience.waited(2 * SECOND);

        assert_eq!(patience.left(), SECOND);
    }

    #[test]
    fn who_moves_a_byte_now_and_then_uses_it_up_all_the_same() {
        let mut patience = Patience::new(3 * SECOND);
        let mut waits = 0;

        while patience.left() >= SECOND / 2 {
            patience.waited(SECOND / 2);
            patience.moved(1);
            waits += 1;
        }

        assert_eq!(waits, 6);
        assert!(patience.left() < SECOND / 1_000);
    }

    #[test]
    fn who_keeps_the_rate_is_waited_for_as_long_as_it_takes() {
        let mut patience = Patience::new(3 * SECOND);

        for _ in 0..100 {
            patience.waited(SECOND);
            patience.moved(16 * 1024);
        }

        assert_eq!(patience.left(), 3 * SECOND);
    }
}
