//! The writes that carry a batch of purges from one state to the next.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::deadlines::confirmation_limit;
use crate::account::AccountId;
use crate::purge::{GivenUp, PurgeKind, PurgeState, TaskIds};
use crate::run::RunId;
use crate::store::{
    NextBatch, Precondition, PurgeKey, PurgeUpdate, QueuedPurge, StoredTask, TaskState, WorkKey,
    Write,
};

/// How long it may take until a CDN's history shows an accepted batch.
pub const HISTORY_LAG: Duration = Duration::from_secs(10);
/// The time between a batch's acceptance and the first query for its task.
const FIRST_FOLLOW: Duration = Duration::from_secs(1);

/// The distinct targets of purges: several runs may want the same URL.
pub fn targets(purges: &[QueuedPurge]) -> Vec<String> {
    let distinct: BTreeSet<&String> = purges.iter().map(|purge| &purge.target).collect();
    distinct.into_iter().cloned().collect()
}

/// The keys of a batch's purges.
pub fn keys(batch: &NextBatch) -> Vec<PurgeKey> {
    batch.purges.iter().map(|purge| purge.key.clone()).collect()
}

/// The task of a batch that is about to be submitted.
pub fn new_task(
    id: String,
    account: &AccountId,
    kind: PurgeKind,
    batch: &NextBatch,
    targets: usize,
    now: Timestamp,
) -> StoredTask {
    StoredTask {
        id,
        account: account.clone(),
        cdn: batch.cdn.clone(),
        kind,
        mode: batch.mode,
        state: TaskState::Submitting,
        vendor_id: None,
        error: None,
        size: i64::try_from(targets).unwrap_or(i64::MAX),
        submitted_at: now,
        deadline: now + confirmation_limit(kind),
        ended_at: None,
    }
}

/// The writes that record the intent to submit a batch.
pub fn intent(task: &StoredTask, batch: &NextBatch) -> Vec<Write> {
    let submitting = PurgeUpdate {
        task: Some(task.id.clone()),
        ..PurgeUpdate::new(keys(batch), PurgeState::Submitting, Precondition::Planned)
    };
    vec![Write::Task(task.clone()), Write::Update(submitting)]
}

/// The writes for a batch that the CDN accepted, with the id that it returned, if any.
pub fn accepted(
    mut task: StoredTask,
    vendor_id: Option<TaskIds>,
    keys: Vec<PurgeKey>,
    now: Timestamp,
) -> Vec<Write> {
    task.state = TaskState::Running;
    task.vendor_id = vendor_id;
    // The deadline counts from now: the clock may have been set since the request was sent.
    task.deadline = now + task.deadline.duration_since(task.submitted_at);
    let follow = WorkKey::Follow {
        account: task.account.clone(),
        kind: task.kind,
    };
    let running = PurgeUpdate {
        task: Some(task.id.clone()),
        tried: true,
        batch_cap: Some(0),
        ..PurgeUpdate::new(
            keys,
            PurgeState::Running,
            Precondition::InTask(task.id.clone()),
        )
    };
    vec![
        Write::Task(task),
        Write::Update(running),
        Write::Enqueue(follow, now + FIRST_FOLLOW),
    ]
}

/// Ends a task.
pub fn ended(mut task: StoredTask, now: Timestamp) -> Write {
    task.state = TaskState::Ended;
    task.ended_at = Some(now);
    Write::Task(task)
}

/// The writes for purges that failed for good.
pub fn fail(keys: Vec<PurgeKey>, why: &str, only: Precondition, now: Timestamp) -> Vec<Write> {
    if keys.is_empty() {
        return Vec::new();
    }
    let runs = wake_runs(&keys, now);
    let failed = PurgeUpdate {
        error: Some(why.to_owned()),
        ..PurgeUpdate::new(keys, PurgeState::Failed, only)
    };
    let mut writes = vec![Write::Update(failed)];
    writes.extend(runs);
    writes
}

/// The writes for purges that the CDN refused individually, or failed each time.
pub fn refuse(keys: Vec<PurgeKey>, why: &str, only: Precondition, now: Timestamp) -> Vec<Write> {
    let mut writes = fail(keys, why, only, now);
    for write in &mut writes {
        if let Write::Update(update) = write {
            update.given_up = Some(GivenUp::Refused);
        }
    }
    writes
}

/// The writes for planned purges of sites that have since switched to dry-run mode.
pub fn withdraw(keys: Vec<PurgeKey>, now: Timestamp) -> Vec<Write> {
    let runs = wake_runs(&keys, now);
    let dry = PurgeUpdate::new(keys, PurgeState::DryRun, Precondition::Planned);
    let mut writes = vec![Write::Update(dry)];
    writes.extend(runs);
    writes
}

/// Enqueues the runs of the given purges.
pub fn wake_runs(keys: &[PurgeKey], now: Timestamp) -> Vec<Write> {
    let runs: BTreeSet<&RunId> = keys.iter().map(|key| &key.run).collect();
    runs.into_iter()
        .map(|run| Write::Enqueue(WorkKey::Run(run.clone()), now))
        .collect()
}

/// Whether a CDN's history may not show a batch yet. A batch from the future was sent before the clock was set
/// back.
pub fn is_too_early_for_history(task: &StoredTask, now: Timestamp) -> bool {
    task.submitted_at <= now && now < task.submitted_at + HISTORY_LAG
}
