//! The steps. Each takes one claimed work item and returns the outcome to commit.
//!
//! Steps do not call each other, with two exceptions that share a work item: `submit` first recovers a lost batch,
//! and `reconcile` first accepts missed deliveries.

pub mod follow;
mod missed_deliveries;
mod plan;
pub mod reconcile;
mod recover_batch;
mod report;
mod resolve;
pub mod retention;
mod settle;
mod submit;

use tracing::Span;

use super::context::StepContext;
use super::outcome::{Outcome, StepError};
use super::policy::deadlines::{RUN_LIMIT, resumed_late};
use crate::event::CommitRef;
use crate::run::{RunId, RunStep};
use crate::store::{Work, WorkKey, Write};

/// A step of one kind of work.
pub trait Step {
    /// Does the work of the item.
    ///
    /// # Errors
    ///
    /// The step failed, and wrote only what it has committed itself.
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError>;
}

/// Runs the step for a work item.
pub async fn run(ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
    match &work.key {
        WorkKey::Run(run) => advance(ctx, run, work).await,
        WorkKey::Status(run) => report::Report { run }.run(ctx, work).await,
        WorkKey::Submit { account, kind } => {
            let kind = *kind;
            submit::Submit { account, kind }.run(ctx, work).await
        }
        WorkKey::Follow { account, kind } => {
            let kind = *kind;
            follow::Follow { account, kind }.run(ctx, work).await
        }
        WorkKey::Reconcile { site } => reconcile::Reconcile { site }.run(ctx, work).await,
        WorkKey::ConfirmHeads { site } => reconcile::ConfirmHeads { site }.run(ctx, work).await,
        WorkKey::Remove => retention::Retention.run(ctx, work).await,
    }
}

/// Runs a run's next step.
async fn advance(ctx: &StepContext, id: &RunId, work: &Work) -> Result<Outcome, StepError> {
    let now = ctx.now();
    let run = ctx.store.run(id).await?;
    let Some(mut run) = run.filter(|run| !run.state.is_final()) else {
        return Ok(Outcome::complete(Vec::new()));
    };
    let span = Span::current();
    span.record("site", &run.site);
    if let Some(delivery) = &run.delivery {
        span.record("delivery", delivery);
    }
    if now >= run.deadline {
        if resumed_late(work, now) {
            run.deadline = now + RUN_LIMIT;
            return Ok(Outcome::reschedule(vec![Write::Run(run)], now));
        }
        return settle::give_up(ctx, run, "not confirmed before the run's deadline", now).await;
    }
    match run.step {
        RunStep::Changes => {
            let config = ctx.config();
            let Some(site) = config.sites.get(&run.site) else {
                let why = format!("the site {} is no longer configured", run.site);
                return settle::give_up(ctx, run, &why, now).await;
            };
            run.dry_run = site.mode.is_dry_run();
            let config = &config;
            match run.commit.clone() {
                CommitRef::Unresolved(name) => {
                    let step = resolve::Resolve { config, run, name };
                    step.run(ctx, work).await
                }
                CommitRef::Id(commit) => {
                    let step = plan::Plan {
                        config,
                        site,
                        run,
                        commit,
                    };
                    step.run(ctx, work).await
                }
            }
        }
        // Planned purges are sent even if the site has changed since.
        RunStep::Purging => settle::Settle { run }.run(ctx, work).await,
        RunStep::Ended => Ok(Outcome::complete(Vec::new())),
    }
}
