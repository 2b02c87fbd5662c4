//! Removing what ended longer ago than it is kept for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use crate::config::{Config, Trigger};
use crate::engine::manual::is_pattern;
use crate::engine::{Engine, Outcome, StepError};
use crate::event::GitRef;
use crate::run::RunId;
use crate::store::{Removed, StoreError, WorkKey};

/// How often to look whether something is old enough.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long the database is left to others between two transactions.
const PAUSE: Duration = Duration::from_millis(100);
/// Transactions in one step: a step is over soon, so that a stop need not wait for it.
const AT_ONCE: usize = 20;

/// What this process has removed, for the metrics.
#[derive(Default)]
pub(in crate::engine) struct Tally(Mutex<Removed>);

impl Engine {
    /// What was removed since this process began, for its age.
    pub fn removed(&self) -> Removed {
        *self
            .removed
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a first look at what is old, unless everything is kept.
    pub(in crate::engine) async fn begin_removing(&self) -> Result<(), StoreError> {
        if self.config().server.retention.is_zero() {
            return Ok(());
        }
        self.store.ask(&WorkKey::Remove, self.clock.now()).await
    }

    /// Removes some of what is old. There is one such step at a time, over all replicas.
    pub(in crate::engine) async fn remove_old(&self) -> Result<Outcome, StepError> {
        let config = self.config();
        let retention = config.server.retention;
        if retention.is_zero() {
            return Ok(Outcome::done(Vec::new()));
        }
        let now = self.clock.now();
        let before = now.checked_sub(retention).unwrap_or(Timestamp::MIN);
        let keep = self.compared_with(&config).await?;
        let mut removed = Removed::default();
        let mut is_more = true;
        for turn in 0..AT_ONCE {
            if turn > 0 {
                self.clock.sleep(PAUSE).await;
            }
            let some = self.store.remove_ended(before, &keep).await?;
            if some.is_nothing() {
                is_more = false;
                break;
            }
            removed += some;
            *self
                .removed
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner) += some;
        }
        if !removed.is_nothing() {
            info!(
                runs = removed.runs,
                deliveries = removed.deliveries,
                purges = removed.purges,
                tasks = removed.tasks,
                "removed what ended before {before}"
            );
        }
        let next = self.clock.now() + if is_more { PAUSE } else { EVERY };
        Ok(Outcome::again(Vec::new(), next, 0))
    }

    /// The newest run at each ref that is compared with its forge: that of a branch which
    /// has not moved for long says that nothing was missed.
    async fn compared_with(&self, config: &Config) -> Result<Vec<RunId>, StoreError> {
        let mut newest = Vec::new();
        for site in config.sites.values() {
            match site.trigger {
                Trigger::Push => {}
                // The newest run of the site is what these are held against, and it stays anyway.
                Trigger::Deployment(_)
                | Trigger::Workflow(_)
                | Trigger::Pipeline(_)
                | Trigger::Release
                | Trigger::PageBuild => continue,
            }
            for branch in site.branches.iter().map(crate::rules::Glob::text) {
                if is_pattern(branch) {
                    continue;
                }
                let git_ref = GitRef::Branch(branch.to_owned());
                let run = self.store.newest_run(&site.name, Some(&git_ref)).await?;
                newest.extend(run.map(|run| run.id));
            }
        }
        Ok(newest)
    }
}
