//! The repositories of sites, with the forges' ids for them.

use super::database::{Row, params};
use super::denials::RepoKey;
use super::{Store, StoreError, parsed, retry_on_conflict};
use crate::event::RepoPath;

/// A repository of a site, as its deliveries showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRepo {
    /// The name that the site uses.
    pub key: RepoKey,
    /// The forge's id for it.
    pub id: u64,
    /// The name in its newest delivery, if it is another one.
    pub renamed_to: Option<RepoPath>,
}

impl Store {
    /// All known repositories: one for each name that a site uses or has used.
    pub async fn repositories(&self) -> Result<Vec<KnownRepo>, StoreError> {
        let sql = "SELECT forge, repo, repo_id, renamed_to FROM repositories ORDER BY forge, repo";
        let rows = self.database.read(sql, Vec::new()).await?;
        rows.iter().map(known).collect()
    }

    /// Records what a delivery showed about a repository. A crash may lose it: the next delivery shows it again.
    pub async fn put_repository(&self, known: &KnownRepo) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            tx.execute(
                "INSERT INTO repositories (forge, repo, repo_id, renamed_to) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (forge, repo) DO UPDATE SET
                     repo_id = excluded.repo_id, renamed_to = excluded.renamed_to",
                params![
                    &known.key.forge,
                    &known.key.repo,
                    known.id.cast_signed(),
                    known.renamed_to.as_ref().map(ToString::to_string)
                ],
            )
            .await?;
            tx.commit_soon().await
        })
        .await
    }
}

fn known(row: &Row) -> Result<KnownRepo, StoreError> {
    Ok(KnownRepo {
        key: RepoKey {
            forge: row.text("forge")?,
            repo: row.text("repo")?,
        },
        id: row.int("repo_id")?.cast_unsigned(),
        renamed_to: row
            .maybe_text("renamed_to")?
            .map(|path| parsed("renamed_to", &path, RepoPath::parse))
            .transpose()?,
    })
}
