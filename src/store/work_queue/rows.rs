//! Queue rows that a step's commit changes besides its own.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::key::{KeyColumns, WorkKey};
use crate::run::{Run, RunId, RunStep};
use crate::store::StoreError;
use crate::store::database::{Transaction, in_list, params, places};

/// Removes the concurrency limit from a run that no longer calls its forge.
pub(in crate::store) async fn step_changed(
    tx: &mut dyn Transaction,
    run: &Run,
) -> Result<(), StoreError> {
    match run.step {
        RunStep::Changes | RunStep::Ended => Ok(()),
        RunStep::Purging => {
            let values = WorkKey::Run(run.id.clone()).columns().values();
            tx.execute(
                "UPDATE work SET concurrency_key = NULL
                 WHERE kind = $1 AND subject = $2 AND purge_kind = $3",
                values.into(),
            )
            .await?;
            Ok(())
        }
    }
}

/// Removes the work items of runs that no process is running at `now`, and returns these runs. If a process whose lease
/// is over goes on after all, it finds its item gone and writes nothing.
pub(in crate::store) async fn remove_free_runs(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    now: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    let mut values = params![now.as_millisecond()];
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "DELETE FROM work WHERE kind = 'run' AND purge_kind = ''
             AND (lease IS NULL OR lease_until <= $1) AND subject IN ({listed}) RETURNING subject"
    );
    let rows = tx.query(&sql, values).await?;
    let subjects = rows.iter().map(|row| Ok(RunId(row.text("subject")?)));
    subjects.collect()
}

/// Locks the rows of items in one order, so that two commits that enqueue each other's items cannot deadlock.
pub(in crate::store) async fn lock(
    tx: &mut dyn Transaction,
    keys: BTreeSet<KeyColumns>,
) -> Result<(), StoreError> {
    let mut values = Vec::with_capacity(keys.len() * 3);
    let mut listed = Vec::with_capacity(keys.len());
    for key in keys {
        listed.push(format!("({})", places(values.len(), 3)));
        values.extend(key.values());
    }
    let sql = format!(
        "SELECT kind FROM work WHERE (kind, subject, purge_kind) IN (VALUES {})
         ORDER BY kind, subject, purge_kind {}",
        listed.join(", "),
        tx.dialect().for_update()
    );
    tx.query(&sql, values).await?;
    Ok(())
}
