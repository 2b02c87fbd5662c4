//! The difference between two commits on Gitee, from their trees: nothing else in API v5 is exact.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;

use super::Gitee;
use crate::changes::{ChangeSet, Proof};
use crate::event::{CommitId, RepoPath};
use crate::forge::trees::{self, Budget, Dir, Entry, EntryKind, Stop, Trees};
use crate::forge::{ForgeError, complete};
use crate::sanitize::one_line;

pub(super) async fn changes(
    gitee: &Gitee,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<ChangeSet, ForgeError> {
    if from == to {
        return Ok(complete(Proof::Trees, BTreeMap::new()));
    }
    trees::difference(&RepoTrees { gitee, repo }, gitee.api.clock(), from, to).await
}

struct RepoTrees<'a> {
    gitee: &'a Gitee,
    repo: &'a RepoPath,
}

#[derive(Deserialize)]
struct Tree {
    tree: Vec<TreeEntry>,
    truncated: Option<bool>,
}

#[derive(Deserialize)]
struct TreeEntry {
    path: String,
    mode: String,
    sha: String,
}

#[async_trait]
impl Trees for RepoTrees<'_> {
    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        budget.spend().await?;
        // The API accepts a commit's id as the id of its root tree.
        let id = dir.id.as_deref().unwrap_or(dir.commit.as_str());
        let what = format!(
            "list `/{}` of {} in {}",
            dir.path,
            dir.commit.short(),
            self.repo
        );
        let answer = self
            .gitee
            .get(self.repo, &["git", "trees", id], &what)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(self.gitee.error(&answer).into());
        }
        let tree: Tree = answer.json()?;
        if tree.truncated == Some(true) {
            return Err(Stop::Unknown(format!(
                "Gitee does not list all of the directory `/{}`",
                dir.path
            )));
        }
        tree.tree
            .into_iter()
            .map(|entry| read(dir, entry))
            .collect()
    }

    /// No document says where Gitee truncates a whole tree, so directories are listed one at a time.
    async fn list_deep(&self, _dir: &Dir, _budget: &Budget) -> Result<Option<Vec<Entry>>, Stop> {
        Ok(None)
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
