//! Measures how far a CDN's clock differs from ours, from its answers.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::request::Answer;
use crate::clock::{Clock, ClockSkew};

/// A Date header that is further off is not the API's own: the API would have refused our signature.
const SIGNATURES_HOLD: SignedDuration = SignedDuration::from_mins(15);

/// Our clock, corrected after a server has refused it.
pub struct ServerClock {
    clock: Clock,
    /// How many seconds the server was ahead when it refused our timestamp.
    ahead: AtomicI64,
    /// How far the server was ahead at its last answer.
    seen: Mutex<Option<SignedDuration>>,
}

impl ServerClock {
    /// Starts from our own clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ahead: AtomicI64::new(0),
            seen: Mutex::default(),
        }
    }

    /// The time for signatures.
    pub fn now(&self) -> Timestamp {
        self.there(self.clock.now())
    }

    /// The server's time at one of our times, after any correction.
    pub fn there(&self, moment: Timestamp) -> Timestamp {
        moment.saturating_add(self.correction()).unwrap_or(moment)
    }

    /// Corrects the clock from an answer that refused our timestamp; false if the answer contains no time.
    pub fn correct(&self, answer: &Answer) -> bool {
        let Some(date) = answer.date else {
            return false;
        };
        let ahead = date.duration_since(self.clock.now());
        self.ahead.store(ahead.as_secs(), Ordering::Relaxed);
        true
    }

    /// How far ahead the server was when it answered, as precisely as its Date header shows.
    pub fn ahead(&self, answer: &Answer) -> SignedDuration {
        let told = answer
            .date
            .map(|date| date.duration_since(self.clock.now()));
        match told {
            Some(ahead) if ahead.abs() < SIGNATURES_HOLD => ahead,
            Some(_) | None => self.correction(),
        }
    }

    /// Records the server's clock from an answer.
    pub fn note(&self, answer: &Answer) {
        if let Some(date) = answer.date {
            *self.seen.lock() = Some(date.duration_since(self.clock.now()));
        }
    }

    /// How far the server's clock differed from ours at its last answer, for signatures that may be off by at most
    /// `tolerance`.
    pub fn skew(&self, tolerance: SignedDuration) -> Option<ClockSkew> {
        let ahead = *self.seen.lock();
        Some(ClockSkew {
            ahead: ahead?,
            tolerance,
        })
    }

    fn correction(&self) -> SignedDuration {
        SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))
    }
}
