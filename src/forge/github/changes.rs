//! The difference between two commits on GitHub: from the compare API if its answer is exact and complete,
//! otherwise from the two trees.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;

use super::GitHub;
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::event::{CommitId, RepoPath};
use crate::forge::trees::{self, Budget, Dir, Entry, EntryKind, Stop, Trees};
use crate::forge::{ForgeError, complete, note};

/// The compare API lists at most 300 files and does not say if it omitted some ("Compare two commits", OpenAPI
/// description).
const MAX_COMPARED: usize = 300;

pub(super) async fn changes(
    github: &GitHub,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<ChangeSet, ForgeError> {
    if from == to {
        return Ok(complete(Proof::Trees, BTreeMap::new()));
    }
    match compare(github, repo, from, to).await? {
        Some(files) => Ok(complete(Proof::Compare, files)),
        None => trees::difference(&RepoTrees { github, repo }, github.api.clock(), from, to).await,
    }
}

pub(super) async fn files(
    github: &GitHub,
    repo: &RepoPath,
    commit: &CommitId,
) -> Result<Option<Vec<FilePath>>, ForgeError> {
    trees::files(&RepoTrees { github, repo }, github.api.clock(), commit).await
}

#[derive(Deserialize)]
struct Comparison {
    merge_base_commit: Option<Commit>,
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    status: String,
    previous_filename: Option<String>,
    patch: Option<String>,
}

impl File {
    /// Whether it is a submodule, whose patch shows the commit that it points to.
    fn is_submodule(&self) -> bool {
        let lines = self.patch.as_deref().unwrap_or_default().lines();
        let mut lines = lines.filter(|line| line.starts_with(['-', '+'])).peekable();
        lines.peek().is_some()
            && lines.all(|line| {
                line.get(1..)
                    .is_some_and(|rest| rest.starts_with("Subproject commit "))
            })
    }
}

/// The difference from the compare API. None if it is not exact or may be incomplete.
async fn compare(
    github: &GitHub,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<Option<BTreeMap<FilePath, ChangeKind>>, ForgeError> {
    let what = format!("compare {} with {} in {repo}", from.short(), to.short());
    let basehead = format!("{from}...{to}");
    let answer = github
        .get(repo, &["compare", &basehead], &[], &what)
        .await?;
    match answer.status {
        StatusCode::OK if answer.is_too_long() => Ok(None),
        StatusCode::OK => Ok(exact_files(answer.json()?, from)),
        // Commits without a common ancestor, or too many changes to compare: the trees may still be available.
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
        _ => Err(github.error(&answer)),
    }
}

/// The files of a comparison, if it is the difference of its two ends.
fn exact_files(comparison: Comparison, from: &CommitId) -> Option<BTreeMap<FilePath, ChangeKind>> {
    // The API compares with the merge base; changes on the other side of it are missing.
    if comparison.merge_base_commit?.sha != from.as_str() {
        return None;
    }
    let listed = comparison.files?;
    if listed.len() >= MAX_COMPARED {
        return None;
    }
    let mut files = BTreeMap::new();
    for mut file in listed {
        if file.is_submodule() {
            file.filename.push('/');
            file.previous_filename = file.previous_filename.map(|path| path + "/");
        }
        match file.status.as_str() {
            "added" | "copied" => note(&mut files, &file.filename, ChangeKind::Added),
            "modified" => note(&mut files, &file.filename, ChangeKind::Modified),
            "removed" => note(&mut files, &file.filename, ChangeKind::Removed),
            "renamed" => {
                note(&mut files, &file.previous_filename?, ChangeKind::Removed);
                note(&mut files, &file.filename, ChangeKind::Added);
            }
            "unchanged" => {}
            // `changed` means a mode, which can turn a file into a link: only the trees can tell. The same goes for
            // undocumented words.
            _ => return None,
        }
    }
    Some(files)
}

struct RepoTrees<'a> {
    github: &'a GitHub,
    repo: &'a RepoPath,
}

#[derive(Deserialize)]
struct Tree {
    tree: Vec<TreeEntry>,
    truncated: bool,
}

#[derive(Deserialize)]
struct TreeEntry {
    path: String,
    mode: String,
    sha: String,
}

impl RepoTrees<'_> {
    /// One answer of the trees API, and whether it is complete.
    async fn fetch(
        &self,
        dir: &Dir,
        query: &[(&str, &str)],
        budget: &Budget,
    ) -> Result<(Vec<Entry>, bool), Stop> {
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
            .github
            .get(self.repo, &["git", "trees", id], query, &what)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(self.github.error(&answer).into());
        }
        if answer.is_too_long() {
            return Ok((Vec::new(), false));
        }
        let tree: Tree = answer.json()?;
        let entries = tree
            .tree
            .into_iter()
            .map(|entry| match EntryKind::from_mode(&entry.mode) {
                Some(kind) => Ok(Entry {
                    path: dir.join(&entry.path),
                    kind,
                    id: entry.sha,
                }),
                None => Err(Stop::Unknown(format!(
                    "`{}` has the mode {}, which git does not have",
                    dir.join(&entry.path),
                    crate::sanitize::one_line(&entry.mode)
                ))),
            })
            .collect::<Result<_, _>>()?;
        Ok((entries, !tree.truncated))
    }
}

#[async_trait]
impl Trees for RepoTrees<'_> {
    fn lists_whole_trees(&self) -> bool {
        true
    }

    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        match self.fetch(dir, &[], budget).await? {
            (entries, true) => Ok(entries),
            (_, false) => Err(Stop::Unknown(format!(
                "GitHub does not list all of the directory `/{}`",
                dir.path
            ))),
        }
    }

    async fn list_deep(&self, dir: &Dir, budget: &Budget) -> Result<Option<Vec<Entry>>, Stop> {
        // Up to 100,000 entries or 7 MB are listed at once ("Get a tree"); beyond that, `truncated` is set.
        let (entries, whole) = self.fetch(dir, &[("recursive", "1")], budget).await?;
        Ok(whole.then_some(entries))
    }
}
