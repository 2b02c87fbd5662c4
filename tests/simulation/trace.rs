//! What happened in a world, in order: lines to read, a hash to compare, and what broke a promise.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

/// A handle to a world's trace. Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Told>>);

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
