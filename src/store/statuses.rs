//! What commits should show, and what they were told.

use jiff::Timestamp;

use super::database::{Row, Transaction, params, places};
use super::{Store, StoreError, Value, timestamp};
use crate::event::CommitId;
use crate::run::{Run, RunId, StatusState};

/// A status of a run: wanted, and posted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStatus {
    /// Its number in the run.
    pub seq: i64,
    /// What the commit should show.
    pub state: StatusState,
    /// One line.
    pub description: String,
    /// When it was wanted.
    pub wanted_at: Timestamp,
    /// When the forge took it.
    pub posted_at: Option<Timestamp>,
    /// Why the forge did not take it.
    pub error: Option<String>,
}

impl Store {
    /// A run's statuses, oldest first.
    pub async fn statuses(&self, run: &RunId) -> Result<Vec<StoredStatus>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT seq, state, description, wanted_at, posted_at, error
                 FROM statuses WHERE run = $1 ORDER BY seq",
                params![&run.0],
            )
            .await?;
        rows.iter().map(status).collect()
    }

    /// What all runs of a site wanted a commit to show, oldest wish first.
    pub async fn statuses_on(
        &self,
        site: &str,
        commit: &CommitId,
    ) -> Result<Vec<(RunId, StoredStatus)>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run, seq, statuses.state AS state, description, wanted_at, posted_at, error
                 FROM statuses JOIN runs ON runs.id = statuses.run
                 WHERE commit_id = $1 AND site = $2
                 ORDER BY wanted_at, run, seq",
                params![commit.as_str(), site],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((RunId(row.text("run")?), status(row)?)))
            .collect()
    }
}

fn status(row: &Row) -> Result<StoredStatus, StoreError> {
    Ok(StoredStatus {
        seq: row.int("seq")?,
        state: row.word("state")?,
        description: row.text("description")?,
        wanted_at: timestamp(row.int("wanted_at")?)?,
        posted_at: row.maybe_int("posted_at")?.map(timestamp).transpose()?,
        error: row.maybe_text("error")?,
    })
}

/// Inserts the first statuses of new runs.
pub(super) const INSERT: &str =
    "INSERT INTO statuses (run, seq, state, description, wanted_at, error)";

/// Why a status of a dry run is not posted.
pub const DRY_RUN_STATUS: &str = "not posted: the site is in dry-run mode";

/// What a new run's commit should show.
pub(super) fn first(run: &Run, now: Timestamp) -> Vec<Value> {
    params![
        &run.id.0,
        1,
        StatusState::Pending.as_str(),
        &run.summary,
        now.as_millisecond(),
        run.dry_run.then_some(DRY_RUN_STATUS)
    ]
}

/// Notes what the commit should show from now on.
pub(super) async fn want(
    tx: &mut dyn Transaction,
    run: &RunId,
    state: StatusState,
    description: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO statuses (run, seq, state, description, wanted_at)
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4 FROM statuses WHERE run = $1",
        params![&run.0, state.as_str(), description, now.as_millisecond()],
    )
    .await?;
    Ok(())
}

/// Notes what the commits of several runs should show from now on.
pub(super) async fn want_all(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    state: StatusState,
    description: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if runs.is_empty() {
        return Ok(());
    }
    let mut values = params![
        state.as_str(),
        description,
        now.as_millisecond(),
        DRY_RUN_STATUS
    ];
    let count = values.len();
    values.extend(runs.iter().map(|run| Value::from(&run.0)));
    let sql = format!(
        "INSERT INTO statuses (run, seq, state, description, wanted_at, error)
         SELECT id, COALESCE((SELECT MAX(seq) FROM statuses WHERE statuses.run = runs.id), 0) + 1,
             $1, $2, $3, CASE WHEN dry_run = 1 THEN $4 END
         FROM runs WHERE id IN ({})",
        places(count, runs.len())
    );
    tx.execute(&sql, values).await?;
    Ok(())
}

/// Notes what a dry run's commit would show. It is to be posted only where another status of the run was: true then.
pub(super) async fn want_dry(
    tx: &mut dyn Transaction,
    run: &RunId,
    state: StatusState,
    description: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let rows = tx
        .query(
            "INSERT INTO statuses (run, seq, state, description, wanted_at, error)
             SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4,
                 CASE WHEN COUNT(posted_at) = 0 THEN $5 END
             FROM statuses WHERE run = $1 RETURNING error",
            params![
                &run.0,
                state.as_str(),
                description,
                now.as_millisecond(),
                DRY_RUN_STATUS
            ],
        )
        .await?;
    let withheld = rows
        .first()
        .map(|row| row.maybe_text("error"))
        .transpose()?;
    Ok(withheld.flatten().is_none())
}

/// Notes that the forge took a status, or why it did not.
pub(super) async fn posted(
    tx: &mut dyn Transaction,
    run: &RunId,
    seq: i64,
    posted_at: Option<Timestamp>,
    error: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE statuses SET posted_at = $3, error = $4 WHERE run = $1 AND seq = $2",
        params![&run.0, seq, posted_at.map(Timestamp::as_millisecond), error],
    )
    .await?;
    Ok(())
}
