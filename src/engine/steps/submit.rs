//! Submits planned purges to a CDN, one batch per step.
//!
//! The intent is committed before the request is sent. If the answer to a batch was lost, or its process died, the
//! batch is first looked for in the CDN's history ([`RecoverBatch`]).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Step;
use super::recover_batch::RecoverBatch;
use crate::account::AccountId;
use crate::cdn::{Batch, CdnError, Limit};
use crate::config::Config;
use crate::engine::context::StepContext;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::backoff::backoff_at_least;
use crate::engine::policy::batches;
use crate::engine::policy::migration::migrate;
use crate::engine::policy::quota::QuotaLeft;
use crate::engine::policy::submit_errors::{MAX_SUBMISSIONS, Reaction, is_ambiguous, reaction};
use crate::engine::quota_shares::{self, CdnQueue};
use crate::engine::upstream::{CdnHandle, RequestError};
use crate::engine::wait_reasons::{self, UsedUp};
use crate::purge::{PurgeKind, PurgeState};
use crate::store::{
    NextBatch, Precondition, PurgeKey, PurgeUpdate, QueueHead, QueuedPurge, StoreError, StoredTask,
    TaskState, Work, Write,
};

/// The shortest wait after exceeding a rate limit per second.
const MIN_RATE_LIMIT_WAIT: Duration = Duration::from_secs(1);

/// The step that submits an account's planned purges of one kind.
pub struct Submit<'a> {
    pub account: &'a AccountId,
    pub kind: PurgeKind,
}

/// The next batch.
struct Selected<'a> {
    cdn: CdnHandle<'a>,
    limit: Limit,
    batch: NextBatch,
    /// Quotas that are used up. Other CDNs of the account may have wider limits and still submit.
    used_up: Vec<UsedUp>,
}

/// The result of reading the head of the queue.
enum Selection<'a> {
    Batch(Selected<'a>),
    /// There is nothing to submit now.
    Nothing(Outcome),
}

impl Step for Submit<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Self { account, kind } = self;
        let config = &ctx.config();
        // Only one process at a time holds this work item, so a task that is still being submitted has lost its
        // answer.
        let submitting = ctx.store.tasks(account, kind, TaskState::Submitting);
        if let Some(lost) = submitting.await?.into_iter().next() {
            return RecoverBatch { config, lost }.run(ctx, work).await;
        }
        let withdrawn = withdraw_dry_runs(ctx, config, account, kind).await?;
        if !withdrawn.is_empty() {
            return Ok(Outcome::reschedule(withdrawn, ctx.now()));
        }
        let selected = match self.select(ctx, config, work).await? {
            Selection::Batch(selected) => selected,
            Selection::Nothing(outcome) => return Ok(outcome),
        };
        let Selected {
            cdn,
            limit,
            batch,
            used_up,
        } = selected;
        let permit = match cdn.submit_permit(kind, limit).await {
            Ok(permit) => permit,
            Err(RequestError::Store(error)) => return Err(error.into()),
            Err(RequestError::CircuitOpen(rejection)) => {
                return wait_reasons::await_answer(ctx, &rejection, kind, &batch.cdn, work).await;
            }
            Err(RequestError::Failed(never)) => match never {},
        };

        let request = Batch {
            kind,
            mode: batch.mode,
            targets: batches::targets(&batch.purges),
        };
        let (id, size) = (ctx.clock.new_id(), request.targets.len());
        let task = batches::new_task(id, account, kind, &batch, size, ctx.now());
        let mut intent = batches::intent(&task, &batch);
        intent.extend(wait_reasons::await_quotas(ctx, account, kind, &used_up).await?);
        ctx.commit(work, &intent).await?;

        let answer = permit.submit(&request).await;
        let now = ctx.now();
        match answer {
            Ok(vendor_id) => {
                info!(
                    cdn = %batch.cdn, task = vendor_id.as_ref().map(tracing::field::display), purges = batch.purges.len(),
                    "{} accepted a batch of {}", batch.cdn, task.size
                );
                let keys = batches::keys(&batch);
                let writes = batches::accepted(task, vendor_id, keys, now);
                Ok(Outcome::reschedule(writes, now))
            }
            Err(error) => {
                warn!(cdn = %batch.cdn, code = %error.kind, class = ?error.class, "a batch was not accepted: {error}");
                refused(ctx, config, &cdn, task, &batch, &error, work).await
            }
        }
    }
}

