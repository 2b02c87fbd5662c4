//! Comparisons, commits, trees and branches.

use serde_json::{Value, json};

use super::super::diff::{Difference, FileDiff, diff};
use super::super::exchange::{Answer, Request};
use super::super::repo::{Commit, Repo};
use super::super::tree::{Entry, text};
use super::{GitLab, error, message, time};

/// Files in a comparison; beyond that, only `compare_timeout` shows that there are more.
pub(super) const MAX_FILES: usize = 1_000;
/// Entries per page.
const MAX_PAGE: usize = 100;

impl GitLab {
    /// `GET repository/compare`: from the merge base unless `straight` is true.
    pub(super) fn compare(&self, path: &str, request: &Request) -> Answer {
        let Some(repo) = self.repo(path) else {
            return message(404, "404 Project Not Found");
        };
        let (Some(from), Some(to)) = (request.query_value("from"), request.query_value("to"))
        else {
            return error("from is missing, to is missing");
        };
        let straight = match request.query_value("straight").as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return error("straight is invalid"),
        };
        let (Some(from), Some(to)) = (repo.resolve(&from), repo.resolve(&to)) else {
            return message(404, "404 Ref Not Found");
        };
        let base = if straight {
            Some(from)
        } else {
            repo.merge_base(&from.id, &to.id)
                .and_then(|id| repo.known(&id))
        };
        let Some(base) = base else {
            return message(404, "404 Merge Base Not Found");
        };
        let files = diff(&base.files, &to.files);
        let commits = repo.commits_between(&to.id, std::slice::from_ref(&from.id));
        let commits: Vec<Value> = commits.iter().map(|commit| commit_json(commit)).collect();
        let diffs = files.iter().take(self.diff_limit).enumerate();
        let diffs: Vec<Value> = diffs
            .map(|(at, file)| diff_json(file, at * 10 > self.diff_limit))
            .collect();
        Answer::json(
            200,
            &json!({
                "commit": commit_json(to),
                "commits": commits,
                "diffs": diffs,
                "compare_timeout": files.len() > self.diff_limit,
                "compare_same_ref": from.id == to.id,
                "web_url": format!("https://gitlab.example.com/{path}/-/compare/{}...{}", from.id, to.id),
            }),
        )
    }

    /// `GET repository/commits/:sha`.
    pub(super) fn commit(&self, path: &str, sha: &str) -> Answer {
        match self.found(path, sha) {
            Some(commit) => Answer::json(200, &commit_json(commit)),
            None => message(404, "404 Commit Not Found"),
        }
    }

    /// `GET repository/commits/:sha/diff`, paged.
    pub(super) fn commit_diff(&self, path: &str, sha: &str, request: &Request) -> Answer {
        let (Some(repo), Some(commit)) = (self.repo(path), self.found(path, sha)) else {
            return message(404, "404 Commit Not Found");
        };
        let number = |name: &str, or: usize| {
            request
                .query_value(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(or)
        };
        let size = number("per_page", 20).clamp(1, MAX_PAGE);
        let page = number("page", 1).max(1);
        let files = repo.own_changes(commit);
        let files = files.iter().take(self.diff_limit);
        let lines = files.skip((page - 1) * size).take(size);
        Answer::json(200, &lines.map(|file| diff_json(file, false)).collect())
    }

    /// `GET repository/tree`: with `pagination=keyset`, `page_token` is the id of the previous page's last entry.
    pub(super) fn tree(&self, path: &str, request: &Request) -> Answer {
        let Some(project) = self.find(path) else {
            return message(404, "404 Project Not Found");
        };
        let reference = request
            .query_value("ref")
            .unwrap_or_else(|| project.default_branch.clone());
        let repo = &project.repo;
        let Some(commit) = repo.resolve(&reference) else {
            return message(404, "404 Tree Not Found");
        };
        let directory = request.query_value("path").unwrap_or_default();
        let directory = directory.trim_matches('/');
        let Some(root) = descend(repo, &commit.tree, directory) else {
            return message(404, "404 invalid revision or path Not Found");
        };
        let recursive = match request.query_value("recursive").as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return error("recursive is invalid"),
        };
        let mut entries = Vec::new();
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        walk(repo, &root, &prefix, recursive, &mut entries);
        let size = match request.query_value("per_page").map(|n| n.parse::<usize>()) {
            None => 20,
            Some(Ok(size)) if size > 0 => size.min(MAX_PAGE),
            Some(_) => return error("per_page is invalid"),
        };
        let keyset = match request.query_value("pagination").as_deref() {
            None | Some("legacy") => false,
            Some("keyset") => true,
            Some(_) => return error("pagination does not have a valid value"),
        };
        let start = if keyset {
            match request.query_value("page_token") {
                None => 0,
                // The token is opaque to clients.
                Some(token) => match token.strip_prefix("after-").map(str::parse::<usize>) {
                    Some(Ok(at)) if at <= entries.len() => at,
                    Some(_) | None => return message(404, "404 Invalid page token Not Found"),
                },
            }
        } else {
            let page = request.query_value("page").and_then(|n| n.parse().ok());
            (page.unwrap_or(1usize).max(1) - 1) * size
        };
        let total = entries.len();
        let page: Vec<Value> = entries.into_iter().skip(start).take(size).collect();
        let next = start + page.len();
        let answer = Answer::json(200, &Value::Array(page));
        if next >= total {
            return answer;
        }
        let mut pairs: Vec<(String, String)> = request
            .query_pairs()
            .into_iter()
            .filter(|(name, _)| name != "page_token" && name != "page")
            .collect();
        if keyset {
            pairs.push(("page_token".into(), format!("after-{next}")));
        } else {
            pairs.push(("page".into(), (next / size + 1).to_string()));
        }
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let link = format!("<{}{}?{query}>; rel=\"next\"", self.address, request.path);
        answer.with("link", link)
    }

    /// `GET repository/merge_base?refs[]=..&refs[]=..`.
    pub(super) fn merge_base(&self, path: &str, request: &Request) -> Answer {
        let refs: Vec<String> = request
            .query_pairs()
            .into_iter()
            .filter(|(name, _)| name == "refs[]")
            .map(|(_, value)| value)
            .collect();
        let [one, other] = refs.as_slice() else {
            return error("refs is invalid");
        };
        let found = self.repo(path).and_then(|repo| {
            let (one, other) = (repo.resolve(one)?, repo.resolve(other)?);
            repo.known(&repo.merge_base(&one.id, &other.id)?)
        });
        match found {
            Some(commit) => Answer::json(200, &commit_json(commit)),
            None => message(404, "404 Merge Base Not Found"),
        }
    }

    /// `GET repository/branches/:branch`.
    pub(super) fn branch(&self, path: &str, name: &str) -> Answer {
        let full = format!("refs/heads/{name}");
        let found = self
            .repo(path)
            .and_then(|repo| repo.known(repo.refs().get(&full)?));
        match found {
            Some(commit) => {
                let commit = commit_json(commit);
                let body =
                    json!({"name": name, "commit": commit, "protected": false, "can_push": true});
                Answer::json(200, &body)
            }
            None => message(404, "404 Branch Not Found"),
        }
    }

    /// A commit by its id, also abbreviated, or by branch or tag.
    fn found(&self, path: &str, text: &str) -> Option<&Commit> {
        let repo = self.repo(path)?;
        repo.resolve(text).or_else(|| repo.abbreviated(text))
    }

    fn repo(&self, path: &str) -> Option<&Repo> {
        self.find(path).map(|project| &project.repo)
    }
}

