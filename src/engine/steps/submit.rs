//! Handing planned purges to a CDN, one batch a step.
//!
//! The intent is committed before the request goes out. A batch whose answer
//! was lost (or whose process died) is looked for in the CDN's history first,
//! and handed over again only if it is not there.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::cdn::{Batch, CdnError, ErrorClass, InFlight};
use crate::config::Config;
use crate::engine::policy::backoff;
use crate::engine::{Engine, Outcome, StepError};
use crate::purge::{PurgeKind, PurgeState, TaskId};
use crate::run::RunId;
use crate::store::{
    Disposition, Migration, NextBatch, Precondition, PurgeKey, PurgeUpdate, StoreError, StoredTask,
    TaskState, Upstream, Work, WorkKey, Write,
};

/// Tries at a batch that a CDN answers with an error of its own.
const TRIES: i64 = 5;
/// How long a CDN's history may lag behind what it accepted.
const HISTORY_LAG: Duration = Duration::from_secs(10);
/// How long before a batch others went out that its CDN's history may show for it, generously.
const NEAR: Duration = Duration::from_secs(10 * 60);
/// Tries at asking a CDN's history before the batch is handed over again without it.
const HISTORY_TRIES: i64 = 8;
/// How long a purge may take: Tencent and Huawei say about five minutes.
const PURGE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long a prefetch may take: Tencent says five to thirty minutes.
const PREFETCH_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// How long after a batch was taken its task is looked at first.
const FIRST_LOOK: Duration = Duration::from_secs(1);

