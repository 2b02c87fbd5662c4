//! The purge queues: one per account and kind, oldest run first, and the next batch of each.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::database::{Transaction, params};
use super::purges::{PurgeKey, QueuedPurge, key, queued};
use super::runs::wait_reason_text;
use super::{Store, StoreError, Value, timestamp};
use crate::account::AccountId;
use crate::purge::{Mode, PurgeKind};
use crate::run::{RunId, WaitReason};

/// Purges per batch, however many runs want its targets: they are held in memory and written in one transaction.
const PURGES_PER_BATCH: usize = 20_000;
/// Stands for no `batch_cap` in comparisons, also in statements.
const NO_CAP: i64 = i64::MAX;

/// The purges that may go into one batch (`$1` account, `$2` kind, `$3` CDN, `$4` mode), numbered within their run.
/// A purge whose cap differs from `$5` has no turn of its own.
const TURNS: &str = "SELECT run, seq, target, attempts,
        CASE WHEN COALESCE(batch_cap, 9223372036854775807) = $5 THEN
            ROW_NUMBER() OVER (PARTITION BY run ORDER BY seq)
        END AS own_turn
    FROM purges
    WHERE account = $1 AND kind = $2 AND state = 'planned'
      AND cdn = $3 AND COALESCE(mode, '') = $4
      AND COALESCE(batch_cap, 9223372036854775807) >= $5";

/// The head of an account's purge queue.
#[derive(Clone, Debug)]
pub struct QueueHead {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// How to purge, for directories.
    pub mode: Option<Mode>,
    /// The largest batch that may contain it.
    pub batch_cap: Option<i64>,
}

/// Planned purges that fit into one request.
#[derive(Clone, Debug)]
pub struct NextBatch {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// How to purge, for directories.
    pub mode: Option<Mode>,
    /// The purges.
    pub purges: Vec<QueuedPurge>,
}

/// Purges to skip when reading the head of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// A CDN, by its name under `cdns:`.
    pub cdn: String,
    /// Only the purges of this site; none: all purges for the CDN.
    pub site: Option<String>,
}

/// A run with purges in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun {
    /// The run.
    pub id: RunId,
    /// Its site.
    pub site: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it fails if it has not ended by then.
    pub deadline: Timestamp,
}

impl Store {
    /// The head of an account's queue of one kind, oldest first. A request holds only purges of the same CDN, mode
    /// and cap.
    pub async fn queue_head(
        &self,
        account: &AccountId,
        kind: PurgeKind,
    ) -> Result<Option<QueueHead>, StoreError> {
        self.queue_head_besides(account, kind, &[]).await
    }

