//! Starts prefetches whose purges are confirmed, and ends a run when every purge has ended.

use jiff::Timestamp;

use super::Step;
use crate::engine::context::StepContext;
use crate::engine::ending::{end, end_purged};
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::conclusion::conclusion;
use crate::engine::policy::prefetch;
use crate::engine::policy::statuses::next_text_at;
use crate::engine::policy::summary::failing;
use crate::engine::wait_reasons;
use crate::purge::{Purge, PurgeState};
use crate::run::{Run, RunId, RunState, StatusState};
use crate::store::{Precondition, PurgeKey, PurgeUpdate, StoreError, Work, Write};

/// Purges per read.
const PURGES_PER_READ: u32 = 1_000;

/// The step of a run whose purges are in progress.
pub struct Settle {
    pub run: Run,
}

impl Step for Settle {
    async fn run(self, ctx: &StepContext, _work: &Work) -> Result<Outcome, StepError> {
        let Self { run } = self;
        let now = ctx.now();
        let first = ctx.store.purges(&run.id, 0, PURGES_PER_READ).await?;
        if first.len() == PURGES_PER_READ as usize {
            // If there are many purges, count them before reading them: perhaps only one task of a few has ended.
            let counts = ctx.store.purge_counts(&run.id).await?;
            let waiting = counts.count(|_, state| state == PurgeState::Waiting);
            let open = counts.count(|_, state| !state.is_final());
            if open > 0 && waiting == 0 {
                let failed = counts.count(|_, state| state == PurgeState::Failed);
                return Ok(under_way(ctx, run, failed, open, now).await?);
            }
        }
        let purges = rest_of(ctx, &run.id, first).await?;
        let released = prefetch::release(&run.id, &purges);
        if !released.is_empty() {
            // A prefetch may have failed with its purge: check again at once.
            return Ok(Outcome::reschedule(released, now));
        }
        let count = |state: fn(PurgeState) -> bool| {
            let of_state = purges.iter().filter(|purge| state(purge.state));
            u64::try_from(of_state.count()).unwrap_or(u64::MAX)
        };
        let open = count(|state| !state.is_final());
        if open > 0 {
            let failed = count(|state| state == PurgeState::Failed);
            return Ok(under_way(ctx, run, failed, open, now).await?);
        }
        Ok(end_purged(ctx, run, &purges, now).await?)
    }
}

/// Waits for the purges that have not ended, and reports those that have failed.
async fn under_way(
    ctx: &StepContext,
    mut run: Run,
    failed: u64,
    open: u64,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let deadline = run.deadline;
    let failures = match failed {
        0 => None,
        _ => ctx.store.failures(&run.id).await?,
    };
    let Some(failures) = failures else {
        return Ok(Outcome::reschedule(Vec::new(), deadline));
    };
    let waits_for = match &run.waits_for {
        Some(reason) => {
            let current = wait_reasons::current(ctx).await?;
            Some(reason).filter(|reason| current.contains(reason))
        }
        None => None,
    };
    let summary = failing(&failures, open, waits_for);
    let statuses = ctx.store.statuses(&run.id).await?;
    let mut writes = Vec::new();
    let mut next_look = deadline;
    if let Some(last) = statuses.last().filter(|last| last.description != summary) {
        let at = next_text_at(run.created_at, last.wanted_at);
        if now < at {
            next_look = at.min(deadline);
        } else {
            let (id, pending) = (run.id.clone(), StatusState::Pending);
            writes.push(Write::Status(id, pending, summary.clone()));
        }
    }
    if run.summary != summary {
        run.summary = summary;
        writes.push(Write::Run(run));
    }
    Ok(Outcome::reschedule(writes, next_look))
}

/// Fails the purges that have not ended, and ends the run.
pub async fn give_up(
    ctx: &StepContext,
    run: Run,
    why: &str,
    now: Timestamp,
) -> Result<Outcome, StepError> {
    let mut purges = all_purges(ctx, &run.id).await?;
    if purges.is_empty() {
        let summary = format!("Gave up, {why}: {}", run.summary);
        return Ok(end(ctx, run, RunState::Errored, summary, now).await?);
    }
    let open = purges.iter_mut().filter(|purge| !purge.state.is_final());
    let keys: Vec<PurgeKey> = open
        .map(|purge| {
            purge.state = PurgeState::Failed;
            purge.error.get_or_insert_with(|| why.to_owned());
            PurgeKey::from(&*purge)
        })
        .collect();
    let (state, summary) = conclusion(&run, &purges);
    let outcome = end(ctx, run, state, summary, now).await?;
    let failed = PurgeUpdate {
        error: Some(why.to_owned()),
        ..PurgeUpdate::new(keys, PurgeState::Failed, Precondition::Open)
    };
    // First of all: an ended run has no open purges.
    Ok(outcome.after(vec![Write::Update(failed)]))
}

async fn all_purges(ctx: &StepContext, run: &RunId) -> Result<Vec<Purge>, StoreError> {
    let first = ctx.store.purges(run, 0, PURGES_PER_READ).await?;
    rest_of(ctx, run, first).await
}

/// All purges of a run, given the first ones.
async fn rest_of(
    ctx: &StepContext,
    run: &RunId,
    first: Vec<Purge>,
) -> Result<Vec<Purge>, StoreError> {
    let mut is_full = first.len() == PURGES_PER_READ as usize;
    let mut purges = first;
    while is_full {
        let after = purges.last().map_or(0, |purge| purge.id);
        let page = ctx.store.purges(run, after, PURGES_PER_READ).await?;
        is_full = page.len() == PURGES_PER_READ as usize;
        purges.extend(page);
    }
    Ok(purges)
}
