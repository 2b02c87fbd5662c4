//! The way to a service and back, and what goes wrong on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::process::{Chance, Process, Time};
use crate::trace::Trace;

/// How long a request may take before its sender gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

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
            | Self::Failed => false,
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
    /// Requests whose work was done and whose answer was lost.
    answers_lost: Mutex<usize>,
}

impl Wire {
    pub fn new(name: &str, time: Time, chance: &Chance, trace: &Trace) -> Self {
        Self {
            name: name.to_owned(),
            time,
            trace: trace.clone(),
            chance: Chance::new(chance.seed()),
            trouble: Mutex::new(0),
            answers_lost: Mutex::new(0),
        }
    }

    /// From now on so many requests in a hundred meet with a mishap.
    pub fn set_trouble(&self, percent: u32) {
        *self.trouble.lock().unwrap() = percent;
    }

    /// Sends a request: `work` is what the service does with it. What it came to, or what went wrong.
    pub async fn send<T>(
        &self,
        process: &Arc<Process>,
        what: &str,
        work: impl FnOnce() -> T,
    ) -> Result<T, Mishap> {
        process.point("before a request").await;
        let mishap = self.mishap();
        self.tell(&format!("{} -> {}: {what}", process.name, self.name));
        self.travel(process).await;
        let came_to = if mishap.does_the_work() {
            Some(work())
        } else {
            None
        };
        if mishap != Mishap::None {
            self.tell(&format!("{} -> {}: {mishap:?}", process.name, self.name));
        }
        if process.dies("before an answer") {
            self.note_lost(came_to.is_some());
            std::future::pending::<()>().await;
        }
        if matches!(mishap, Mishap::Hanging(_)) {
            tokio::time::sleep(PATIENCE).await;
        } else {
            self.travel(process).await;
        }
        match came_to {
            Some(answer) if mishap == Mishap::None => {
                if process.dies("after an answer") {
                    self.note_lost(true);
                    std::future::pending::<()>().await;
                }
                Ok(answer)
            }
            done => {
                self.note_lost(done.is_some());
                Err(mishap)
            }
        }
    }

    async fn travel(&self, process: &Arc<Process>) {
        tokio::time::sleep(self.chance.millis(1..60)).await;
        if process.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn note_lost(&self, is_lost: bool) {
        *self.answers_lost.lock().unwrap() += usize::from(is_lost);
    }

    fn mishap(&self) -> Mishap {
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
