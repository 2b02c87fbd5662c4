//! Superseded runs, and the run that does their work.

use jiff::Timestamp;

use super::row::{self, COLUMNS};
use super::rows::find;
use crate::run::{Run, RunId};
use crate::store::database::{Row, Transaction, in_list, params};
use crate::store::{Store, StoreError};

/// The start of a statement that uses `covered`: the ids of the runs that those with the placeholders `by` superseded,
/// directly or through others.
fn with_covered(by: &str) -> String {
    format!(
        "WITH RECURSIVE covered (id) AS (
             SELECT runs.id FROM runs WHERE runs.covered_by IN ({by})
             UNION
             SELECT runs.id FROM runs JOIN covered ON runs.covered_by = covered.id)"
    )
}

impl Store {
    /// The runs that other runs superseded, directly or through others.
    pub async fn covered_by(
        &self,
        ids: impl IntoIterator<Item = &RunId>,
    ) -> Result<Vec<Run>, StoreError> {
        let mut values = Vec::new();
        let listed = in_list(&mut values, ids.into_iter().map(|id| &id.0));
        let covered = with_covered(&listed);
        let sql = format!(
            "{covered} SELECT {COLUMNS} FROM runs WHERE id IN (SELECT covered.id FROM covered) ORDER BY id"
        );
        let rows = self.database.read(&sql, values).await?;
        rows.iter().map(row::run).collect()
    }

    /// Whether a run superseded others.
    pub async fn covers_others(&self, id: &RunId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 AS covered FROM runs WHERE covered_by = $1 LIMIT 1";
        let rows = self.database.read(sql, params![&id.0]).await?;
        Ok(!rows.is_empty())
    }
}

/// Makes a run the direct successor of all runs that it superseded through others.
pub(in crate::store) async fn cover(
    tx: &mut dyn Transaction,
    id: &RunId,
) -> Result<(), StoreError> {
    let covered = with_covered("$1");
    let sql = format!(
        "{covered} UPDATE runs SET covered_by = $1, revision = revision + 1
         WHERE id IN (SELECT covered.id FROM covered) AND covered_by <> $1"
    );
    tx.execute(&sql, params![&id.0]).await?;
    Ok(())
}

/// Ends runs that have not planned yet as superseded by `by`, and returns them. Runs in another state are not
/// changed.
pub(in crate::store) async fn supersede(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    by: &RunId,
    summary: &str,
    now: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    let mut values = params![&by.0, summary, now.as_millisecond()];
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "UPDATE runs SET state = 'superseded', step = 'ended', covered_by = $1, summary = $2, ended_at = $3,
             wait_reason = NULL, revision = revision + 1
         WHERE state = 'pending' AND step = 'changes' AND id IN ({listed}) RETURNING id"
    );
    ids(tx.query(&sql, values).await?)
}

/// Gives the runs that `by` superseded the summary of its result, and returns them.
pub(in crate::store) async fn conclude_superseded(
    tx: &mut dyn Transaction,
    by: &RunId,
    summary: &str,
    dry_run: bool,
) -> Result<Vec<RunId>, StoreError> {
    let covered = with_covered("$1");
    let sql = format!(
        "{covered} UPDATE runs SET covered_by = $1, summary = $2, dry_run = $3, revision = revision + 1
         WHERE id IN (SELECT covered.id FROM covered) RETURNING id"
    );
    let values = params![&by.0, summary, i64::from(dry_run)];
    ids(tx.query(&sql, values).await?)
}

fn ids(rows: Vec<Row>) -> Result<Vec<RunId>, StoreError> {
    rows.iter().map(|row| Ok(RunId(row.text("id")?))).collect()
}

/// The run itself, or the run that does its work if it was superseded.
pub(in crate::store) async fn that_covers(
    tx: &mut dyn Transaction,
    run: Run,
) -> Result<Run, StoreError> {
    let mut run = run;
    while let Some(cover) = run.covered_by.clone() {
        match find(tx, &cover).await? {
            Some(covering) => run = covering,
            None => break,
        }
    }
    Ok(run)
}
