//! The program's source of time and randomness.
//!
//! Nothing else asks the system for either, so a test can stop the clock, move it by a day, and reproduce the same
//! jitter.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How far a machine's clock may differ from the engine's time without a warning.
pub const MAX_MACHINE_DIFFERENCE: SignedDuration = SignedDuration::from_secs(5);

/// Where the time comes from: the system, or a test.
#[async_trait]
pub trait TimeSource: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Returns once `now()` has moved on by `duration`.
    async fn sleep(&self, duration: Duration);

    /// How far this machine's clock is ahead of `now()`.
    fn machine_ahead(&self) -> SignedDuration {
        SignedDuration::ZERO
    }
}

/// A handle to the time and randomness. Clones share both.
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

    /// A clock made of its parts, for tests.
    pub fn new(time: Arc<dyn TimeSource>, random: fastrand::Rng) -> Self {
        Self {
            time,
            random: Arc::new(Mutex::new(random)),
            last_id: Arc::default(),
        }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// How far this machine's clock is ahead of [`now`](Self::now), if that is not this machine's time.
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

    /// A new identifier that sorts by creation time (a ULID in Crockford's base 32).
    pub fn new_id(&self) -> String {
        let ms = u64::try_from(self.now_ms()).unwrap_or(0);
        let random = self.random().u128(..);
        let fresh = ulid::Ulid::from_parts(ms, random);
        let mut last = self.last_id.lock();
        // Ids created within one millisecond still sort in order of creation.
        let id = match last.increment() {
            Some(next) if fresh <= *last => next,
            Some(_) | None => fresh,
        };
        *last = id;
        id.to_string()
    }

    /// A random positive number for nonces. Never use it as a secret.
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

/// The smallest id that can be created at a time or later.
pub fn first_id_of(moment: Timestamp) -> String {
    let ms = u64::try_from(moment.as_millisecond()).unwrap_or(0);
    ulid::Ulid::from_parts(ms, 0).to_string()
}

/// The time that processes share: the last answer of a common server plus the time since then on the monotonic
/// clock. Before the first answer, it is this machine's time.
///
/// Setting the machine's clock does not change it.
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

    /// Starts from the given machine's clock.
    pub fn on(machine: Arc<dyn TimeSource>) -> Self {
        Self {
            machine,
            said: Arc::default(),
        }
    }

    /// A clock that uses this time.
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::new(self.clone()), fastrand::Rng::new())
    }

    /// Sets the time to the one that a server reported at an instant.
    pub fn set(&self, time: Timestamp, at: Instant) {
        *self.said.lock() = Some((time, at));
    }

    /// Whether a server has reported the time.
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

/// The difference between another party's clock and ours, and the allowed difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// How far their clock was ahead of ours.
    pub ahead: SignedDuration,
    /// How far the time of a signature may be off in either direction.
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

    /// A machine's clock that a test sets.
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
