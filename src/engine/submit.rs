//! Handing planned purges to a CDN, one batch a step.
//!
//! The intent is committed before the request goes out. A batch whose answer
//! was lost (or whose process died) is looked for in the CDN's history first,
//! and handed over again only if it is not there.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Engine, Outcome, RUN_LIMIT, StepError, retry};
use crate::cdn::{Batch, Cdn, CdnError, ErrorClass, InFlight, Pace};
use crate::config::Config;
use crate::purge::{PurgeKind, PurgeState};
use crate::run::{RunId, StatusState};
use crate::store::{
    After, NextBatch, PurgeKey, PurgeUpdate, StoredTask, TaskState, Work, WorkKey, Write,
};

/// Tries at a batch that a CDN answers with an error of its own.
const TRIES: i64 = 5;
/// How long a CDN's history may lag behind what it accepted.
const HISTORY_LAG: Duration = Duration::from_secs(10);
/// Tries at asking a CDN's history before the batch is handed over again without it.
const HISTORY_TRIES: i64 = 8;
/// How long a purge may take: Tencent and Huawei say about five minutes.
const PURGE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long a prefetch may take: Tencent says five to thirty minutes.
const PREFETCH_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// How long after a batch was taken its task is looked at first.
const FIRST_LOOK: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) async fn submit(
        &self,
        account: &str,
        kind: PurgeKind,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let config = self.config();
        // Work is claimed by one at a time, so a batch on its way now is one whose answer was lost.
        if let Some(lost) = self
            .store
            .tasks(account, kind, TaskState::Submitting)
            .await?
            .into_iter()
            .next()
        {
            return self.recover(&config, lost, work).await;
        }
        let per_request = |name: &str| {
            let limit = config
                .cdns
                .get(name)
                .and_then(|cdn| cdn.limits().kinds.get(&kind));
            limit.map_or(1, |limit| limit.per_request)
        };
        let Some(batch) = self.store.next_batch(account, kind, &per_request).await? else {
            return Ok(Outcome::done(Vec::new()));
        };
        let now = self.clock.now();
        let Some(cdn) = config.cdns.get(&batch.cdn) else {
            let why = format!("the CDN {} is no longer configured", batch.cdn);
            return Ok(Outcome::again(fail(keys(&batch), &why, now), now, 0));
        };

        let mut task = StoredTask {
            id: self.clock.new_id(),
            account: account.to_owned(),
            cdn: batch.cdn.clone(),
            kind,
            mode: batch.mode,
            state: TaskState::Submitting,
            vendor_id: None,
            error: None,
            size: i64::try_from(batch.purges.len()).unwrap_or(i64::MAX),
            submitted_at: now,
            deadline: now
                + if kind == PurgeKind::Prefetch {
                    PREFETCH_LIMIT
                } else {
                    PURGE_LIMIT
                },
            ended_at: None,
        };
        let intent = [
            Write::Task(task.clone()),
            update(keys(&batch), PurgeState::Submitting, Some(&task.id), None),
        ];
        self.commit(work, &intent, After::Keep).await?;

        let request = Batch {
            kind,
            mode: batch.mode,
            targets: batch
                .purges
                .iter()
                .map(|(_, target, _)| target.clone())
                .collect(),
        };
        let answer = cdn.submit(&request).await;
        let now = self.clock.now();
        let spacing = spacing(cdn.as_ref(), kind);
        match answer {
            Ok(vendor_id) => {
                info!(
                    cdn = %batch.cdn, task = vendor_id.as_deref().unwrap_or("?"), purges = batch.purges.len(),
                    "{} took a batch of {}", batch.cdn, batch.purges.len()
                );
                task.state = TaskState::Running;
                task.vendor_id = vendor_id;
                let writes = taken(task, keys(&batch), now);
                Ok(Outcome::again(writes, now + spacing, 0))
            }
            Err(error) => {
                warn!(cdn = %batch.cdn, code = %error.code, class = ?error.class, "a batch was not taken: {error}");
                self.not_taken(task, &batch, &error, work, now).await
            }
        }
    }

    /// What becomes of a batch that the CDN did not take, or may not have taken.
    async fn not_taken(
        &self,
        mut task: StoredTask,
        batch: &NextBatch,
        error: &CdnError,
        work: &Work,
        now: Timestamp,
    ) -> Result<Outcome, StepError> {
        let message = error.to_string();
        let wait = retry::backoff_at_least(work.attempts, self.clock.fraction(), error.retry_after);
        let (account, kind) = (task.account.clone(), task.kind);
        task.error = Some(message.clone());
        if error.maybe_done {
            // Stays on its way: the next step asks the CDN's history.
            return Ok(Outcome::again(
                vec![Write::Task(task)],
                now + wait,
                work.attempts + 1,
            ));
        }

        task.state = TaskState::Ended;
        task.ended_at = Some(now);
        let mut writes = vec![Write::Task(task)];
        let size = i64::try_from(batch.purges.len()).unwrap_or(i64::MAX);
        let put_back = |keys: Vec<PurgeKey>, tried: bool, cap: Option<i64>| {
            Write::Update(PurgeUpdate {
                keys,
                state: PurgeState::Planned,
                task: None,
                error: Some(message.clone()),
                tried,
                batch_cap: cap,
            })
        };
        match error.class {
            ErrorClass::Retry => {
                // An outage is waited out for as long as the run may last; an error of the CDN's own is not.
                let outage = error.is_outage();
                let (spent, left): (Vec<_>, Vec<_>) = batch
                    .purges
                    .iter()
                    .partition(|(_, _, attempts)| !outage && attempts + 1 >= TRIES);
                writes.extend(fail(
                    spent.into_iter().map(|(key, _, _)| key.clone()).collect(),
                    &message,
                    now,
                ));
                writes.push(put_back(
                    left.into_iter().map(|(key, _, _)| key.clone()).collect(),
                    !outage,
                    None,
                ));
                Ok(Outcome::again(writes, now + wait, work.attempts + 1))
            }
            ErrorClass::RateLimited => {
                writes.push(put_back(keys(batch), false, None));
                Ok(Outcome::again(
                    writes,
                    now + wait.max(Duration::from_secs(1)),
                    work.attempts + 1,
                ))
            }
            ErrorClass::QuotaDay => {
                let reset = next_quota_day(now);
                writes.push(put_back(keys(batch), false, None));
                writes.extend(
                    self.wait_for_quota(&account, kind, &batch.cdn, reset)
                        .await?,
                );
                Ok(Outcome::again(writes, reset, 0))
            }
            ErrorClass::Split | ErrorClass::BadInput if size > 1 => {
                // Halved until the one that is refused stands alone; the others go through on the way.
                writes.push(put_back(keys(batch), false, Some((size / 2).max(1))));
                Ok(Outcome::again(writes, now, 0))
            }
            ErrorClass::Split | ErrorClass::BadInput => {
                writes.extend(fail(keys(batch), &message, now));
                Ok(Outcome::again(writes, now, 0))
            }
            ErrorClass::Operator | ErrorClass::Migrated => {
                // The next batch would be refused in the same way, and some CDNs lock keys that keep trying.
                let mut all: BTreeSet<PurgeKey> = self
                    .store
                    .planned_keys(&account, kind)
                    .await?
                    .into_iter()
                    .collect();
                all.extend(keys(batch));
                writes.extend(fail(all.into_iter().collect(), &message, now));
                Ok(Outcome::again(writes, now, 0))
            }
        }
    }

    /// Tells every run that waits in this lane until when.
    async fn wait_for_quota(
        &self,
        account: &str,
        kind: PurgeKind,
        cdn: &str,
        reset: Timestamp,
    ) -> Result<Vec<Write>, StepError> {
        let waiting = self.store.planned_keys(account, kind).await?;
        let runs: BTreeSet<RunId> = waiting.into_iter().map(|key| key.run).collect();
        let mut writes = Vec::new();
        for id in runs {
            let Some(mut run) = self.store.run(&id).await? else {
                continue;
            };
            run.deadline = run.deadline.max(reset + RUN_LIMIT);
            run.summary = format!(
                "Waiting for {cdn}'s daily {} quota until {}",
                kind.word(),
                reset.strftime("%Y-%m-%d %H:%M UTC")
            );
            writes.push(Write::Status(
                id.clone(),
                StatusState::Pending,
                run.summary.clone(),
            ));
            writes.push(Write::Wish(WorkKey::Run(id), run.deadline));
            writes.push(Write::Run(run));
        }
        Ok(writes)
    }

    /// Finds out what became of a batch whose answer was lost.
    async fn recover(
        &self,
        config: &Config,
        mut lost: StoredTask,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let purges = self.store.purges_of_task(&lost.id).await?;
        let keys: Vec<PurgeKey> = purges.iter().map(|(key, _, _)| key.clone()).collect();
        let now = self.clock.now();
        let Some(cdn) = config.cdns.get(&lost.cdn).filter(|_| !keys.is_empty()) else {
            lost.state = TaskState::Ended;
            lost.ended_at = Some(now);
            let mut writes = fail(
                keys,
                &format!("the CDN {} is no longer configured", lost.cdn),
                now,
            );
            writes.push(Write::Task(lost));
            return Ok(Outcome::again(writes, now, 0));
        };
        let in_flight = InFlight {
            task: None,
            submitted_at: lost.submitted_at,
            batch: Batch {
                kind: lost.kind,
                mode: lost.mode,
                targets: purges.into_iter().map(|(_, target, _)| target).collect(),
            },
        };
        let pace = Pace::new(self.clock.clone(), cdn.limits().queries_per_second);
        let found = cdn.find(&in_flight, &pace).await;
        let now = self.clock.now();
        match found {
            Ok(Some(vendor_id)) => {
                info!(cdn = %lost.cdn, task = %vendor_id, "found a batch in {}'s history whose answer was lost", lost.cdn);
                lost.state = TaskState::Running;
                lost.vendor_id = Some(vendor_id);
                Ok(Outcome::again(taken(lost, keys, now), now, 0))
            }
            Ok(None) if now < lost.submitted_at + HISTORY_LAG => Ok(Outcome::again(
                Vec::new(),
                lost.submitted_at + HISTORY_LAG,
                work.attempts,
            )),
            Err(error) if error.class != ErrorClass::Operator && work.attempts < HISTORY_TRIES => {
                warn!(cdn = %lost.cdn, "cannot ask the history: {error}");
                let wait = retry::backoff_at_least(
                    work.attempts,
                    self.clock.fraction(),
                    error.retry_after,
                );
                Ok(Outcome::again(Vec::new(), now + wait, work.attempts + 1))
            }
            // Not there, or nobody can say: purging twice costs quota, not purging costs a stale page.
            Ok(None) | Err(_) => {
                lost.state = TaskState::Ended;
                lost.ended_at = Some(now);
                let writes = vec![
                    Write::Task(lost),
                    update(keys, PurgeState::Planned, None, None),
                ];
                Ok(Outcome::again(writes, now, 0))
            }
        }
    }
}

