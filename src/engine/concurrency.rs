//! Counts the running steps of each concurrency key: a step that calls a forge counts against that forge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Running steps, by concurrency key.
#[derive(Clone, Default)]
pub(super) struct ConcurrencyLimits(Arc<Mutex<BTreeMap<String, usize>>>);

/// A running step's permit. Dropping it returns it.
pub(super) struct Permit {
    limits: ConcurrencyLimits,
    key: Option<String>,
}

impl ConcurrencyLimits {
    /// Acquires a permit. Work without a concurrency key is not limited.
    pub fn acquire(&self, key: Option<String>) -> Permit {
        if let Some(key) = &key {
            let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *limits.entry(key.clone()).or_default() += 1;
        }
        Permit {
            limits: self.clone(),
            key,
        }
    }

    /// The number of running steps per key.
    pub fn running(&self) -> BTreeMap<String, usize> {
        let limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limits.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else {
            return;
        };
        let mut limits = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = limits.get_mut(&key) {
            *running -= 1;
            if *running == 0 {
                limits.remove(&key);
            }
        }
    }
}
