//! Requests that forges deny: a row for each repository and kind of request while the denial lasts, for all processes.

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::database::{Row, Transaction, params};
use super::{Store, StoreError, retry_on_conflict, timestamp};
use crate::event::RepoPath;
use crate::forge::Denial;
use crate::run::RunId;

/// A kind of request to a forge about a repository, by its name in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RepoRequest {
    /// To read commits and files.
    Read,
    /// To post statuses on commits.
    PostStatus,
}

impl RepoRequest {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A repository of a forge. The key ignores case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoKey {
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The repository's path in lower case.
    pub repo: String,
}

impl RepoKey {
    /// The key of a repository.
    pub fn new(forge: &str, repo: &RepoPath) -> Self {
        Self {
            forge: forge.to_owned(),
            repo: repo.as_str().to_ascii_lowercase(),
        }
    }
}

/// A forge's denial, which lasts until a person changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedAccess {
    /// The repository.
    pub key: RepoKey,
    /// What is denied.
    pub access: RepoRequest,
    /// What has to be changed.
    pub denial: Denial,
    /// When the first request was denied.
    pub since: Timestamp,
    /// The forge's first error, for people.
    pub error: String,
}

impl Store {
    /// All denials.
    pub async fn denials(&self) -> Result<Vec<DeniedAccess>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM denials ORDER BY forge, repo, access");
        let rows = self.database.read(&sql, Vec::new()).await?;
        rows.iter().map(denied).collect()
    }

    /// The denials for one repository.
    pub async fn denials_of(&self, key: &RepoKey) -> Result<Vec<DeniedAccess>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM denials WHERE forge = $1 AND repo = $2");
        let rows = self.database.read(&sql, params![&key.forge, &key.repo]);
        rows.await?.iter().map(denied).collect()
    }

    /// Records a denial. False if it is already recorded.
    pub async fn record_denial(&self, denied: &DeniedAccess) -> Result<bool, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let noted = tx
                .execute(
                    "INSERT INTO denials (forge, repo, access, denial, since, error) VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (forge, repo, access) DO UPDATE SET
                         denial = excluded.denial, since = excluded.since, error = excluded.error
                     WHERE denials.denial <> excluded.denial",
                    params![
                        &denied.key.forge,
                        &denied.key.repo,
                        denied.access.as_str(),
                        denied.denial.as_str(),
                        denied.since.as_millisecond(),
                        &denied.error
                    ],
                )
                .await?;
            tx.commit().await?;
            Ok(noted > 0)
        })
        .await
    }

    /// Ends the denials that an accepted request disproves, and returns them: all denials of its kind, and the denials
    /// of any kind that blame the token or the repository. Without a kind, only the latter. Runs that wait for the
    /// forge are due at `now`.
    pub async fn end_denials(
        &self,
        key: &RepoKey,
        access: Option<RepoRequest>,
        now: Timestamp,
    ) -> Result<Vec<DeniedAccess>, StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            let sql = format!(
                "DELETE FROM denials WHERE forge = $1 AND repo = $2 AND (access = $3 OR denial <> 'permission')
                 RETURNING {COLUMNS}"
            );
            let values = params![&key.forge, &key.repo, access.map_or("", RepoRequest::as_str)];
            let ended = tx.query(&sql, values).await?;
            let ended: Vec<DeniedAccess> = ended.iter().map(denied).collect::<Result<_, _>>()?;
            if ended.iter().any(|ended| ended.access == RepoRequest::Read) {
                tx.execute(
                    "DELETE FROM purged_for_denial WHERE forge = $1 AND repo = $2",
                    params![&key.forge, &key.repo],
                )
                .await?;
                tx.execute(
                    "UPDATE work SET due_at = $3
                     WHERE kind = 'run' AND purge_kind = '' AND lease IS NULL AND firm = 0 AND due_at > $3
                         AND subject IN (
                             SELECT id FROM runs WHERE state = 'pending' AND step = 'changes'
                                 AND forge = $1 AND LOWER(repo) = $2)",
                    params![&key.forge, &key.repo, now.as_millisecond()],
                )
                .await?;
                tx.notify().await?;
            }
            tx.commit().await?;
            Ok(ended)
        })
        .await
    }

    /// The run that has purged everything of a site, or will, because a forge denies read requests.
    pub async fn purged_for_denial(
        &self,
        key: &RepoKey,
        site: &str,
    ) -> Result<Option<RunId>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT run FROM purged_for_denial WHERE forge = $1 AND repo = $2 AND site = $3",
                params![&key.forge, &key.repo, site],
            )
            .await?;
        rows.first()
            .map(|row| Ok(RunId(row.text("run")?)))
            .transpose()
    }
}

const COLUMNS: &str = "forge, repo, access, denial, since, error";

fn denied(row: &Row) -> Result<DeniedAccess, StoreError> {
    Ok(DeniedAccess {
        key: RepoKey {
            forge: row.text("forge")?,
            repo: row.text("repo")?,
        },
        access: row.word("access")?,
        denial: row.word("denial")?,
        since: timestamp(row.int("since")?)?,
        error: row.text("error")?,
    })
}

/// Records which run purges everything of a site because a forge denies read requests.
pub(super) async fn put_purged(
    tx: &mut dyn Transaction,
    key: &RepoKey,
    site: &str,
    run: &RunId,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO purged_for_denial (forge, repo, site, run) VALUES ($1, $2, $3, $4)
         ON CONFLICT (forge, repo, site) DO UPDATE SET run = excluded.run",
        params![&key.forge, &key.repo, site, &run.0],
    )
    .await?;
    Ok(())
}
