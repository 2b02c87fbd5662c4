//! The queue: what is to be done next, and when.
//!
//! A work item is claimed under a lease, its step runs, and one commit writes the outcome (`step_commit.rs`) and what
//! becomes of the item. A commit whose lease has passed on changes nothing. If work is requested while it is
//! running, the row counts the request, and the work runs once more.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::database::{Row, Transaction, Value, in_list, params, places};
use super::{Store, StoreError, purge_queue, retry_on_conflict, statuses, timestamp};
use crate::purge::PurgeKind;
use crate::run::{Run, RunId, StatusState, Step};

/// Due items that are looked at in one claim, beside those that are running.
const CANDIDATES: usize = 256;

/// What a work item is about; there is at most one item for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKey {
    /// Taking a run one step on.
    Run(RunId),
    /// Reporting to the forge how a run stands.
    Status(RunId),
    /// Submitting an account's planned purges of one kind to its CDN.
    Submit {
        /// The account, as its CDN names it.
        account: String,
        /// The kind of purge: each is an action of its own, with a rate of its own.
        kind: PurgeKind,
    },
    /// Looking whether a site's branch or environment moved without a delivery.
    Reconcile {
        /// The site.
        site: String,
    },
    /// Looking once more at branches or environments that have moved without a delivery.
    ConfirmHeads {
        /// The site.
        site: String,
    },
    /// Removing what is older than it is kept for.
    Remove,
    /// Asking a CDN how an account's tasks of one kind stand.
    Follow {
        /// The account, as its CDN names it.
        account: String,
        /// The kind of purge.
        kind: PurgeKind,
    },
}

/// The kinds of work, as the database names them.
#[derive(Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum WorkKind {
    Run,
    Status,
    Submit,
    Follow,
    Reconcile,
    ConfirmHeads,
    Remove,
}

/// A work item's key, column by column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyColumns {
    kind: &'static str,
    /// A run's id, a site or an account; empty where there is only one item of the kind.
    subject: String,
    /// Of submissions and tasks; empty for all else.
    purge_kind: &'static str,
}

impl KeyColumns {
    fn values(&self) -> [Value; 3] {
        [
            self.kind.into(),
            self.subject.as_str().into(),
            self.purge_kind.into(),
        ]
    }
}

impl WorkKey {
    pub(super) fn columns(&self) -> KeyColumns {
        let (kind, subject, purge_kind) = match self {
            Self::Run(run) => (WorkKind::Run, run.0.as_str(), None),
            Self::Status(run) => (WorkKind::Status, run.0.as_str(), None),
            Self::Submit { account, kind } => (WorkKind::Submit, account.as_str(), Some(*kind)),
            Self::Follow { account, kind } => (WorkKind::Follow, account.as_str(), Some(*kind)),
            Self::Reconcile { site } => (WorkKind::Reconcile, site.as_str(), None),
            Self::ConfirmHeads { site } => (WorkKind::ConfirmHeads, site.as_str(), None),
            Self::Remove => (WorkKind::Remove, "", None),
        };
        KeyColumns {
            kind: kind.into(),
            subject: subject.to_owned(),
            purge_kind: purge_kind.map_or("", PurgeKind::as_str),
        }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let subject = row.text("subject")?;
        Ok(match row.word("kind")? {
            WorkKind::Run => Self::Run(RunId(subject)),
            WorkKind::Status => Self::Status(RunId(subject)),
            WorkKind::Submit => Self::Submit {
                account: subject,
                kind: row.word("purge_kind")?,
            },
            WorkKind::Follow => Self::Follow {
                account: subject,
                kind: row.word("purge_kind")?,
            },
            WorkKind::Reconcile => Self::Reconcile { site: subject },
            WorkKind::ConfirmHeads => Self::ConfirmHeads { site: subject },
            WorkKind::Remove => Self::Remove,
        })
    }

    /// What shares the work with others fairly: a site, or an account.
    fn site(&self) -> Option<&str> {
        match self {
            // The run knows its site.
            Self::Run(_) | Self::Status(_) => None,
            Self::Submit { account, .. } | Self::Follow { account, .. } => Some(account),
            Self::Reconcile { site } | Self::ConfirmHeads { site } => Some(site),
            Self::Remove => Some(""),
        }
    }

