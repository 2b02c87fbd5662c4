//! A cache of differences between two commits. These never change, and consecutive runs need mostly the same ones.
//!
//! It only saves requests and may be lost. The least recently used entries are dropped first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::{CommitId, RepoPath};

/// Paths held at most, over all differences.
const MAX_PATHS: usize = 100_000;
/// Differences held at most.
const MAX_PAIRS: usize = 2_000;

/// Two commits of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CommitPair {
    pub forge: String,
    pub repo: RepoPath,
    pub from: CommitId,
    pub to: CommitId,
}

/// All paths that differ between two commits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub proof: Proof,
    pub files: BTreeMap<FilePath, ChangeKind>,
}

/// The cached differences.
#[derive(Default)]
pub(super) struct DiffCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    pairs: HashMap<CommitPair, (u64, Arc<Difference>)>,
    paths: usize,
    /// A counter of uses, to find the least recently used pair.
    uses: u64,
}

impl DiffCache {
    /// The cached difference between two commits.
    pub fn get(&self, pair: &CommitPair) -> Option<Arc<Difference>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let (used, difference) = kept.pairs.get_mut(pair)?;
        *used = uses;
        Some(Arc::clone(difference))
    }

    /// Caches the difference between two commits, unless it is too large by itself.
    pub fn put(&self, pair: CommitPair, difference: Difference) -> Arc<Difference> {
        let difference = Arc::new(difference);
        let paths = difference.files.len();
        if paths > MAX_PATHS / 4 {
            return difference;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let entry = (kept.uses, Arc::clone(&difference));
        kept.paths += paths;
        if let Some((_, before)) = kept.pairs.insert(pair, entry) {
            kept.paths -= before.files.len();
        }
        while kept.paths > MAX_PATHS || kept.pairs.len() > MAX_PAIRS {
            let oldest = kept.pairs.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(pair, _)| pair.clone()) else {
                break;
            };
            if let Some((_, gone)) = kept.pairs.remove(&oldest) {
                kept.paths -= gone.files.len();
            }
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: usize) -> CommitPair {
        CommitPair {
            forge: "github".to_owned(),
            repo: RepoPath::parse("acme/website").unwrap(),
            from: CommitId::parse(&format!("{:040x}", n + 1)).unwrap(),
            to: CommitId::parse(&"f".repeat(40)).unwrap(),
        }
    }

    fn of_paths(count: usize) -> Difference {
        let path = |n| (FilePath::new(format!("{n}")), ChangeKind::Modified);
        Difference {
            proof: Proof::Compare,
            files: (0..count).map(path).collect(),
        }
    }

    #[test]
    fn the_least_recently_used_difference_is_evicted_first() {
        let known = DiffCache::default();
        known.put(pair(0), of_paths(10_000));
        for n in 1..20 {
            known.put(pair(n), of_paths(10_000));
            assert!(known.get(&pair(0)).is_some(), "used all the time");
        }

        assert_eq!(known.get(&pair(1)), None);
        assert_eq!(known.get(&pair(19)).unwrap().files.len(), 10_000);
        assert!(known.0.lock().unwrap().paths <= MAX_PATHS);
    }

    #[test]
    fn the_same_pair_again_takes_no_more_room() {
        let known = DiffCache::default();
        for _ in 0..50 {
            known.put(pair(1), of_paths(20_000));
        }

        assert_eq!(known.0.lock().unwrap().paths, 20_000);
    }

    #[test]
    fn a_difference_that_is_too_much_by_itself_is_handed_back_and_not_kept() {
        let known = DiffCache::default();

        let difference = known.put(pair(1), of_paths(MAX_PATHS / 2));

        assert_eq!(difference.files.len(), MAX_PATHS / 2);
        assert_eq!(known.get(&pair(1)), None);
    }
}
