//! What happened in a world, in order: lines to read, a hash to compare, and what broke a promise.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::Notify;

/// More lines than any world has in which things come to rest.
const MOST_LINES: usize = 8_000;

/// A handle to a world's trace. Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Told>>, Arc<Notify>);

#[derive(Default)]
struct Told {
    /// Every line, hashed one after the other with fixed keys.
    hash: DefaultHasher,
    lines: Vec<String>,
    broken: Vec<String>,
}

impl Trace {
    /// Notes what happens.
    pub fn tell(&self, now: Timestamp, what: &str) {
        let mut told = self.0.lock().unwrap();
        let line = format!("{} {what}", now.strftime("%dT%H:%M:%S.%3f"));
        line.hash(&mut told.hash);
        told.lines.push(line);
        if told.lines.len() == MOST_LINES {
            told.broken
                .push("there is no end to what happens".to_owned());
            self.1.notify_one();
        }
    }

    /// Returns when more has happened than does in any world that comes to rest.
    pub async fn has_no_end(&self) {
        self.1.notified().await;
    }

    /// Notes that a promise was broken.
    pub fn broken(&self, now: Timestamp, promise: &str) {
        self.tell(now, &format!("BROKEN: {promise}"));
        self.0.lock().unwrap().broken.push(promise.to_owned());
    }

    /// The promises that were broken.
    pub fn all_broken(&self) -> Vec<String> {
        self.0.lock().unwrap().broken.clone()
    }

    /// The same for two worlds in which the same happened.
    pub fn hash(&self) -> u64 {
        self.0.lock().unwrap().hash.finish()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }
}
