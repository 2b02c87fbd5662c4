//! Held commits: per site, the commits whose content a cache may still hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::database::{Transaction, params, places};
use super::{Store, StoreError, parsed, retry_on_conflict, timestamp};
use crate::run::{Base, RunId};

/// Whose knowledge it is: what a site's caches may really hold, or what they would hold had its dry runs purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCaches {
    /// The site.
    pub site: String,
    /// As if dry runs purged.
    pub dry_run: bool,
}

impl SiteCaches {
    /// What they may really hold.
    pub fn real(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            dry_run: false,
        }
    }

    /// What they would hold had the dry runs purged.
    pub fn shadow(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            dry_run: true,
        }
    }
}

/// What a site's caches may hold, as of a version of that knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCommits {
    /// For [`Write::ExpectHeldVersion`](super::Write::ExpectHeldVersion).
    pub version: i64,
    /// The commits whose content a cache may hold.
    pub commits: Vec<Base>,
    /// Until when, of those whose end is known.
    pub ends: BTreeMap<Base, Timestamp>,
    /// The run that has the turn to find out what changed, while it does; see [`Store::begin_planning`].
    pub planner: Option<RunId>,
}

/// Commits that one statement counts as held.
const COMMITS_PER_INSERT: usize = 64;

/// Whether the run `planner` of a row of `held_versions` is at the step in which it finds out what changed.
const IS_PLANNING: &str = "EXISTS (
    SELECT 1 FROM work JOIN runs ON runs.id = planner
    WHERE work.kind = 'run' AND work.subject = planner AND work.purge_kind = '' AND work.lease_until > $2
        AND runs.state = 'pending' AND runs.step = 'changes')";

impl Store {
    /// The commits whose content a site's caches may hold at `now`.
    pub async fn held(
        &self,
        caches: &SiteCaches,
        now: Timestamp,
    ) -> Result<HeldCommits, StoreError> {
        let values = || {
            params![
                &caches.site,
                now.as_millisecond(),
                i64::from(caches.dry_run)
            ]
        };
        // The version first: a change in between is then seen as one that came after.
        let rows = self
            .database
            .read(
                &format!(
                    "SELECT version, CASE WHEN {IS_PLANNING} THEN planner END AS planner
                     FROM held_versions WHERE site = $1 AND dry_run = $3"
                ),
                values(),
            )
            .await?;
        let (version, planner) = match rows.first() {
            Some(row) => (row.int("version")?, row.maybe_text("planner")?.map(RunId)),
            None => (0, None),
        };
        let rows = self
            .database
            .read(
                "SELECT commit_id, until FROM held
                 WHERE site = $1 AND dry_run = $3 AND (until IS NULL OR until > $2)
                 ORDER BY added_at, commit_id",
                values(),
            )
            .await?;
        let mut held = HeldCommits {
            version,
            commits: Vec::with_capacity(rows.len()),
            ends: BTreeMap::new(),
            planner,
        };
        for row in &rows {
            let commit = parsed("commit_id", &row.text("commit_id")?, Base::parse)?;
            if let Some(until) = row.maybe_int("until")? {
                held.ends.insert(commit.clone(), timestamp(until)?);
            }
            held.commits.push(commit);
        }
        Ok(held)
    }

    /// Gives a run the turn to find out what changed, for as long as its step takes: those of its
    /// site that would plan, or leave their work to another, wait meanwhile, since what they write
    /// would make its plan one of yesterday. False if another run has the turn.
    pub async fn begin_planning(
        &self,
        site: &str,
        run: &RunId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let taken = tx
                .execute(
                    &format!(
                        "INSERT INTO held_versions (site, dry_run, version, planner) VALUES ($1, 0, 0, $3)
                         ON CONFLICT (site, dry_run) DO UPDATE SET planner = $3
                         WHERE held_versions.planner IS NULL OR held_versions.planner = $3
                             OR NOT {}",
                        IS_PLANNING.replace("planner", "held_versions.planner")
                    ),
                    params![site, now.as_millisecond(), &run.0],
                )
                .await?;
            tx.commit().await?;
            Ok(taken > 0)
        })
        .await
    }
}

/// Counts commits as held from `now` on, and forgets those whose time is over.
pub(super) async fn hold(
    tx: &mut dyn Transaction,
    caches: &SiteCaches,
    commits: &[Base],
    version: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM held WHERE site = $1 AND dry_run = $3 AND until <= $2",
        params![
            &caches.site,
            now.as_millisecond(),
            i64::from(caches.dry_run)
        ],
    )
    .await?;
    let mut seen = BTreeSet::new();
    let distinct: Vec<&Base> = commits.iter().filter(|base| seen.insert(*base)).collect();
    for some in distinct.chunks(COMMITS_PER_INSERT) {
        let mut values = Vec::new();
        let mut rows = Vec::with_capacity(some.len());
        for commit in some {
            let row = params![
                &caches.site,
                i64::from(caches.dry_run),
                commit.as_str(),
                now.as_millisecond(),
                version
            ];
            rows.push(format!("({})", places(values.len(), row.len())));
            values.extend(row);
        }
        let sql = format!(
            "INSERT INTO held (site, dry_run, commit_id, added_at, version) VALUES {}
             ON CONFLICT (site, dry_run, commit_id) DO UPDATE SET
                 added_at = excluded.added_at, version = excluded.version, until = NULL",
            rows.join(", ")
        );
        tx.execute(&sql, values).await?;
    }
    Ok(())
}

/// Sets the end of commits whose differences were purged, unless they were held anew after `version`.
pub(super) async fn let_go(
    tx: &mut dyn Transaction,
    caches: &SiteCaches,
    commits: &[Base],
    version: i64,
    until: Timestamp,
) -> Result<(), StoreError> {
    for commit in commits {
        tx.execute(
            "UPDATE held SET until = $4
             WHERE site = $1 AND dry_run = $5 AND commit_id = $2 AND version <= $3 AND until IS NULL",
            params![
                &caches.site,
                commit.as_str(),
                version,
                until.as_millisecond(),
                i64::from(caches.dry_run)
            ],
        )
        .await?;
    }
    Ok(())
}

/// Goes on only if what a site holds is as of `version` still, and counts it on.
pub(super) async fn as_of(
    tx: &mut dyn Transaction,
    caches: &SiteCaches,
    version: i64,
) -> Result<(), StoreError> {
    let counted = if version == 0 {
        tx.execute(
            "INSERT INTO held_versions (site, dry_run, version) VALUES ($1, $2, 1)
             ON CONFLICT (site, dry_run) DO UPDATE SET version = 1 WHERE held_versions.version = 0",
            params![&caches.site, i64::from(caches.dry_run)],
        )
        .await?
    } else {
        tx.execute(
            "UPDATE held_versions SET version = version + 1
             WHERE site = $1 AND version = $2 AND dry_run = $3",
            params![&caches.site, version, i64::from(caches.dry_run)],
        )
        .await?
    };
    if counted == 1 {
        Ok(())
    } else {
        Err(StoreError::Outdated)
    }
}
