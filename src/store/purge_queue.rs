//! The lines of planned purges: one for each account and kind, and what goes out of it next.

use jiff::Timestamp;

use super::database::{Transaction, params};
use super::purges::{PurgeKey, QueuedPurge, key, queued};
use super::runs::wait_reason_text;
use super::{Store, StoreError, Value, timestamp};
use crate::account::AccountId;
use crate::purge::{Mode, PurgeKind};
use crate::run::{RunId, WaitReason};

/// Purges in one batch, however many runs want its targets: they are held in memory and written in one transaction.
const PURGES_PER_BATCH: usize = 20_000;
/// Stands for no `batch_cap` where caps are compared.
const NO_CAP: i64 = i64::MAX;

/// What is next in an account's line.
#[derive(Clone, Debug)]
pub struct QueueHead {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// For directories: how.
    pub mode: Option<Mode>,
    /// The largest batch it may be sent in.
    pub batch_cap: Option<i64>,
}

/// Planned purges that fit into one request.
#[derive(Clone, Debug)]
pub struct NextBatch {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// For directories: how.
    pub mode: Option<Mode>,
    /// The purges.
    pub purges: Vec<QueuedPurge>,
}

/// A run that has purges in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun {
    /// The run.
    pub id: RunId,
    /// When it came about.
    pub created_at: Timestamp,
    /// When it ends if nothing else ends it.
    pub deadline: Timestamp,
}

impl Store {
    /// What is next in an account's line of one kind: purges go into one
    /// request only with others of the same CDN, mode and cap.
    pub async fn queue_head(
        &self,
        account: &AccountId,
        kind: PurgeKind,
    ) -> Result<Option<QueueHead>, StoreError> {
        self.queue_head_besides(account, kind, &[]).await
    }

