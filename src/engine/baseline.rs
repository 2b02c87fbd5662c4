//! The baseline of a plan: the commits whose content a site's caches may hold.
//!
//! It is kept twice. One is what the site's caches may really hold: a dry run adds to it and never releases
//! anything, so that the first live run purges all that was not. The other, the shadow, is what they would hold
//! had the dry runs purged, from which each dry run finds out what a live one would have purged.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::run::{Base, Origin, Run, RunId};
use crate::store::{HeldCommits, SiteCaches, Store, StoreError, Write};

/// Commits that are held, beyond which it counts as unknown what caches hold: each costs a
/// comparison, all of them once at the worst, when a new process takes over.
const MAX_HELD_COMMITS: usize = 200;

/// The caches whose knowledge a run's plan starts from.
pub(super) fn caches_of(run: &Run) -> SiteCaches {
    SiteCaches {
        site: run.site.clone(),
        dry_run: run.dry_run,
    }
}

/// The commits that the plan of one run starts from.
pub(super) struct Baseline {
    /// What the site's caches may really hold.
    real: HeldCommits,
    /// What they would hold had the dry runs purged.
    shadow: HeldCommits,
    dry_run: bool,
    /// Whether the run is the first of its site, and does not say what was live before.
    is_first: bool,
}

impl Baseline {
    /// What a run's site's caches may hold at `now`.
    pub async fn load(store: &Store, run: &Run, now: Timestamp) -> Result<Self, StoreError> {
        let site = run.site.as_str();
        Ok(Self {
            real: store.held(&SiteCaches::real(site), now).await?,
            shadow: store.held(&SiteCaches::shadow(site), now).await?,
            dry_run: run.dry_run,
            is_first: run.before.is_none() && store.is_first(run).await?,
        })
    }

    /// What is held, as far as the run is concerned.
    fn held(&self) -> &HeldCommits {
        // The first dry run stands where a live one would have stood.
        if self.dry_run && !self.shadow.commits.is_empty() {
            &self.shadow
        } else {
            &self.real
        }
    }

    /// The commits that are held.
    fn commits(&self) -> &[Base] {
        &self.held().commits
    }

    /// Until when it is held as unknown what the caches have, once everything was purged.
    pub fn unknown_until(&self) -> Option<Timestamp> {
        self.held().ends.get(&Base::Unknown).copied()
    }

    /// The commits that a run's change set starts from, with the work of `older` runs that it does along with its own. What
    /// was live before a push may be cached even if no delivery said so then.
    pub fn bases(&self, run: &Run, older: &[Run]) -> Vec<Base> {
        let mut bases = match self.too_many() {
            None => self.commits().to_vec(),
            Some(_) => vec![Base::Unknown],
        };
        bases.extend(self.begins_unknown(run).then_some(Base::Unknown));
        let theirs = older
            .iter()
            .flat_map(|older| [older.before.as_ref(), older.commit.id()]);
        for commit in theirs.chain([run.before.as_ref()]).flatten() {
            let base = Base::Commit(commit.clone());
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        bases
    }

    /// Another run of the site that is finding out what changed now.
    pub fn planner(&self, run: &Run) -> Option<&RunId> {
        let planner = self.real.planner.as_ref();
        planner.filter(|planner| **planner != run.id)
    }

    /// How many commits are held, if they are more than can be compared.
    pub fn too_many(&self) -> Option<usize> {
        let count = self.commits().len();
        (count > MAX_HELD_COMMITS).then_some(count)
    }

    /// Whether it is unknown what the caches hold: the site is new, and its run's event does not say.
    fn begins_unknown(&self, run: &Run) -> bool {
        let says_nothing = match self.commits() {
            [] => true,
            // Reconciliation saw the branch before its delivery came, and took it for one that stood there.
            [only] => {
                self.is_first && run.origin == Origin::Push && only.commit() == run.commit.id()
            }
            _ => false,
        };
        says_nothing && run.before.is_none()
    }

    /// The version that [`hold`](Self::hold) makes of what the plan starts from.
    pub fn next_version(&self) -> i64 {
        if self.dry_run {
            self.shadow.version + 1
        } else {
            self.real.version + 1
        }
    }

    /// Provides that no other transaction has counted commits as held meanwhile.
    pub fn expect_unchanged(&self, run: &Run) -> Write {
        Write::ExpectHeldVersion(caches_of(run), self.next_version() - 1)
    }

    /// Counts a run's commits as held by its site, provided that no other transaction has counted any meanwhile.
    ///
    /// What was live before is held anew even where it is held already: an older run that is
    /// still under way would release it otherwise.
    pub fn hold(&self, run: &Run) -> Vec<Write> {
        self.hold_all(run, &[])
    }

    /// The same for the commits of other runs of the site as well, which say what was live before.
    pub fn hold_all(&self, run: &Run, others: &[Run]) -> Vec<Write> {
        let site = run.site.as_str();
        let mut seen = BTreeSet::new();
        let named = others
            .iter()
            .chain([run])
            .flat_map(|run| run.before.iter().chain(run.commit.id()))
            .filter(|id| seen.insert(*id));
        let named = named.cloned().map(Base::Commit);
        // Held like a commit, so that it is not forgotten before everything was purged once.
        let unknown = self.begins_unknown(run) || self.too_many().is_some();
        let unknown = unknown.then_some(Base::Unknown);
        let commits: Vec<Base> = unknown.into_iter().chain(named).collect();
        let shadow = SiteCaches::shadow(site);
        let mut writes = Vec::with_capacity(4);
        if self.dry_run {
            let mut all = commits.clone();
            if self.shadow.commits.is_empty() && self.too_many().is_none() {
                all.extend(self.real.commits.iter().cloned());
            }
            writes.extend(hold_as_of(shadow, &self.shadow, all));
        } else if !self.shadow.commits.is_empty() {
            // The shadow of former dry runs is of no use to later ones.
            writes.push(Write::ExpectHeldVersion(
                shadow.clone(),
                self.shadow.version,
            ));
            writes.push(Write::ReleaseHeld {
                caches: shadow,
                commits: self.shadow.commits.clone(),
                version: self.shadow.version,
                until: Timestamp::UNIX_EPOCH,
            });
        }
        writes.extend(hold_as_of(SiteCaches::real(site), &self.real, commits));
        writes
    }
}

fn hold_as_of(caches: SiteCaches, held: &HeldCommits, mut commits: Vec<Base>) -> Vec<Write> {
    let mut writes = vec![Write::ExpectHeldVersion(caches.clone(), held.version)];
    if held.commits.len() > MAX_HELD_COMMITS {
        // The unknown stands for all of them from now on, so that they do not become ever more.
        if !commits.contains(&Base::Unknown) {
            commits.push(Base::Unknown);
        }
        let stood_for = held.commits.iter().filter(|held| !commits.contains(held));
        writes.push(Write::ReleaseHeld {
            caches: caches.clone(),
            commits: stood_for.cloned().collect(),
            version: held.version,
            until: Timestamp::UNIX_EPOCH,
        });
    }
    writes.push(Write::Hold(caches, commits, held.version + 1));
    writes
}