impl Submit<'_> {
    /// The next batch: that of the first CDN in the queue that is configured and has quota left, oldest purges
    /// first.
    async fn select<'c>(
        &'c self,
        ctx: &'c StepContext,
        config: &'c Config,
        work: &Work,
    ) -> Result<Selection<'c>, StepError> {
        let Self { account, kind } = *self;
        let mut used_up: Vec<UsedUp> = Vec::new();
        loop {
            let passed_over: Vec<_> = used_up.iter().map(UsedUp::waiting).collect();
            let head = ctx
                .store
                .queue_head_besides(account, kind, &passed_over)
                .await?;
            let Some(head) = head else {
                return Ok(Selection::Nothing(if used_up.is_empty() {
                    Outcome::complete(Vec::new())
                } else {
                    ctx.upstreams.forget_quota(account);
                    let writes = wait_reasons::await_quotas(ctx, account, kind, &used_up).await?;
                    wait_reasons::until_renewal(writes, ctx.now())
                }));
            };
            let cdn = ctx.upstreams.cdn(config, &head.cdn, account);
            let Some((cdn, limit)) = cdn.and_then(|cdn| {
                let limit = cdn.limit(kind)?;
                Some((cdn, limit))
            }) else {
                let outcome = fail_unconfigured(ctx, account, kind, &head).await?;
                return Ok(Selection::Nothing(outcome));
            };
            if let Some(rejection) = cdn.rejection().await? {
                let waiting = wait_reasons::await_answer(ctx, &rejection, kind, &head.cdn, work);
                return Ok(Selection::Nothing(waiting.await?));
            }
            let left = cdn.quota_left(kind, limit).await?;
            if left.today == 0 {
                used_up.push(UsedUp::Quota { cdn: head.cdn });
                continue;
            }
            let (batch, mut spent) = self.fair_batch(ctx, config, &head, left).await?;
            spent.retain(|spent| !passed_over.contains(&spent.waiting()));
            if batch.purges.is_empty() && !spent.is_empty() {
                used_up.extend(spent);
                continue;
            }
            used_up.extend(spent);
            if batch.purges.is_empty() {
                // The run that wanted them has ended in the meantime.
                return Ok(Selection::Nothing(Outcome::reschedule(
                    Vec::new(),
                    ctx.now(),
                )));
            }
            return Ok(Selection::Batch(Selected {
                cdn,
                limit,
                batch,
                used_up,
            }));
        }
    }

    /// The next batch, in which no site exceeds its share of the day's quota, and the sites whose share is used up.
    async fn fair_batch(
        &self,
        ctx: &StepContext,
        config: &Config,
        head: &QueueHead,
        left: QuotaLeft,
    ) -> Result<(NextBatch, Vec<UsedUp>), StoreError> {
        let Self { account, kind } = *self;
        let most = targets(left);
        let batch = ctx.store.next_batch(account, kind, head, most).await?;
        let cdn = head.cdn.as_str();
        let queue = CdnQueue { account, kind, cdn };
        let size = batches::targets(&batch.purges).len();
        let Some(shares) = quota_shares::shares(ctx, config, queue, left, size).await? else {
            return Ok((batch, Vec::new()));
        };
        let batch = ctx
            .store
            .next_batch_within(account, kind, head, most, &shares.grants)
            .await?;
        let spent = shares.spent.into_iter().map(|site| UsedUp::Share {
            cdn: head.cdn.clone(),
            site,
            kept: left.today,
        });
        Ok((batch, spent.collect()))
    }
}

/// The number of targets that one request may have.
fn targets(left: QuotaLeft) -> usize {
    let today = usize::try_from(left.today).unwrap_or(usize::MAX);
    today.min(left.per_request)
}

/// Withdraws planned purges of sites that have since switched to dry-run mode.
async fn withdraw_dry_runs(
    ctx: &StepContext,
    config: &Config,
    account: &AccountId,
    kind: PurgeKind,
) -> Result<Vec<Write>, StoreError> {
    let sites = config.sites.values();
    let sites: Vec<&str> = sites
        .filter(|site| site.mode.is_dry_run())
        .map(|site| site.name.as_str())
        .collect();
    let keys = ctx.store.planned_of_sites(account, kind, &sites).await?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    Ok(batches::withdraw(keys, ctx.now()))
}

/// Fails purges planned on a CDN that is no longer configured, or no longer for this kind.
async fn fail_unconfigured(
    ctx: &StepContext,
    account: &AccountId,
    kind: PurgeKind,
    head: &QueueHead,
) -> Result<Outcome, StoreError> {
    let all = ctx.store.planned_keys(account, kind, &head.cdn).await?;
    let why = format!(
        "the CDN {} is no longer configured for {}",
        head.cdn,
        kind.as_str()
    );
    let now = ctx.now();
    let writes = batches::fail(all, &why, Precondition::Open, now);
    Ok(Outcome::reschedule(writes, now))
}

