//! Writes runs within other transactions.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::row::{COLUMNS, INSERT, bases_text, list_text, ref_text, run, values, wait_reason_text};
use crate::changes::Completeness;
use crate::run::{Run, RunId, WaitReason};
use crate::store::StoreError;
use crate::store::database::{Transaction, in_list, insert_rows, params};

/// Inserts new runs.
pub(in crate::store) async fn insert<'r>(
    tx: &mut dyn Transaction,
    runs: impl Iterator<Item = &'r Run>,
) -> Result<(), StoreError> {
    let (mut rows, mut newest) = (Vec::new(), BTreeMap::new());
    for run in runs {
        rows.push(values(run));
        let at = newest.entry((&run.site, ref_text(run))).or_insert(&run.id);
        *at = (*at).max(&run.id);
    }
    insert_rows(tx, INSERT, "", rows).await?;
    let newest = newest.into_iter();
    let newest = newest.map(|((site, git_ref), run)| params![site, git_ref, &run.0]);
    insert_rows(tx, INSERT_NEWEST, IF_NEWER, newest.collect()).await
}

const INSERT_NEWEST: &str = "INSERT INTO newest_runs (site, git_ref, run)";
const IF_NEWER: &str = "ON CONFLICT (site, git_ref) DO UPDATE SET run = excluded.run
    WHERE newest_runs.run < excluded.run";

/// Updates a run that was read before. Fails without writing if the row has changed since.
pub(in crate::store) async fn update(
    tx: &mut dyn Transaction,
    run: &Run,
) -> Result<(), StoreError> {
    let updated = tx.execute(
        "UPDATE runs SET state = $2, step = $3, summary = $4, proof = $5, deadline = $6, ended_at = $7,
             problems = $8, commit_id = $9, covered_by = $10, bases = $11, held_version = $12,
             dry_run = $13, notes = $14, wait_reason = $15, revision = revision + 1
         WHERE id = $1 AND revision = $16",
        params![
            &run.id.0,
            run.state.as_str(),
            run.step.as_str(),
            &run.summary,
            run.proof.map(Completeness::as_str),
            run.deadline.as_millisecond(),
            run.ended_at.map(Timestamp::as_millisecond),
            list_text(&run.problems),
            run.commit.as_str(),
            run.covered_by.as_ref().map(|id| id.0.clone()),
            bases_text(&run.bases),
            run.held_version,
            i64::from(run.dry_run),
            list_text(&run.notes),
            run.waits_for.as_ref().map(wait_reason_text),
            run.revision,
        ],
    )
    .await?;
    match updated {
        0 => Err(StoreError::Outdated),
        _ => Ok(()),
    }
}

/// Records what a pending run waits for. False if the run has ended.
pub(in crate::store) async fn wait(
    tx: &mut dyn Transaction,
    id: &RunId,
    reason: &WaitReason,
    summary: &str,
    deadline: Timestamp,
) -> Result<bool, StoreError> {
    let waiting = tx
        .execute(
            "UPDATE runs SET wait_reason = $2, summary = $3, deadline = $4, revision = revision + 1
             WHERE id = $1 AND state = 'pending'",
            params![
                &id.0,
                wait_reason_text(reason),
                summary,
                deadline.as_millisecond()
            ],
        )
        .await?;
    Ok(waiting > 0)
}

/// Reads a run and locks its row until the transaction ends.
pub(in crate::store) async fn find(
    tx: &mut dyn Transaction,
    id: &RunId,
) -> Result<Option<Run>, StoreError> {
    let rows = tx
        .query(
            &format!(
                "SELECT {COLUMNS} FROM runs WHERE id = $1 {}",
                tx.dialect().for_update()
            ),
            params![&id.0],
        )
        .await?;
    rows.first().map(run).transpose()
}

/// Those of these runs that exist and can be read. A damaged row is left to its own step, which reports it.
pub(in crate::store) async fn readable<'r>(
    tx: &mut dyn Transaction,
    ids: impl Iterator<Item = &'r RunId>,
) -> Result<BTreeMap<RunId, Run>, StoreError> {
    let mut values = Vec::new();
    let listed = in_list(&mut values, ids.map(|id| &id.0));
    let sql = format!("SELECT {COLUMNS} FROM runs WHERE id IN ({listed})");
    let rows = tx.query(&sql, values).await?;
    let runs = rows.iter().filter_map(|row| run(row).ok());
    Ok(runs.map(|run| (run.id.clone(), run)).collect())
}

/// The runs of a delivery, locked like [`find`].
pub(in crate::store) async fn of_delivery(
    tx: &mut dyn Transaction,
    delivery: &str,
) -> Result<Vec<Run>, StoreError> {
    let rows = tx
        .query(
            &format!(
                "SELECT {COLUMNS} FROM runs WHERE delivery = $1 ORDER BY id {}",
                tx.dialect().for_update()
            ),
            params![delivery],
        )
        .await?;
    rows.iter().map(run).collect()
}