    /// What the number of running steps is limited by, where it does not depend on a run: an account has few items at most.
    fn concurrency_key(&self) -> Option<&'static str> {
        match self {
            Self::Reconcile { .. } | Self::ConfirmHeads { .. } => Some("reconcile"),
            Self::Run(_)
            | Self::Status(_)
            | Self::Submit { .. }
            | Self::Follow { .. }
            | Self::Remove => None,
        }
    }
}

/// What the number of steps that ask a forge is limited by.
fn forge_key(forge: &str) -> String {
    format!("forge {forge}")
}

/// The right to do one step, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) key: WorkKey,
    token: String,
    /// Requests for the item that the step answers.
    requests: i64,
}

/// A work item that was claimed.
#[derive(Clone, Debug)]
pub struct Work {
    /// What it is about.
    pub key: WorkKey,
    /// Since when it has been due.
    pub due_at: Timestamp,
    /// How often in a row it has failed.
    pub attempts: i64,
    /// Only so many steps with one key run at once. None: not limited.
    pub concurrency_key: Option<String>,
    /// The right to do it.
    pub lease: Lease,
}

/// What a look for work found.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What was claimed, oldest first.
    pub works: Vec<Work>,
    /// When the next work is due that has room within the limits, leased work when its lease ends.
    pub next_due: Option<Timestamp>,
}

/// How much may be claimed.
#[derive(Clone, Debug)]
pub struct ClaimLimits {
    /// Items in all.
    pub total: usize,
    /// Items of one site, those that are running not included: the steps of one site get in each other's way.
    pub per_site: usize,
    /// Items of one concurrency key, those that are running included.
    pub per_key: usize,
    /// Items that are running, by concurrency key.
    pub running: BTreeMap<String, usize>,
}

impl From<usize> for ClaimLimits {
    /// So many items, whatever their concurrency keys.
    fn from(total: usize) -> Self {
        Self {
            total,
            per_site: usize::MAX,
            per_key: usize::MAX,
            running: BTreeMap::new(),
        }
    }
}

/// What becomes of a work item when its step is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The step goes on; the lease is kept, and earlier failures count no more.
    Continue,
    /// There is nothing more to do for now.
    Complete,
    /// It is due again at a time, or as soon as it is requested.
    Reschedule {
        /// When.
        at: Timestamp,
    },
    /// It is due again at a time and not before, whatever is requested meanwhile.
    Postpone {
        /// Until when.
        until: Timestamp,
        /// How often in a row it has failed; zero if it waits for another reason.
        attempts: i64,
    },
}

/// A due item that may be claimed.
struct Candidate {
    key: KeyColumns,
    site: String,
    concurrency_key: Option<String>,
    due_at: i64,
}

/// Which of the candidates to claim: the oldest of each site before the second of any, as far as the limits reach.
/// And when the oldest one is due that was left out though its concurrency key has room.
fn fair_selection(
    candidates: Vec<Candidate>,
    limits: &ClaimLimits,
) -> (Vec<Candidate>, Option<i64>) {
    let mut turns: HashMap<String, usize> = HashMap::new();
    let mut in_turns: Vec<(usize, Candidate)> = candidates
        .into_iter()
        .map(|candidate| {
            let turn = turns.entry(candidate.site.clone()).or_default();
            *turn += 1;
            (*turn, candidate)
        })
        .collect();
    in_turns.sort_by(|(turn, one), (other_turn, other)| {
        (turn, one.due_at, &one.key).cmp(&(other_turn, other.due_at, &other.key))
    });
    let mut running = limits.running.clone();
    let mut selected = Vec::new();
    let mut left_out: Option<i64> = None;
    let mut leave_out = |due_at: i64| {
        left_out = Some(left_out.map_or(due_at, |due: i64| due.min(due_at)));
    };
    for (turn, candidate) in in_turns {
        if turn > limits.per_site {
            leave_out(candidate.due_at);
            continue;
        }
        if let Some(key) = &candidate.concurrency_key {
            let running = running.entry(key.clone()).or_default();
            if *running >= limits.per_key {
                continue;
            }
            *running += 1;
        }
        if selected.len() < limits.total {
            selected.push(candidate);
        } else {
            leave_out(candidate.due_at);
        }
    }
    (selected, left_out)
}

