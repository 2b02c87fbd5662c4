//! The queue: what is to be done next, and when.
//!
//! A work item is claimed under a lease, its step is done, and one commit writes
//! the outcome (`writes.rs`) and what becomes of the item. A commit whose lease has
//! passed on changes nothing. A wish for an item that is in hand is remembered: the item
//! is then due again at once instead of being removed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::database::{Transaction, Value, params};
use super::{Store, StoreError, purge_queue, retry_on_conflict, timestamp};
use crate::purge::PurgeKind;
use crate::run::RunId;

/// What a work item is about; there is at most one item for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKey {
    /// Taking a run one step on.
    Run(RunId),
    /// Telling the forge how a run stands.
    Status(RunId),
    /// Handing an account's planned purges of one kind to its CDN.
    Submit {
        /// The account, as its CDN names it.
        account: String,
        /// The kind of purge: each is an action of its own, with a rate of its own.
        kind: PurgeKind,
    },
    /// Looking whether a site's branch or environment moved without anyone saying so.
    Reconcile {
        /// The site.
        site: String,
    },
    /// Taking away what is older than it is kept for.
    Remove,
    /// Asking a CDN how an account's tasks of one kind stand.
    Follow {
        /// The account, as its CDN names it.
        account: String,
        /// The kind of purge.
        kind: PurgeKind,
    },
}

/// The one item that is about nothing in particular.
const REMOVE: &str = "remove";

impl WorkKey {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Run(run) => format!("run {run}"),
            Self::Status(run) => format!("status {run}"),
            Self::Reconcile { site } => format!("reconcile {site}"),
            Self::Remove => REMOVE.to_owned(),
            Self::Submit { account, kind } => format!("submit {} {account}", kind.as_str()),
            Self::Follow { account, kind } => format!("follow {} {account}", kind.as_str()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == REMOVE {
            return Some(Self::Remove);
        }
        let (verb, rest) = text.split_once(' ')?;
        let lane = || {
            let (kind, account) = rest.split_once(' ')?;
            Some((kind.parse().ok()?, account.to_owned()))
        };
        match verb {
            "run" => Some(Self::Run(RunId(rest.to_owned()))),
            "status" => Some(Self::Status(RunId(rest.to_owned()))),
            "reconcile" => Some(Self::Reconcile {
                site: rest.to_owned(),
            }),
            "submit" => lane().map(|(kind, account)| Self::Submit { account, kind }),
            "follow" => lane().map(|(kind, account)| Self::Follow { account, kind }),
            _ => None,
        }
    }
}

/// The right to do one step, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) key: WorkKey,
    token: String,
    wishes: i64,
}

/// A work item that was claimed.
#[derive(Clone, Debug)]
pub struct Work {
    /// What it is about.
    pub key: WorkKey,
    /// Since when it was to be done.
    pub due_at: Timestamp,
    /// How often in a row it has failed.
    pub attempts: i64,
    /// What it waits in one line with: only so many with one key run at once. None for what is not limited.
    pub concurrency_key: Option<String>,
    /// The right to do it.
    pub lease: Lease,
}

/// How much may be claimed.
#[derive(Clone, Debug)]
pub struct ClaimLimits {
    /// Items in all.
    pub most: usize,
    /// Items of one concurrency_key, those in hand included.
    pub of_crowd: usize,
    /// Items in hand, by concurrency_key.
    pub in_hand: BTreeMap<String, usize>,
}

impl From<usize> for ClaimLimits {
    /// ClaimLimits for so many of whatever crowds.
    fn from(most: usize) -> Self {
        Self {
            most,
            of_crowd: usize::MAX,
            in_hand: BTreeMap::new(),
        }
    }
}

/// The run that a work item is about, or null.
const RUN_OF_WORK: &str = "CASE
    WHEN work.id LIKE 'run %' THEN substr(work.id, 5)
    WHEN work.id LIKE 'status %' THEN substr(work.id, 8) END";

/// A work item's concurrency_key: what asks one forge is one, and so are the looks at sites. A run
/// that waits for its purges asks nobody, and a CDN's account has a handful of items at most.
const CROWD: &str = "CASE
    WHEN work.id LIKE 'reconcile %' THEN 'reconcile'
    WHEN work.id LIKE 'run %' AND runs.step <> 'changes' THEN NULL
    ELSE 'forge ' || runs.forge END";

/// When a work item can be claimed.
const DUE: &str = "CASE
    WHEN work.lease IS NULL OR work.lease_until < work.due_at THEN work.due_at
    ELSE work.lease_until END";

