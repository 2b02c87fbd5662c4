//! Comparisons, commits, trees and refs.

use serde_json::{Value, json};

use super::super::diff::{Difference, FileDiff, diff};
use super::super::exchange::{Answer, Request};
use super::super::repo::{Commit, Repo};
use super::super::tree::text;
use super::{GitHub, not_found, problem, time};

/// Entries of a recursive tree before it is `truncated`.
pub(super) const LIMIT: usize = 100_000;
/// Bytes of a recursive tree before it is `truncated`.
const LIMIT_BYTES: usize = 7 * 1024 * 1024;
/// Files in a comparison. Nothing says that there are more.
const MAX_FILES: usize = 300;
/// Commits in an unpaged comparison.
const MAX_COMMITS: usize = 250;
/// Files of a single commit.
const MAX_COMMIT_FILES: usize = 3_000;

impl GitHub {
    /// `GET compare/{base}...{head}`: files from the merge base to the head, on the first page only.
    pub(super) fn compare(&self, path: &str, both: &str, request: &Request) -> Answer {
        let Some(repo) = self.repo(path) else {
            return not_found();
        };
        // Two dots are not part of the documented API.
        let Some((base, head)) = both.split_once("...") else {
            return not_found();
        };
        let (Some(base), Some(head)) = (repo.resolve(base), repo.resolve(head)) else {
            return not_found();
        };
        let Some(fork) = repo.merge_base(&base.id, &head.id) else {
            return problem(
                404,
                &format!("No common ancestor between {} and {}.", base.id, head.id),
            );
        };
        let ahead = repo.commits_between(&head.id, std::slice::from_ref(&base.id));
        let behind = repo.commits_between(&base.id, std::slice::from_ref(&head.id));
        let status = match (ahead.is_empty(), behind.is_empty()) {
            (true, true) => "identical",
            (false, true) => "ahead",
            (true, false) => "behind",
            (false, false) => "diverged",
        };
        let number = |name: &str| request.query_value(name).and_then(|n| n.parse().ok());
        let page: usize = number("page").unwrap_or(1).max(1);
        let paged = number("page").is_some() || number("per_page").is_some();
        let commits: Vec<Value> = if paged {
            let size: usize = number("per_page").unwrap_or(MAX_COMMITS).clamp(1, 250);
            let pages = ahead.iter().skip((page - 1) * size).take(size);
            pages.map(|commit| commit_json(commit)).collect()
        } else {
            let newest = ahead.iter().skip(ahead.len().saturating_sub(MAX_COMMITS));
            newest.map(|commit| commit_json(commit)).collect()
        };
        let fork_commit = repo.known(&fork);
        let files: Vec<Value> = match fork_commit {
            Some(fork) if page == 1 => diff(&fork.files, &head.files)
                .iter()
                .take(MAX_FILES)
                .map(file_json)
                .collect(),
            Some(_) | None => Vec::new(),
        };
        Answer::json(
            200,
            &json!({
                "status": status,
                "ahead_by": ahead.len(),
                "behind_by": behind.len(),
                "total_commits": ahead.len(),
                "base_commit": commit_json(base),
                "merge_base_commit": fork_commit.map(commit_json),
                "commits": commits,
                "files": files,
            }),
        )
    }

    /// `GET commits/{ref}`: one commit and its files against the first parent.
    pub(super) fn commit(&self, path: &str, reference: &str) -> Answer {
        let Some(repo) = self.repo(path) else {
            return not_found();
        };
        let Some(commit) = repo.resolve(reference) else {
            return problem(422, &format!("No commit found for SHA: {reference}"));
        };
        let mut body = commit_json(commit);
        let files = repo.own_changes(commit);
        let files = files.iter().take(MAX_COMMIT_FILES.min(MAX_FILES));
        if let Some(body) = body.as_object_mut() {
            body.insert("files".into(), files.map(file_json).collect());
        }
        Answer::json(200, &body)
    }

    /// `GET git/trees/{sha}`, where any value of `recursive` requests the whole tree.
    pub(super) fn tree(&self, path: &str, sha: &str, request: &Request) -> Answer {
        let Some(repo) = self.repo(path) else {
            return not_found();
        };
        let root = match repo.resolve(sha) {
            Some(commit) => commit.tree.clone(),
            None => sha.to_owned(),
        };
        if repo.tree(&root).is_none() {
            return not_found();
        }
        let recursive = request.query_value("recursive").is_some();
        let mut listing = Listing {
            entries: Vec::new(),
            bytes: 0,
            limit: self.tree_limit,
            truncated: false,
        };
        listing.walk(repo, &root, "", recursive);
        Answer::json(
            200,
            &json!({
                "sha": root,
                "url": format!("{}/repos/{path}/git/trees/{root}", self.address),
                "tree": listing.entries,
                "truncated": listing.truncated,
            }),
        )
    }

