//! A cache of differences between two commits. These never change, and consecutive runs need mostly the same ones.
//!
//! It only saves reads and requests, and may be lost. The least recently used entries are dropped first.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cache::LruCache;
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::event::{CommitId, RepoPath};

/// Paths held at most, over all differences.
const MAX_PATHS: usize = 100_000;
/// Entries held at most: those of the pushes that arrive in a second or two under load, before they are planned.
const MAX_PAIRS: usize = 4_096;

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

/// What is cached about two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    Difference(Arc<Difference>),
    /// The webhook of the push from one to the other does not list all of it: only the forge knows.
    NotListed,
}

impl Cached {
    fn paths(&self) -> usize {
        match self {
            Self::Difference(difference) => difference.files.len(),
            Self::NotListed => 0,
        }
    }
}

/// The cached differences.
pub(super) struct DiffCache(Mutex<Kept>);

struct Kept {
    pairs: LruCache<CommitPair, Cached>,
    paths: usize,
}

impl Default for DiffCache {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            pairs: LruCache::new(MAX_PAIRS),
            paths: 0,
        }))
    }
}

impl DiffCache {
    /// What is cached about two commits.
    pub fn get(&self, pair: &CommitPair) -> Option<Cached> {
        self.0.lock().pairs.get(pair).cloned()
    }

    /// Caches the difference between two commits, unless it is too large by itself.
    pub fn put(&self, pair: CommitPair, difference: Difference) -> Arc<Difference> {
        let difference = Arc::new(difference);
        self.keep(pair, Cached::Difference(Arc::clone(&difference)));
        difference
    }

    /// Caches what the webhook of a push from one commit to the other lists, unless the difference is known already.
    pub fn put_listed(&self, pair: CommitPair, listed: &ChangeSet) {
        if self.get(&pair).is_some() {
            return;
        }
        let listed = match listed {
            ChangeSet::Complete { proof, files } => Cached::Difference(Arc::new(Difference {
                proof: *proof,
                files: files.clone(),
            })),
            ChangeSet::Unknown { .. } => Cached::NotListed,
        };
        self.keep(pair, listed);
    }

    fn keep(&self, pair: CommitPair, entry: Cached) {
        let paths = entry.paths();
        if paths > MAX_PATHS / 4 {
            return;
        }
        let mut kept = self.0.lock();
        let left = kept.pairs.put(pair, entry);
        kept.paths = (kept.paths + paths).saturating_sub(left.map_or(0, |left| left.paths()));
        while kept.paths > MAX_PATHS {
            let Some(oldest) = kept.pairs.pop_oldest() else {
                break;
            };
            kept.paths = kept.paths.saturating_sub(oldest.paths());
        }
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
        assert_eq!(known.get(&pair(19)).unwrap().paths(), 10_000);
        assert!(known.0.lock().paths <= MAX_PATHS);
    }

    #[test]
    fn the_same_pair_again_takes_no_more_room() {
        let known = DiffCache::default();
        for _ in 0..50 {
            known.put(pair(1), of_paths(20_000));
        }

        assert_eq!(known.0.lock().paths, 20_000);
    }

    #[test]
    fn a_difference_that_is_too_much_by_itself_is_handed_back_and_not_kept() {
        let known = DiffCache::default();

        let difference = known.put(pair(1), of_paths(MAX_PATHS / 2));

        assert_eq!(difference.files.len(), MAX_PATHS / 2);
        assert_eq!(known.get(&pair(1)), None);
    }

    #[test]
    fn what_a_push_lists_is_known_and_that_it_lists_too_little_too() {
        let known = DiffCache::default();
        let Difference { proof, files } = of_paths(3);
        known.put_listed(pair(1), &ChangeSet::Complete { proof, files });
        known.put_listed(pair(2), &ChangeSet::unknown("20 of 34 commits"));

        assert_eq!(
            known.get(&pair(1)),
            Some(Cached::Difference(Arc::new(of_paths(3))))
        );
        assert_eq!(known.get(&pair(2)), Some(Cached::NotListed));
        assert_eq!(known.get(&pair(3)), None);
        known.put_listed(pair(1), &ChangeSet::unknown("20 of 34 commits"));
        assert_eq!(known.get(&pair(1)).unwrap().paths(), 3);
    }

    #[test]
    fn only_so_many_small_differences_are_kept() {
        let known = DiffCache::default();
        for n in 0..2 * MAX_PAIRS {
            known.put(pair(n), of_paths(1));
        }

        assert_eq!(known.get(&pair(0)), None);
        assert_eq!(known.0.lock().paths, MAX_PAIRS);
    }
}
