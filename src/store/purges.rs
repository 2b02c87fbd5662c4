//! Purges: planned ones and their results.

use std::collections::BTreeMap;

use super::database::{Row, Transaction, params, places};
use super::tasks::task_ids;
use super::{Store, StoreError, Value};
use crate::account::AccountId;
use crate::purge::{GivenUp, Mode, PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::run::RunId;

/// Rows per INSERT, of ten values each; PostgreSQL binds at most 65,535.
const ROWS_PER_INSERT: usize = 500;
/// Keys per UPDATE.
const KEYS_PER_UPDATE: usize = 1_000;
/// Reads the columns that [`purge`] expects.
pub(super) const SELECT: &str =
    "SELECT p.run, p.seq, p.cdn, p.kind, p.mode, p.target, p.rule, p.path, p.state,
        p.error, p.attempts, p.given_up, t.vendor_id
    FROM purges p LEFT JOIN tasks t ON t.id = p.task";
/// Whether a purge has not ended.
const IS_OPEN: &str = "state NOT IN ('done', 'failed', 'dry_run')";

/// Identifies a purge by its run and its number in the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurgeKey {
    /// The run.
    pub run: RunId,
    /// The number in the run.
    pub seq: i64,
}

impl From<&Purge> for PurgeKey {
    fn from(purge: &Purge) -> Self {
        Self {
            run: purge.run.clone(),
            seq: purge.id,
        }
    }
}

/// A purge in a run's new plan.
#[derive(Clone, Debug)]
pub struct NewPurge {
    /// What the plan asks for.
    pub planned: PlannedPurge,
    /// The account to send it to; none in a dry run.
    pub account: Option<AccountId>,
    /// Its first state.
    pub state: PurgeState,
}

/// A purge that is or was sent in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedPurge {
    /// Its key.
    pub key: PurgeKey,
    /// The URL.
    pub target: String,
    /// Submissions so far.
    pub attempts: i64,
}

/// A change to some purges.
#[derive(Clone, Debug)]
pub struct PurgeUpdate {
    /// The purges.
    pub keys: Vec<PurgeKey>,
    /// Their new state.
    pub state: PurgeState,
    /// Our id of their batch. None leaves it unchanged, but planned purges lose theirs.
    pub task: Option<String>,
    /// Why they failed, or the error of the last try.
    pub error: Option<String>,
    /// Whether this counts as a try.
    pub tried: bool,
    /// The largest batch that may contain them from now on; none leaves it unchanged, zero removes it.
    pub batch_cap: Option<i64>,
    /// For purges that failed: whether later runs leave them out.
    pub given_up: Option<GivenUp>,
    /// The state that a purge must still be in to be updated.
    pub only: Precondition,
}

impl PurgeUpdate {
    /// Changes only the state.
    pub fn new(keys: Vec<PurgeKey>, state: PurgeState, only: Precondition) -> Self {
        Self {
            keys,
            state,
            task: None,
            error: None,
            tried: false,
            batch_cap: None,
            given_up: None,
            only,
        }
    }
}

/// The state that purges must still be in for an update: they may have changed while it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Planned. All purges must be, or nothing is written.
    Planned,
    /// Waiting for another purge.
    Waiting,
    /// In this batch and not ended.
    InTask(String),
    /// Not ended.
    Open,
}

/// Purges that move to another CDN.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The purges; only those that have not ended move.
    pub keys: Vec<PurgeKey>,
    /// The CDN they leave, by its name.
    pub from: String,
    /// The CDN they go to, by its name.
    pub to: String,
    /// The account of that CDN.
    pub account: AccountId,
}

/// How many purges of a run are in each state.
#[derive(Clone, Debug, Default)]
pub struct PurgeCounts(pub Vec<(PurgeKind, PurgeState, u64)>);

impl PurgeCounts {
    /// Counts the purges for which `pick` holds.
    pub fn count(&self, pick: impl Fn(PurgeKind, PurgeState) -> bool) -> u64 {
        self.0
            .iter()
            .filter(|(kind, state, _)| pick(*kind, *state))
            .map(|(_, _, count)| count)
            .sum()
    }
}

