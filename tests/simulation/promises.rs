//! What is promised of each status, checked at the moment in which a commit shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use purgehook::run::{RunId, StatusState};

use crate::trace::Trace;

/// What each run has shown. Clones share it.
#[derive(Clone)]
pub struct Promises {
    shown: Arc<Mutex<BTreeMap<RunId, StatusState>>>,
    trace: Trace,
}

impl Promises {
    pub fn new(trace: &Trace) -> Self {
        Self {
            shown: Arc::default(),
            trace: trace.clone(),
        }
    }

    /// A commit shows a run's state from now on: what is final is never replaced by another.
    pub fn posted(&self, now: Timestamp, run: &RunId, state: StatusState) {
        let before = self.shown.lock().unwrap().insert(run.clone(), state);
        if let Some(before) = before
            && before != StatusState::Pending
            && before != state
        {
            let (before, state) = (before.word(), state.word());
            self.trace
                .broken(now, &format!("{run} showed {before}, and now {state}"));
        }
    }
}
