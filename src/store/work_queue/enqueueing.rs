//! Enqueues work for a given time.

use std::time::Duration;

use jiff::Timestamp;

use super::key::{WorkKey, forge_key};
use crate::run::{Arrival, Run, RunId, StatusState};
use crate::store::database::{Transaction, Value, in_list, params};
use crate::store::{Store, StoreError, milliseconds, purge_queue, retry_on_conflict, statuses};

impl Store {
    /// Enqueues work outside any step.
    pub async fn ask(&self, key: &WorkKey, at: Timestamp) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            enqueue(&mut *tx, key, at).await?;
            tx.notify().await?;
            tx.commit().await
        })
        .await
    }

    /// Returns once another process may have left due work; see
    /// [`Database::notified`](crate::store::Database::notified).
    pub async fn notified(&self) -> Result<(), StoreError> {
        self.database.notified().await
    }

    /// Brings future work and open circuits forward by a duration, but to `latest` at the latest. Used after a
    /// clock that set their times was set back. Running early does no harm.
    pub async fn bring_forward(
        &self,
        now: Timestamp,
        by: Duration,
        latest: Timestamp,
    ) -> Result<(), StoreError> {
        let by = milliseconds(by);
        let mut tx = self.database.begin().await?;
        for (table, time) in [("work", "due_at"), ("outages", "until")] {
            tx.execute(
                &format!(
                    "UPDATE {table}
                     SET {time} = CASE WHEN {time} - $1 < $2 THEN {time} - $1 ELSE $2 END
                     WHERE {time} > $3 AND ({time} > $2 OR $1 > 0)"
                ),
                params![by, latest.as_millisecond(), now.as_millisecond()],
            )
            .await?;
        }
        tx.commit().await
    }
}

/// Enqueues an item for `at`, or leaves it if it is due earlier. A postponed item stays postponed.
pub(in crate::store) async fn enqueue(
    tx: &mut dyn Transaction,
    key: &WorkKey,
    at: Timestamp,
) -> Result<(), StoreError> {
    let mut values = Vec::from(key.columns().values());
    values.push(at.as_millisecond().into());
    let row = match (key, key.site()) {
        // Only a run's first step calls the forge; a run that waits for its purges does not.
        (WorkKey::Run(_), _) => {
            "SELECT $1, id, $3, site, CASE WHEN step = 'changes' THEN 'forge ' || forge END, $4, 0, 1
             FROM runs WHERE id = $2"
        }
        (WorkKey::Status(_), _) => {
            "SELECT $1, id, $3, site, 'forge ' || forge, $4, 0, 1 FROM runs WHERE id = $2"
        }
        (_, site) => {
            values.extend(params![site.unwrap_or_default(), key.concurrency_key()]);
            "VALUES ($1, $2, $3, $5, $6, $4, 0, 1)"
        }
    };
    // WHERE TRUE: otherwise SQLite parses ON CONFLICT as the ON of a join.
    let sql = format!(
        "INSERT INTO work (kind, subject, purge_kind, site, concurrency_key, due_at, attempts, requests)
         {row}
         ON CONFLICT (kind, subject, purge_kind) DO UPDATE SET
             concurrency_key = excluded.concurrency_key,
             due_at = CASE WHEN work.firm = 1 OR work.due_at < excluded.due_at
                 THEN work.due_at ELSE excluded.due_at END,
             requests = work.requests + 1"
    );
    tx.execute(&sql, values).await?;
    Ok(())
}

/// The queue rows for a new run's first step, which is due at `start_at`, and, unless it is a dry run, for its status.
pub(in crate::store) fn new_rows(run: &Run, start_at: Timestamp) -> Vec<Vec<Value>> {
    let row = |key: WorkKey, at: Timestamp| {
        let mut values = Vec::from(key.columns().values());
        values.extend(params![
            &run.site,
            forge_key(&run.forge),
            at.as_millisecond(),
            0,
            1
        ]);
        values
    };
    let mut rows = vec![row(WorkKey::Run(run.id.clone()), start_at)];
    if !run.dry_run {
        let at = match run.arrival {
            Arrival::InOrder => statuses::post_at(StatusState::Pending, start_at),
            // Its commit may have nothing to do with it.
            Arrival::OutOfOrder | Arrival::Repeated => statuses::post_doubtful_at(start_at),
        };
        rows.push(row(WorkKey::Status(run.id.clone()), at));
    }
    rows
}

/// Inserts the rows of new runs, which cannot exist yet.
pub(in crate::store) const INSERT: &str = "INSERT INTO work (kind, subject, purge_kind, site, concurrency_key, due_at, attempts, requests)";

/// Enqueues the statuses of runs for `at`, replacing any earlier due time.
pub(in crate::store) async fn enqueue_statuses(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    at: Timestamp,
) -> Result<(), StoreError> {
    if runs.is_empty() {
        return Ok(());
    }
    let mut values = params![at.as_millisecond()];
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "INSERT INTO work (kind, subject, purge_kind, site, concurrency_key, due_at, attempts, requests)
         SELECT 'status', id, '', site, 'forge ' || forge, $1, 0, 1 FROM runs WHERE id IN ({listed})
         ORDER BY id
         ON CONFLICT (kind, subject, purge_kind) DO UPDATE SET
             due_at = CASE WHEN work.firm = 1 THEN work.due_at ELSE excluded.due_at END,
             requests = work.requests + 1"
    );
    tx.execute(&sql, values).await?;
    Ok(())
}

/// Enqueues the submission of each queue in which a run has planned purges.
pub(in crate::store) async fn enqueue_submits(
    tx: &mut dyn Transaction,
    run: &RunId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (account, kind) in purge_queue::planned_queues(tx, run).await? {
        enqueue(tx, &WorkKey::Submit { account, kind }, now).await?;
    }
    Ok(())
}
