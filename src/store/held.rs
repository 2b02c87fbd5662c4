//! Held commits: per site, the commits whose content a cache may still hold.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::database::{Transaction, params};
use super::{Store, StoreError, timestamp};

/// What a site's caches may hold, as of a version of that knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// For [`Write::HeldAsOf`](super::Write::HeldAsOf).
    pub version: i64,
    /// The commits whose content a cache may hold.
    pub commits: Vec<String>,
    /// Until when, of those whose end is known.
    pub ends: BTreeMap<String, Timestamp>,
}

impl Store {
    /// The commits whose content a site's caches may hold at `now`.
    pub async fn held(&self, site: &str, now: Timestamp) -> Result<Held, StoreError> {
        // The version first: a change in between is then seen as one that came after.
        let rows = self
            .database
            .read(
                "SELECT version FROM held_versions WHERE site = $1",
                params![site],
            )
            .await?;
        let version = rows.first().map_or(Ok(0), |row| row.int("version"))?;
        let rows = self
            .database
            .read(
                "SELECT commit_id, until FROM held WHERE site = $1 AND (until IS NULL OR until > $2)
                 ORDER BY added_at, commit_id",
                params![site, now.as_millisecond()],
            )
            .await?;
        let mut held = Held {
            version,
            commits: Vec::with_capacity(rows.len()),
            ends: BTreeMap::new(),
        };
        for row in &rows {
            let commit = row.text("commit_id")?;
            if let Some(until) = row.maybe_int("until")? {
                held.ends.insert(commit.clone(), timestamp(until)?);
            }
            held.commits.push(commit);
        }
        Ok(held)
    }
}

/// Counts commits as held from `now` on, and forgets those whose time is over.
pub(super) async fn hold(
    tx: &mut dyn Transaction,
    site: &str,
    commits: &[String],
    version: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM held WHERE site = $1 AND until <= $2",
        params![site, now.as_millisecond()],
    )
    .await?;
    for commit in commits {
        tx.execute(
            "INSERT INTO held (site, commit_id, added_at, version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (site, commit_id) DO UPDATE SET
                 added_at = excluded.added_at, version = excluded.version, until = NULL",
            params![site, commit, now.as_millisecond(), version],
        )
        .await?;
    }
    Ok(())
}

/// Sets the end of commits whose differences were purged, unless they were held anew after `version`.
pub(super) async fn let_go(
    tx: &mut dyn Transaction,
    site: &str,
    commits: &[String],
    version: i64,
    until: Timestamp,
) -> Result<(), StoreError> {
    for commit in commits {
        tx.execute(
            "UPDATE held SET until = $4
             WHERE site = $1 AND commit_id = $2 AND version <= $3 AND until IS NULL",
            params![site, commit, version, until.as_millisecond()],
        )
        .await?;
    }
    Ok(())
}

/// Goes on only if what a site holds is as of `version` still, and counts it on.
pub(super) async fn as_of(
    tx: &mut dyn Transaction,
    site: &str,
    version: i64,
) -> Result<(), StoreError> {
    let counted = if version == 0 {
        tx.execute(
            "INSERT INTO held_versions (site, version) VALUES ($1, 1) ON CONFLICT (site) DO NOTHING",
            params![site],
        )
        .await?
    } else {
        tx.execute(
            "UPDATE held_versions SET version = version + 1 WHERE site = $1 AND version = $2",
            params![site, version],
        )
        .await?
    };
    if counted == 1 {
        Ok(())
    } else {
        Err(StoreError::Outdated)
    }
}