/// The writes for a batch that the CDN took.
fn taken(task: StoredTask, keys: Vec<PurgeKey>, now: Timestamp) -> Vec<Write> {
    let follow = WorkKey::Follow {
        account: task.account.clone(),
        kind: task.kind,
    };
    let update = Write::Update(PurgeUpdate {
        keys,
        state: PurgeState::Running,
        task: Some(task.id.clone()),
        error: None,
        tried: true,
        batch_cap: None,
    });
    vec![
        Write::Task(task),
        update,
        Write::Wish(follow, now + FIRST_LOOK),
    ]
}

/// The writes for purges that failed for good.
pub(super) fn fail(keys: Vec<PurgeKey>, why: &str, now: Timestamp) -> Vec<Write> {
    if keys.is_empty() {
        return Vec::new();
    }
    let runs: BTreeSet<RunId> = keys.iter().map(|key| key.run.clone()).collect();
    let mut writes = vec![update(keys, PurgeState::Failed, None, Some(why))];
    writes.extend(
        runs.into_iter()
            .map(|run| Write::Wish(WorkKey::Run(run), now)),
    );
    writes
}

fn update(
    keys: Vec<PurgeKey>,
    state: PurgeState,
    task: Option<&str>,
    error: Option<&str>,
) -> Write {
    Write::Update(PurgeUpdate {
        keys,
        state,
        task: task.map(str::to_owned),
        error: error.map(str::to_owned),
        tried: false,
        batch_cap: None,
    })
}

