//! Measures how far a CDN's clock differs from ours, from its answers.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::request::Answer;
use crate::clock::{Clock, ClockSkew};

/// Further off than this, a Date header is not the API's own: it would have refused our signature.
const SIGNATURES_HOLD: SignedDuration = SignedDuration::from_mins(15);

/// Our clock, corrected once a server has refused it.
pub struct ServerClock {
    clock: Clock,
    /// Seconds that the server was ahead when it refused a timestamp of ours.
    ahead: AtomicI64,
    /// How far it was ahead at its newest answer.
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

    /// The moment to sign with.
    pub fn now(&self) -> Timestamp {
        self.there(self.clock.now())
    }

    /// What the server's clock showed at a moment of ours, as far as it was corrected.
    pub fn there(&self, moment: Timestamp) -> Timestamp {
        moment.saturating_add(self.correction()).unwrap_or(moment)
    }

    /// Takes the correction from an answer that refused our timestamp; whether it tells one.
    pub fn correct(&self, answer: &Answer) -> bool {
        let Some(date) = answer.date else {
            return false;
        };
        let ahead = date.duration_since(self.clock.now());
        self.ahead.store(ahead.as_secs(), Ordering::Relaxed);
        true
    }

    /// How far ahead the server was when it gave an answer, as well as its Date header tells.
    pub fn ahead(&self, answer: &Answer) -> SignedDuration {
        let told = answer
            .date
            .map(|date| date.duration_since(self.clock.now()));
        match told {
            Some(ahead) if ahead.abs() < SIGNATURES_HOLD => ahead,
            Some(_) | None => self.correction(),
        }
    }

    /// Notes what an answer tells of the server's clock.
    pub fn note(&self, answer: &Answer) {
        if let Some(date) = answer.date {
            *self.seen.lock() = Some(date.duration_since(self.clock.now()));
        }
    }

    /// How far the server's clock was from ours at its newest answer, where it takes signatures that are
    /// `tolerance` off at most.
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
