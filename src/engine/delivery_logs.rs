//! What is known of the forges' logs of deliveries. It only saves requests and repeated lines in
//! purgehook's own log: it may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Deliveries that are remembered as asking for nothing here.
const MAX_SEEN_DELIVERIES: usize = 20_000;

/// What this process knows of the logs.
#[derive(Default)]
pub(super) struct DeliveryLogs(Mutex<Logs>);

/// A log: that of a repository on a forge.
pub(super) type LogKey = (String, String);

#[derive(Default)]
struct Logs {
    /// Up to when each log was read.
    read: BTreeMap<LogKey, Timestamp>,
    /// Logs that the token may not read, and when to try again.
    forbidden: BTreeMap<LogKey, Timestamp>,
    /// By forge: ids of deliveries that ask for nothing here.
    seen: BTreeSet<(String, String)>,
    /// Forges of which it was logged that no address is known.
    without_address: BTreeSet<String>,
}

impl DeliveryLogs {
    /// Notes that a forge's webhook address is not known; true the first time.
    pub fn lacks_address(&self, forge: &str) -> bool {
        self.logs().without_address.insert(forge.to_owned())
    }

    /// Whether a log is not to be read yet, since the token may not.
    pub fn is_forbidden(&self, log: &LogKey, now: Timestamp) -> bool {
        let logs = self.logs();
        logs.forbidden.get(log).is_some_and(|until| now < *until)
    }

    /// Notes that the token may not read a log; true the first time.
    pub fn forbid(&self, log: LogKey, until: Timestamp) -> bool {
        self.logs().forbidden.insert(log, until).is_none()
    }

    /// Up to when a log was read.
    pub fn read_until(&self, log: &LogKey) -> Option<Timestamp> {
        self.logs().read.get(log).copied()
    }

    /// Notes that a log was read.
    pub fn note_read(&self, log: LogKey, until: Timestamp) {
        self.logs().read.insert(log, until);
    }

    /// Whether a delivery is known to ask for nothing here.
    pub fn is_seen(&self, forge: &str, delivery: &str) -> bool {
        let key = (forge.to_owned(), delivery.to_owned());
        self.logs().seen.contains(&key)
    }

    /// Notes that a delivery needs no second look.
    pub fn note_seen(&self, forge: &str, delivery: &str) {
        let mut logs = self.logs();
        if logs.seen.len() >= MAX_SEEN_DELIVERIES {
            logs.seen.clear();
        }
        logs.seen.insert((forge.to_owned(), delivery.to_owned()));
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
