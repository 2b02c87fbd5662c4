//! Targets that were given up because a CDN refuses them for good or a person skipped them. They are listed for
//! people until they are purged after all.

use super::database::{Row, Transaction, insert_rows, params};
use super::{Store, StoreError};
use crate::event::CommitRef;
use crate::purge::PurgeKind;
use crate::run::{Run, RunId};

/// A target on a CDN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The CDN, by its name under `cdns:`.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// The full URL; that of a directory ends in `/`.
    pub url: String,
}

/// A target that a site's runs leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUpTarget {
    /// The target.
    pub target: Target,
    /// The run that gave it up.
    pub run: RunId,
    /// That run's commit.
    pub commit: CommitRef,
}

impl Store {
    /// The targets given up for a site, in order.
    pub async fn given_up(&self, site: &str) -> Result<Vec<GivenUpTarget>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT cdn, kind, target, run, commit_id FROM given_up
                 WHERE site = $1 ORDER BY cdn, kind, target",
                params![site],
            )
            .await?;
        rows.iter().map(given_up).collect()
    }
}

fn given_up(row: &Row) -> Result<GivenUpTarget, StoreError> {
    Ok(GivenUpTarget {
        target: Target {
            cdn: row.text("cdn")?,
            kind: row.word("kind")?,
            url: row.text("target")?,
        },
        run: RunId(row.text("run")?),
        commit: CommitRef::parse(&row.text("commit_id")?),
    })
}

/// Gives targets up, on behalf of a run.
pub(super) async fn give_up(
    tx: &mut dyn Transaction,
    run: &Run,
    targets: &[Target],
) -> Result<(), StoreError> {
    let rows = targets.iter().map(|target| {
        params![
            &run.site,
            &target.cdn,
            target.kind.as_str(),
            &target.url,
            &run.id.0,
            run.commit.as_str()
        ]
    });
    insert_rows(
        tx,
        "INSERT INTO given_up (site, cdn, kind, target, run, commit_id)",
        "ON CONFLICT (site, cdn, kind, target) DO UPDATE SET
             run = excluded.run, commit_id = excluded.commit_id",
        rows.collect(),
    )
    .await
}

/// Removes targets that have been purged after all.
pub(super) async fn take_back(
    tx: &mut dyn Transaction,
    site: &str,
    targets: &[Target],
) -> Result<(), StoreError> {
    for target in targets {
        tx.execute(
            "DELETE FROM given_up WHERE site = $1 AND cdn = $2 AND kind = $3 AND target = $4",
            params![site, &target.cdn, target.kind.as_str(), &target.url],
        )
        .await?;
    }
    Ok(())
}
