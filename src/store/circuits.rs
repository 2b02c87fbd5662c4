//! Upstreams that do not answer: a row each while it lasts, for all processes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::database::{Row, params};
use super::{Store, StoreError, retry_on_conflict, timestamp};
use crate::account::AccountId;

/// Someone whom purgehook calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Upstream {
    /// An account with a CDN.
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

/// An upstream that has not answered since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// Who.
    pub upstream: Upstream,
    /// Requests in a row that came to nothing.
    pub failures: i64,
    /// Since when.
    pub since: Timestamp,
    /// Nothing is asked of it before this moment.
    pub until: Option<Timestamp>,
    /// Whether somebody is trying whether it answers again.
    pub probing: bool,
    /// What happened last, for people.
    pub error: String,
}

impl Store {
    /// Whether an upstream has not answered lately, and since when.
    pub async fn circuit(&self, upstream: &Upstream) -> Result<Option<OpenCircuit>, StoreError> {
        let sql = format!("{SELECT} WHERE upstream = $1");
        let rows = self
            .database
            .read(&sql, params![upstream.to_string()])
            .await?;
        rows.first().map(circuit).transpose()
    }

    /// Every upstream that has not answered lately.
    pub async fn circuits(&self) -> Result<Vec<OpenCircuit>, StoreError> {
        let sql = format!("{SELECT} ORDER BY upstream");
        let rows = self.database.read(&sql, Vec::new()).await?;
        rows.iter().map(circuit).collect()
    }

    /// Notes a request to which nobody answered. `pause` says for how long the upstream
    /// is sent no requests after so many in a row. What went out before that and fails meanwhile
    /// counts for nothing; the try after a pause does.
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

    /// Takes it upon oneself to try, until `until`, whether an upstream answers again.
    /// False if it is to be sent no requests still, by another's try or by its pause.
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

    /// Leaves it to somebody else, from `now` on, to try whether an upstream answers again.
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

    /// Notes that an upstream answers. True if it had not before.
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
