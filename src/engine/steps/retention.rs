//! Removes what is past its retention.

use std::time::Duration;

use tracing::info;

use jiff::Timestamp;

use super::Step;
use crate::config::{Config, Trigger};
use crate::engine::context::StepContext;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::match_sites::named_branches;
use crate::event::GitRef;
use crate::run::RunId;
use crate::store::{Removed, StoreError, Work, WorkKey};

/// How often to check for old rows.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// The pause between two transactions, in which others can use the database.
const PAUSE_BETWEEN_TRANSACTIONS: Duration = Duration::from_millis(100);
/// The latest that this step may be for the clock to be trusted. It is due every hour; if it is later than this, no
/// process ran or the clock was set ahead, and it cannot tell which.
const MAX_LATENESS: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a doubtful clock must keep running before anything is removed by it.
const CLOCK_TRIAL: Duration = Duration::from_secs(24 * 60 * 60);
/// A large body's delivery is stored within this time, or never.
const LONGEST_ARRIVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Transactions per step: steps are short, so that the program can stop quickly.
const TRANSACTIONS_PER_STEP: usize = 20;

/// Enqueues the first check for old rows, unless everything is kept.
pub async fn begin(ctx: &StepContext) -> Result<(), StoreError> {
    if ctx.config().server.retention.is_zero() {
        return Ok(());
    }
    ctx.store.ask(&WorkKey::Remove, ctx.now()).await
}

/// The step that removes some old rows. Only one runs at a time, over all replicas.
pub struct Retention;

impl Step for Retention {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let config = ctx.config();
        let retention = config.server.retention;
        if retention.is_zero() {
            return Ok(Outcome::complete(Vec::new()));
        }
        // Rows removed by a wrong clock do not come back when the clock is corrected.
        if ctx.now() > work.due_at + MAX_LATENESS {
            let late = ctx.now().duration_since(work.due_at);
            info!(
                "nothing is removed for a day: this was due {} h ago, so nobody ran or the clock was set ahead",
                late.as_hours()
            );
            return Ok(Outcome::reschedule(Vec::new(), ctx.now() + CLOCK_TRIAL));
        }
        let before = ctx.now().checked_sub(retention).unwrap_or(Timestamp::MIN);
        let abandoned = ctx.now().checked_sub(LONGEST_ARRIVAL);
        let abandoned = abandoned.unwrap_or(Timestamp::MIN);
        ctx.store.remove_unfinished_bodies(abandoned).await?;
        let kept = compared_runs(ctx, &config).await?;
        let mut removed = Removed::default();
        let mut is_more = true;
        for turn in 0..TRANSACTIONS_PER_STEP {
            if turn > 0 {
                ctx.clock.sleep(PAUSE_BETWEEN_TRANSACTIONS).await;
            }
            let some = ctx.store.remove_ended(before, &kept).await?;
            if some.is_nothing() {
                is_more = false;
                break;
            }
            removed += some;
            ctx.count_removed(some);
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
        let wait = if is_more {
            PAUSE_BETWEEN_TRANSACTIONS
        } else {
            RETENTION_INTERVAL
        };
        Ok(Outcome::reschedule(Vec::new(), ctx.now() + wait))
    }
}

/// The newest run at each ref that is compared with its forge. It is kept even if its branch has not moved for
/// long, since it proves that no push was missed.
async fn compared_runs(ctx: &StepContext, config: &Config) -> Result<Vec<RunId>, StoreError> {
    let mut newest = Vec::new();
    for site in config.sites.values() {
        match site.trigger {
            Trigger::Push => {}
            // These are compared with the newest run of the site, which is kept anyway.
            Trigger::Deployment(_)
            | Trigger::Workflow(_)
            | Trigger::Pipeline(_)
            | Trigger::Release
            | Trigger::PageBuild => continue,
        }
        for branch in named_branches(site) {
            let git_ref = GitRef::Branch(branch.to_owned());
            let run = ctx.store.newest_run(&site.name, Some(&git_ref)).await?;
            newest.extend(run.map(|run| run.id));
        }
    }
    Ok(newest)
}
