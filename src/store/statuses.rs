//! The statuses that commits should show, and those that were posted.

use std::time::Duration;

use jiff::Timestamp;

use super::database::{Row, Transaction, in_list, params};
use super::{Store, StoreError, Value, timestamp};
use crate::event::CommitId;
use crate::run::{Run, RunId, StatusState};

/// A status of a run, posted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStatus {
    /// Its number in the run.
    pub seq: i64,
    /// What the commit should show.
    pub state: StatusState,
    /// One line.
    pub description: String,
    /// When it was requested.
    pub wanted_at: Timestamp,
    /// When the forge accepted it.
    pub posted_at: Option<Timestamp>,
    /// Why the commit does not show it.
    pub error: Option<String>,
    /// Whether the forge refused it.
    pub refused: bool,
}

/// The result of posting a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posting {
    /// Posted: the commit shows it since this time.
    Posted(Timestamp),
    /// Not sent, or the commit keeps an earlier text, for this reason. This is not an error.
    Withheld(String),
    /// The forge refused it.
    Refused(String),
}

impl Store {
    /// A run's statuses, oldest first.
    pub async fn statuses(&self, run: &RunId) -> Result<Vec<StoredStatus>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT seq, state, description, wanted_at, posted_at, error, refused
                 FROM statuses WHERE run = $1 ORDER BY seq",
                params![&run.0],
            )
            .await?;
        rows.iter().map(status).collect()
    }

    /// The statuses that a site's runs requested for a commit, oldest first. Of a run that ended because its branch had
    /// moved on, only the posted ones count.
    pub async fn statuses_on(
        &self,
        site: &str,
        commit: &CommitId,
    ) -> Result<Vec<(RunId, StoredStatus)>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run, seq, statuses.state AS state, description, wanted_at, posted_at, error, refused
                 FROM statuses JOIN runs ON runs.id = statuses.run
                 WHERE commit_id = $1 AND site = $2
                     AND (posted_at IS NOT NULL OR runs.state <> 'superseded' OR covered_by IS NOT NULL)
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
        refused: row.int("refused")? != 0,
    })
}

/// How long a pending status waits for one that replaces it, to save a request.
const PENDING_DELAY: Duration = Duration::from_millis(300);
/// How long the status of a superseded run waits for the result of the newer run.
const SUPERSEDED_DELAY: Duration = Duration::from_secs(5);

/// When a status requested at `now` is posted.
pub(super) fn post_at(state: StatusState, now: Timestamp) -> Timestamp {
    match state {
        StatusState::Pending => now + PENDING_DELAY,
        StatusState::Success | StatusState::Failure | StatusState::Error => now,
    }
}

/// When the status of a run superseded at `now` is posted.
pub(super) fn post_superseded_at(now: Timestamp) -> Timestamp {
    now + SUPERSEDED_DELAY
}

/// How long the first status of a run that may not be for the head of its branch waits: the forge is asked for the head
/// until one minute has passed.
pub const DOUBTFUL_DELAY: Duration = Duration::from_secs(65);

/// When the first status of a run whose delivery came out of order at `now` is posted.
pub(super) fn post_doubtful_at(now: Timestamp) -> Timestamp {
    now + DOUBTFUL_DELAY
}

/// Inserts the first statuses of new runs.
pub(super) const INSERT: &str = "INSERT INTO statuses (run, seq, state, description, wanted_at)";

/// Why a status of a dry run is not posted.
pub const DRY_RUN_STATUS: &str = "not posted: the site is in dry-run mode";

/// The first status of a new run. A dry run has none; only its result matters.
pub(super) fn first(run: &Run, now: Timestamp) -> Option<Vec<Value>> {
    (!run.dry_run).then(|| {
        params![
            &run.id.0,
            1,
            StatusState::Pending.as_str(),
            &run.summary,
            now.as_millisecond()
        ]
    })
}

/// Records a status that the commit should show.
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

/// Records a status for the commits of several runs, and returns the runs to post it for. A dry run is included
/// only if one of its statuses was posted before.
pub(super) async fn want_all(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    state: StatusState,
    description: &str,
    now: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    let mut values = params![state.as_str(), description, now.as_millisecond()];
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "INSERT INTO statuses (run, seq, state, description, wanted_at)
         SELECT id, COALESCE((SELECT MAX(seq) FROM statuses WHERE statuses.run = runs.id), 0) + 1,
             $1, $2, $3
         FROM runs WHERE id IN ({listed}) AND (
             dry_run = 0
             OR EXISTS (
                 SELECT 1 FROM statuses WHERE statuses.run = runs.id AND posted_at IS NOT NULL))
         RETURNING run"
    );
    let rows = tx.query(&sql, values).await?;
    rows.iter().map(|row| Ok(RunId(row.text("run")?))).collect()
}

/// Records the status of a dry run. True if it must be posted, since an earlier status of the run was.
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

/// Records the result of posting a status.
pub(super) async fn posted(
    tx: &mut dyn Transaction,
    run: &RunId,
    seq: i64,
    posting: &Posting,
) -> Result<(), StoreError> {
    let (posted_at, error, refused) = match posting {
        Posting::Posted(at) => (Some(at.as_millisecond()), None, false),
        Posting::Withheld(why) => (None, Some(why.as_str()), false),
        Posting::Refused(why) => (None, Some(why.as_str()), true),
    };
    tx.execute(
        "UPDATE statuses SET posted_at = $3, error = $4, refused = $5 WHERE run = $1 AND seq = $2",
        params![&run.0, seq, posted_at, error, i64::from(refused)],
    )
    .await?;
    Ok(())
}
