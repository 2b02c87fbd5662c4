//! Sites that are only observed: everything is found out and shown, nothing is purged, no status is posted.
//!
//! An observed site's plan has nothing in its hands that could purge
//! ([`Reach::Observed`](crate::config::Reach) holds no client), and its purges come into being as `observed`,
//! a state that no line of submissions reads and nothing leads out of.
//!
//! What its caches hold is kept twice. Under the site's own name stands what they may really hold: an
//! observed run adds to it and never lets go, so that the first live run purges all that
//! was not. Under [`pretended`] stands what they would hold had the observed runs
//! purged, from which each observed run finds out what a live one would have purged.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Engine, Outcome, StepError, describe};
use crate::config::Config;
use crate::plan::Plan;
use crate::purge::{PurgeKind, PurgeState};
use crate::run::{Run, RunId, RunState};
use crate::store::{Held, Only, PurgeKey, PurgeUpdate, StoreError, WorkKey, Write};

/// Why a status is not posted.
pub(super) const NOT_POSTED: &str = "not posted: the site is only observed";

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
    real: Held,
    /// The same, as far as an observed run is concerned.
    pretended: Held,
    observed: bool,
}

impl Ground {
    /// The commits that the change set starts from.
    pub fn commits(&self) -> &[String] {
        // The first observed run stands where a live one would have stood.
        if self.observed && !self.pretended.commits.is_empty() {
            &self.pretended.commits
        } else {
            &self.real.commits
        }
    }

    /// The version that [`hold`](Self::hold) makes of what the plan starts from.
    pub fn next_version(&self) -> i64 {
        if self.observed {
            self.pretended.version + 1
        } else {
            self.real.version + 1
        }
    }

    /// Counts commits as held by the site of a run, provided that nobody else has counted anything meanwhile.
    pub fn hold(&self, site: &str, commits: Vec<String>) -> Vec<Write> {
        let shadow = pretended(site);
        let mut writes = Vec::with_capacity(4);
        if self.observed {
            let mut all = commits.clone();
            if self.pretended.commits.is_empty() {
                all.extend(self.real.commits.iter().cloned());
            }
            writes.extend(held_as_of(&shadow, &self.pretended, all));
        } else if !self.pretended.commits.is_empty() {
            // What was pretended once is of no use to the next who observes.
            writes.push(Write::HeldAsOf(shadow.clone(), self.pretended.version));
            writes.push(Write::LetGo {
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

fn held_as_of(site: &str, held: &Held, commits: Vec<String>) -> [Write; 2] {
    [
        Write::HeldAsOf(site.to_owned(), held.version),
        Write::Hold(site.to_owned(), commits, held.version + 1),
    ]
}

impl Engine {
    /// What a site's caches hold, for a plan of its.
    pub(super) async fn ground(&self, site: &str, observed: bool) -> Result<Ground, StoreError> {
        let now = self.clock.now();
        Ok(Ground {
            real: self.store.held(site, now).await?,
            pretended: self.store.held(&pretended(site), now).await?,
            observed,
        })
    }

    /// Ends an observed run with what it would have purged.
    pub(super) async fn end_observed(
        &self,
        run: Run,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let would = describe::purges(&plan.purges);
        let (state, summary) = match plan.problems.first() {
            None => (RunState::Succeeded, format!("Would have purged {would}")),
            Some(problem) => {
                let targets = describe::targets(plan.problems.len());
                let summary =
                    format!("Would have purged {would}, but {targets} could not be: {problem}");
                (RunState::Failed, summary)
            }
        };
        let rows = plan.purges.into_iter();
        let rows = rows.map(|purge| (purge, String::new(), PurgeState::Observed));
        let purges = Write::Purges(run.id.clone(), rows.collect());
        let mut outcome = self.end(run, state, summary, now).await?;
        outcome.writes.insert(0, purges);
        Ok(outcome)
    }

    /// What an account's line holds of sites that are only observed by now: it is not to be handed over.
    pub(super) async fn observed_in_line(
        &self,
        config: &Config,
        account: &str,
        kind: PurgeKind,
        now: Timestamp,
    ) -> Result<Vec<Write>, StoreError> {
        let sites = config.sites.values();
        let sites: Vec<&str> = sites
            .filter(|site| site.reach.is_observed())
            .map(|site| site.name.as_str())
            .collect();
        let keys = self.store.planned_of_sites(account, kind, &sites).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let runs: BTreeSet<RunId> = keys.iter().map(|key: &PurgeKey| key.run.clone()).collect();
        let mut writes = vec![Write::Update(PurgeUpdate::new(
            keys,
            PurgeState::Observed,
            Only::Planned,
        ))];
        writes.extend(
            runs.into_iter()
                .map(|run| Write::Wish(WorkKey::Run(run), now)),
        );
        Ok(writes)
    }
}
