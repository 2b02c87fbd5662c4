//! Taking away what ended long ago, a little at a time.
//!
//! A run goes in one transaction, with its statuses, its change set and the delivery
//! that asked for it, so that nobody ever sees a part of one. Its purges may be hundreds
//! of thousands: they follow some at a time, and a list of runs says whose.
//! Several replicas may do this at once; a process that dies amid it leaves nothing behind
//! that the next call does not find.

use jiff::Timestamp;

use super::database::{Row, Transaction, in_list, params};
use super::{Store, StoreError, retry_on_conflict};
use crate::run::RunId;

/// Runs that go in one transaction, each with a handful of other rows.
const RUNS: usize = 50;
/// Rows of other kinds that go in one transaction.
const ROWS: usize = 500;
/// How many of what ended first are looked at together. Databases guess badly how many of them have to
/// stay, and PostgreSQL would rather look at all there are, were it not told to begin with these.
const PAGE: usize = 200;
/// Bytes of bodies and change sets that go in one transaction, but for a single run with more:
/// a database has to visit each page of what it lets go.
const BYTES: i64 = 16 * 1024 * 1024;
/// How much younger than a run that has not ended another of its site is kept, in milliseconds:
/// what a run lets go of at its end depends on those that came at its time or later.
const NEAR: i64 = 24 * 60 * 60 * 1_000;

/// How much was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Runs, with their statuses and change sets.
    pub runs: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Purges.
    pub purges: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Removed {
    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, more: Self) {
        self.runs += more.runs;
        self.deliveries += more.deliveries;
        self.purges += more.purges;
        self.tasks += more.tasks;
    }
}

impl Store {
    /// Removes some of what ended before a moment, in one short transaction. Nothing is left
    /// where nothing was removed.
    ///
    /// A run stays, whatever its age, while something may still need it: while it has work, is
    /// the newest of its site or one of `keep`, does the work of another run that is
    /// kept, or has its own done by one that is under way, and while an older run of its site
    /// is. A delivery stays with its runs, and a task with its purges.
    pub async fn remove_ended(
        &self,
        before: Timestamp,
        keep: &[RunId],
    ) -> Result<Removed, StoreError> {
        retry_on_conflict(|| self.remove_at_once(before, keep)).await
    }

    async fn remove_at_once(
        &self,
        before: Timestamp,
        keep: &[RunId],
    ) -> Result<Removed, StoreError> {
        let mut tx = self.database.begin().await?;
        let mut removed = Removed {
            purges: purges(&mut *tx).await?,
            ..Removed::default()
        };
        if removed.is_nothing() {
            (removed.runs, removed.deliveries) = runs(&mut *tx, before, keep).await?;
        }
        if removed.is_nothing() {
            removed.tasks = tasks(&mut *tx, before).await?;
        }
        tx.commit().await?;
        Ok(removed)
    }
}

/// Removes purges whose runs are gone.
async fn purges(tx: &mut dyn Transaction) -> Result<u64, StoreError> {
    let rows = tx
        .query(
            "SELECT run FROM removals ORDER BY run LIMIT $1",
            params![int(RUNS)],
        )
        .await?;
    let (mut removed, most) = (0, u64::try_from(ROWS).unwrap_or(u64::MAX));
    for row in rows {
        let run = row.text("run")?;
        let room = most - removed;
        let gone = tx
            .execute(
                "DELETE FROM purges WHERE run = $1 AND seq IN (
                     SELECT seq FROM purges WHERE run = $1 ORDER BY seq LIMIT $2)",
                params![&run, i64::try_from(room).unwrap_or(i64::MAX)],
            )
            .await?;
        removed += gone;
        if removed >= most {
            break;
        }
        tx.execute("DELETE FROM removals WHERE run = $1", params![&run])
            .await?;
    }
    Ok(removed)
}

/// A place in the order in which things ended.
#[derive(Default)]
struct Place {
    ended_at: i64,
    id: String,
}

impl Place {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            ended_at: row.int("ended_at")?,
            id: row.text("id")?,
        })
    }
}

/// The next runs in the order in which they ended, with whether each may go.
async fn runs_after(
    tx: &mut dyn Transaction,
    after: &Place,
    before: Timestamp,
    keep: &[RunId],
) -> Result<Vec<Row>, StoreError> {
    let mut values = params![before.as_millisecond(), NEAR, after.ended_at, &after.id];
    let kept = in_list(&mut values, keep.iter().map(|run| run.0.as_str()));
    let sql = format!(
        "SELECT page.id, page.ended_at, CAST(
             COALESCE(octet_length(body), 0) + COALESCE(octet_length(files), 0)
             + COALESCE((
                 SELECT SUM(octet_length(block)) FROM body_blocks
                 WHERE body_blocks.delivery = page.delivery), 0) AS BIGINT) AS bytes,
             CAST(CASE WHEN
                 (under_way.since IS NULL OR page.created_at + $2 < under_way.since)
                 AND (
                     EXISTS (
                         SELECT 1 FROM runs
                         WHERE runs.site = page.site AND runs.id > page.id AND runs.state <> 'pending')
                     OR EXISTS (
                         SELECT 1 FROM runs
                         WHERE runs.site = page.site AND runs.id > page.id AND runs.state = 'pending'))
                 AND page.id NOT IN ({kept})
                 AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.covered_by = page.id)
                 AND NOT EXISTS (
                     SELECT 1 FROM runs
                     WHERE runs.id = page.covered_by AND runs.state = 'pending')
                 AND NOT EXISTS (
                     SELECT 1 FROM work
                     WHERE work.kind IN ('run', 'status') AND work.subject = page.id AND work.purge_kind = '')
             THEN 1 ELSE 0 END AS BIGINT) AS removable
         FROM (
             SELECT id, site, delivery, created_at, ended_at, covered_by FROM runs
             WHERE ended_at < $1 AND state <> 'pending'
                 AND ended_at >= $3 AND (ended_at > $3 OR id > $4)
             ORDER BY ended_at, id LIMIT {PAGE}) AS page
         LEFT JOIN (
             SELECT site, MIN(created_at) AS since FROM runs
             WHERE state = 'pending' GROUP BY site) AS under_way ON under_way.site = page.site
         LEFT JOIN deliveries ON deliveries.id = page.delivery
         LEFT JOIN run_changes ON run_changes.run = page.id
         ORDER BY page.ended_at, page.id"
    );
    tx.query(&sql, values).await
}

