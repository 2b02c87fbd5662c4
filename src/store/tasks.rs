//! Tasks: the batches that purges travel in.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::database::{Row, Transaction, params};
use super::{Store, StoreError, parsed, timestamp};
use crate::account::AccountId;
use crate::purge::{Mode, PurgeKind, TaskId, TaskIds};
use crate::run::RunId;

/// How a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// On its way; whether the CDN took it is not known yet.
    Submitting,
    /// Taken by the CDN.
    Running,
    /// Over.
    Ended,
}

impl TaskState {
    /// The word for it in the database and in an export.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A batch that was handed to a CDN, or is about to be.
#[derive(Clone, Debug)]
pub struct StoredTask {
    /// Our own id of it.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// What is to be done with its purges.
    pub kind: PurgeKind,
    /// For directories: how.
    pub mode: Option<Mode>,
    /// How it stands.
    pub state: TaskState,
    /// What the CDN calls it, once that is known.
    pub vendor_id: Option<TaskIds>,
    /// What went wrong with it.
    pub error: Option<String>,
    /// How many targets were handed over.
    pub size: i64,
    /// When the request went out.
    pub submitted_at: Timestamp,
    /// When it must be over.
    pub deadline: Timestamp,
    /// When it was over.
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

    /// The tasks that a run's purges are in, oldest first.
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

    /// Whether an account has tasks under way of which the CDN told no id.
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

    /// The CDN's ids of the tasks that an account's batches since a moment are known to be.
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

    /// How many targets of one kind an account was handed since a moment, and
    /// may have taken.
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

/// What the CDN calls a batch.
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
