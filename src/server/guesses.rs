//! Limits the rate of wrong admin tokens.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::shares::holder;
use crate::cache::LruCache;

/// Wrong tokens that an address may send at once.
const BURST: u32 = 10;
/// How long until it may send one more.
const PAUSE: Duration = Duration::from_secs(6);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 10_000;

/// Who has sent wrong tokens lately: for each address, the time by which all of them are forgotten.
pub(super) struct Guesses(Mutex<LruCache<IpAddr, Instant>>);

impl Guesses {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_ADDRESSES)))
    }

    /// How long an address has to wait until its token is looked at; none if it is now.
    pub(super) fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let mut guesses = self.0.lock();
        let forgotten_at = *guesses.get(&holder(peer))?;
        let owed = forgotten_at.saturating_duration_since(now);
        let wait = owed.saturating_sub(PAUSE * (BURST - 1));
        (!wait.is_zero()).then_some(wait)
    }

    /// Notes a wrong token.
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

    /// Guesses of an address until it has to wait, and for how long then.
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
