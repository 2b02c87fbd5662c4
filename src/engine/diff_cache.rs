//! Differences between two commits that were found before. Two commits differ in the
//! same paths for ever, and a run needs again all that the one before it needed.
//!
//! This only saves requests: it may be lost, and what is used least goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::{CommitId, RepoPath};

/// Paths that are kept at most, over all differences.
const MAX_PATHS: usize = 100_000;
/// Differences that are kept at most.
const MAX_PAIRS: usize = 2_000;

/// Two commits of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CommitPair {
    pub forge: String,
    pub repo: RepoPath,
    pub from: CommitId,
    pub to: CommitId,
}

/// The paths that differ between two commits, all of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub proof: Proof,
    pub files: BTreeMap<FilePath, ChangeKind>,
}

/// What is known of differences.
#[derive(Default)]
pub(super) struct DiffCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    pairs: HashMap<CommitPair, (u64, Arc<Difference>)>,
    paths: usize,
    /// Counts the uses, so that the pair that was not used for longest is known.
    uses: u64,
}

impl DiffCache {
    /// What two commits differ in, if it was found before.
    pub fn get(&self, pair: &CommitPair) -> Option<Arc<Difference>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let uses = kept.uses;
        let (used, difference) = kept.pairs.get_mut(pair)?;
        *used = uses;
        Some(Arc::clone(difference))
    }

    /// Keeps what two commits differ in, unless it is too much by itself.
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
