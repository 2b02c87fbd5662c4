//! Starts of runs: new runs, retries of failed ones, and targets that a person skips.

use jiff::Timestamp;

use super::database::{Transaction, params};
use super::work_queue::{self, WorkKey};
use super::{Store, StoreError, retry_on_conflict, runs, statuses};
use crate::run::{Run, RunId, RunState, RunStep, StatusState};

/// The result of retrying a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// There is no such run.
    NotFound,
    /// It has not failed.
    NotRetriable,
    /// It is pending again.
    Retried,
}

/// The result of skipping a target of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipOutcome {
    /// There is no such run.
    NotFound,
    /// The run has no purge of this target that failed or was not sent yet.
    NoSuchPurge,
    /// The target is given up.
    Skipped {
        /// The number of its purges: one for each CDN and kind, since a URL may be purged and prefetched.
        purges: u64,
    },
}

impl Store {
    /// Starts a run without a delivery.
    pub async fn start(&self, run: &Run, now: Timestamp) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            runs::insert(&mut *tx, std::iter::once(run)).await?;
            begin(&mut *tx, run, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Gives up a target of a run, whatever its CDN says. A failed run is evaluated again.
    pub async fn skip(
        &self,
        id: &RunId,
        target: &str,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<SkipOutcome, StoreError> {
        retry_on_conflict(|| self.skip_at_once(id, target, now, deadline)).await
    }

    async fn skip_at_once(
        &self,
        id: &RunId,
        target: &str,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<SkipOutcome, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(mut run) = runs::find(&mut *tx, id).await? else {
            return Ok(SkipOutcome::NotFound);
        };
        let skipped = tx
            .execute(
                "UPDATE purges SET state = 'failed', given_up = 'skipped', task = NULL,
                     error = COALESCE(error, 'skipped before it was sent')
                 WHERE run = $1 AND target = $2 AND state IN ('failed', 'waiting', 'planned')",
                params![&run.id.0, target],
            )
            .await?;
        if skipped == 0 {
            return Ok(SkipOutcome::NoSuchPurge);
        }
        if run.state.can_be_retried() {
            run.state = RunState::Pending;
            run.step = RunStep::Purging;
            run.summary = format!("{target} is skipped");
            run.ended_at = None;
            run.deadline = deadline;
            runs::update(&mut *tx, &run).await?;
            work_queue::step_changed(&mut *tx, &run).await?;
        }
        work_queue::enqueue(&mut *tx, &WorkKey::Run(run.id), now).await?;
        tx.notify().await?;
        tx.commit().await?;
        Ok(SkipOutcome::Skipped { purges: skipped })
    }

    /// Retries a failed run from the point where it failed.
    pub async fn retry(
        &self,
        id: &RunId,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<RetryOutcome, StoreError> {
        retry_on_conflict(|| self.retry_at_once(id, now, deadline)).await
    }

    async fn retry_at_once(
        &self,
        id: &RunId,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<RetryOutcome, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(run) = runs::find(&mut *tx, id).await? else {
            return Ok(RetryOutcome::NotFound);
        };
        if !run.state.can_be_retried() {
            return Ok(RetryOutcome::NotRetriable);
        }
        retry_run(&mut *tx, run, now, deadline).await?;
        tx.commit().await?;
        Ok(RetryOutcome::Retried)
    }
}

/// Enqueues a run's first step and shows the run on its commit.
pub(super) async fn begin(
    tx: &mut dyn Transaction,
    run: &Run,
    now: Timestamp,
) -> Result<(), StoreError> {
    work_queue::enqueue(tx, &WorkKey::Run(run.id.clone()), now).await?;
    let pending = StatusState::Pending;
    let is_posted = if run.dry_run {
        statuses::want_dry(tx, &run.id, pending, &run.summary, now).await?
    } else {
        statuses::want(tx, &run.id, pending, &run.summary, now).await?;
        true
    };
    if is_posted {
        let at = statuses::post_at(pending, now);
        work_queue::enqueue(tx, &WorkKey::Status(run.id.clone()), at).await?;
    }
    tx.notify().await
}

/// Makes a failed run pending again: confirmed purges stay confirmed, failed ones are planned again.
pub(super) async fn retry_run(
    tx: &mut dyn Transaction,
    mut run: Run,
    now: Timestamp,
    deadline: Timestamp,
) -> Result<(), StoreError> {
    let planned = tx
        .execute(
            "UPDATE purges SET state = CASE kind WHEN 'prefetch' THEN 'waiting' ELSE 'planned' END,
                 task = NULL, error = NULL, attempts = 0, batch_cap = NULL, given_up = NULL
             WHERE run = $1 AND state = 'failed'",
            params![&run.id.0],
        )
        .await?;
    run.state = RunState::Pending;
    // A run that failed before it had a plan computes its changes again.
    run.step = if planned > 0 {
        RunStep::Purging
    } else {
        RunStep::Changes
    };
    run.summary = "Trying again".to_owned();
    run.waits_for = None;
    run.ended_at = None;
    if run.step == RunStep::Changes {
        run.problems.clear();
    }
    run.deadline = deadline;
    runs::update(tx, &run).await?;
    work_queue::step_changed(tx, &run).await?;
    work_queue::enqueue_submits(tx, &run.id, now).await?;
    begin(tx, &run, now).await
}
