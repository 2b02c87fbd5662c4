//! Removes what ended long ago, in small transactions.
//!
//! A run is removed in one transaction with its statuses, its change set and its delivery, so that no reader sees
//! part of it. It may have hundreds of thousands of purges: these are removed later, in portions, and the table
//! `removals` lists the runs they belong to. Several replicas may do this at once. If a process dies in between,
//! the next call continues.

use jiff::Timestamp;

use super::database::{Row, Transaction, in_list, params};
use super::{Store, StoreError, retry_on_conflict};
use crate::run::RunId;

/// Runs removed per transaction, each with a handful of other rows.
const RUNS: usize = 50;
/// Other rows removed per transaction.
const ROWS: usize = 500;
/// How many candidates are examined at a time, oldest first. Databases estimate badly how many of them must stay;
/// without this limit, PostgreSQL prefers to read all of them.
const PAGE: usize = 200;
/// Bytes of bodies and change sets removed per transaction, unless a single run has more: the database has to visit
/// every page that it frees.
const BYTES: i64 = 16 * 1024 * 1024;
/// A run is kept if it was created less than this (in milliseconds) before a pending run of its site: which commits
/// that run releases at its end depends on runs of about its age or younger.
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
    /// Whether nothing was removed.
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
    /// Removes some of the rows that ended before a given time, in one short transaction. If it removes nothing,
    /// nothing is left to remove.
    ///
    /// A run is kept, whatever its age,
    /// - while it has work,
    /// - if it is the newest of its site or in `keep`,
    /// - while another run that it superseded is kept, or the run that superseded it is pending,
    /// - if it was created less than 24 hours before, or after, a pending run of its site.
    ///
    /// A delivery is kept with its runs, and a task with its purges.
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

/// Removes purges of removed runs.
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

/// A position in the order of end times.
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

/// The next runs in the order in which they ended, and whether each may be removed.
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

/// Removes runs with their rows and deliveries; returns the number of runs and of deliveries.
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
    // A run may have just been retried: it is pending again and stays.
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

/// Removes batches that have ended and have no purges left.
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