/// Handles a batch that the CDN did not accept, or may not have accepted.
async fn refused(
    ctx: &StepContext,
    config: &Config,
    cdn: &CdnHandle<'_>,
    mut task: StoredTask,
    batch: &NextBatch,
    error: &CdnError,
    work: &Work,
) -> Result<Outcome, StepError> {
    let (kind, size, message) = (task.kind, task.size, error.to_string());
    task.error = Some(message.clone());
    let now = ctx.now();
    let wait = backoff_at_least(work.attempts, ctx.clock.fraction(), error.retry_after);
    let has_quota =
        is_ambiguous(error, size) && cdn.has_quota_for(kind, size.unsigned_abs()).await?;
    let attempts = work.attempts + 1;
    let refused = RefusedBatch {
        task: &task,
        batch,
        message: &message,
    };
    let reschedule = |writes| Outcome::reschedule(writes, now);
    Ok(match reaction(error, size, has_quota) {
        // The task stays in submission: the next step looks in the CDN's history, as often as necessary, and
        // however often the batch was refused before.
        Reaction::Recover => Outcome::postpone(vec![Write::Task(task.clone())], now + wait, 0),
        Reaction::Retry { counts } => {
            Outcome::postpone(refused.retried(counts, now), now + wait, attempts)
        }
        Reaction::SlowDown => {
            let wait = wait.max(MIN_RATE_LIMIT_WAIT);
            Outcome::postpone(refused.put_back(None, now), now + wait, attempts)
        }
        Reaction::AwaitQuota => {
            ctx.upstreams.forget_quota(&task.account);
            let used_up = [UsedUp::Quota {
                cdn: batch.cdn.clone(),
            }];
            let mut writes = refused.put_back(None, now);
            writes.extend(wait_reasons::await_quotas(ctx, &task.account, kind, &used_up).await?);
            wait_reasons::until_renewal(writes, ctx.now())
        }
        Reaction::Split { cap } => reschedule(refused.put_back(Some(cap), now)),
        Reaction::Fail => {
            let mut writes = vec![batches::ended(task.clone(), now)];
            let of_task = Precondition::InTask(task.id.clone());
            let keys = batches::keys(batch);
            writes.extend(batches::refuse(keys, &message, of_task, now));
            reschedule(writes)
        }
        Reaction::FailQueue => {
            let all = queue_and(ctx, &task, batch).await?;
            let mut writes = vec![batches::ended(task.clone(), now)];
            writes.extend(batches::fail(all, &message, Precondition::Open, now));
            reschedule(writes)
        }
        Reaction::Migrate => {
            let all = queue_and(ctx, &task, batch).await?;
            let mut writes = vec![batches::ended(task.clone(), now)];
            writes.extend(migrate(config, &batch.cdn, kind, all, &message, now));
            reschedule(writes)
        }
    })
}

/// A batch that was not accepted, and why.
struct RefusedBatch<'a> {
    task: &'a StoredTask,
    batch: &'a NextBatch,
    message: &'a str,
}

impl RefusedBatch<'_> {
    /// Returns all of its purges to the queue. This does not count as a try.
    fn put_back(&self, batch_cap: Option<i64>, now: Timestamp) -> Vec<Write> {
        let keys = batches::keys(self.batch);
        let planned = self.planned(keys, false, batch_cap);
        vec![batches::ended(self.task.clone(), now), planned]
    }

    /// Returns its purges to the queue, except those that have used up their tries.
    fn retried(&self, counts: bool, now: Timestamp) -> Vec<Write> {
        let purges = self.batch.purges.iter();
        let (spent, left): (Vec<_>, Vec<_>) =
            purges.partition(|purge| counts && purge.attempts + 1 >= MAX_SUBMISSIONS);
        let keys = |purges: Vec<&QueuedPurge>| {
            let keys = purges.into_iter().map(|purge| purge.key.clone());
            keys.collect()
        };
        let mut writes = vec![batches::ended(self.task.clone(), now)];
        writes.extend(self.fail(keys(spent), now));
        writes.push(self.planned(keys(left), counts, None));
        writes
    }

    fn planned(&self, keys: Vec<PurgeKey>, tried: bool, batch_cap: Option<i64>) -> Write {
        let of_task = Precondition::InTask(self.task.id.clone());
        Write::Update(PurgeUpdate {
            error: Some(self.message.to_owned()),
            tried,
            batch_cap,
            ..PurgeUpdate::new(keys, PurgeState::Planned, of_task)
        })
    }

    fn fail(&self, keys: Vec<PurgeKey>, now: Timestamp) -> Vec<Write> {
        let of_task = Precondition::InTask(self.task.id.clone());
        batches::fail(keys, self.message, of_task, now)
    }
}

/// All purges planned in the queue on the batch's CDN, and those of the batch itself.
async fn queue_and(
    ctx: &StepContext,
    task: &StoredTask,
    batch: &NextBatch,
) -> Result<Vec<PurgeKey>, StoreError> {
    let planned = ctx.store.planned_keys(&task.account, task.kind, &batch.cdn);
    let planned = planned.await?;
    let mut all: BTreeSet<PurgeKey> = planned.into_iter().collect();
    all.extend(batches::keys(batch));
    Ok(all.into_iter().collect())
}
