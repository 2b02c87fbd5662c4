//! Held commits: for each site, the commits whose content a cache may still hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::database::{Transaction, in_list, params, places};
use super::{Store, StoreError, parsed, retry_on_conflict, timestamp};
use crate::run::{Base, RunId};

/// The caches of a site: its real ones, or the imaginary ones that its dry runs purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCaches {
    /// The site.
    pub site: String,
    /// Whether these are the caches as if dry runs purged.
    pub dry_run: bool,
}

impl SiteCaches {
    /// The real caches.
    pub fn real(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            dry_run: false,
        }
    }

    /// The caches as they would be if the dry runs had purged.
    pub fn shadow(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            dry_run: true,
        }
    }
}

/// What a site's caches may hold, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCommits {
    /// For [`Write::ExpectHeldVersion`](super::Write::ExpectHeldVersion).
    pub version: i64,
    /// The commits whose content a cache may hold.
    pub commits: Vec<Base>,
    /// When they are released, for those whose end is known.
    pub ends: BTreeMap<Base, Timestamp>,
    /// The run that is computing the site's changes, if any; see [`Store::begin_planning`].
    pub planner: Option<RunId>,
}

/// Held commits per statement.
const COMMITS_PER_STATEMENT: usize = 64;

/// Whether the run in column `planner` of `held_versions` is still computing its changes.
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
        // Read the version first, so that a concurrent change counts as later than it.
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

    /// Reserves the site for a run while it computes its changes. The site's other runs wait before they plan or
    /// pass on their work, since their writes would make this run's plan outdated. False if another run has the
    /// reservation.
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

/// Holds commits from `now` on, and deletes those whose end has passed.
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
    for some in distinct.chunks(COMMITS_PER_STATEMENT) {
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

/// Sets the end of commits whose differences were purged, unless they were held again after `version`.
pub(super) async fn let_go(
    tx: &mut dyn Transaction,
    caches: &SiteCaches,
    commits: &[Base],
    version: i64,
    until: Timestamp,
) -> Result<(), StoreError> {
    for some in commits.chunks(COMMITS_PER_STATEMENT) {
        let mut values = params![
            &caches.site,
            i64::from(caches.dry_run),
            version,
            until.as_millisecond()
        ];
        let listed = in_list(&mut values, some.iter().map(Base::as_str));
        let sql = format!(
            "UPDATE held SET until = $4
             WHERE site = $1 AND dry_run = $2 AND commit_id IN ({listed}) AND version <= $3 AND until IS NULL"
        );
        tx.execute(&sql, values).await?;
    }
    Ok(())
}

/// Increments the version of a site's held commits; fails if it is not `version`.
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
