//! The difference between two commits on Gitea, from their trees. Its compare API lists the files of commits, not
//! the difference of the two ends.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;

use super::Gitea;
use crate::changes::{ChangeSet, FilePath, Proof};
use crate::event::{CommitId, RepoPath};
use crate::forge::trees::{self, Budget, Dir, Entry, EntryKind, Stop, Trees};
use crate::forge::{ForgeError, complete};
use crate::sanitize::one_line;

/// Entries per page; `[api] DEFAULT_GIT_TREES_PER_PAGE` may be lower (Gitea's source).
const PAGE: &str = "1000";

pub(super) async fn changes(
    gitea: &Gitea,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<ChangeSet, ForgeError> {
    if from == to {
        return Ok(complete(Proof::Trees, BTreeMap::new()));
    }
    trees::difference(&RepoTrees { gitea, repo }, gitea.api.clock(), from, to).await
}

pub(super) async fn files(
    gitea: &Gitea,
    repo: &RepoPath,
    commit: &CommitId,
) -> Result<Option<Vec<FilePath>>, ForgeError> {
    trees::files(&RepoTrees { gitea, repo }, gitea.api.clock(), commit).await
}

struct RepoTrees<'a> {
    gitea: &'a Gitea,
    repo: &'a RepoPath,
}

/// One page. `truncated` says whether more follow, and `total_count` is the number of entries on all pages.
#[derive(Deserialize)]
struct Page {
    tree: Option<Vec<TreeEntry>>,
    truncated: bool,
    total_count: Option<usize>,
}

#[derive(Deserialize)]
struct TreeEntry {
    path: String,
    mode: String,
    sha: String,
}

impl RepoTrees<'_> {
    /// All pages of a listing.
    async fn fetch(&self, dir: &Dir, recursive: bool, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        // The API accepts a commit's id as the id of its root tree.
        let id = dir.id.as_deref().unwrap_or(dir.commit.as_str());
        let what = format!(
            "list `/{}` of {} in {}",
            dir.path,
            dir.commit.short(),
            self.repo
        );
        let mut entries = Vec::new();
        for number in 1_usize.. {
            budget.spend().await?;
            let number = number.to_string();
            let mut query = vec![("page", number.as_str()), ("per_page", PAGE)];
            if recursive {
                query.push(("recursive", "true"));
            }
            let answer = self
                .gitea
                .get(self.repo, &["git", "trees", id], &query, &what)
                .await?;
            if answer.status != StatusCode::OK {
                return Err(self.gitea.error(&answer).into());
            }
            let page: Page = answer.json()?;
            let listed = page.tree.unwrap_or_default();
            let is_last = listed.is_empty() || !page.truncated;
            for entry in listed {
                entries.push(read(dir, entry)?);
            }
            if !is_last {
                continue;
            }
            if let Some(all) = page.total_count
                && all != entries.len()
            {
                return Err(Stop::Unknown(format!(
                    "Gitea lists {} of the {all} entries of `/{}`",
                    entries.len(),
                    dir.path
                )));
            }
            break;
        }
        Ok(entries)
    }
}

fn read(dir: &Dir, entry: TreeEntry) -> Result<Entry, Stop> {
    let path = dir.join(&entry.path);
    match EntryKind::from_mode(&entry.mode) {
        Some(kind) => Ok(Entry {
            path,
            kind,
            id: entry.sha,
        }),
        None => Err(Stop::Unknown(format!(
            "`{path}` has the mode {}, which git does not have",
            one_line(&entry.mode)
        ))),
    }
}

#[async_trait]
impl Trees for RepoTrees<'_> {
    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        self.fetch(dir, false, budget).await
    }

    async fn list_deep(&self, dir: &Dir, budget: &Budget) -> Result<Option<Vec<Entry>>, Stop> {
        self.fetch(dir, true, budget).await.map(Some)
    }
}
