//! What is known about the forges' delivery logs. A cache that only saves requests and repeated lines in
//! purgehook's own log; losing it does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// How many ignored deliveries to remember.
const MAX_SEEN_DELIVERIES: usize = 20_000;

/// What this process knows about the logs.
#[derive(Default)]
pub(super) struct DeliveryLogs(Mutex<Logs>);

/// The log of one repository on a forge.
pub(super) type LogKey = (String, String);

#[derive(Default)]
struct Logs {
    /// Up to which time each log was read.
    read: BTreeMap<LogKey, Timestamp>,
    /// Logs that the token may not read, and when to try again.
    forbidden: BTreeMap<LogKey, Timestamp>,
    /// For each forge, the ids of deliveries that need no run.
    seen: BTreeSet<(String, String)>,
    /// Forges whose missing webhook address was already logged.
    without_address: BTreeSet<String>,
}

impl DeliveryLogs {
    /// Records that a forge's webhook address is unknown; true the first time.
    pub fn lacks_address(&self, forge: &str) -> bool {
        self.logs().without_address.insert(forge.to_owned())
    }

    /// Whether a log must not be requested yet, since the token may not read it.
    pub fn is_forbidden(&self, log: &LogKey, now: Timestamp) -> bool {
        let logs = self.logs();
        logs.forbidden.get(log).is_some_and(|until| now < *until)
    }

    /// Records that the token may not read a log; true the first time.
    pub fn forbid(&self, log: LogKey, until: Timestamp) -> bool {
        self.logs().forbidden.insert(log, until).is_none()
    }

    /// Up to which time a log was read.
    pub fn read_until(&self, log: &LogKey) -> Option<Timestamp> {
        self.logs().read.get(log).copied()
    }

    /// Records up to which time a log was read.
    pub fn note_read(&self, log: LogKey, until: Timestamp) {
        self.logs().read.insert(log, until);
    }

    /// Whether a delivery is known to need no run.
    pub fn is_seen(&self, forge: &str, delivery: &str) -> bool {
        let key = (forge.to_owned(), delivery.to_owned());
        self.logs().seen.contains(&key)
    }

    /// Records that a delivery needs no run.
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