impl Store {
    /// A run's purges in the plan's order, from number `after` on (exclusive), at most `limit`.
    pub async fn purges(
        &self,
        run: &RunId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Purge>, StoreError> {
        let rows = self
            .database
            .read(
                &format!(
                    "{SELECT}
                     WHERE p.run = $1 AND p.seq > $2
                     ORDER BY p.seq
                     LIMIT $3"
                ),
                params![&run.0, after, i64::from(limit)],
            )
            .await?;
        rows.iter().map(purge).collect()
    }

    /// A run's purges in a state, each with its key and error.
    pub async fn purges_in_state(
        &self,
        run: &RunId,
        state: PurgeState,
    ) -> Result<Vec<(PurgeKey, PlannedPurge, Option<String>)>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run, seq, cdn, kind, mode, target, rule, path, error
                 FROM purges WHERE run = $1 AND state = $2 ORDER BY seq",
                params![&run.0, state.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((key(row)?, planned(row)?, row.maybe_text("error")?)))
            .collect()
    }

    /// Counts a run's purges by kind and state.
    pub async fn purge_counts(&self, run: &RunId) -> Result<PurgeCounts, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT kind, state, COUNT(*) AS n FROM purges WHERE run = $1 GROUP BY kind, state",
                params![&run.0],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.word("kind")?,
                    row.word("state")?,
                    u64::try_from(row.int("n")?).unwrap_or(0),
                ))
            })
            .collect::<Result<_, _>>()
            .map(PurgeCounts)
    }

    /// The purges of a task that have not ended.
    pub async fn purges_of_task(&self, task: &str) -> Result<Vec<QueuedPurge>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run, seq, target, attempts FROM purges
                 WHERE task = $1 AND state IN ('submitting', 'running') ORDER BY run, seq",
                params![task],
            )
            .await?;
        rows.iter().map(queued).collect()
    }

    /// Like [`purges_of_task`](Self::purges_of_task) for all running tasks of an account, by task.
    pub async fn purges_in_flight(
        &self,
        account: &AccountId,
        kind: PurgeKind,
    ) -> Result<BTreeMap<String, Vec<QueuedPurge>>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT task, run, seq, target, attempts FROM purges
                 WHERE task IN (
                     SELECT id FROM tasks WHERE account = $1 AND kind = $2 AND state = 'running'
                 ) AND state IN ('submitting', 'running') ORDER BY run, seq",
                params![account, kind.as_str()],
            )
            .await?;
        let mut by_task: BTreeMap<String, Vec<QueuedPurge>> = BTreeMap::new();
        for row in &rows {
            let task = row.text("task")?;
            by_task.entry(task).or_default().push(queued(row)?);
        }
        Ok(by_task)
    }
}

