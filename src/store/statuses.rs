//! What commits should show, and what they were told.

use jiff::Timestamp;

use super::database::{Row, Transaction, params};
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
pub(super) const INSERT: &str = "INSERT INTO statuses (run, seq, state, description, wanted_at)";

/// What a new run's commit should show.
pub(super) fn first(run: &Run, now: Timestamp) -> Vec<Value> {
    params![
        &run.id.0,
        1,
        StatusState::Pending.as_str(),
        &run.summary,
        now.as_millisecond()
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
