//! A process that can die between any two things that the outside notices.
//!
//! Whatever leaves a process (a commit, a request) and whatever comes back to it
//! passes [`Process::point`]. A fuse counts these down; at its end the process
//! is dead: nothing of it goes on from there, as after a SIGKILL.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::clock::{Clock, TimeSource};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::trace::Trace;

/// Tokio's paused time as the world's: it jumps to the next thing that is to happen.
#[derive(Clone, Copy)]
pub struct Time {
    begin: Instant,
    epoch: Timestamp,
}

impl Time {
    pub fn beginning_at(epoch: Timestamp) -> Self {
        Self {
            begin: Instant::now(),
            epoch,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.epoch + self.begin.elapsed()
    }
}

#[async_trait]
impl TimeSource for Time {
    fn now(&self) -> Timestamp {
        Time::now(self)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Randomness that belongs to one part of the world. Clones share it.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<fastrand::Rng>>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A seed for another part of the world.
    pub fn seed(&self) -> u64 {
        self.0.lock().unwrap().u64(..)
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: u32) -> bool {
        self.0.lock().unwrap().u32(..n) == 0
    }

    /// True in `percent` of a hundred times.
    pub fn percent(&self, percent: u32) -> bool {
        self.0.lock().unwrap().u32(..100) < percent
    }

    /// A number in a range.
    pub fn within(&self, range: impl std::ops::RangeBounds<u64>) -> u64 {
        self.0.lock().unwrap().u64(range)
    }

    /// A place in a list of this length.
    pub fn place(&self, length: usize) -> usize {
        self.0.lock().unwrap().usize(..length)
    }

    /// A while between two lengths, in milliseconds.
    pub fn millis(&self, range: impl std::ops::RangeBounds<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

/// One life of the program.
pub struct Process {
    pub name: String,
    pub clock: Clock,
    dead: AtomicBool,
    /// Points left until it dies.
    fuse: Mutex<Option<u64>>,
    /// What is left to do until it stands still, and for how long it will.
    nap: Mutex<Option<(u64, Duration)>>,
    /// Until when it stands still, as after a SIGSTOP.
    stopped_until: Mutex<Option<Instant>>,
    death: Notify,
    chance: Chance,
    time: Time,
    trace: Trace,
}

impl Process {
    pub fn new(name: String, time: Time, chance: &Chance, trace: &Trace) -> Arc<Self> {
        let clock = Clock::new(Arc::new(time), fastrand::Rng::with_seed(chance.seed()));
        Arc::new(Self {
            name,
            clock,
            dead: AtomicBool::new(false),
            fuse: Mutex::new(None),
            nap: Mutex::new(None),
            stopped_until: Mutex::new(None),
            death: Notify::new(),
            chance: Chance::new(chance.seed()),
            time,
            trace: trace.clone(),
        })
    }

    /// It dies after so many points.
    pub fn light(&self, points: u64) {
        *self.fuse.lock().unwrap() = Some(points);
    }

    /// It stands still for a while after so many requests and looks at the database: nothing
    /// of it goes on meanwhile.
    pub fn stop_after(&self, points: u64, length: Duration) {
        *self.nap.lock().unwrap() = Some((points, length));
    }

    fn stop(&self, length: Duration) {
        let what = format!("{} stands still for {length:?}", self.name);
        self.trace.tell(self.time.now(), &what);
        *self.stopped_until.lock().unwrap() = Some(Instant::now() + length);
    }

    /// Returns when it does not stand still.
    pub async fn awake(&self) {
        let nap = self.nap.lock().unwrap().take();
        match nap {
            Some((0, length)) => self.stop(length),
            Some((points, length)) => self.stop_after(points - 1, length),
            None => {}
        }
        loop {
            let until = *self.stopped_until.lock().unwrap();
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) | None => return,
            }
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// It dies now.
    pub fn kill(&self, at: &str) {
        if !self.dead.swap(true, Relaxed) {
            self.trace
                .tell(self.time.now(), &format!("{} dies {at}", self.name));
            self.death.notify_one();
        }
    }

    /// Counts a point; whether the process is dead.
    pub fn dies(&self, at: &str) -> bool {
        if self.is_dead() {
            return true;
        }
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some(0) => {
                drop(fuse);
                self.kill(at);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// A point at which the process may die. If it does, this never returns.
    pub async fn point(&self, at: &str) {
        self.awake().await;
        if self.dies(at) {
            std::future::pending::<()>().await;
        }
    }

    /// Goes on if the process lives; gives others a turn, now and then for some milliseconds.
    pub async fn others(&self) {
        match self.chance.within(0..8) {
            0 => tokio::time::sleep(self.chance.millis(1..4)).await,
            1..4 => tokio::task::yield_now().await,
            _ => {}
        }
        self.awake().await;
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when it is dead.
    pub async fn died(&self) {
        self.death.notified().await;
    }
}
