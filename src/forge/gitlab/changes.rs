//! The difference between two commits on GitLab: from the compare API (`straight`, that is, from tree to tree) if
//! its answer is complete, otherwise from the two trees.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::GitLab;
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::event::{CommitId, RepoPath};
use crate::forge::api::next_link;
use crate::forge::trees::{self, Budget, Dir, Entry, EntryKind, Stop, Trees};
use crate::forge::{ForgeError, complete, note};

/// GitLab lists 1,000 files unless its administrator set another limit ("Diff limits"). Beyond the limit,
/// `compare_timeout` is set.
const MAX_COMPARED: usize = 1_000;
/// Entries per page, the maximum for any list ("REST API: Pagination").
const PAGE: &str = "100";

pub(super) async fn changes(
    gitlab: &GitLab,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<ChangeSet, ForgeError> {
    if from == to {
        return Ok(complete(Proof::Trees, BTreeMap::new()));
    }
    match compare(gitlab, repo, from, to).await? {
        Some(files) => Ok(complete(Proof::Compare, files)),
        None => {
            trees::difference(&ProjectTrees { gitlab, repo }, gitlab.api.clock(), from, to).await
        }
    }
}

pub(super) async fn files(
    gitlab: &GitLab,
    repo: &RepoPath,
    commit: &CommitId,
) -> Result<Option<Vec<FilePath>>, ForgeError> {
    trees::files(&ProjectTrees { gitlab, repo }, gitlab.api.clock(), commit).await
}

#[derive(Deserialize)]
struct Comparison {
    diffs: Option<Vec<Diff>>,
    compare_timeout: Option<bool>,
}

#[derive(Deserialize)]
struct Diff {
    old_path: String,
    new_path: String,
    a_mode: Option<String>,
    b_mode: Option<String>,
    #[serde(default)]
    new_file: bool,
    #[serde(default)]
    deleted_file: bool,
    diff: Option<String>,
}

/// The difference from the compare API. None if it may be incomplete.
async fn compare(
    gitlab: &GitLab,
    repo: &RepoPath,
    from: &CommitId,
    to: &CommitId,
) -> Result<Option<BTreeMap<FilePath, ChangeKind>>, ForgeError> {
    let what = format!("compare {} with {} in {repo}", from.short(), to.short());
    let query = [
        ("from", from.as_str()),
        ("to", to.as_str()),
        ("straight", "true"),
    ];
    let request = gitlab.request(Method::GET, repo, &["repository", "compare"], &query);
    let answer = gitlab.send(request, &what).await?;
    match answer.status {
        StatusCode::OK if answer.is_too_long() => Ok(None),
        StatusCode::OK => Ok(whole(answer.json()?)),
        _ => Err(gitlab.error(&answer)),
    }
}

/// The files of a comparison, if it lists all of them.
fn whole(comparison: Comparison) -> Option<BTreeMap<FilePath, ChangeKind>> {
    let diffs = comparison.diffs?;
    if comparison.compare_timeout != Some(false) || diffs.len() >= MAX_COMPARED {
        return None;
    }
    let mut files = BTreeMap::new();
    for diff in diffs {
        let stays = !diff.new_file && !diff.deleted_file && diff.old_path == diff.new_path;
        if stays && diff.may_be_mode_only() {
            return None;
        }
        for (mode, path, change) in diff.sides() {
            let is_submodule = mode == Some("160000");
            if !is_submodule {
                note(&mut files, path, change);
            }
            if is_submodule || mode == Some("120000") {
                note(&mut files, &format!("{path}/"), change);
            }
        }
    }
    Some(files)
}

impl Diff {
    /// The changes of the path on either side, with its mode there. If the two paths differ, each gets its own
    /// change.
    fn sides(&self) -> Vec<(Option<&str>, &str, ChangeKind)> {
        let (old, new) = (self.a_mode.as_deref(), self.b_mode.as_deref());
        let removed = (old, self.old_path.as_str(), ChangeKind::Removed);
        let added = (new, self.new_path.as_str(), ChangeKind::Added);
        if self.new_file {
            vec![added]
        } else if self.deleted_file {
            vec![removed]
        } else if self.old_path != self.new_path {
            vec![removed, added]
        } else {
            let changed = ChangeKind::Modified;
            vec![
                (old, &self.old_path, changed),
                (new, &self.new_path, changed),
            ]
        }
    }

    /// Whether perhaps only the executable bit changed. No document says that an empty diff means equal content, so
    /// only the trees can tell.
    fn may_be_mode_only(&self) -> bool {
        let is_file = |mode: &Option<String>| matches!(mode.as_deref(), Some("100644" | "100755"));
        is_file(&self.a_mode)
            && is_file(&self.b_mode)
            && self.a_mode != self.b_mode
            && self.diff.as_deref().is_none_or(str::is_empty)
    }
}

struct ProjectTrees<'a> {
    gitlab: &'a GitLab,
    repo: &'a RepoPath,
}

#[derive(Deserialize)]
struct TreeEntry {
    id: String,
    path: String,
    mode: String,
}

impl ProjectTrees<'_> {
    /// All pages of a listing.
    async fn fetch(&self, dir: &Dir, recursive: bool, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        let what = format!(
            "list `/{}` of {} in {}",
            dir.path,
            dir.commit.short(),
            self.repo
        );
        let mut entries = Vec::new();
        let mut page: Option<(&'static str, String)> = None;
        loop {
            budget.spend().await?;
            let mut query = vec![
                ("ref", dir.commit.as_str()),
                ("per_page", PAGE),
                ("pagination", "keyset"),
            ];
            if !dir.path.is_empty() {
                query.push(("path", &dir.path));
            }
            if recursive {
                query.push(("recursive", "true"));
            }
            if let Some((name, value)) = &page {
                query.push((name, value));
            }
            let request =
                self.gitlab
                    .request(Method::GET, self.repo, &["repository", "tree"], &query);
            let answer = self.gitlab.send(request, &what).await?;
            if answer.status != StatusCode::OK {
                return Err(self.gitlab.error(&answer).into());
            }
            for entry in answer.json::<Vec<TreeEntry>>()? {
                let Some(kind) = EntryKind::from_mode(&entry.mode) else {
                    return Err(Stop::Unknown(format!(
                        "`{}` has a mode that git does not have",
                        entry.path
                    )));
                };
                entries.push(Entry {
                    path: entry.path,
                    kind,
                    id: entry.id,
                });
            }
            page = match next_page(&answer.headers) {
                Next::None => return Ok(entries),
                Next::Page(name, value) => Some((name, value)),
                Next::Unreadable => {
                    return Err(Stop::Unknown(format!(
                        "GitLab does not say how to read on in `/{}`",
                        dir.path
                    )));
                }
            };
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    None,
    Page(&'static str, String),
    Unreadable,
}

/// The next page of a list, from its `Link` header.
fn next_page(headers: &HeaderMap) -> Next {
    let Some(query) = next_link(headers) else {
        return Next::None;
    };
    let value = |name: &str| {
        let mut pairs = query.iter();
        pairs
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.clone())
    };
    // Older versions number their pages.
    match (value("page_token"), value("page")) {
        (Some(token), _) => Next::Page("page_token", token),
        (None, Some(page)) => Next::Page("page", page),
        (None, None) => Next::Unreadable,
    }
}

#[async_trait]
impl Trees for ProjectTrees<'_> {
    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        self.fetch(dir, false, budget).await
    }

    async fn list_deep(&self, dir: &Dir, budget: &Budget) -> Result<Option<Vec<Entry>>, Stop> {
        self.fetch(dir, true, budget).await.map(Some)
    }
}