/// The oldest items that are due at `$1`, whether they run or not.
const DUE: &str = "SELECT kind, subject, purge_kind, site, concurrency_key, due_at, lease_until
    FROM work WHERE due_at <= $1 ORDER BY due_at, kind, subject, purge_kind LIMIT $2";

/// The oldest items of each site that are due at `$1`: at most `$2` a site. Goes from one site to the next by the index, past
/// whatever else they have.
const DUE_BY_SITE: &str = "WITH RECURSIVE sites (site) AS (
        SELECT MIN(site) FROM work
        UNION ALL
        SELECT (SELECT MIN(site) FROM work WHERE work.site > sites.site)
        FROM sites WHERE sites.site IS NOT NULL)
    SELECT kind, subject, purge_kind, work.site AS site, concurrency_key, due_at, lease_until
    FROM sites JOIN work ON (work.kind, work.subject, work.purge_kind) IN (
        SELECT kind, subject, purge_kind FROM work AS of_site
        WHERE of_site.site = sites.site AND of_site.due_at <= $1
        ORDER BY of_site.due_at LIMIT $2)
    ORDER BY due_at, kind, subject, purge_kind";

/// The heads of two indexes: of all work, past the few rows that are running, and of what is running.
const NEXT_DUE: &str = "SELECT MIN(due) AS due FROM (
        SELECT MIN(due_at) AS due FROM work WHERE lease IS NULL
        UNION ALL
        SELECT MIN(lease_until) FROM work WHERE lease IS NOT NULL) AS heads";

/// When the first item after those that are due at `$1` is due.
const LATER: &str = "SELECT MIN(due_at) AS due FROM work WHERE due_at > $1";

/// Items of one site that are looked at where there are more due than [`CANDIDATES`].
const CANDIDATES_PER_SITE: i64 = 16;

impl Store {
    /// Claims work that is due at `now`, until `now + lease`, as far as the limits reach: the
    /// oldest of each site before the second of any, so that a site with much to do holds up no other.
    pub async fn claim(
        &self,
        now: Timestamp,
        lease: Duration,
        token: &str,
        limits: impl Into<ClaimLimits>,
    ) -> Result<Claimed, StoreError> {
        // Most looks find nothing: they are to write nothing, and to wait for no lock.
        let next_due = self.next_due().await?;
        if next_due.is_none_or(|due| due > now) {
            let works = Vec::new();
            return Ok(Claimed { works, next_due });
        }
        let limits = limits.into();
        let mut tx = self.database.begin().await?;
        let due = due(&mut *tx, now).await?;
        let (selected, left_out) = fair_selection(due.free, &limits);
        let next_due = [left_out, due.leased_until, due.later]
            .into_iter()
            .flatten()
            .min();
        let mut works = Vec::new();
        if !selected.is_empty() {
            works = lease_all(&mut *tx, &selected, token, now, later(now, lease)).await?;
        }
        // Not soon: steps read what is committed, and what a claim has seen must be, or a step would find its
        // run missing, or answer a request whose cause it does not see.
        tx.commit().await?;
        works.sort_by(|one, other| (one.due_at, &one.key).cmp(&(other.due_at, &other.key)));
        Ok(Claimed {
            works,
            next_due: next_due.map(timestamp).transpose()?,
        })
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

    /// When the next work is due, as of the last commit; leased work when its lease ends.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.database.read(NEXT_DUE, Vec::new()).await?;
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
        let [kind, subject, purge_kind] = lease.key.columns().values();
        let held = tx
            .execute(
                "UPDATE work SET lease_until = $5
                 WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
                vec![
                    kind,
                    subject,
                    purge_kind,
                    lease.token.as_str().into(),
                    later(now, length).into(),
                ],
            )
            .await?;
        tx.commit_soon().await?;
        Ok(held > 0)
    }

    /// Brings work and open circuits that are not due yet at `now` forward, by so much and to `latest` at the
    /// latest: for after a clock was set back by which they were postponed. What is early does no harm.
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
            "UPDATE work SET lease = NULL, lease_until = NULL WHERE lease IS NOT NULL",
            Vec::new(),
        )
        .await?;
        tx.commit().await
    }
}