pub(super) async fn insert(
    tx: &mut dyn Transaction,
    run: &RunId,
    purges: &[NewPurge],
) -> Result<(), StoreError> {
    // A retried run may plan again: the new plan replaces the old one.
    tx.execute("DELETE FROM purges WHERE run = $1", params![&run.0])
        .await?;
    let mut seq = 0;
    for rows in purges.chunks(ROWS_PER_INSERT) {
        let mut values: Vec<Value> = Vec::new();
        let mut lists = Vec::with_capacity(rows.len());
        for new in rows {
            let purge = &new.planned;
            seq += 1;
            let row = params![
                &run.0,
                seq,
                &purge.cdn,
                new.account.as_ref(),
                purge.kind.as_str(),
                purge.mode.map(Mode::as_str),
                &purge.target,
                &purge.rule,
                purge.path.clone(),
                new.state.as_str(),
            ];
            lists.push(format!("({}, 0)", places(values.len(), row.len())));
            values.extend(row);
        }
        tx.execute(
            &format!(
                "INSERT INTO purges (run, seq, cdn, account, kind, mode, target, rule, path, state, attempts)
                 VALUES {}",
                lists.join(", ")
            ),
            values,
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn update(
    tx: &mut dyn Transaction,
    update: &PurgeUpdate,
) -> Result<(), StoreError> {
    let (condition, of_task) = match &update.only {
        Precondition::Planned => ("state = 'planned'", None),
        Precondition::Waiting => ("state = 'waiting'", None),
        Precondition::Open => (IS_OPEN, None),
        Precondition::InTask(task) => (
            "state IN ('submitting', 'running') AND task = $8",
            Some(task),
        ),
    };
    let mut touched = 0;
    for (run, numbers) in by_run(&update.keys) {
        let mut values = params![
            &run.0,
            update.state.as_str(),
            update.task.clone(),
            update.error.clone(),
            i64::from(update.tried),
            update.batch_cap,
            update.given_up.map(GivenUp::as_str),
        ];
        values.extend(of_task.map(Value::from));
        touched += tx
            .execute(
                &format!(
                    "UPDATE purges SET state = $2, error = $4, attempts = attempts + $5, given_up = $7,
                         task = CASE WHEN $2 = 'planned' THEN NULL ELSE COALESCE($3, task) END,
                         batch_cap = CASE WHEN $6 IS NULL THEN batch_cap ELSE NULLIF($6, 0) END
                     WHERE run = $1 AND seq IN ({numbers}) AND {condition}"
                ),
                values,
            )
            .await?;
    }
    let all = u64::try_from(update.keys.len()).unwrap_or(u64::MAX);
    if update.only == Precondition::Planned && touched < all {
        return Err(StoreError::Outdated);
    }
    Ok(())
}

/// Plans purges anew on another CDN, together with the prefetches that wait for them.
pub(super) async fn migrate(tx: &mut dyn Transaction, to: &Migration) -> Result<(), StoreError> {
    for (run, numbers) in by_run(&to.keys) {
        tx.execute(
            &format!(
                "UPDATE purges SET cdn = $2, account = $3, state = 'planned', task = NULL,
                     attempts = 0, batch_cap = NULL
                 WHERE run = $1 AND seq IN ({numbers}) AND {IS_OPEN}"
            ),
            params![&run.0, &to.to, &to.account],
        )
        .await?;
        tx.execute(
            "UPDATE purges SET cdn = $2, account = $3
             WHERE run = $1 AND cdn = $4 AND kind = 'prefetch' AND state = 'waiting'",
            params![&run.0, &to.to, &to.account, &to.from],
        )
        .await?;
    }
    Ok(())
}

/// Groups keys by run, with the numbers as a list for a statement. They are our own numbers, not outside input.
fn by_run(keys: &[PurgeKey]) -> Vec<(&RunId, String)> {
    let mut runs: BTreeMap<&RunId, Vec<String>> = BTreeMap::new();
    for key in keys {
        runs.entry(&key.run).or_default().push(key.seq.to_string());
    }
    let mut lists = Vec::new();
    for (run, numbers) in runs {
        lists.extend(
            numbers
                .chunks(KEYS_PER_UPDATE)
                .map(|some| (run, some.join(", "))),
        );
    }
    lists
}

pub(super) fn key(row: &Row) -> Result<PurgeKey, StoreError> {
    Ok(PurgeKey {
        run: RunId(row.text("run")?),
        seq: row.int("seq")?,
    })
}

pub(super) fn queued(row: &Row) -> Result<QueuedPurge, StoreError> {
    Ok(QueuedPurge {
        key: key(row)?,
        target: row.text("target")?,
        attempts: row.int("attempts")?,
    })
}

pub(super) fn planned(row: &Row) -> Result<PlannedPurge, StoreError> {
    Ok(PlannedPurge {
        cdn: row.text("cdn")?,
        kind: row.word("kind")?,
        target: row.text("target")?,
        mode: row.maybe_word("mode")?,
        rule: row.text("rule")?,
        path: row.maybe_text("path")?,
    })
}

pub(super) fn purge(row: &Row) -> Result<Purge, StoreError> {
    Ok(Purge {
        id: row.int("seq")?,
        run: RunId(row.text("run")?),
        planned: planned(row)?,
        state: row.word("state")?,
        task: task_ids(row)?,
        error: row.maybe_text("error")?,
        attempts: row.int("attempts")?,
        given_up: row.maybe_word("given_up")?,
    })
}