    /// `GET git/commits/{sha}`: the bare commit.
    pub(super) fn git_commit(&self, path: &str, sha: &str) -> Answer {
        match self.repo(path).and_then(|repo| repo.known(sha)) {
            Some(commit) => Answer::json(
                200,
                &json!({
                    "sha": commit.id,
                    "tree": {"sha": commit.tree},
                    "parents": parents(commit),
                    "message": commit.message,
                    "author": person(commit),
                    "committer": person(commit),
                }),
            ),
            None => not_found(),
        }
    }

    /// `GET git/ref/heads/{branch}` and `git/ref/tags/{tag}`.
    pub(super) fn git_ref(&self, path: &str, name: &str) -> Answer {
        let full = format!("refs/{name}");
        let found = self.repo(path).and_then(|repo| {
            let id = repo.refs().get(&full)?;
            Some((id, repo.peel(id) != id))
        });
        match found {
            Some((id, annotated)) => {
                let kind = if annotated { "tag" } else { "commit" };
                let body = json!({"ref": full, "object": {"type": kind, "sha": id}});
                Answer::json(200, &body)
            }
            None => not_found(),
        }
    }

    /// `GET branches/{branch}`.
    pub(super) fn branch(&self, path: &str, name: &str) -> Answer {
        let full = format!("refs/heads/{name}");
        let found = self
            .repo(path)
            .and_then(|repo| repo.known(repo.refs().get(&full)?));
        match found {
            Some(commit) => {
                let body = json!({"name": name, "commit": commit_json(commit), "protected": false});
                Answer::json(200, &body)
            }
            None => problem(404, "Branch not found"),
        }
    }

    fn repo(&self, path: &str) -> Option<&Repo> {
        self.projects.find(path).map(|project| &project.repo)
    }
}

/// A tree while it is listed, within GitHub's limits.
struct Listing {
    entries: Vec<Value>,
    bytes: usize,
    limit: usize,
    truncated: bool,
}

impl Listing {
    fn walk(&mut self, repo: &Repo, id: &str, prefix: &str, recursive: bool) {
        for entry in repo.tree(id).unwrap_or_default() {
            let path = format!("{prefix}{}", text(&entry.name));
            let mut line = json!({
                "path": path,
                "mode": format!("{:06o}", entry.mode),
                "type": entry.kind(),
                "sha": entry.id,
            });
            if let (Some(size), Some(line)) = (entry.size, line.as_object_mut()) {
                line.insert("size".into(), json!(size));
            }
            self.bytes += line.to_string().len();
            if recursive && (self.entries.len() >= self.limit || self.bytes > LIMIT_BYTES) {
                self.truncated = true;
                return;
            }
            self.entries.push(line);
            if recursive && entry.kind() == "tree" {
                self.walk(repo, &entry.id, &format!("{path}/"), recursive);
                if self.truncated {
                    return;
                }
            }
        }
    }
}

fn parents(commit: &Commit) -> Value {
    let parents = commit.parents.iter().map(|sha| json!({"sha": sha}));
    parents.collect()
}

fn person(commit: &Commit) -> Value {
    json!({"name": "Ada Example", "email": "ada@example.com", "date": time(commit.at)})
}

fn commit_json(commit: &Commit) -> Value {
    json!({
        "sha": commit.id,
        "commit": {
            "message": commit.message,
            "tree": {"sha": commit.tree},
            "author": person(commit),
            "committer": person(commit),
        },
        "parents": parents(commit),
    })
}

fn file_json(file: &FileDiff) -> Value {
    let status = match file.difference {
        Difference::Added => "added",
        Difference::Removed => "removed",
        Difference::Modified => "modified",
        Difference::Changed => "changed",
        Difference::Renamed => "renamed",
    };
    let sha = file
        .new
        .as_ref()
        .or(file.old.as_ref())
        .map(|entry| &entry.id);
    let mut line = json!({
        "sha": sha,
        "filename": text(&file.path),
        "status": status,
        "additions": 0,
        "deletions": 0,
        "changes": 0,
    });
    if let (Some(previous), Some(line)) = (&file.previous, line.as_object_mut()) {
        line.insert("previous_filename".into(), json!(text(previous)));
    }
    line
}
