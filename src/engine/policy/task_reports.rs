//! What a CDN's report means for a task and its purges, and when to ask again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::batches::{ended, fail, refuse, wake_runs};
use crate::cdn::{CdnError, ErrorClass, Report, TargetState};
use crate::purge::PurgeState;
use crate::store::{Precondition, PurgeKey, PurgeUpdate, QueuedPurge, StoredTask, WorkKey, Write};

/// Submissions per purge: one that fails on its CDN is submitted once more.
const MAX_SUBMISSIONS: i64 = 2;
/// The shortest wait between two queries for an account's tasks.
const MIN_FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait.
const MAX_FOLLOW_INTERVAL: Duration = Duration::from_secs(30);

/// A task in progress, with its purges that have not ended.
pub struct OpenTask {
    pub task: StoredTask,
    pub purges: Vec<QueuedPurge>,
    /// Whether its id was just found in the CDN's history.
    pub is_found: bool,
}

/// Why a CDN did not report on its tasks.
pub enum FollowTrouble {
    /// Try later, not before the time that the CDN asked for.
    Later(Option<Duration>),
    /// A person has to act first.
    Operator(String),
    /// The service has moved.
    Migrated(String),
}

impl From<CdnError> for FollowTrouble {
    fn from(error: CdnError) -> Self {
        match error.class {
            ErrorClass::Operator => Self::Operator(format!("it cannot be confirmed: {error}")),
            ErrorClass::Migrated => Self::Migrated(error.to_string()),
            // A query has no targets to refuse, so the error may be temporary.
            ErrorClass::Retry
            | ErrorClass::RateLimited
            | ErrorClass::QuotaDay
            | ErrorClass::Split
            | ErrorClass::BadInput => Self::Later(error.retry_after),
        }
    }
}

/// What a report means for a task's purges, and whether the task has ended.
pub fn judge(open: OpenTask, report: &Report, now: Timestamp) -> (Vec<Write>, bool) {
    let OpenTask { task, purges, .. } = open;
    let of_task = Precondition::InTask(task.id.clone());
    let is_late = now >= task.deadline;
    let mut done = Vec::new();
    let mut again: BTreeMap<String, Vec<PurgeKey>> = BTreeMap::new();
    let mut refused: BTreeMap<String, Vec<PurgeKey>> = BTreeMap::new();
    let mut failed: BTreeMap<String, Vec<PurgeKey>> = BTreeMap::new();
    let mut running = 0_usize;
    for purge in purges {
        let QueuedPurge {
            key,
            target,
            attempts,
        } = purge;
        let state = report.targets.get(&target);
        if let Some(TargetState::Unknown(word)) = state {
            warn!(cdn = %task.cdn, "{} reports {word:?} for {target}, which no document lists", task.cdn);
        }
        match state {
            Some(TargetState::Done) => done.push(key),
            Some(TargetState::Failed(why)) if attempts < MAX_SUBMISSIONS => {
                again.entry(why.clone()).or_default().push(key);
            }
            Some(TargetState::Failed(why) | TargetState::Invalid(why)) => {
                refused.entry(why.clone()).or_default().push(key);
            }
            Some(TargetState::Running(_)) if is_late => {
                let why = unconfirmed(&task, "it reports that the task is still running");
                failed.entry(why).or_default().push(key);
            }
            Some(TargetState::Unknown(word)) if is_late => {
                let said = format!("it reports {word:?}, which no document lists");
                let why = unconfirmed(&task, &said);
                failed.entry(why).or_default().push(key);
            }
            None if is_late => {
                let why = unconfirmed(&task, "it reports nothing about it");
                failed.entry(why).or_default().push(key);
            }
            Some(TargetState::Running(_) | TargetState::Unknown(_)) | None => running += 1,
        }
    }

    let mut writes = Vec::new();
    if !done.is_empty() {
        let runs = wake_runs(&done, now);
        let confirmed = PurgeUpdate::new(done, PurgeState::Done, of_task.clone());
        writes.push(Write::Update(confirmed));
        writes.extend(runs);
    }
    for (why, keys) in again {
        writes.extend(submit_again(&task, keys, why, now));
    }
    for (why, keys) in refused {
        writes.extend(refuse(keys, &why, of_task.clone(), now));
    }
    for (why, keys) in failed {
        writes.extend(fail(keys, &why, of_task.clone(), now));
    }
    let is_over = running == 0;
    if is_over {
        writes.push(ended(task, now));
    }
    (writes, is_over)
}

/// The error of a purge that was not confirmed in time.
fn unconfirmed(task: &StoredTask, said: &str) -> String {
    let minutes = task.deadline.duration_since(task.submitted_at).as_mins();
    format!(
        "{} did not confirm it within {minutes} minutes; {said}",
        task.cdn
    )
}

/// Puts purges that failed on the CDN back into the queue.
fn submit_again(task: &StoredTask, keys: Vec<PurgeKey>, why: String, now: Timestamp) -> [Write; 2] {
    let submit = WorkKey::Submit {
        account: task.account.clone(),
        kind: task.kind,
    };
    let of_task = Precondition::InTask(task.id.clone());
    let planned = PurgeUpdate {
        error: Some(why),
        ..PurgeUpdate::new(keys, PurgeState::Planned, of_task)
    };
    [Write::Update(planned), Write::Enqueue(submit, now)]
}

/// Ends tasks that cannot be followed; `then` decides about their purges.
pub fn give_up(
    open: Vec<OpenTask>,
    now: Timestamp,
    then: impl Fn(Vec<PurgeKey>) -> Vec<Write>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut keys = Vec::new();
    for OpenTask { task, purges, .. } in open {
        writes.push(ended(task, now));
        keys.extend(purges.into_iter().map(|purge| purge.key));
    }
    writes.extend(then(keys));
    writes
}

/// The time until the next query: a quarter of the youngest task's age, so that fast tasks are noticed soon and
/// slow ones are not queried all the time.
pub fn follow_interval(youngest: Timestamp, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(youngest)).unwrap_or_default();
    (age / 4).clamp(MIN_FOLLOW_INTERVAL, MAX_FOLLOW_INTERVAL)
}

/// Whether to keep a wait even if the account submits more in the meantime. Short ones are kept; otherwise each
/// batch of a long queue would cause a query for all tasks.
pub fn is_firm(interval: Duration) -> bool {
    interval <= MIN_FOLLOW_INTERVAL * 2
}