    /// The head of an account's queue of one kind, oldest first, without the purges in `passed_over`.
    pub async fn queue_head_besides(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        passed_over: &[PassedOver],
    ) -> Result<Option<QueueHead>, StoreError> {
        let mut values = params![account, kind.as_str()];
        let mut besides = String::new();
        for PassedOver { cdn, site } in passed_over {
            values.push(Value::from(cdn));
            besides.push_str(&format!(" AND (cdn <> ${}", values.len()));
            if let Some(site) = site {
                values.push(Value::from(site));
                let place = values.len();
                besides.push_str(&format!(
                    " OR (SELECT site FROM runs WHERE runs.id = purges.run) <> ${place}"
                ));
            }
            besides.push(')');
        }
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

    /// The planned purges that may share a request with the head of the queue, at most `most` targets.
    ///
    /// The oldest purge of each run comes before the second of any, so that a large run does not delay a small one.
    /// If a target is sent, the purges of it that other runs have planned are included. Those with a smaller cap
    /// are not: a refusal would set their cap anew, and the search for the bad target might never end.
    pub async fn next_batch(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        next: &QueueHead,
        most: usize,
    ) -> Result<NextBatch, StoreError> {
        self.batch(account, kind, next, most, None).await
    }

    /// Like [`next_batch`](Self::next_batch), but only for targets of the given sites, up to a number for each.
    /// Purges of the same targets that other sites have planned are included.
    pub async fn next_batch_within(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        next: &QueueHead,
        most: usize,
        sites: &BTreeMap<String, u64>,
    ) -> Result<NextBatch, StoreError> {
        if sites.is_empty() {
            return Ok(NextBatch {
                cdn: next.cdn.clone(),
                mode: next.mode,
                purges: Vec::new(),
            });
        }
        self.batch(account, kind, next, most, Some(sites)).await
    }

    async fn batch(
        &self,
        account: &AccountId,
        kind: PurgeKind,
        next: &QueueHead,
        most: usize,
        sites: Option<&BTreeMap<String, u64>>,
    ) -> Result<NextBatch, StoreError> {
        let most = next
            .batch_cap
            .and_then(|cap| usize::try_from(cap).ok())
            .map_or(most, |cap| cap.min(most))
            .max(1);
        let mut values = params![
            account,
            kind.as_str(),
            &next.cdn,
            next.mode.map_or("", Mode::as_str),
            next.batch_cap.unwrap_or(NO_CAP),
            i64::try_from(most).unwrap_or(i64::MAX),
            i64::try_from(most.max(PURGES_PER_BATCH)).unwrap_or(i64::MAX),
        ];
        let turns = match sites {
            None => TURNS.to_owned(),
            Some(sites) => turns_within(sites, &mut values),
        };
        // The first purge of each run comes before the second of any; a target takes the place of its first purge.
        // Sorted rather than joined, since a join could read the whole queue once per target.
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
                             FROM ({turns}) AS turns
                         ) AS wanted
                         WHERE first_turn IS NOT NULL
                     ) AS places
                     WHERE place <= $6 ORDER BY place, run, seq LIMIT $7"
                ),
                values,
            )
            .await?;
        let purges = rows.iter().map(queued).collect::<Result<_, _>>()?;
        Ok(NextBatch {
            cdn: next.cdn.clone(),
            mode: next.mode,
            purges,
        })
    }

    /// The keys of all planned purges of one kind in runs of the given sites.
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

    /// The keys of all planned purges of one kind on one CDN of an account.
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

    /// The runs with purges of one kind planned or being submitted on a CDN, except those that show one of `shown`
    /// as what they wait for.
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
            "SELECT id, site, created_at, deadline FROM runs
             WHERE id IN (
                 SELECT run FROM purges
                 WHERE account = $1 AND kind = $2 AND state IN ('planned', 'submitting') AND cdn = $3)
             {others} ORDER BY id"
        );
        let rows = self.database.read(&sql, values).await?;
        let queued = rows.iter().map(|row| {
            Ok(QueuedRun {
                id: RunId(row.text("id")?),
                site: row.text("site")?,
                created_at: timestamp(row.int("created_at")?)?,
                deadline: timestamp(row.int("deadline")?)?,
            })
        });
        queued.collect()
    }
}

/// Like [`TURNS`], but only a limited number of purges of each given site have a turn of their own.
fn turns_within(sites: &BTreeMap<String, u64>, values: &mut Vec<Value>) -> String {
    let mut granted = Vec::with_capacity(sites.len());
    for (site, most) in sites {
        let first = values.len() + 1;
        granted.push(format!("(${first}, ${})", first + 1));
        values.push(Value::from(site));
        values.push(Value::from(i64::try_from(*most).unwrap_or(i64::MAX)));
    }
    format!(
        "WITH granted (site, most) AS (VALUES {})
         SELECT run, seq, target, attempts, CASE WHEN site_turn <= most THEN run_turn END AS own_turn
         FROM (
             SELECT run, seq, target, attempts, most, run_turn,
                    ROW_NUMBER() OVER (
                        PARTITION BY site ORDER BY COALESCE(run_turn, 9223372036854775807), run, seq
                    ) AS site_turn
             FROM (
                 SELECT p.run, p.seq, p.target, p.attempts, runs.site, granted.most,
                        CASE WHEN COALESCE(p.batch_cap, 9223372036854775807) = $5 THEN
                            ROW_NUMBER() OVER (PARTITION BY p.run ORDER BY p.seq)
                        END AS run_turn
                 FROM purges p JOIN runs ON runs.id = p.run
                 LEFT JOIN granted ON granted.site = runs.site
                 WHERE p.account = $1 AND p.kind = $2 AND p.state = 'planned'
                   AND p.cdn = $3 AND COALESCE(p.mode, '') = $4
                   AND COALESCE(p.batch_cap, 9223372036854775807) >= $5
             ) AS numbered
         ) AS of_sites",
        granted.join(", ")
    )
}

/// The accounts and kinds for which a run has planned purges.
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
