//! The time and the randomness of the program, handed in from one place.
//!
//! Nothing else asks the system for either, so a test can stop the clock, move
//! it by a day, and get the same jitter twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

/// Where the time comes from: the system, or a test.
#[async_trait]
pub trait TimeSource: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Returns once `now()` has moved on by `duration`.
    async fn sleep(&self, duration: Duration);
}

/// A handle to the time and the randomness. Clones share both.
#[derive(Clone)]
pub struct Clock {
    time: Arc<dyn TimeSource>,
    random: Arc<Mutex<fastrand::Rng>>,
    last_id: Arc<Mutex<ulid::Ulid>>,
}

impl Clock {
    /// The system's clock, and randomness seeded by the system.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemTime), fastrand::Rng::new())
    }

    /// A clock made of its parts, for tests that drive them.
    pub fn new(time: Arc<dyn TimeSource>, random: fastrand::Rng) -> Self {
        Self {
            time,
            random: Arc::new(Mutex::new(random)),
            last_id: Arc::default(),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Milliseconds since 1970, the form in which the store keeps time.
    pub fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// Returns once the clock has moved on by `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.time.sleep(duration).await;
    }

    /// A fresh identifier that sorts by when it was made (a ULID in Crockford's base 32).
    pub fn new_id(&self) -> String {
        let ms = u64::try_from(self.now_ms()).unwrap_or(0);
        let random = self.random().u128(..);
        let fresh = ulid::Ulid::from_parts(ms, random);
        let mut last = self.last_id.lock();
        // Ids made within one millisecond still sort in the order they were made.
        let id = match last.increment() {
            Some(next) if fresh <= *last => next,
            Some(_) | None => fresh,
        };
        *last = id;
        id.to_string()
    }

    /// A random positive number, for nonces. Never a secret.
    pub fn nonce(&self) -> u64 {
        self.random().u64(1..=u64::from(u32::MAX))
    }

    /// A random fraction in `0.0..1.0`, for jitter.
    pub fn fraction(&self) -> f64 {
        self.random().f64()
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock()
    }
}

/// The least of all ids that can be made at a moment or later.
pub fn first_id_of(moment: Timestamp) -> String {
    let ms = u64::try_from(moment.as_millisecond()).unwrap_or(0);
    ulid::Ulid::from_parts(ms, 0).to_string()
}

struct SystemTime;

#[async_trait]
impl TimeSource for SystemTime {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
