//! Counts and summaries for pages and metrics.

use std::collections::BTreeMap;

use super::database::params;
use super::purges::{self, SELECT};
use super::{Store, StoreError};
use crate::purge::{GivenUp, PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::run::{RunId, RunState};

/// How many purges of pending runs are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPurges {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// Their state.
    pub state: PurgeState,
    /// Their number.
    pub count: u64,
}

/// How many purges of a run are in a state on one CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnCount {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// Their state.
    pub state: PurgeState,
    /// For purges that failed: whether later runs leave them out.
    pub given_up: Option<GivenUp>,
    /// Their number.
    pub count: u64,
}

/// The failed purges of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Their number, without those that a person skipped.
    pub count: u64,
    /// The most frequent reason.
    pub why: String,
    /// The first purge that failed for it.
    pub first: PlannedPurge,
}

impl Failures {
    /// The text where no reason is known.
    pub const NO_REASON: &str = "no reason is known";
}

impl Store {
    /// The purges of a run that failed so far; none if none did.
    pub async fn failures(&self, run: &RunId) -> Result<Option<Failures>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT p.cdn, p.kind, p.mode, p.target, p.rule, p.path, p.error, reasons.failed
                 FROM (
                     SELECT COUNT(*) AS n, MIN(seq) AS first, CAST(SUM(COUNT(*)) OVER () AS BIGINT) AS failed
                     FROM purges
                     WHERE run = $1 AND state = 'failed' AND COALESCE(given_up, '') <> 'skipped'
                     GROUP BY error) AS reasons
                 JOIN purges p ON p.run = $1 AND p.seq = reasons.first
                 ORDER BY reasons.n DESC, p.seq LIMIT 1",
                params![&run.0],
            )
            .await?;
        let failures = rows.first().map(|row| {
            let why = row.maybe_text("error")?;
            Ok(Failures {
                count: count(row.int("failed")?),
                why: why.unwrap_or_else(|| Failures::NO_REASON.to_owned()),
                first: purges::planned(row)?,
            })
        });
        failures.transpose()
    }

    /// How many runs are in each state, without empty states.
    pub async fn run_counts(&self) -> Result<Vec<(RunState, u64)>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT state, COUNT(*) AS n FROM runs WHERE state = 'pending' GROUP BY state
                 UNION ALL
                 SELECT state, COUNT(*) AS n FROM runs WHERE state <> 'pending' GROUP BY state",
                Vec::new(),
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.word("state")?, count(row.int("n")?))))
            .collect()
    }

    /// Counts the purges of pending runs by state.
    pub async fn pending_purges(&self) -> Result<Vec<PendingPurges>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT p.cdn, p.kind, p.state, COUNT(*) AS n
                 FROM runs r JOIN purges p ON p.run = r.id
                 WHERE r.state = 'pending'
                 GROUP BY p.cdn, p.kind, p.state",
                Vec::new(),
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(PendingPurges {
                    cdn: row.text("cdn")?,
                    kind: row.word("kind")?,
                    state: row.word("state")?,
                    count: count(row.int("n")?),
                })
            })
            .collect()
    }

    /// What dry runs would have purged: CDN, kind and number.
    pub async fn dry_run_purges(&self) -> Result<Vec<(String, PurgeKind, u64)>, StoreError> {
        let rows = self
            .database
            .read(
                // They have no account, so the index of the purge queues finds them.
                "SELECT cdn, kind, COUNT(*) AS n FROM purges
                 WHERE account IS NULL AND kind IN ('url', 'directory', 'prefetch') AND state = 'dry_run'
                 GROUP BY cdn, kind",
                Vec::new(),
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.text("cdn")?, row.word("kind")?, count(row.int("n")?))))
            .collect()
    }

    /// Counts a run's purges by state on each CDN, ordered by its name.
    pub async fn purge_counts_by_cdn(&self, run: &RunId) -> Result<Vec<CdnCount>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT cdn, kind, state, given_up, COUNT(*) AS n
                 FROM purges WHERE run = $1
                 GROUP BY cdn, kind, state, given_up
                 ORDER BY cdn",
                params![&run.0],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(CdnCount {
                    cdn: row.text("cdn")?,
                    kind: row.word("kind")?,
                    state: row.word("state")?,
                    given_up: row.maybe_word("given_up")?,
                    count: count(row.int("n")?),
                })
            })
            .collect()
    }

    /// The most frequent reasons for which purges of a run failed, with their numbers, at most `limit`.
    pub async fn failure_reasons(
        &self,
        run: &RunId,
        limit: u32,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT error, COUNT(*) AS n FROM purges
                 WHERE run = $1 AND state = 'failed' AND error IS NOT NULL
                 GROUP BY error ORDER BY n DESC LIMIT $2",
                params![&run.0, i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.text("error")?, count(row.int("n")?))))
            .collect()
    }

    /// A run's purges in display order: failed ones, then those in progress, then the rest, each in the plan's
    /// order.
    pub async fn purges_to_show(&self, run: &RunId, limit: u32) -> Result<Vec<Purge>, StoreError> {
        let rows = self
            .database
            .read(
                &format!(
                    "{SELECT}
                     WHERE p.run = $1
                     ORDER BY CASE p.state WHEN 'failed' THEN 0 WHEN 'done' THEN 2 ELSE 1 END, p.seq
                     LIMIT $2"
                ),
                params![&run.0, i64::from(limit)],
            )
            .await?;
        rows.iter().map(purges::purge).collect()
    }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