fn keys(batch: &NextBatch) -> Vec<PurgeKey> {
    batch.purges.iter().map(|(key, _, _)| key.clone()).collect()
}

/// The time between two requests of one action that keeps its rate.
fn spacing(cdn: &dyn Cdn, kind: PurgeKind) -> Duration {
    let rate = cdn
        .limits()
        .kinds
        .get(&kind)
        .map_or(1, |limit| limit.requests_per_second);
    Duration::from_secs(1) / rate.max(1)
}

/// When the next quota day begins: 00:00 in UTC+8. No vendor documents hour or
/// zone; the quota is asked for again before anything is sent then.
fn next_quota_day(now: Timestamp) -> Timestamp {
    const DAY: i64 = 24 * 60 * 60;
    const OFFSET: i64 = 8 * 60 * 60;
    let local = now.as_second() + OFFSET;
    let next = (local.div_euclid(DAY) + 1) * DAY - OFFSET;
    Timestamp::from_second(next).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_day_begins_at_midnight_in_utc_plus_8() {
        let before: Timestamp = "2026-11-22T15:59:59Z".parse().unwrap();
        let after: Timestamp = "2026-11-22T16:00:00Z".parse().unwrap();

        assert_eq!(next_quota_day(before).to_string(), "2026-11-22T16:00:00Z");
        assert_eq!(next_quota_day(after).to_string(), "2026-11-23T16:00:00Z");
    }
}