/// What becomes of a work item when its step is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The step goes on; the lease is kept, and what failed before counts no more.
    Continue,
    /// There is nothing more to do for now.
    Complete,
    /// It is due again.
    Reschedule {
        /// When.
        at: Timestamp,
        /// How often in a row it has failed; zero after a success.
        attempts: i64,
    },
}

impl Store {
    /// Claims work that is due at `now`, until `now + lease`, as far as there is room: the
    /// oldest of each site before the second of any, so that a site with much to do holds up no other.
    /// Work that is no run's or status' is a site of its own. What is claimed comes oldest first.
    pub async fn claim(
        &self,
        now: Timestamp,
        lease: Duration,
        token: &str,
        room: impl Into<ClaimLimits>,
    ) -> Result<Vec<Work>, StoreError> {
        // Most looks find nothing: they are to write nothing, and to wait for no lock.
        if self.next_due(&[]).await?.is_none_or(|due| due > now) {
            return Ok(Vec::new());
        }
        let room = room.into();
        let mut tx = self.database.begin().await?;
        let until = now.as_millisecond() + i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 2);
        let mut params = params![
            token,
            until,
            now.as_millisecond(),
            whole(room.most),
            whole(room.of_crowd)
        ];
        let mut left = String::from("$5");
        for (concurrency_key, in_hand) in &room.in_hand {
            params.push(concurrency_key.into());
            params.push(whole(room.of_crowd.saturating_sub(*in_hand)).into());
            left = format!(
                "CASE WHEN concurrency_key = ${} THEN ${} ELSE {left} END",
                params.len() - 1,
                params.len()
            );
        }
        let rows = tx
            .query(
                &format!(
                    // MATERIALIZED: PostgreSQL may look more than once for what is only a
                    // subquery, skip what it has just locked, and claim more than the limit.
                    "WITH free AS (
                         SELECT work.id, work.due_at, {CROWD} AS concurrency_key, ROW_NUMBER() OVER (
                             PARTITION BY COALESCE(runs.site, work.id)
                             ORDER BY work.due_at, work.id) AS turn
                         FROM work LEFT JOIN runs ON runs.id = {RUN_OF_WORK}
                         WHERE work.due_at <= $3
                             AND (work.lease IS NULL OR work.lease_until <= $3)),
                     lined_up AS (
                         SELECT id, concurrency_key, turn, ROW_NUMBER() OVER (
                             PARTITION BY concurrency_key ORDER BY turn, due_at, id) AS place
                         FROM free),
                     due AS MATERIALIZED (
                         SELECT work.id FROM work JOIN lined_up ON lined_up.id = work.id
                         WHERE work.due_at <= $3
                             AND (work.lease IS NULL OR work.lease_until <= $3)
                             AND (concurrency_key IS NULL OR place <= {left})
                         ORDER BY lined_up.turn, work.due_at
                         LIMIT $4
                         {})
                     UPDATE work SET lease = $1, lease_until = $2
                     WHERE id IN (SELECT id FROM due)
                     RETURNING id, due_at, attempts, wishes, (
                         SELECT {CROWD} FROM (SELECT 1) AS one
                         LEFT JOIN runs ON runs.id = {RUN_OF_WORK}) AS concurrency_key",
                    self.database.dialect().skip_locked()
                ),
                params,
            )
            .await?;
        let mut works = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.text("id")?;
            let Some(key) = WorkKey::parse(&id) else {
                // Another version's, or damaged: it must not stop the rest.
                tracing::error!("the work {id:?} is of no kind that is known here");
                continue;
            };
            let lease = Lease {
                key: key.clone(),
                token: token.to_owned(),
                wishes: row.int("wishes")?,
            };
            works.push(Work {
                key,
                due_at: timestamp(row.int("due_at")?)?,
                attempts: row.int("attempts")?,
                concurrency_key: row.maybe_text("concurrency_key")?,
                lease,
            });
        }
        tx.commit().await?;
        works.sort_by_key(|work| work.due_at);
        Ok(works)
    }

    /// Asks for something to be done, outside any step.
    pub async fn ask(&self, key: &WorkKey, at: Timestamp) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            enqueue(&mut *tx, key, at).await?;
            tx.notify().await?;
            tx.commit().await
        })
        .await
    }

    /// Returns once another process may have made work that is due; see [`Database::notified`](super::Database::notified).
    pub async fn notified(&self) -> Result<(), StoreError> {
        self.database.notified().await
    }

    /// When the next work is due, leased work when its lease ends. What is of one of
    /// the `full` crowds is left out: there will be room for it when a step of it is over.
    pub async fn next_due(&self, full: &[String]) -> Result<Option<Timestamp>, StoreError> {
        let rows = if full.is_empty() {
            self.database
                .read(&format!("SELECT MIN({DUE}) AS due FROM work"), Vec::new())
                .await?
        } else {
            let places: Vec<String> = (1..=full.len()).map(|n| format!("${n}")).collect();
            let sql = format!(
                "SELECT MIN({DUE}) AS due
                 FROM work LEFT JOIN runs ON runs.id = {RUN_OF_WORK}
                 WHERE COALESCE({CROWD}, '') NOT IN ({})",
                places.join(", ")
            );
            let full = full.iter().map(Value::from).collect();
            self.database.read(&sql, full).await?
        };
        match rows.first() {
            Some(row) => row.maybe_int("due")?.map(timestamp).transpose(),
            None => Ok(None),
        }
    }

    /// Holds on to a lease until `now + lease`. False if it has passed on.
    pub async fn renew(
        &self,
        lease: &Lease,
        now: Timestamp,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let until =
            now.as_millisecond() + i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2);
        let held = tx
            .execute(
                "UPDATE work SET lease_until = $3 WHERE id = $1 AND lease = $2",
                params![lease.key.text(), &lease.token, until],
            )
            .await?;
        tx.commit().await?;
        Ok(held > 0)
    }

    /// Brings work and pauses that are not due yet at `now` forward, by so much and to `latest` at the
    /// latest: for after a clock was set back by which they were put off. What is early does no harm.
    pub async fn bring_forward(
        &self,
        now: Timestamp,
        by: Duration,
        latest: Timestamp,
    ) -> Result<(), StoreError> {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2);
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

    /// Frees the leases that a process left behind when it died. Only for a
    /// store that no other process works on.
    pub async fn release_all_leases(&self) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        tx.execute(
            "UPDATE work SET lease = NULL, lease_until = NULL",
            Vec::new(),
        )
        .await?;
        tx.commit().await
    }
}

