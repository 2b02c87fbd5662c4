//! Claims due work under a lease.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::fair_selection::{Candidate, ClaimLimits, fair_selection};
use super::key::{KeyColumns, WorkKey, WorkKind};
use super::leases::{Lease, until};
use super::planning_runs::one_run_per_site;
use crate::purge::PurgeKind;
use crate::store::database::{Dialect, Row, Transaction, params, places};
use crate::store::{Store, StoreError, timestamp};

/// Due items that one claim examines, besides those that are running.
const CANDIDATES: i64 = 256;
/// Items per site that a claim examines if more than [`CANDIDATES`] are due.
const CANDIDATES_PER_SITE: i64 = 16;

/// A claimed work item.
#[derive(Clone, Debug)]
pub struct Work {
    /// What to do.
    pub key: WorkKey,
    /// When it became due.
    pub due_at: Timestamp,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// Whether the claim passed over a newer run of the site that has not planned yet and was due.
    pub passed_over_newer: bool,
    /// How often in a row it has failed.
    pub attempts: i64,
    /// Limits the number of running steps with the same key; none: no limit.
    pub concurrency_key: Option<String>,
    /// The right to run it.
    pub lease: Lease,
}

/// The result of a claim.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claimed items, oldest first.
    pub works: Vec<Work>,
    /// When the next work within the limits is due; for leased work, when its lease ends.
    pub next_due: Option<Timestamp>,
}

/// The oldest items that are due at `$1`, running or not.
const DUE: &str = "SELECT kind, subject, purge_kind, site, concurrency_key, due_at, lease_until
    FROM work WHERE due_at <= $1 ORDER BY due_at, kind, subject, purge_kind LIMIT $2";

/// The oldest items of each site that are due at `$1`: at most `$2` per site, and two runs that have not planned yet,
/// which tell that there are several. Skips from site to site in the index: no site is reached through another's items.
fn due_by_site(dialect: Dialect) -> String {
    const COLUMNS: &str =
        "kind, subject, purge_kind, work.site AS site, concurrency_key, due_at, lease_until";
    let unplanned = "kind = 'run' AND concurrency_key IS NOT NULL";
    let others = oldest_of_each_site(dialect, &format!("NOT ({unplanned})"), "$2");
    let unplanned = oldest_of_each_site(dialect, unplanned, "2");
    format!(
        "WITH RECURSIVE sites (site) AS (
             SELECT MIN(site) FROM work
             UNION ALL
             SELECT (SELECT MIN(site) FROM work WHERE work.site > sites.site)
             FROM sites WHERE sites.site IS NOT NULL)
         SELECT {COLUMNS} FROM sites {others}
         UNION ALL
         SELECT {COLUMNS} FROM sites {unplanned}
         ORDER BY due_at, kind, subject, purge_kind"
    )
}

/// Joins to each of `sites` the oldest items that are due and meet a condition.
fn oldest_of_each_site(dialect: Dialect, condition: &str, limit: &str) -> String {
    let of_site = |columns: &str| {
        format!(
            "SELECT {columns} FROM work AS of_site
             WHERE of_site.site = sites.site AND of_site.due_at <= $1 AND {condition}
             ORDER BY of_site.due_at LIMIT {limit}"
        )
    };
    match dialect {
        // It knows no LATERAL.
        Dialect::Sqlite => format!(
            "JOIN work ON (work.kind, work.subject, work.purge_kind) IN ({})",
            of_site("kind, subject, purge_kind")
        ),
        // It would run the subquery of the other form for each pair of a site and an item.
        Dialect::Postgres => format!("CROSS JOIN LATERAL ({}) AS work", of_site("*")),
    }
}

/// The steps that are planning at `$1`: only such a step of a run calls the forge, and so has a concurrency key.
const PLANNING: &str = "SELECT kind, subject, purge_kind, site, concurrency_key, due_at, lease_until
    FROM work WHERE lease IS NOT NULL AND lease_until > $1 AND kind = 'run' AND concurrency_key IS NOT NULL";

/// Reads the heads of two indexes: the first work item that is not running (after the few that are), and the first
/// lease to end.
const NEXT_DUE: &str = "SELECT MIN(due) AS due FROM (
        SELECT MIN(due_at) AS due FROM work WHERE lease IS NULL
        UNION ALL
        SELECT MIN(lease_until) FROM work WHERE lease IS NOT NULL) AS heads";

/// The due time of the first item that is not due at `$1`.
const LATER: &str = "SELECT MIN(due_at) AS due FROM work WHERE due_at > $1";

