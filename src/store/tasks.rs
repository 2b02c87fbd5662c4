//! Tasks: the batches in which purges are sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::database::{Row, Transaction, params};
use super::{Store, StoreError, parsed, timestamp};
use crate::account::AccountId;
use crate::purge::{Mode, PurgeKind, TaskId, TaskIds};
use crate::run::RunId;

/// The state of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// Being sent; whether the CDN accepted it is not known yet.
    Submitting,
    /// Accepted by the CDN.
    Running,
    /// Ended.
    Ended,
}

impl TaskState {
    /// Its name in the database and in an export.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A batch that was sent to a CDN, or is about to be.
#[derive(Clone, Debug)]
pub struct StoredTask {
    /// Our id.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// The kind of its purges.
    pub kind: PurgeKind,
    /// How to purge, for directories.
    pub mode: Option<Mode>,
    /// Its state.
    pub state: TaskState,
    /// The CDN's ids, once known.
    pub vendor_id: Option<TaskIds>,
    /// The error, if it failed.
    pub error: Option<String>,
    /// The number of targets that were sent.
    pub size: i64,
    /// When the request was sent.
    pub submitted_at: Timestamp,
    /// When it fails if it has not ended by then.
    pub deadline: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

const COLUMNS: &str =
    "id, account, cdn, kind, mode, state, vendor_id, error, size, submitted_at, deadline, ended_at";

impl Store {
    /// An account's tasks of one kind in one state, oldest first.
    pub async fn tasks(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        state: TaskState,
    ) -> Result<Vec<StoredTask>, StoreError> {
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT {COLUMNS} FROM tasks
                     WHERE account = $1 AND kind = $2 AND state = $3 ORDER BY id"
                ),
                params![account, kind.as_str(), state.as_str()],
            )
            .await?;
        rows.iter().map(task).collect()
    }

    /// The tasks with purges of a run, oldest first.
    pub async fn tasks_of_run(&self, run: &RunId) -> Result<Vec<StoredTask>, StoreError> {
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT {COLUMNS} FROM tasks
                     WHERE id IN (SELECT task FROM purges WHERE run = $1) ORDER BY id"
                ),
                params![&run.0],
            )
            .await?;
        rows.iter().map(task).collect()
    }

    /// Whether an account has unfinished tasks for which the CDN returned no id.
    pub async fn has_unidentified(
        &self,
        account: &AccountId,
        kind: PurgeKind,
    ) -> Result<bool, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT id FROM tasks
                 WHERE account = $1 AND kind = $2 AND state = $3 AND vendor_id IS NULL LIMIT 1",
                params![account, kind.as_str(), TaskState::Running.as_str()],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// The known CDN ids of an account's batches since a time.
    pub async fn known_tasks(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        since: Timestamp,
    ) -> Result<BTreeSet<TaskId>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT vendor_id FROM tasks
                 WHERE account = $1 AND kind = $2 AND submitted_at >= $3 AND vendor_id IS NOT NULL",
                params![account, kind.as_str(), since.as_millisecond()],
            )
            .await?;
        let mut known = BTreeSet::new();
        for row in &rows {
            let ids = task_ids(row)?;
            known.extend(ids.iter().flat_map(TaskIds::iter).cloned());
        }
        Ok(known)
    }

    /// How many targets of one kind were submitted on an account since a time, as far as the CDN may have accepted
    /// them.
    pub async fn submitted_since(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        since: Timestamp,
    ) -> Result<u64, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) AS n FROM tasks
                 WHERE account = $1 AND kind = $2 AND submitted_at >= $3
                   AND (vendor_id IS NOT NULL OR state <> 'ended' OR error IS NULL)",
                params![account, kind.as_str(), since.as_millisecond()],
            )
            .await?;
        match rows.first() {
            Some(row) => Ok(u64::try_from(row.int("n")?).unwrap_or(0)),
            None => Ok(0),
        }
    }
}

pub(super) async fn put_task(
    tx: &mut dyn Transaction,
    task: &StoredTask,
) -> Result<(), StoreError> {
    tx.execute(
        &format!(
            "INSERT INTO tasks ({COLUMNS})
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (id) DO UPDATE SET
                 state = excluded.state, vendor_id = excluded.vendor_id, error = excluded.error,
                 deadline = excluded.deadline, ended_at = excluded.ended_at"
        ),
        params![
            &task.id,
            &task.account,
            &task.cdn,
            task.kind.as_str(),
            task.mode.map(Mode::as_str),
            task.state.as_str(),
            task.vendor_id.as_ref().map(ToString::to_string),
            task.error.clone(),
            task.size,
            task.submitted_at.as_millisecond(),
            task.deadline.as_millisecond(),
            task.ended_at.map(Timestamp::as_millisecond),
        ],
    )
    .await?;
    Ok(())
}

/// The CDN's ids of a batch.
pub(super) fn task_ids(row: &Row) -> Result<Option<TaskIds>, StoreError> {
    let text = row.maybe_text("vendor_id")?;
    text.map(|text| parsed("vendor_id", &text, TaskIds::parse))
        .transpose()
}

fn task(row: &Row) -> Result<StoredTask, StoreError> {
    Ok(StoredTask {
        id: row.text("id")?,
        account: AccountId::new(row.text("account")?),
        cdn: row.text("cdn")?,
        kind: row.word("kind")?,
        mode: row.maybe_word("mode")?,
        state: row.word("state")?,
        vendor_id: task_ids(row)?,
        error: row.maybe_text("error")?,
        size: row.int("size")?,
        submitted_at: timestamp(row.int("submitted_at")?)?,
        deadline: timestamp(row.int("deadline")?)?,
        ended_at: row.maybe_int("ended_at")?.map(timestamp).transpose()?,
    })
}