impl Engine {
    pub(in crate::engine) async fn submit(
        &self,
        account: &str,
        kind: PurgeKind,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let config = self.config();
        let upstream = Upstream::Cdn(account.to_owned());
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
        let now = self.clock.now();
        let observed = self.observed_in_line(&config, account, kind, now).await?;
        if !observed.is_empty() {
            return Ok(Outcome::again(observed, now, 0));
        }
        let Some(mut next) = self.store.queue_head(account, kind).await? else {
            return Ok(Outcome::done(Vec::new()));
        };
        // Entries that may not hand over more today. Others of the account may, where their limits are wider.
        let mut used_up = Vec::new();
        let (cdn, limit, room) = loop {
            let Some((cdn, limit)) = config
                .cdns
                .get(&next.cdn)
                .and_then(|cdn| Some((cdn, *cdn.limits().kinds.get(&kind)?)))
            else {
                let all = self.store.planned_keys(account, kind, &next.cdn).await?;
                let why = format!(
                    "the CDN {} is no longer configured for {}",
                    next.cdn,
                    kind.as_str()
                );
                let now = self.clock.now();
                return Ok(Outcome::again(
                    fail(all, &why, Precondition::Open, now),
                    now,
                    0,
                ));
            };
            if let Some(left) = self.left_alone_for_now(&upstream).await? {
                return self.wait_for_answer(&left, kind, &next.cdn, work).await;
            }
            let room = self.room(cdn.as_ref(), account, kind, limit).await?;
            if room.today > 0 {
                break (cdn, limit, room);
            }
            used_up.push(next.cdn);
            let other = self.store.queue_head_besides(account, kind, &used_up);
            next = match other.await? {
                Some(other) => other,
                None => {
                    self.forget_quota(account);
                    let told = self.tell_of_quotas(account, kind, &used_up).await?;
                    return Ok(self.when_renewed(told));
                }
            };
        };
        let most = usize::try_from(room.today)
            .unwrap_or(usize::MAX)
            .min(room.per_request);
        let batch = self.store.next_batch(account, kind, &next, most).await?;
        if batch.purges.is_empty() {
            // The run that wanted them has come to its end meanwhile.
            return Ok(Outcome::again(Vec::new(), self.clock.now(), 0));
        }
        let request = Batch {
            kind,
            mode: batch.mode,
            targets: targets(&batch.purges),
        };
        self.keep_rate(account, cdn.action(kind), limit.requests_per_second)
            .await?;
        if let Some(left) = self.left_alone(&upstream).await? {
            return self.wait_for_answer(&left, kind, &next.cdn, work).await;
        }

        let now = self.clock.now();
        let mut task = StoredTask {
            id: self.clock.new_id(),
            account: account.to_owned(),
            cdn: batch.cdn.clone(),
            kind,
            mode: batch.mode,
            state: TaskState::Submitting,
            vendor_id: None,
            error: None,
            size: i64::try_from(request.targets.len()).unwrap_or(i64::MAX),
            submitted_at: now,
            deadline: now
                + if kind == PurgeKind::Prefetch {
                    PREFETCH_LIMIT
                } else {
                    PURGE_LIMIT
                },
            ended_at: None,
        };
        let mut intent = vec![
            Write::Task(task.clone()),
            Write::Update(PurgeUpdate {
                task: Some(task.id.clone()),
                ..PurgeUpdate::new(keys(&batch), PurgeState::Submitting, Precondition::Planned)
            }),
        ];
        intent.extend(self.tell_of_quotas(account, kind, &used_up).await?);
        self.commit(work, &intent, Disposition::Continue).await?;

        let answer = self.heard(&upstream, cdn.submit(&request)).await;
        let now = self.clock.now();
        match answer {
            Ok(vendor_id) => {
                info!(
                    cdn = %batch.cdn, task = vendor_id.as_ref().map(tracing::field::display), purges = batch.purges.len(),
                    "{} took a batch of {}", batch.cdn, task.size
                );
                task.state = TaskState::Running;
                task.vendor_id = vendor_id;
                let writes = taken(task, keys(&batch), now);
                Ok(Outcome::again(writes, now, 0))
            }
            Err(error) => {
                warn!(cdn = %batch.cdn, code = %error.kind, class = ?error.class, "a batch was not taken: {error}");
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
        let wait =
            backoff::backoff_at_least(work.attempts, self.clock.fraction(), error.retry_after);
        let (account, kind) = (task.account.clone(), task.kind);
        task.error = Some(message.clone());
        if error.maybe_done {
            // Stays on its way: the next step asks the CDN's history, as often as it takes,
            // however often the batch was not taken before.
            return Ok(Outcome::again(vec![Write::Task(task)], now + wait, 1));
        }

        task.state = TaskState::Ended;
        task.ended_at = Some(now);
        let of_batch = Precondition::InTask(task.id.clone());
        // Targets: one that several runs want cannot be halved.
        let size = task.size;
        let mut writes = vec![Write::Task(task)];
        let put_back = |keys: Vec<PurgeKey>, tried: bool, cap: Option<i64>| {
            Write::Update(PurgeUpdate {
                error: Some(message.clone()),
                tried,
                batch_cap: cap,
                ..PurgeUpdate::new(keys, PurgeState::Planned, of_batch.clone())
            })
        };
        let mut class = error.class;
        if class == ErrorClass::QuotaDay
            && size > 1
            && let Some(cdn) = self.config().cdns.get(&batch.cdn)
            && self
                .says_free(cdn.as_ref(), kind, size.unsigned_abs())
                .await?
        {
            // Some codes say "over a limit" of a day and of a request alike; the quota tells which.
            class = ErrorClass::Split;
        }
        match class {
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
                    of_batch.clone(),
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
                self.forget_quota(&account);
                writes.push(put_back(keys(batch), false, None));
                let used_up = [batch.cdn.clone()];
                writes.extend(self.tell_of_quotas(&account, kind, &used_up).await?);
                Ok(self.when_renewed(writes))
            }
            ErrorClass::Split | ErrorClass::BadInput if size > 1 => {
                // Halved until the one that is refused stands alone; the others go through on the way.
                writes.push(put_back(keys(batch), false, Some((size / 2).max(1))));
                Ok(Outcome::again(writes, now, 0))
            }
            ErrorClass::Split | ErrorClass::BadInput => {
                writes.extend(fail(keys(batch), &message, of_batch, now));
                Ok(Outcome::again(writes, now, 0))
            }
            ErrorClass::Operator => {
                // The next batch would be refused in the same way, and some CDNs lock keys that keep trying.
                let all = self.line_with(&account, kind, batch).await?;
                writes.extend(fail(all, &message, Precondition::Open, now));
                Ok(Outcome::again(writes, now, 0))
            }
            ErrorClass::Migrated => {
                let all = self.line_with(&account, kind, batch).await?;
                writes.extend(migrate(
                    &self.config(),
                    &batch.cdn,
                    kind,
                    all,
                    &message,
                    now,
                ));
                Ok(Outcome::again(writes, now, 0))
            }
        }
    }

    /// Everything planned in a line on the batch's CDN, and the batch that just left it.
    async fn line_with(
        &self,
        account: &str,
        kind: PurgeKind,
        batch: &NextBatch,
    ) -> Result<Vec<PurgeKey>, StepError> {
        let mut all: BTreeSet<PurgeKey> = self
            .store
            .planned_keys(account, kind, &batch.cdn)
            .await?
            .into_iter()
            .collect();
        all.extend(keys(batch));
        Ok(all.into_iter().collect())
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
            let why = format!("the CDN {} is no longer configured", lost.cdn);
            let mut writes = fail(keys, &why, Precondition::InTask(lost.id.clone()), now);
            writes.push(Write::Task(lost));
            return Ok(Outcome::again(writes, now, 0));
        };
        let in_flight = InFlight {
            task: None,
            submitted_at: lost.submitted_at,
            batch: Batch {
                kind: lost.kind,
                mode: lost.mode,
                targets: targets(&purges),
            },
        };
        let pace = self.pace(&lost.account, cdn.limits().queries_per_second);
        let upstream = Upstream::Cdn(lost.account.clone());
        // What is one of the nameless would be taken for this one. They are looked for as soon as
        // the history shows all of them.
        let named = lost.submitted_at + HISTORY_LAG * 2;
        if (lost.submitted_at..named).contains(&now)
            && self
                .store
                .has_unidentified(&lost.account, lost.kind)
                .await?
        {
            return Ok(Outcome::again(Vec::new(), named, work.attempts));
        }
        if let Some(left) = self.left_alone(&upstream).await? {
            return self
                .wait_for_answer(&left, lost.kind, &lost.cdn, work)
                .await;
        }
        let others = self.tasks_of_others(&lost).await?;
        let found = cdn.find(&in_flight, &others, &pace);
        let found = self.heard(&upstream, found).await;
        let now = self.clock.now();
        match found {
            Ok(Some(vendor_id)) => {
                info!(cdn = %lost.cdn, task = %vendor_id, "found a batch in {}'s history whose answer was lost", lost.cdn);
                lost.state = TaskState::Running;
                lost.vendor_id = Some(vendor_id);
                Ok(Outcome::again(taken(lost, keys, now), now, 0))
            }
            Ok(None) if is_too_early(&lost, now) => Ok(Outcome::again(
                Vec::new(),
                lost.submitted_at + HISTORY_LAG,
                work.attempts,
            )),
            Err(error) if error.class != ErrorClass::Operator && work.attempts < HISTORY_TRIES => {
                warn!(cdn = %lost.cdn, "cannot ask the history: {error}");
                let wait = backoff::backoff_at_least(
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
                let of_batch = Precondition::InTask(lost.id.clone());
                let again = PurgeUpdate::new(keys, PurgeState::Planned, of_batch);
                Ok(Outcome::again(
                    vec![Write::Task(lost), Write::Update(again)],
                    now,
                    0,
                ))
            }
        }
    }

    /// What is known to be other batches' in the history where a batch may be: its like that went
    /// out shortly before purged something else.
    pub(in crate::engine) async fn tasks_of_others(
        &self,
        lost: &StoredTask,
    ) -> Result<BTreeSet<TaskId>, StoreError> {
        let since = lost.submitted_at - NEAR;
        self.store
            .known_tasks(&lost.account, lost.kind, since)
            .await
    }
}

/// Whether the history may not show a batch yet. One from the future went out by a clock that has
/// been set back since.
pub(in crate::engine) fn is_too_early(task: &StoredTask, now: Timestamp) -> bool {
    task.submitted_at <= now && now < task.submitted_at + HISTORY_LAG
}

/// The writes for a batch that the CDN took.
fn taken(mut task: StoredTask, keys: Vec<PurgeKey>, now: Timestamp) -> Vec<Write> {
    // Its time begins now: the clock may have been set since it went out.
    task.deadline = now + task.deadline.duration_since(task.submitted_at);
    let follow = WorkKey::Follow {
        account: task.account.clone(),
        kind: task.kind,
    };
    let of_batch = Precondition::InTask(task.id.clone());
    let update = Write::Update(PurgeUpdate {
        task: Some(task.id.clone()),
        tried: true,
        batch_cap: Some(0),
        ..PurgeUpdate::new(keys, PurgeState::Running, of_batch)
    });
    vec![
        Write::Task(task),
        update,
        Write::Enqueue(follow, now + FIRST_LOOK),
    ]
}

/// The writes for purges that failed for good.
pub(in crate::engine) fn fail(
    keys: Vec<PurgeKey>,
    why: &str,
    only: Precondition,
    now: Timestamp,
) -> Vec<Write> {
    if keys.is_empty() {
        return Vec::new();
    }
    let runs: BTreeSet<RunId> = keys.iter().map(|key| key.run.clone()).collect();
    let mut writes = vec![Write::Update(PurgeUpdate {
        error: Some(why.to_owned()),
        ..PurgeUpdate::new(keys, PurgeState::Failed, only)
    })];
    writes.extend(
        runs.into_iter()
            .map(|run| Write::Enqueue(WorkKey::Run(run), now)),
    );
    writes
}

/// The targets of purges, each once: two runs may want the same URL.
pub(in crate::engine) fn targets(purges: &[(PurgeKey, String, i64)]) -> Vec<String> {
    let distinct: BTreeSet<&String> = purges.iter().map(|(_, target, _)| target).collect();
    distinct.into_iter().cloned().collect()
}

fn keys(batch: &NextBatch) -> Vec<PurgeKey> {
    batch.purges.iter().map(|(key, _, _)| key.clone()).collect()
}

/// What becomes of purges on a CDN whose service says that it has moved: they
/// go to the entry that `migrated_to:` names, or fail with words that say what to do.
pub(in crate::engine) fn migrate(
    config: &Config,
    from: &str,
    kind: PurgeKind,
    keys: Vec<PurgeKey>,
    message: &str,
    now: Timestamp,
) -> Vec<Write> {
    let successor = config.cdns.get(from).and_then(|cdn| {
        let name = cdn.migrated_to()?;
        let successor = config.cdns.get(name)?;
        // One that points back would send purges to and fro for ever.
        let takes =
            successor.limits().kinds.contains_key(&kind) && successor.migrated_to().is_none();
        takes.then(|| (name.to_owned(), successor.account()))
    });
    match successor {
        Some((name, account)) => {
            warn!(
                cdn = from,
                purges = keys.len(),
                "{from} has moved; its purges go to {name}: {message}"
            );
            let submit = WorkKey::Submit {
                account: account.clone(),
                kind,
            };
            let to = Migration {
                keys,
                from: from.to_owned(),
                to: name,
                account,
            };
            vec![Write::Migrate(to), Write::Enqueue(submit, now)]
        }
        None => {
            let why = format!(
                "{message}. The service has moved: add the CDN it moved to under `cdns:` and name it in `migrated_to:` of {from}"
            );
            fail(keys, &why, Precondition::Open, now)
        }
    }
}
