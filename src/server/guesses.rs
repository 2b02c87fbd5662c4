//! Limits the rate of wrong admin tokens.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::shares::holder;
use crate::cache::LruCache;

/// Wrong tokens that an address may send at once.
const BURST: u32 = 10;
/// The time until it may send one more.
const PAUSE: Duration = Duration::from_secs(6);
/// Addresses to remember.
const MAX_ADDRESSES: usize = 10_000;

/// For each address that sent wrong tokens, the time by which all of them are forgotten.
pub(super) struct Guesses(Mutex<LruCache<IpAddr, Instant>>);

impl Guesses {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_ADDRESSES)))
    }

    /// How long an address must wait until its token is checked; none if it need not wait.
    pub(super) fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let mut guesses = self.0.lock();
        let forgotten_at = *guesses.get(&holder(peer))?;
        let owed = forgotten_at.saturating_duration_since(now);
        let wait = owed.saturating_sub(PAUSE * (BURST - 1));
        (!wait.is_zero()).then_some(wait)
    }

    /// Records a wrong token.
    pub(super) fn wrong(&self, peer: IpAddr, now: Instant) {
        let mut guesses = self.0.lock();
        let holder = holder(peer);
        let begin = guesses.get(&holder).map_or(now, |at| now.max(*at));
        guesses.put(holder, begin + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The number of guesses until an address must wait, and for how long.
    fn guess(guesses: &Guesses, peer: IpAddr, now: Instant) -> (u32, Duration) {
        let mut made = 0;
        loop {
            match guesses.wait(peer, now) {
                Some(wait) => return (made, wait),
                None => guesses.wrong(peer, now),
            }
            made += 1;
        }
    }

    #[test]
    fn some_wrong_tokens_are_free_and_further_ones_come_at_a_pace() {
        let (guesses, peer, now) = (Guesses::new(), address("192.0.2.1"), Instant::now());

        assert_eq!(guess(&guesses, peer, now), (BURST, PAUSE));
        assert_eq!(guess(&guesses, peer, now + PAUSE), (1, PAUSE));
        assert_eq!(guess(&guesses, peer, now + 100 * PAUSE), (BURST, PAUSE));
    }

    #[test]
    fn one_address_does_not_keep_another_waiting() {
        let (guesses, now) = (Guesses::new(), Instant::now());
        guess(&guesses, address("192.0.2.1"), now);

        assert_eq!(guesses.wait(address("192.0.2.2"), now), None);
    }
}