    /// What is next in an account's line of one kind, passing over what is for these CDNs.
    pub async fn queue_head_besides(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        cdns: &[String],
    ) -> Result<Option<QueueHead>, StoreError> {
        let mut values = params![account, kind.as_str()];
        let besides: String = (0..cdns.len())
            .map(|n| format!(" AND cdn <> ${}", n + 3))
            .collect();
        values.extend(cdns.iter().map(|cdn| Value::from(cdn.as_str())));
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT cdn, mode, batch_cap FROM purges
                     WHERE account = $1 AND kind = $2 AND state = 'planned'{besides}
                     ORDER BY run, seq LIMIT 1"
                ),
                values,
            )
            .await?;
        rows.first()
            .map(|row| {
                Ok(QueueHead {
                    cdn: row.text("cdn")?,
                    mode: row.maybe_word("mode")?,
                    batch_cap: row.maybe_int("batch_cap")?,
                })
            })
            .transpose()
    }

    /// The planned purges that may go into one request with what is next in
    /// line, of at most `most` targets.
    ///
    /// Every run with something planned gets its share of the batch, so that a
    /// large run does not hold up a small one. A target that goes out serves every
    /// run that has planned it, so all its purges come along. Those with a smaller
    /// cap do not: a refusal would set theirs anew, and might never find the bad one.
    pub async fn next_batch(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        next: &QueueHead,
        most: usize,
    ) -> Result<NextBatch, StoreError> {
        let most = next
            .batch_cap
            .and_then(|cap| usize::try_from(cap).ok())
            .map_or(most, |cap| cap.min(most))
            .max(1);
        // Numbered within their run, the first of each run come before the second of any; a target
        // is where the first of its purges is. Sorted and not joined: no plan of it goes through
        // the line once for each target.
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT run, seq, target, attempts FROM (
                         SELECT run, seq, target, attempts,
                                DENSE_RANK() OVER (ORDER BY first_turn, first_run, target) AS place
                         FROM (
                             SELECT run, seq, target, attempts,
                                    MIN(own_turn) OVER (PARTITION BY target) AS first_turn,
                                    MIN(run) OVER (PARTITION BY target) AS first_run
                             FROM (
                                 SELECT run, seq, target, attempts,
                                        CASE WHEN COALESCE(batch_cap, {NO_CAP}) = $5 THEN
                                            ROW_NUMBER() OVER (PARTITION BY run ORDER BY seq)
                                        END AS own_turn
                                 FROM purges
                                 WHERE account = $1 AND kind = $2 AND state = 'planned'
                                   AND cdn = $3 AND COALESCE(mode, '') = $4
                                   AND COALESCE(batch_cap, {NO_CAP}) >= $5
                             ) AS turns
                         ) AS wanted
                         WHERE first_turn IS NOT NULL
                     ) AS places
                     WHERE place <= $6 ORDER BY place, run, seq LIMIT $7"
                ),
                params![
                    account,
                    kind.as_str(),
                    &next.cdn,
                    next.mode.map_or("", Mode::as_str),
                    next.batch_cap.unwrap_or(NO_CAP),
                    i64::try_from(most).unwrap_or(i64::MAX),
                    i64::try_from(most.max(PURGES_PER_BATCH)).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        let purges = rows.iter().map(queued).collect::<Result<_, _>>()?;
        Ok(NextBatch {
            cdn: next.cdn.clone(),
            mode: next.mode,
            purges,
        })
    }

    /// The keys of everything planned of one kind that belongs to runs of some sites.
    pub async fn planned_of_sites(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        sites: &[&str],
    ) -> Result<Vec<PurgeKey>, StoreError> {
        if sites.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = params![account, kind.as_str()];
        let places: Vec<String> = (0..sites.len()).map(|n| format!("${}", n + 3)).collect();
        values.extend(sites.iter().map(|site| Value::from(*site)));
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT p.run, p.seq FROM purges p JOIN runs r ON r.id = p.run
                     WHERE p.account = $1 AND p.kind = $2 AND p.state = 'planned'
                       AND r.site IN ({})",
                    places.join(", ")
                ),
                values,
            )
            .await?;
        rows.iter().map(key).collect()
    }

    /// The keys of everything planned of one kind on one CDN of an account.
    pub async fn planned_keys(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        cdn: &str,
    ) -> Result<Vec<PurgeKey>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run, seq FROM purges
                 WHERE account = $1 AND kind = $2 AND state = 'planned' AND cdn = $3",
                params![account, kind.as_str(), cdn],
            )
            .await?;
        rows.iter().map(key).collect()
    }

    /// The runs that have something planned or on its way in a queue on a CDN, and show none of
    /// `shown` as what they wait for.
    pub async fn queued_runs(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        cdn: &str,
        shown: &[WaitReason],
    ) -> Result<Vec<QueuedRun>, StoreError> {
        let mut values = params![account, kind.as_str(), cdn];
        let first = values.len() + 1;
        values.extend(shown.iter().map(wait_reason_text).map(Value::from));
        let places: Vec<String> = (first..=values.len()).map(|n| format!("${n}")).collect();
        let others = if places.is_empty() {
            String::new()
        } else {
            let places = places.join(", ");
            format!(" AND (wait_reason IS NULL OR wait_reason NOT IN ({places}))")
        };
        let sql = format!(
            "SELECT id, created_at, deadline FROM runs
             WHERE id IN (
                 SELECT run FROM purges
                 WHERE account = $1 AND kind = $2 AND state IN ('planned', 'submitting') AND cdn = $3)
             {others} ORDER BY id"
        );
        let rows = self.database.read(&sql, values).await?;
        let queued = rows.iter().map(|row| {
            Ok(QueuedRun {
                id: RunId(row.text("id")?),
                created_at: timestamp(row.int("created_at")?)?,
                deadline: timestamp(row.int("deadline")?)?,
            })
        });
        queued.collect()
    }
}

/// The accounts and kinds of which a run has something planned.
pub(super) async fn planned_queues(
    tx: &mut dyn Transaction,
    run: &RunId,
) -> Result<Vec<(AccountId, PurgeKind)>, StoreError> {
    let rows = tx
        .query(
            "SELECT DISTINCT account, kind FROM purges
             WHERE run = $1 AND state = 'planned' ORDER BY account, kind",
            params![&run.0],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((AccountId::new(row.text("account")?), row.word("kind")?)))
        .collect()
}
