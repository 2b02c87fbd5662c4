//! The baseline of a plan: the commits whose content a site's caches may hold.
//!
//! It is kept twice. Under the site's own name stands what its caches may really hold: a dry run
//! adds to it and never releases anything, so that the first live run purges all that was not. Under
//! [`pretended`] stands what they would hold had the dry runs purged, from which each dry
//! run finds out what a live one would have purged.

use jiff::Timestamp;

use super::Engine;
use crate::run::{Base, Origin, Run, RunId};
use crate::store::{HeldCommits, StoreError, Write};

/// Commits that are held, beyond which it counts as unknown what caches hold: each costs a
/// comparison, all of them once at the worst, when a new process takes over.
const MOST_HELD: usize = 200;

/// The name under which it is kept what an observed site's caches would hold. No site can be called so.
fn pretended(site: &str) -> String {
    format!("{site} (observed)")
}

/// The name under which it is kept what the caches hold that a run's plan starts from.
pub(super) fn held_by(run: &Run) -> String {
    if run.observed {
        pretended(&run.site)
    } else {
        run.site.clone()
    }
}

/// What a plan starts from.
pub(super) struct Ground {
    /// What the site's caches may really hold.
    real: HeldCommits,
    /// The same, as far as an observed run is concerned.
    pretended: HeldCommits,
    observed: bool,
    /// Whether the run is the first of its site, and does not say what was live before.
    is_first: bool,
}

impl Ground {
    /// What is held, as far as the run is concerned.
    fn held(&self) -> &HeldCommits {
        // The first observed run stands where a live one would have stood.
        if self.observed && !self.pretended.commits.is_empty() {
            &self.pretended
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

    /// The commits that a run's change set starts from. What was live before its push may be
    /// cached even if nobody told of it then.
    pub fn bases(&self, run: &Run) -> Vec<Base> {
        let mut bases = match self.too_many() {
            None => self.commits().to_vec(),
            Some(_) => vec![Base::Unknown],
        };
        bases.extend(self.begins_unknown(run).then_some(Base::Unknown));
        let before = run.before.clone().map(Base::Commit);
        bases.extend(before.filter(|before| !bases.contains(before)));
        bases
    }

    /// Another run of the site that is finding out what changed at this moment.
    pub fn planner(&self, run: &Run) -> Option<&RunId> {
        let planner = self.real.planner.as_ref();
        planner.filter(|planner| **planner != run.id)
    }

    /// How many commits are held, if they are more than can be told apart.
    pub fn too_many(&self) -> Option<usize> {
        let count = self.commits().len();
        (count > MOST_HELD).then_some(count)
    }

    /// Whether nobody can say what the caches hold: the site is new, and its run's event does not tell.
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
        if self.observed {
            self.pretended.version + 1
        } else {
            self.real.version + 1
        }
    }

    /// Counts a run's commits as held by its site, provided that nobody else has counted anything meanwhile.
    ///
    /// What was live before is held anew even where it is held already: an older run that is
    /// still under way would let go of it otherwise.
    pub fn hold(&self, run: &Run) -> Vec<Write> {
        let site = run.site.as_str();
        let named = run.before.iter().chain(run.commit.id());
        let named = named.cloned().map(Base::Commit);
        // HeldCommits like a commit, so that it is not forgotten before everything was purged once.
        let unknown = self.begins_unknown(run) || self.too_many().is_some();
        let unknown = unknown.then_some(Base::Unknown);
        let commits: Vec<Base> = unknown.into_iter().chain(named).collect();
        let shadow = pretended(site);
        let mut writes = Vec::with_capacity(4);
        if self.observed {
            let mut all = commits.clone();
            if self.pretended.commits.is_empty() && self.too_many().is_none() {
                all.extend(self.real.commits.iter().cloned());
            }
            writes.extend(held_as_of(&shadow, &self.pretended, all));
        } else if !self.pretended.commits.is_empty() {
            // What was pretended once is of no use to the next who observes.
            writes.push(Write::ExpectHeldVersion(
                shadow.clone(),
                self.pretended.version,
            ));
            writes.push(Write::ReleaseHeld {
                site: shadow,
                commits: self.pretended.commits.clone(),
                version: self.pretended.version,
                until: Timestamp::UNIX_EPOCH,
            });
        }
        writes.extend(held_as_of(site, &self.real, commits));
        writes
    }
}

fn held_as_of(site: &str, held: &HeldCommits, mut commits: Vec<Base>) -> Vec<Write> {
    let mut writes = vec![Write::ExpectHeldVersion(site.to_owned(), held.version)];
    if held.commits.len() > MOST_HELD {
        // The unknown stands for all of them from now on, so that they do not become ever more.
        if !commits.contains(&Base::Unknown) {
            commits.push(Base::Unknown);
        }
        let stood_for = held.commits.iter().filter(|held| !commits.contains(held));
        writes.push(Write::ReleaseHeld {
            site: site.to_owned(),
            commits: stood_for.cloned().collect(),
            version: held.version,
            until: Timestamp::UNIX_EPOCH,
        });
    }
    writes.push(Write::Hold(site.to_owned(), commits, held.version + 1));
    writes
}

impl Engine {
    /// What a run's site's caches hold.
    pub(super) async fn ground(&self, run: &Run) -> Result<Ground, StoreError> {
        let (site, now) = (run.site.as_str(), self.clock.now());
        Ok(Ground {
            real: self.store.held(site, now).await?,
            pretended: self.store.held(&pretended(site), now).await?,
            observed: run.observed,
            is_first: run.before.is_none() && self.store.is_first(run).await?,
        })
    }
}