/// Does with the work item what its step asked for. False if the lease has passed on.
pub(super) async fn apply_disposition(
    tx: &mut dyn Transaction,
    lease: &Lease,
    disposition: Disposition,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut values = Vec::from(lease.key.columns().values());
    values.push(lease.token.as_str().into());
    let (due_at, attempts, firm) = match disposition {
        Disposition::Continue => {
            let held = tx
                .execute(
                    "UPDATE work SET attempts = 0, firm = 0
                     WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
                    values,
                )
                .await?;
            return Ok(held > 0);
        }
        Disposition::Complete => {
            let mut values = values.clone();
            values.push(lease.requests.into());
            let removed = tx
                .execute(
                    "DELETE FROM work
                     WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4
                         AND requests = $5",
                    values,
                )
                .await?;
            if removed > 0 {
                return Ok(true);
            }
            (now, 0, false)
        }
        Disposition::Reschedule { at } => (at, 0, false),
        Disposition::Postpone { until, attempts } => (until, attempts, true),
    };
    let due_at = due_at.as_millisecond();
    values.extend(params![
        lease.requests,
        attempts,
        due_at,
        now.as_millisecond().min(due_at),
        i64::from(firm)
    ]);
    // Requested in the meantime: due now, unless the time is firm.
    let held = tx
        .execute(
            "UPDATE work SET lease = NULL, lease_until = NULL, attempts = $6, firm = $9,
                 due_at = CASE WHEN requests = $5 OR $9 = 1 THEN $7 ELSE $8 END
             WHERE kind = $1 AND subject = $2 AND purge_kind = $3 AND lease = $4",
            values,
        )
        .await?;
    Ok(held > 0)
}

