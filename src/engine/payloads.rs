//! A cache of the changed paths that deliveries listed, so that the first steps of their runs need not read and
//! parse their bodies again. If it is lost, the step reads the body.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::changes::ChangeSet;

/// Deliveries held at most.
const MAX_DELIVERIES: usize = 1_000;
/// Paths held at most, over all deliveries.
const MAX_PATHS: usize = 100_000;

/// The changed paths that the newest deliveries listed.
#[derive(Default)]
pub(super) struct Payloads(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_delivery: HashMap<String, Arc<ChangeSet>>,
    /// Oldest first.
    order: VecDeque<String>,
    paths: usize,
}

impl Payloads {
    /// Caches what a delivery listed, unless it is too large by itself. The oldest entries are dropped first.
    pub fn put(&self, delivery: &str, listed: ChangeSet) {
        let paths = paths(&listed);
        if paths > MAX_PATHS / 4 {
            return;
        }
        let mut kept = self.kept();
        kept.paths += paths;
        kept.order.push_back(delivery.to_owned());
        kept.by_delivery
            .insert(delivery.to_owned(), Arc::new(listed));
        while kept.order.len() > MAX_DELIVERIES || kept.paths > MAX_PATHS {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            if let Some(dropped) = kept.by_delivery.remove(&oldest) {
                kept.paths -= self::paths(&dropped);
            }
        }
    }

    /// What a delivery listed, if it is cached.
    pub fn get(&self, delivery: &str) -> Option<Arc<ChangeSet>> {
        self.kept().by_delivery.get(delivery).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn paths(listed: &ChangeSet) -> usize {
    match listed {
        ChangeSet::Complete { files, .. } => files.len(),
        ChangeSet::Unknown { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{ChangeKind, FilePath, Proof};

    fn of_paths(count: usize) -> ChangeSet {
        let path = |n| (FilePath::new(format!("{n}")), ChangeKind::Modified);
        ChangeSet::Complete {
            proof: Proof::Payload,
            files: (0..count).map(path).collect(),
        }
    }

    #[test]
    fn the_oldest_delivery_is_dropped_first_and_the_bounds_hold() {
        let payloads = Payloads::default();
        for n in 0..20 {
            payloads.put(&n.to_string(), of_paths(10_000));
        }

        assert!(payloads.get("9").is_none());
        assert!(payloads.get("19").is_some());
        assert!(payloads.kept().paths <= MAX_PATHS);
        for n in 0..2 * MAX_DELIVERIES {
            payloads.put(&format!("small {n}"), of_paths(1));
        }
        assert!(payloads.kept().by_delivery.len() <= MAX_DELIVERIES);
    }

    #[test]
    fn a_list_that_is_too_much_by_itself_is_not_kept() {
        let payloads = Payloads::default();

        payloads.put("large", of_paths(MAX_PATHS / 2));

        assert!(payloads.get("large").is_none());
    }
}