/// Removes runs with all that is theirs, and what asked for them: how many runs and deliveries.
async fn runs(
    tx: &mut dyn Transaction,
    before: Timestamp,
    keep: &[RunId],
) -> Result<(u64, u64), StoreError> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    let mut after = Place::default();
    'pages: loop {
        let page = runs_after(tx, &after, before, keep).await?;
        for row in &page {
            if row.int("removable")? == 0 {
                continue;
            }
            bytes += row.int("bytes")?;
            if !some.is_empty() && bytes > BYTES {
                break 'pages;
            }
            some.push(row.text("id")?);
            if some.len() == RUNS {
                break 'pages;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Place::of(last)?,
            _ => break,
        }
    }
    if some.is_empty() {
        return Ok((0, 0));
    }
    // Somebody may be trying one again at this moment: it is pending then, and stays.
    let mut values = Vec::new();
    let listed = in_list(&mut values, some.iter().map(String::as_str));
    let rows = tx
        .query(
            &format!(
                "SELECT id, delivery FROM runs WHERE id IN ({listed}) AND state <> 'pending' ORDER BY id {}",
                tx.dialect().for_update()
            ),
            values,
        )
        .await?;
    let (mut ended, mut deliveries) = (Vec::new(), Vec::new());
    for row in &rows {
        ended.push(row.text("id")?);
        deliveries.extend(row.maybe_text("delivery")?);
    }
    if ended.is_empty() {
        return Ok((0, 0));
    }
    let mut values = Vec::new();
    let listed = in_list(&mut values, ended.iter().map(String::as_str));
    for of_run in [
        "INSERT INTO removals (run) SELECT DISTINCT run FROM purges WHERE run IN",
        "DELETE FROM statuses WHERE run IN",
        "DELETE FROM run_changes WHERE run IN",
        "DELETE FROM given_up WHERE run IN",
    ] {
        tx.execute(&format!("{of_run} ({listed})"), values.clone())
            .await?;
    }
    tx.execute(
        &format!(
            "DELETE FROM newest_runs WHERE run IN ({listed})
                 AND (site, git_ref) IN (SELECT site, git_ref FROM runs WHERE id IN ({listed}))"
        ),
        values.clone(),
    )
    .await?;
    let runs = tx
        .execute(&format!("DELETE FROM runs WHERE id IN ({listed})"), values)
        .await?;
    if deliveries.is_empty() {
        return Ok((runs, 0));
    }
    let mut values = Vec::new();
    let listed = in_list(&mut values, deliveries.iter().map(String::as_str));
    tx.execute(
        &format!(
            "DELETE FROM newest_deliveries WHERE delivery IN ({listed})
                 AND (forge, ordering_key) IN (
                     SELECT forge, ordering_key FROM deliveries WHERE id IN ({listed}))"
        ),
        values.clone(),
    )
    .await?;
    let deliveries = tx
        .execute(
            &format!(
                "DELETE FROM deliveries WHERE id IN ({listed})
                     AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.delivery = deliveries.id)"
            ),
            values.clone(),
        )
        .await?;
    tx.execute(
        &format!(
            "DELETE FROM body_blocks WHERE delivery IN ({listed})
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.id = body_blocks.delivery)"
        ),
        values,
    )
    .await?;
    Ok((runs, deliveries))
}

/// Removes batches that are over and that no purge names.
async fn tasks(tx: &mut dyn Transaction, before: Timestamp) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT id, ended_at, CAST(CASE
             WHEN EXISTS (SELECT 1 FROM purges WHERE purges.task = page.id) THEN 0
             ELSE 1 END AS BIGINT) AS removable
         FROM (
             SELECT id, ended_at FROM tasks
             WHERE ended_at < $1 AND state = 'ended'
                 AND ended_at >= $2 AND (ended_at > $2 OR id > $3)
             ORDER BY ended_at, id LIMIT {PAGE}) AS page
         ORDER BY ended_at, id"
    );
    let mut after = Place::default();
    loop {
        let values = params![before.as_millisecond(), after.ended_at, &after.id];
        let page = tx.query(&sql, values).await?;
        let mut some = Vec::new();
        for row in &page {
            if row.int("removable")? != 0 {
                some.push(row.text("id")?);
            }
        }
        if !some.is_empty() {
            let mut values = Vec::new();
            let listed = in_list(&mut values, some.iter().map(String::as_str));
            return tx
                .execute(&format!("DELETE FROM tasks WHERE id IN ({listed})"), values)
                .await;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Place::of(last)?,
            _ => return Ok(0),
        }
    }
}

fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
