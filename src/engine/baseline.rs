//! The baseline of a plan: the commits whose content a site's caches may hold.
//!
//! There are two versions of it. The real one is what the site's caches may hold: a dry run adds to it and never
//! releases anything, so that the first live run purges everything that dry runs did not. The shadow is what caches
//! would hold if the dry runs had purged; from it, each dry run finds out what a live run would have purged.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::redeployment::{self, Redeployment};
use crate::config::Site;
use crate::run::{Base, Origin, Run, RunId};
use crate::store::{HeldCommits, SiteCaches, Store, StoreError, Write};

/// The maximum number of held commits to compare with; with more, it counts as unknown what caches hold. Each costs a
/// comparison, and a new process has to compare with all of them once at worst.
const MAX_HELD_COMMITS: usize = 200;

/// The caches whose held commits a run's plan starts from.
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
    /// What they would hold if the dry runs had purged.
    shadow: HeldCommits,
    dry_run: bool,
    /// Whether the run is the first of its site, and does not name the commit that was live before.
    is_first: bool,
    /// What the run brings because its commit was deployed before.
    redeployment: Redeployment,
}

impl Baseline {
    /// Reads what the caches of a run's site may hold at `now`. A site that was removed has no rules.
    pub async fn load(
        store: &Store,
        site: Option<&Site>,
        run: &Run,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let name = run.site.as_str();
        Ok(Self {
            real: store.held(&SiteCaches::real(name), now).await?,
            shadow: store.held(&SiteCaches::shadow(name), now).await?,
            dry_run: run.dry_run,
            is_first: run.before.is_none() && store.is_first(run).await?,
            redeployment: redeployment::of(store, site, run).await?,
        })
    }

    /// The held commits that apply to the run.
    fn held(&self) -> &HeldCommits {
        // The first dry run starts from the same held commits as a live run.
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

    /// Whether everything is purged because the run's commit was deployed before.
    pub fn redeploys_everything(&self) -> bool {
        self.redeployment.everything
    }

    /// The time until which the unknown commit is held, after everything was purged.
    pub fn unknown_until(&self) -> Option<Timestamp> {
        self.held().ends.get(&Base::Unknown).copied()
    }

    /// The commits that a run's change set starts from, together with those of the `older` runs whose work it does. The
    /// commit before a push may be cached even if no delivery named it then.
    pub fn bases(&self, run: &Run, older: &[Run]) -> Vec<Base> {
        let held = match self.too_many() {
            None => self.commits().to_vec(),
            Some(_) => vec![Base::Unknown],
        };
        let unknown = self.begins_unknown(run).then_some(Base::Unknown);
        let theirs = older
            .iter()
            .flat_map(|older| [older.before.as_ref(), older.commit.id()]);
        let named = theirs.chain([run.before.as_ref()]).flatten();
        let named = named.cloned().map(Base::Commit);
        let again = self.redeployment.bases.iter().cloned();
        let all = again.chain(held).chain(unknown).chain(named);
        distinct(all)
    }

    /// Another run of the site that is computing its change set now.
    pub fn planner(&self, run: &Run) -> Option<&RunId> {
        let planner = self.real.planner.as_ref();
        planner.filter(|planner| **planner != run.id)
    }

    /// The number of held commits, if it is more than can be compared.
    pub fn too_many(&self) -> Option<usize> {
        let count = self.commits().len();
        (count > MAX_HELD_COMMITS).then_some(count)
    }

    /// Whether it is unknown what the caches hold: the site is new, and its run's event does not name the commit
    /// before.
    fn begins_unknown(&self, run: &Run) -> bool {
        let says_nothing = match self.commits() {
            [] => true,
            // Reconciliation saw the branch before the delivery arrived, and assumed that the commit had been there
            // before.
            [only] => {
                self.is_first && run.origin == Origin::Push && only.commit() == run.commit.id()
            }
            _ => false,
        };
        says_nothing && run.before.is_none()
    }

    /// The version of the held commits after [`hold`](Self::hold).
    pub fn next_version(&self) -> i64 {
        if self.dry_run {
            self.shadow.version + 1
        } else {
            self.real.version + 1
        }
    }

    /// Makes a step write nothing if another transaction has changed the held commits in the meantime.
    pub fn expect_unchanged(&self, run: &Run) -> Write {
        Write::ExpectHeldVersion(caches_of(run), self.next_version() - 1)
    }

    /// Holds a run's commits for its site, unless another transaction has changed the held commits in the meantime.
    ///
    /// A commit that was live before is held again even if it is held already: otherwise an older run that is still in
    /// progress would release it.
    pub fn hold(&self, run: &Run) -> Vec<Write> {
        self.hold_all(run, &[])
    }

    /// Like [`hold`](Self::hold), also for the commits of other runs of the site, which were live before.
    pub fn hold_all(&self, run: &Run, others: &[Run]) -> Vec<Write> {
        let site = run.site.as_str();
        let named = others
            .iter()
            .chain([run])
            .flat_map(|run| run.before.iter().chain(run.commit.id()));
        let named = named.cloned().map(Base::Commit);
        // The unknown is held like a commit, so that it lasts until everything was purged once.
        let unknown = self.begins_unknown(run) || self.too_many().is_some();
        let unknown = unknown.then_some(Base::Unknown);
        let again = self.redeployment.bases.iter().cloned();
        let commits = distinct(unknown.into_iter().chain(again).chain(named));
        let shadow = SiteCaches::shadow(site);
        let mut writes = Vec::with_capacity(4);
        if self.dry_run {
            let mut all = commits.clone();
            if self.shadow.commits.is_empty() && self.too_many().is_none() {
                all.extend(self.real.commits.iter().cloned());
            }
            writes.extend(hold_as_of(shadow, &self.shadow, all));
        } else if !self.shadow.commits.is_empty() {
            // Live runs discard the shadow of earlier dry runs.
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

/// Each once, in the order of their first appearance.
fn distinct(commits: impl Iterator<Item = Base>) -> Vec<Base> {
    let mut seen = BTreeSet::new();
    commits.filter(|base| seen.insert(base.clone())).collect()
}

fn hold_as_of(caches: SiteCaches, held: &HeldCommits, mut commits: Vec<Base>) -> Vec<Write> {
    let mut writes = vec![Write::ExpectHeldVersion(caches.clone(), held.version)];
    if held.commits.len() > MAX_HELD_COMMITS {
        // From now on the unknown stands for all of them, so that their number does not grow further.
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