impl Store {
    /// Claims work that is due at `now`, until `now + lease` and within the limits: the oldest item of each site
    /// before the second of any, so that a busy site delays no other.
    pub async fn claim(
        &self,
        now: Timestamp,
        lease: Duration,
        token: &str,
        limits: impl Into<ClaimLimits>,
    ) -> Result<Claimed, StoreError> {
        // Most looks find nothing, so they must write nothing and wait for no lock.
        let next_due = self.next_due().await?;
        if next_due.is_none_or(|due| due > now) {
            let works = Vec::new();
            return Ok(Claimed { works, next_due });
        }
        let limits = limits.into();
        let mut tx = self.database.begin().await?;
        let due = due(&mut *tx, now).await?;
        let next = one_run_per_site(&mut *tx, now, due.free, &due.planning).await?;
        let (selected, left_out) = fair_selection(next.candidates, &limits);
        let next_due = [left_out, due.leased_until, due.later]
            .into_iter()
            .flatten()
            .min();
        let mut works = Vec::new();
        if !selected.is_empty() {
            works = lease_all(&mut *tx, &selected, token, now, until(now, lease)).await?;
        }
        for work in &mut works {
            if let WorkKey::Run(run) = &work.key {
                work.passed_over_newer = next.before_newer.contains(run);
            }
        }
        // Not `commit_soon`: steps read committed data and must see what this claim saw. Otherwise a step could
        // miss its run, or consume a request without seeing its cause.
        tx.commit().await?;
        works.sort_by(|one, other| (one.due_at, &one.key).cmp(&(other.due_at, &other.key)));
        Ok(Claimed {
            works,
            next_due: next_due.map(timestamp).transpose()?,
        })
    }

    /// When the next work is due, as of the last commit; for leased work, when its lease ends.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.database.read(NEXT_DUE, Vec::new()).await?;
        match rows.first() {
            Some(row) => row.maybe_int("due")?.map(timestamp).transpose(),
            None => Ok(None),
        }
    }
}

/// The items that are due, and the next times.
struct Due {
    /// Items that may be claimed.
    free: Vec<Candidate>,
    /// Sites for which a step is planning.
    planning: BTreeSet<String>,
    /// When the first lease of a running item ends.
    leased_until: Option<i64>,
    /// When the next item becomes due.
    later: Option<i64>,
}

async fn due(tx: &mut dyn Transaction, now: Timestamp) -> Result<Due, StoreError> {
    let now = now.as_millisecond();
    let mut rows = tx.query(DUE, params![now, CANDIDATES]).await?;
    if i64::try_from(rows.len()) == Ok(CANDIDATES) {
        let sql = due_by_site(tx.dialect());
        rows = tx.query(&sql, params![now, CANDIDATES_PER_SITE]).await?;
        rows.extend(tx.query(PLANNING, params![now]).await?);
    }
    let later = tx.query(LATER, params![now]).await?;
    let mut due = Due {
        free: Vec::with_capacity(rows.len()),
        planning: BTreeSet::new(),
        leased_until: None,
        later: match later.first() {
            Some(row) => row.maybe_int("due")?,
            None => None,
        },
    };
    for row in &rows {
        let leased_until = row.maybe_int("lease_until")?.filter(|until| *until > now);
        if let Some(until) = leased_until {
            due.leased_until = Some(due.leased_until.map_or(until, |first| first.min(until)));
        }
        let Ok(kind) = WorkKind::from_str(&row.text("kind")?) else {
            // Written by another version, or damaged: it must not block the rest.
            continue;
        };
        let purge_kind = row.text("purge_kind")?;
        let candidate = Candidate {
            key: KeyColumns {
                kind: kind.into(),
                subject: row.text("subject")?,
                purge_kind: PurgeKind::from_str(&purge_kind).map_or("", PurgeKind::as_str),
            },
            site: row.text("site")?,
            concurrency_key: row.maybe_text("concurrency_key")?,
            due_at: row.int("due_at")?,
        };
        match leased_until {
            None => due.free.push(candidate),
            Some(_) if candidate.unplanned_run().is_some() => {
                due.planning.insert(candidate.site);
            }
            Some(_) => {}
        }
    }
    Ok(due)
}

/// Leases items that are still free, until a time in milliseconds.
async fn lease_all(
    tx: &mut dyn Transaction,
    selected: &[Candidate],
    token: &str,
    now: Timestamp,
    until: i64,
) -> Result<Vec<Work>, StoreError> {
    let mut values = params![token, until, now.as_millisecond()];
    // The last one is repeated up to a power of two, so that few statements are prepared.
    let count = selected.len().next_power_of_two();
    let mut keys = Vec::with_capacity(count);
    for candidate in selected
        .iter()
        .chain(selected.last().into_iter().cycle())
        .take(count)
    {
        keys.push(format!("({})", places(values.len(), 3)));
        values.extend(candidate.key.values());
    }
    let sql = format!(
        "UPDATE work SET lease = $1, lease_until = $2
         WHERE (kind, subject, purge_kind) IN (
             SELECT kind, subject, purge_kind FROM work
             WHERE (kind, subject, purge_kind) IN (VALUES {})
                 AND due_at <= $3 AND (lease IS NULL OR lease_until <= $3)
             ORDER BY kind, subject, purge_kind {})
         RETURNING kind, subject, purge_kind, due_at, attempts, requests, concurrency_key",
        keys.join(", "),
        tx.dialect().skip_locked()
    );
    let rows = tx.query(&sql, values).await?;
    let work = |row: &Row| {
        let key = WorkKey::read(row)?;
        let lease = Lease {
            key: key.clone(),
            token: token.to_owned(),
            requests: row.int("requests")?,
        };
        Ok(Work {
            key,
            due_at: timestamp(row.int("due_at")?)?,
            claimed_at: now,
            passed_over_newer: false,
            attempts: row.int("attempts")?,
            concurrency_key: row.maybe_text("concurrency_key")?,
            lease,
        })
    };
    rows.iter().map(work).collect()
}
