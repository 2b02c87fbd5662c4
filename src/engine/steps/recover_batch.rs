//! Looks for a batch whose answer was lost in its CDN's history, and returns its purges to the queue if it is not
//! there.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Step;
use crate::cdn::{Batch, CdnError, ErrorClass, InFlight};
use crate::config::Config;
use crate::engine::context::StepContext;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::backoff::backoff_at_least;
use crate::engine::policy::batches::{self, HISTORY_LAG, is_too_early_for_history};
use crate::engine::upstream::RequestError;
use crate::engine::wait_reasons;
use crate::purge::{PurgeState, TaskId};
use crate::store::{Precondition, PurgeKey, PurgeUpdate, StoreError, StoredTask, Work, Write};

/// How long before a batch another one may have been sent that the CDN's history could show for it; a generous
/// limit.
const LIKELY_CONFUSION: Duration = Duration::from_secs(10 * 60);
/// Tries to read a CDN's history before the batch is submitted again without it.
const MAX_HISTORY_TRIES: i64 = 8;

/// The step that finds out whether the CDN accepted a batch.
pub struct RecoverBatch<'a> {
    pub config: &'a Config,
    pub lost: StoredTask,
}

impl Step for RecoverBatch<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Self { config, lost } = self;
        let purges = ctx.store.purges_of_task(&lost.id).await?;
        let keys: Vec<PurgeKey> = purges.iter().map(|purge| purge.key.clone()).collect();
        let now = ctx.now();
        let cdn = ctx.upstreams.cdn(config, &lost.cdn, &lost.account);
        let Some(cdn) = cdn.filter(|_| !keys.is_empty()) else {
            return Ok(unconfigured(lost, keys, now));
        };
        // Another batch without an id could be mistaken for this one. Such batches get their ids once the history
        // shows all of them.
        let identified_at = lost.submitted_at + HISTORY_LAG * 2;
        if (lost.submitted_at..identified_at).contains(&now)
            && ctx.store.has_unidentified(&lost.account, lost.kind).await?
        {
            return Ok(Outcome::postpone(Vec::new(), identified_at, work.attempts));
        }
        let in_flight = InFlight {
            task: None,
            submitted_at: lost.submitted_at,
            batch: Batch {
                kind: lost.kind,
                mode: lost.mode,
                targets: batches::targets(&purges),
            },
        };
        let others = tasks_of_others(ctx, &lost).await?;
        let found = cdn.find(&in_flight, &others).await;
        let now = ctx.now();
        match found {
            Ok(Some(vendor_id)) => {
                info!(cdn = %lost.cdn, task = %vendor_id, "found a batch in {}'s history whose answer was lost", lost.cdn);
                let writes = batches::accepted(lost, Some(vendor_id), keys, now);
                Ok(Outcome::reschedule(writes, now))
            }
            Ok(None) if is_too_early_for_history(&lost, now) => {
                let at = lost.submitted_at + HISTORY_LAG;
                Ok(Outcome::postpone(Vec::new(), at, work.attempts))
            }
            Ok(None) => Ok(submit_again(lost, keys, now)),
            Err(RequestError::Store(error)) => Err(error.into()),
            Err(RequestError::CircuitOpen(rejection)) => {
                wait_reasons::await_answer(ctx, &rejection, lost.kind, &lost.cdn, work).await
            }
            Err(RequestError::Failed(error)) if may_ask_again(&error, work) => {
                warn!(cdn = %lost.cdn, "cannot read the history: {error}");
                let fraction = ctx.clock.fraction();
                let wait = backoff_at_least(work.attempts, fraction, error.retry_after);
                Ok(Outcome::postpone(Vec::new(), now + wait, work.attempts + 1))
            }
            // Purging twice costs quota; not purging leaves a stale page.
            Err(RequestError::Failed(error)) => {
                warn!(cdn = %lost.cdn, "a batch is submitted again because the history cannot be read: {error}");
                Ok(submit_again(lost, keys, now))
            }
        }
    }
}

fn may_ask_again(error: &CdnError, work: &Work) -> bool {
    error.class != ErrorClass::Operator && work.attempts < MAX_HISTORY_TRIES
}

/// The batch's CDN is no longer configured.
fn unconfigured(lost: StoredTask, keys: Vec<PurgeKey>, now: Timestamp) -> Outcome {
    let why = format!("the CDN {} is no longer configured", lost.cdn);
    let of_task = Precondition::InTask(lost.id.clone());
    let mut writes = batches::fail(keys, &why, of_task, now);
    writes.push(batches::ended(lost, now));
    Outcome::reschedule(writes, now)
}

/// As far as is known, the batch was not accepted: plans its purges again.
fn submit_again(lost: StoredTask, keys: Vec<PurgeKey>, now: Timestamp) -> Outcome {
    let of_task = Precondition::InTask(lost.id.clone());
    let planned = PurgeUpdate::new(keys, PurgeState::Planned, of_task);
    let writes = vec![batches::ended(lost, now), Write::Update(planned)];
    Outcome::reschedule(writes, now)
}

/// The task ids that are known to belong to other batches of the time around a lost one: a similar batch sent
/// shortly before it purged something else.
pub async fn tasks_of_others(
    ctx: &StepContext,
    lost: &StoredTask,
) -> Result<BTreeSet<TaskId>, StoreError> {
    let since = lost.submitted_at - LIKELY_CONFUSION;
    ctx.store.known_tasks(&lost.account, lost.kind, since).await
}