/// The tree object of a directory.
fn descend(repo: &Repo, root: &str, directory: &str) -> Option<String> {
    let mut id = root.to_owned();
    for step in directory.split('/').filter(|step| !step.is_empty()) {
        let mut entries = repo.tree(&id)?.iter();
        let entry = entries.find(|e| e.name == step.as_bytes() && e.kind() == "tree")?;
        id = entry.id.clone();
    }
    Some(id)
}

fn walk(repo: &Repo, id: &str, prefix: &str, recursive: bool, into: &mut Vec<Value>) {
    for entry in repo.tree(id).unwrap_or_default() {
        let path = format!("{prefix}{}", text(&entry.name));
        into.push(json!({
            "id": entry.id,
            "name": text(&entry.name),
            "type": entry.kind(),
            "path": path,
            "mode": format!("{:06o}", entry.mode),
        }));
        if recursive && entry.kind() == "tree" {
            walk(repo, &entry.id, &format!("{path}/"), recursive, into);
        }
    }
}

fn commit_json(commit: &Commit) -> Value {
    json!({
        "id": commit.id,
        "short_id": commit.id.get(..8),
        "title": commit.message,
        "message": commit.message,
        "parent_ids": commit.parents,
        "author_name": "Ada Example",
        "author_email": "ada@example.com",
        "created_at": time(commit.at),
        "committed_date": time(commit.at),
    })
}

fn diff_json(file: &FileDiff, collapsed: bool) -> Value {
    let path = text(&file.path);
    let old_path = file.previous.as_deref().map_or_else(|| path.clone(), text);
    let mode = |entry: &Option<Entry>| {
        let mode = entry.as_ref().map_or(0, |entry| entry.mode);
        if mode == 0 {
            "0".to_owned()
        } else {
            format!("{mode:06o}")
        }
    };
    let content = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.id.clone());
    let differs = content(&file.old) != content(&file.new);
    json!({
        "old_path": old_path,
        "new_path": path,
        "a_mode": mode(&file.old),
        "b_mode": mode(&file.new),
        "new_file": file.difference == Difference::Added,
        "renamed_file": file.difference == Difference::Renamed,
        "deleted_file": file.difference == Difference::Removed,
        "collapsed": collapsed,
        "too_large": false,
        // Empty if only the mode or the path differs.
        "diff": if differs { "@@ -1 +1 @@\n-old\n+new\n" } else { "" },
    })
}