/// Asks for an item to be worked on at `at`, or earlier if it is due earlier
/// already. One that is postponed stays postponed.
pub(super) async fn enqueue(
    tx: &mut dyn Transaction,
    key: &WorkKey,
    at: Timestamp,
) -> Result<(), StoreError> {
    let mut values = Vec::from(key.columns().values());
    values.push(at.as_millisecond().into());
    let row = match (key, key.site()) {
        // Only its first step asks the forge; a run that waits for its purges asks nobody.
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
    // WHERE TRUE: else SQLite takes ON CONFLICT for a join's ON.
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

/// Rows of the queue for a new run's first step and for its status, which a dry run has not.
pub(super) fn new_rows(run: &Run, now: Timestamp) -> Vec<Vec<Value>> {
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
    let mut rows = vec![row(WorkKey::Run(run.id.clone()), now)];
    if !run.dry_run {
        let at = statuses::post_at(StatusState::Pending, now);
        rows.push(row(WorkKey::Status(run.id.clone()), at));
    }
    rows
}

/// Inserts rows of new runs, which nobody else has asked for yet.
pub(super) const INSERT: &str = "INSERT INTO work (kind, subject, purge_kind, site, concurrency_key, due_at, attempts, requests)";

/// Lifts the limit from a run that asks its forge nothing any more.
pub(super) async fn step_changed(tx: &mut dyn Transaction, run: &Run) -> Result<(), StoreError> {
    match run.step {
        Step::Changes | Step::Ended => Ok(()),
        Step::Purging => {
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

/// Removes the work items of runs that no process is running: the runs whose items these were.
pub(super) async fn remove_free_runs(
    tx: &mut dyn Transaction,
    runs: &[RunId],
) -> Result<Vec<RunId>, StoreError> {
    let mut values = Vec::new();
    let listed = in_list(&mut values, runs.iter().map(|run| &run.0));
    let sql = format!(
        "DELETE FROM work WHERE kind = 'run' AND purge_kind = '' AND lease IS NULL
             AND subject IN ({listed}) RETURNING subject"
    );
    let rows = tx.query(&sql, values).await?;
    let subjects = rows.iter().map(|row| Ok(RunId(row.text("subject")?)));
    subjects.collect()
}

/// Asks for the statuses of runs to be posted at `at`, whenever they would have been otherwise.
pub(super) async fn enqueue_statuses(
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

/// Asks for a look at every queue in which a run has something planned.
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

/// Locks the rows of items, in one order for all: two commits that enqueue each other's would wait for each other otherwise.
pub(super) async fn lock(
    tx: &mut dyn Transaction,
    keys: std::collections::BTreeSet<KeyColumns>,
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

/// What is due at a time, and what is next.
struct Due {
    /// What may be claimed.
    free: Vec<Candidate>,
    /// When the first lease of what is running ends.
    leased_until: Option<i64>,
    /// When the first of the others is due.
    later: Option<i64>,
}

async fn due(tx: &mut dyn Transaction, now: Timestamp) -> Result<Due, StoreError> {
    let now = now.as_millisecond();
    let mut rows = tx.query(DUE, params![now, whole(CANDIDATES)]).await?;
    if rows.len() >= CANDIDATES {
        rows = tx
            .query(DUE_BY_SITE, params![now, CANDIDATES_PER_SITE])
            .await?;
    }
    let later = tx.query(LATER, params![now]).await?;
    let mut due = Due {
        free: Vec::with_capacity(rows.len()),
        leased_until: None,
        later: match later.first() {
            Some(row) => row.maybe_int("due")?,
            None => None,
        },
    };
    for row in &rows {
        if let Some(until) = row.maybe_int("lease_until")?
            && until > now
        {
            due.leased_until = Some(due.leased_until.map_or(until, |first| first.min(until)));
            continue;
        }
        let Ok(kind) = WorkKind::from_str(&row.text("kind")?) else {
            // Another version's, or damaged: it must not stop the rest.
            continue;
        };
        let purge_kind = row.text("purge_kind")?;
        due.free.push(Candidate {
            key: KeyColumns {
                kind: kind.into(),
                subject: row.text("subject")?,
                purge_kind: PurgeKind::from_str(&purge_kind).map_or("", PurgeKind::as_str),
            },
            site: row.text("site")?,
            concurrency_key: row.maybe_text("concurrency_key")?,
            due_at: row.int("due_at")?,
        });
    }
    Ok(due)
}

/// Leases items that are free still, until a time in milliseconds.
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
            attempts: row.int("attempts")?,
            concurrency_key: row.maybe_text("concurrency_key")?,
            lease,
        })
    };
    rows.iter().map(work).collect()
}

/// A time so much after another, as it is stored.
fn later(now: Timestamp, length: Duration) -> i64 {
    now.as_millisecond() + i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2)
}

/// A count as the databases take it.
fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(site: &str, key: Option<&str>, due_at: i64) -> Candidate {
        let run = RunId(format!("{site} {due_at}"));
        Candidate {
            key: WorkKey::Run(run).columns(),
            site: site.to_owned(),
            concurrency_key: key.map(str::to_owned),
            due_at,
        }
    }

    fn selected(candidates: Vec<Candidate>, limits: &ClaimLimits) -> Vec<String> {
        let (selected, _) = fair_selection(candidates, limits);
        selected.into_iter().map(|one| one.key.subject).collect()
    }

    #[test]
    fn the_oldest_of_each_site_comes_before_the_second_of_any() {
        let due = vec![
            candidate("busy", None, 1),
            candidate("busy", None, 2),
            candidate("busy", None, 3),
            candidate("calm", None, 4),
        ];

        assert_eq!(selected(due, &3.into()), ["busy 1", "calm 4", "busy 2"]);
    }

    #[test]
    fn a_concurrency_key_leaves_room_for_what_has_another() {
        let due = vec![
            candidate("a", Some("forge one"), 1),
            candidate("b", Some("forge one"), 2),
            candidate("c", Some("forge two"), 3),
            candidate("d", None, 4),
        ];
        let limits = ClaimLimits {
            total: 9,
            per_site: usize::MAX,
            per_key: 2,
            running: BTreeMap::from([("forge one".to_owned(), 1)]),
        };

        assert_eq!(selected(due, &limits), ["a 1", "c 3", "d 4"]);
    }

    #[test]
    fn only_so_many_of_one_site_are_claimed_and_the_rest_is_looked_for_again() {
        let due = (1..=5).map(|due_at| candidate("busy", None, due_at));
        let limits = ClaimLimits {
            per_site: 2,
            ..ClaimLimits::from(9)
        };

        let (selected, left_out) = fair_selection(due.collect(), &limits);

        assert_eq!(selected.len(), 2);
        assert_eq!(left_out, Some(3));
    }
}
