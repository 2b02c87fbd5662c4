//! The way to a service and back, and what goes wrong on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use purgehook::http;

use crate::process::{Chance, Process, Time};
use crate::trace::Trace;

/// How long a request may take before its sender gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// More requests than anyone sends to a service that is out for some minutes, and is left
/// alone after five of them: those that were on their way by then, and the tries in between.
const MOST_IN_VAIN: usize = 30;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing goes wrong.
    None,
    /// No connection: the request was never sent.
    Unreachable,
    /// The connection breaks off, before or after the work.
    Dropped(Work),
    /// No answer comes, before or after the work.
    Hanging(Work),
    /// A gateway answers 503, before or after the work.
    Unavailable(Work),
    /// The answer is cut off or makes no sense, before or after the work.
    Senseless(Work),
    /// Too many requests; try again after a while, where it says one.
    Throttled(Option<Duration>),
    /// The service says that it failed: it did nothing.
    Failed,
    /// The service refuses: a key has ended, a right is missing.
    Refused,
}

/// Whether the work was done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Undone,
    Done,
}

impl Mishap {
    fn does_the_work(self) -> bool {
        match self {
            Self::None
            | Self::Dropped(Work::Done)
            | Self::Hanging(Work::Done)
            | Self::Unavailable(Work::Done)
            | Self::Senseless(Work::Done) => true,
            Self::Unreachable
            | Self::Dropped(Work::Undone)
            | Self::Hanging(Work::Undone)
            | Self::Unavailable(Work::Undone)
            | Self::Senseless(Work::Undone)
            | Self::Throttled(_)
            | Self::Failed
            | Self::Refused => false,
        }
    }
}

/// All requests to one service.
pub struct Wire {
    name: String,
    time: Time,
    trace: Trace,
    chance: Chance,
    /// Requests in a hundred that meet with a mishap.
    trouble: Mutex<u32>,
    /// Until when no request gets through at all.
    out_until: Mutex<Option<Timestamp>>,
    /// Requests sent meanwhile.
    in_vain: Mutex<usize>,
    /// Whether every request is refused.
    refuses: Mutex<bool>,
}

impl Wire {
    pub fn new(name: &str, time: Time, chance: &Chance, trace: &Trace) -> Self {
        Self {
            name: name.to_owned(),
            time,
            trace: trace.clone(),
            chance: Chance::new(chance.seed()),
            trouble: Mutex::new(0),
            out_until: Mutex::new(None),
            in_vain: Mutex::new(0),
            refuses: Mutex::new(false),
        }
    }

    /// From now on so many requests in a hundred meet with a mishap.
    pub fn set_trouble(&self, percent: u32) {
        *self.trouble.lock().unwrap() = percent;
    }

    /// No request gets through for a while.
    pub fn go_out(&self, length: Duration) {
        self.tell(&format!("{} is out for {length:?}", self.name));
        *self.out_until.lock().unwrap() = Some(self.time.now() + length);
        *self.in_vain.lock().unwrap() = 0;
    }

    /// Whether anything goes wrong now and then.
    pub fn is_in_trouble(&self) -> bool {
        *self.trouble.lock().unwrap() > 0
    }

    /// Whether every request is refused from now on.
    pub fn set_refuses(&self, refuses: bool) {
        *self.refuses.lock().unwrap() = refuses;
    }

    /// All is well from now on.
    pub fn heal(&self) {
        self.set_trouble(0);
        self.set_refuses(false);
        *self.out_until.lock().unwrap() = None;
    }

    /// Sends a request: `work` is what the service does with it. What it came to, or what went wrong.
    pub async fn send<T>(
        &self,
        process: &Arc<Process>,
        what: &str,
        work: impl FnOnce() -> T,
    ) -> Result<T, Mishap> {
        process.point("before a request").await;
        http::note_request();
        let mishap = self.mishap();
        self.tell(&format!("{} -> {}: {what}", process.name, self.name));
        // What is on its way arrives, whatever becomes of its sender.
        self.travel().await;
        let came_to = if mishap.does_the_work() {
            Some(work())
        } else {
            None
        };
        if mishap != Mishap::None {
            self.tell(&format!("{} -> {}: {mishap:?}", process.name, self.name));
        }
        process.point("before an answer").await;
        if matches!(mishap, Mishap::Hanging(_)) {
            tokio::time::sleep(PATIENCE).await;
        } else {
            self.travel().await;
        }
        match came_to {
            Some(answer) if mishap == Mishap::None => {
                process.point("after an answer").await;
                Ok(answer)
            }
            Some(_) | None => Err(mishap),
        }
    }

    async fn travel(&self) {
        let trouble = *self.trouble.lock().unwrap();
        let is_slow = trouble > 0 && self.chance.one_in(10);
        let most = if is_slow { 12_000 } else { 60 };
        tokio::time::sleep(self.chance.millis(1..most)).await;
    }

    fn mishap(&self) -> Mishap {
        let is_out = self
            .out_until
            .lock()
            .unwrap()
            .is_some_and(|until| self.time.now() < until);
        if is_out {
            let mut in_vain = self.in_vain.lock().unwrap();
            *in_vain += 1;
            if *in_vain == MOST_IN_VAIN {
                let promise = format!("{} is not left alone while it is out", self.name);
                self.trace.broken(self.time.now(), &promise);
            }
            return if self.chance.one_in(2) {
                Mishap::Hanging(Work::Undone)
            } else {
                Mishap::Unreachable
            };
        }
        if *self.refuses.lock().unwrap() {
            return Mishap::Refused;
        }
        let trouble = *self.trouble.lock().unwrap();
        if trouble == 0 || !self.chance.percent(trouble) {
            return Mishap::None;
        }
        let work = if self.chance.one_in(2) {
            Work::Done
        } else {
            Work::Undone
        };
        match self.chance.within(0..8) {
            0 => Mishap::Unreachable,
            1 => Mishap::Dropped(work),
            2 => Mishap::Hanging(work),
            3 => Mishap::Unavailable(work),
            4 => Mishap::Senseless(work),
            5 => Mishap::Throttled(None),
            6 => Mishap::Throttled(Some(Duration::from_secs(self.chance.within(1..120)))),
            _ => Mishap::Failed,
        }
    }

    fn tell(&self, what: &str) {
        self.trace.tell(self.time.now(), what);
    }
}
