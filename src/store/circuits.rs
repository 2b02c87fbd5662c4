//! Circuit breakers: one row for each upstream that does not answer, shared by all processes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::database::{Row, params};
use super::{Store, StoreError, retry_on_conflict, timestamp};
use crate::account::AccountId;

/// A service that purgehook calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Upstream {
    /// A CDN account.
    Cdn(AccountId),
    /// A forge, by its name under `forges:`.
    Forge(String),
}

impl FromStr for Upstream {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(' ') {
            Some(("cdn", account)) => Ok(Self::Cdn(AccountId::new(account))),
            Some(("forge", name)) => Ok(Self::Forge(name.to_owned())),
            _ => Err(StoreError::corrupt(format!("{text:?} is no upstream"))),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cdn(account) => write!(f, "cdn {account}"),
            Self::Forge(name) => write!(f, "forge {name}"),
        }
    }
}

/// An upstream that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// The upstream.
    pub upstream: Upstream,
    /// Requests that failed in a row.
    pub failures: i64,
    /// The time of the first failure.
    pub since: Timestamp,
    /// No request is sent before this time.
    pub until: Option<Timestamp>,
    /// Whether a probe is running.
    pub probing: bool,
    /// The last error, for people.
    pub error: String,
}

impl Store {
    /// The failures of an upstream; none if its last request was answered.
    pub async fn circuit(&self, upstream: &Upstream) -> Result<Option<OpenCircuit>, StoreError> {
        let sql = format!("{SELECT} WHERE upstream = $1");
        let rows = self
            .database
            .read(&sql, params![upstream.to_string()])
            .await?;
        rows.first().map(circuit).transpose()
    }

    /// All upstreams whose last request was not answered.
    pub async fn circuits(&self) -> Result<Vec<OpenCircuit>, StoreError> {
        let sql = format!("{SELECT} ORDER BY upstream");
        let rows = self.database.read(&sql, Vec::new()).await?;
        rows.iter().map(circuit).collect()
    }

    /// Records a request that was not answered. `pause` maps the number of failures in a row to the pause before
    /// the next request. While the circuit is open, failures of requests that were sent earlier do not count; that
    /// of the probe does.
    pub async fn record_failure(
        &self,
        upstream: &Upstream,
        error: &str,
        now: Timestamp,
        pause: impl Fn(i64) -> Option<Duration> + Send + Sync,
    ) -> Result<Option<OpenCircuit>, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let rows = tx
                .query(
                    "INSERT INTO outages (upstream, failures, since, error) VALUES ($1, 1, $2, $3)
                     ON CONFLICT (upstream) DO UPDATE SET
                         failures = outages.failures + 1, error = excluded.error
                     WHERE outages.until IS NULL OR outages.until <= $2 OR outages.probing = 1
                     RETURNING upstream, failures, since, until, probing, error",
                    params![upstream.to_string(), now.as_millisecond(), error],
                )
                .await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let mut noted = circuit(row)?;
            noted.probing = false;
            noted.until = pause(noted.failures).map(|pause| now + pause);
            tx.execute(
                "UPDATE outages SET until = $2, probing = 0 WHERE upstream = $1",
                params![
                    upstream.to_string(),
                    noted.until.map(Timestamp::as_millisecond)
                ],
            )
            .await?;
            tx.commit().await?;
            Ok(Some(noted))
        })
        .await
    }

    /// Acquires the right to send a probe until `until`. False if the circuit stays open or another process probes.
    pub async fn acquire_probe(
        &self,
        upstream: &Upstream,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let taken = tx
                .execute(
                    "UPDATE outages SET until = $3, probing = 1 WHERE upstream = $1 AND until <= $2",
                    params![
                        upstream.to_string(),
                        now.as_millisecond(),
                        until.as_millisecond()
                    ],
                )
                .await?;
            tx.commit().await?;
            Ok(taken > 0)
        })
        .await
    }

    /// Releases the probe, so that any process may send one from `now` on.
    pub async fn release_probe(
        &self,
        upstream: &Upstream,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            tx.execute(
                "UPDATE outages SET until = $2, probing = 0 WHERE upstream = $1 AND probing = 1",
                params![upstream.to_string(), now.as_millisecond()],
            )
            .await?;
            tx.commit().await
        })
        .await
    }

    /// Records that an upstream answered. True if it had not before.
    pub async fn record_success(&self, upstream: &Upstream) -> Result<bool, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let ended = tx
                .execute(
                    "DELETE FROM outages WHERE upstream = $1",
                    params![upstream.to_string()],
                )
                .await?;
            tx.commit().await?;
            Ok(ended > 0)
        })
        .await
    }
}

const SELECT: &str = "SELECT upstream, failures, since, until, probing, error FROM outages";

fn circuit(row: &Row) -> Result<OpenCircuit, StoreError> {
    Ok(OpenCircuit {
        upstream: row.word("upstream")?,
        failures: row.int("failures")?,
        since: timestamp(row.int("since")?)?,
        until: row.maybe_int("until")?.map(timestamp).transpose()?,
        probing: row.int("probing")? != 0,
        error: row.text("error")?,
    })
}