/// Does with the work item what `after` says. False if the lease has passed on.
pub(super) async fn apply_disposition(
    tx: &mut dyn Transaction,
    lease: &Lease,
    after: Disposition,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = lease.key.text();
    let (due_at, attempts) = match after {
        Disposition::Continue => {
            let held = tx
                .execute(
                    "UPDATE work SET attempts = 0 WHERE id = $1 AND lease = $2",
                    params![id, &lease.token],
                )
                .await?;
            return Ok(held > 0);
        }
        Disposition::Complete => {
            let removed = tx
                .execute(
                    "DELETE FROM work WHERE id = $1 AND lease = $2 AND wishes = $3",
                    params![&id, &lease.token, lease.wishes],
                )
                .await?;
            if removed > 0 {
                return Ok(true);
            }
            (now, 0)
        }
        Disposition::Reschedule { at, attempts } => (at, attempts),
    };
    // Wished for in the meantime: due now, unless it has to wait after a failure.
    let held = tx
        .execute(
            "UPDATE work SET lease = NULL, lease_until = NULL, attempts = $4,
                 due_at = CASE WHEN wishes = $3 OR $4 > 0 THEN $5 ELSE $6 END
             WHERE id = $1 AND lease = $2",
            params![
                id,
                &lease.token,
                lease.wishes,
                attempts,
                due_at.as_millisecond(),
                now.as_millisecond().min(due_at.as_millisecond())
            ],
        )
        .await?;
    Ok(held > 0)
}

/// Asks for an item to be worked on at `at`, or earlier if it is due earlier
/// already. One that waits after a failure goes on waiting.
pub(super) async fn enqueue(
    tx: &mut dyn Transaction,
    key: &WorkKey,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO work (id, due_at, attempts, wishes) VALUES ($1, $2, 0, 1)
         ON CONFLICT (id) DO UPDATE SET
             due_at = CASE WHEN work.attempts > 0 OR work.due_at < excluded.due_at
                 THEN work.due_at ELSE excluded.due_at END,
             wishes = work.wishes + 1",
        params![key.text(), at.as_millisecond()],
    )
    .await?;
    Ok(())
}

/// Asks for a look at every line in which a run has something planned.
pub(super) async fn enqueue_submits(
    tx: &mut dyn Transaction,
    run: &RunId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (account, kind) in purge_queue::planned_queues(tx, run).await? {
        enqueue(tx, &WorkKey::Submit { account, kind }, now).await?;
    }
    Ok(())
}

/// A count as the databases take it.
fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
