//! Dry runs, of sites that are only observed: everything is found out and shown, nothing is purged, no status is posted.
//!
//! An observed site's plan has nothing that could purge ([`Reach::Observed`](crate::config::Reach) holds
//! no client), and its purges come into being as `observed`, a state that no purge queue reads
//! and nothing leads out of.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::policy::summary as sentences;
use super::{Engine, Outcome, StepError};
use crate::config::Config;
use crate::plan::Plan;
use crate::purge::{PurgeKind, PurgeState};
use crate::run::{Run, RunId, RunState};
use crate::store::{Precondition, PurgeKey, PurgeUpdate, StoreError, WorkKey, Write};

impl Engine {
    /// Ends an observed run with what it would have purged.
    pub(super) async fn end_observed(
        &self,
        run: Run,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let would = sentences::purges(&plan.purges);
        let (state, summary) = match plan.problems.first() {
            None => (RunState::Succeeded, format!("Would have purged {would}")),
            Some(problem) => {
                let targets = sentences::targets(plan.problems.len());
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
            Precondition::Planned,
        ))];
        writes.extend(
            runs.into_iter()
                .map(|run| Write::Enqueue(WorkKey::Run(run), now)),
        );
        Ok(writes)
    }
}
