//! The time and the randomness of the program, handed in from one place.
//!
//! Nothing else asks the system for either, so a test can stop the clock, move
//! it by a day, and get the same jitter twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How far a machine's clock may be from the time that counts before it is said.
pub const MAX_MACHINE_DIFFERENCE: SignedDuration = SignedDuration::from_secs(5);

/// Where the time comes from: the system, or a test.
#[async_trait]
pub trait TimeSource: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Returns once `now()` has moved on by `duration`.
    async fn sleep(&self, duration: Duration);

    /// By how much this machine's clock is ahead of `now()`.
    fn machine_ahead(&self) -> SignedDuration {
        SignedDuration::ZERO
    }
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

    /// By how much this machine's clock is ahead of [`now`](Self::now), where that is somebody else's time.
    pub fn machine_ahead(&self) -> SignedDuration {
        self.time.machine_ahead()
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

/// The time that processes share: what one that all of them ask has said, and how long ago by the monotonic clock. Until it
/// has said anything, it is this machine's.
///
/// Setting the machine's clock does not move it.
#[derive(Clone)]
pub struct SharedTime {
    machine: Arc<dyn TimeSource>,
    said: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl SharedTime {
    /// Starts from the system's clock.
    pub fn system() -> Self {
        Self::on(Arc::new(SystemTime))
    }

    /// Starts from a machine's clock.
    pub fn on(machine: Arc<dyn TimeSource>) -> Self {
        Self {
            machine,
            said: Arc::default(),
        }
    }

    /// A clock that goes by it.
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::new(self.clone()), fastrand::Rng::new())
    }

    /// Takes the time that was said at an instant.
    pub fn set(&self, time: Timestamp, at: Instant) {
        *self.said.lock() = Some((time, at));
    }

    /// Whether anybody has said the time yet.
    pub fn is_set(&self) -> bool {
        self.said.lock().is_some()
    }
}

#[async_trait]
impl TimeSource for SharedTime {
    fn now(&self) -> Timestamp {
        match *self.said.lock() {
            Some((time, at)) => time.saturating_add(at.elapsed()).unwrap_or(time),
            None => self.machine.now(),
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.machine.sleep(duration).await;
    }

    fn machine_ahead(&self) -> SignedDuration {
        self.machine.now().duration_since(self.now())
    }
}

/// How far somebody else's clock is from ours, and how far it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// How far theirs was ahead of ours.
    pub ahead: SignedDuration,
    /// How far off a signature's time may be, either way.
    pub tolerance: SignedDuration,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's clock, which somebody sets.
    struct Machine(Mutex<Timestamp>);

    #[async_trait]
    impl TimeSource for Machine {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }

        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_time_goes_on_from_what_was_said_however_the_machines_clock_is_set() {
        let machine = Arc::new(Machine(Mutex::new(at(120))));
        let shared = SharedTime::on(Arc::clone(&machine) as Arc<dyn TimeSource>);
        let clock = shared.clock();
        assert_eq!(clock.now(), at(120), "nobody has said anything");
        assert_eq!(clock.machine_ahead(), SignedDuration::ZERO);

        shared.set(at(0), Instant::now());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), at(5));
        assert_eq!(clock.machine_ahead(), SignedDuration::from_secs(115));

        *machine.0.lock() = at(-3_600);
        assert_eq!(clock.now(), at(5));
        assert_eq!(clock.machine_ahead(), SignedDuration::from_secs(-3_605));
    }
}
