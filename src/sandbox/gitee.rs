//! A simulated Gitee: webhooks, whose signature does not cover the body, trees, and checks. From Gitee's pages on
//! webhooks and on gate checks, and captured deliveries.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::Sandbox;
use super::exchange::{Answer, Api, Request, form_pairs};
use super::forge::Forge;
use super::host::{
    Delivery, GitHost, HookSetup, Moved, PostedStatus, Project, Projects, TokenRights, WebhookEvent,
};
use super::lists::{Lists, Renames};
use super::repo::{Commit, Repo, ZERO};
use super::service::Service;
use super::stand_in::{Kind, StandIn};
use super::tree::text;

/// The only token that the sandbox's Gitee accepts.
const TOKEN: &str = "gitee0123456789abcdef0123456789ab";
/// The secret (or password) of every hook.
const SECRET: &str = "sandbox-webhook-secret";
/// How many of a push's newest commits its list contains.
const MAX_COMMITS: usize = 10;

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::GITEE,
    start: |_| StandIn::forge(Gitee::new()),
};

impl Service {
    /// Gitee's API, version 5.
    pub const GITEE: Self = Self::new("gitee");
}

impl Sandbox {
    /// Gitee.
    pub fn gitee(&self) -> Forge {
        self.forge_at(Service::GITEE)
    }

    /// Makes Gitee's webhooks contain the password itself instead of a signature.
    pub fn send_gitee_password(&self, password: bool) {
        self.world.state_of(Service::GITEE, |gitee: &mut Gitee| {
            gitee.password = password
        });
    }
}

/// The state of Gitee.
pub(super) struct Gitee {
    projects: Projects,
    /// In order of creation; a check's index is its id.
    checks: Vec<Check>,
    /// Whether webhooks contain the password itself instead of a signature.
    pub password: bool,
    hook: Option<HookSetup>,
    rights: TokenRights,
}

/// A check task on a commit, and its states so far.
struct Check {
    /// The repository, in lower case.
    path: String,
    sha: String,
    name: String,
    completed: bool,
    shown: Vec<PostedStatus>,
}

impl Gitee {
    pub fn new() -> Self {
        Self {
            projects: Projects::default(),
            checks: Vec::new(),
            password: false,
            hook: None,
            rights: TokenRights::All,
        }
    }

    fn deliver(&self, event: &str, mut body: Value, now: Timestamp) -> Delivery {
        let milliseconds = now.as_millisecond().to_string();
        let token = if self.password {
            SECRET.to_owned()
        } else {
            sign(&milliseconds, SECRET)
        };
        if let Some(body) = body.as_object_mut() {
            body.insert("timestamp".into(), json!(milliseconds));
            let (password, sign) = if self.password {
                (SECRET, String::new())
            } else {
                ("", token.clone())
            };
            body.insert("password".into(), json!(password));
            body.insert("sign".into(), json!(sign));
        }
        let headers = [
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "git-oschina-hook".to_owned()),
            ("X-Gitee-Event", event.to_owned()),
            ("X-Gitee-Timestamp", milliseconds),
            ("X-Gitee-Token", token),
        ];
        Delivery {
            path: "/hooks/gitee".to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            body: body.to_string().into_bytes(),
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Answer {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["api", "v5", "repos", owner, name, rest @ ..] = parts.as_slice() else {
            return not_found();
        };
        let path = format!("{owner}/{name}");
        let Some(project) = self.projects.find(&path) else {
            return not_found();
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => self.repository(project),
            ("GET", ["hooks"]) => self.hooks(),
            ("POST" | "PATCH", _) if self.rights == TokenRights::Read => problem(403, "Forbidden"),
            ("GET", ["git", "trees", sha]) => tree(&project.repo, sha, request),
            ("GET", ["branches", name]) => {
                let tip = project.repo.refs().get(&format!("refs/heads/{name}"));
                match tip {
                    Some(id) => Answer::json(200, &json!({"name": name, "commit": {"sha": id}})),
                    None => not_found(),
                }
            }
            ("GET", ["commits", sha, "check-runs"]) => self.list_checks(&path, sha, request),
            ("POST", ["check-runs"]) => self.create_check(&path, request, now),
            ("PATCH", ["check-runs", id]) => self.update_check(&path, id, request, now),
            _ => not_found(),
        }
    }

    /// From the API v5 description of a repository.
    fn repository(&self, project: &Project) -> Answer {
        let is_admin = self.rights == TokenRights::All;
        Answer::json(
            200,
            &json!({
                "id": project.id,
                "full_name": project.path,
                "default_branch": project.default_branch,
                "permission": {"pull": true, "push": true, "admin": is_admin},
            }),
        )
    }

    /// From the API v5 description of a webhook, which shows its password.
    fn hooks(&self) -> Answer {
        let hooks: Vec<Value> = self
            .hook
            .iter()
            .map(|hook| {
                json!({
                    "id": 1,
                    "url": hook.url,
                    "password": SECRET,
                    "result": hook.last.map(|_| "answered"),
                    "result_code": hook.last,
                    "push_events": hook.sends("push"),
                    "tag_push_events": hook.sends("tag_push"),
                })
            })
            .collect();
        Answer::json(200, &json!(hooks))
    }

    fn list_checks(&self, path: &str, sha: &str, request: &Request) -> Answer {
        let name = request.query_value("check_name");
        let tasks: Vec<Value> = (1..)
            .zip(&self.checks)
            .filter(|(_, check)| check.path == path.to_lowercase() && check.sha == sha)
            .filter(|(_, check)| name.as_ref().is_none_or(|name| check.name == *name))
            .map(|(id, check)| {
                let status = if check.completed {
                    "completed"
                } else {
                    "in_progress"
                };
                json!({"id": id, "name": check.name, "head_sha": check.sha, "status": status})
            })
            .collect();
        let total = tasks.len();
        Answer::json(200, &json!({"total_count": total, "check_runs": tasks}))
    }

    fn create_check(&mut self, path: &str, request: &Request, now: Timestamp) -> Answer {
        let (form, shown) = match check_form(request, now) {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        let sha = form.get("head_sha").cloned().unwrap_or_default();
        if self
            .projects
            .find(path)
            .is_none_or(|project| project.repo.known(&sha).is_none())
        {
            return problem(400, "head_sha is not a commit of the repository");
        }
        self.checks.push(Check {
            path: path.to_lowercase(),
            sha,
            name: shown.context.clone(),
            completed: form.contains_key("conclusion"),
            shown: vec![shown],
        });
        Answer::json(201, &json!({"id": self.checks.len()}))
    }

    fn update_check(&mut self, path: &str, id: &str, request: &Request, now: Timestamp) -> Answer {
        let (form, shown) = match check_form(request, now) {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        let place = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
        let check = place.and_then(|place| self.checks.get_mut(place));
        let Some(check) = check.filter(|check| check.path == path.to_lowercase()) else {
            return not_found();
        };
        if check.completed {
            return problem(400, "the conclusion of a check cannot be changed");
        }
        check.completed = form.contains_key("conclusion");
        check.shown.push(shown);
        Answer::json(200, &json!({"id": id}))
    }
}

/// The parameters of a check and its state, or what is wrong with them.
fn check_form(
    request: &Request,
    now: Timestamp,
) -> Result<(BTreeMap<String, String>, PostedStatus), Answer> {
    if request.content_type() != "application/x-www-form-urlencoded" {
        return Err(problem(400, "the parameters are no form"));
    }
    let form: BTreeMap<String, String> = form_pairs(&request.body).into_iter().collect();
    let of = |name: &str| form.get(name).cloned();
    let conclusions = [
        "action_required",
        "cancelled",
        "failure",
        "neutral",
        "success",
        "skipped",
        "stale",
        "timed_out",
    ];
    let state = match (of("status").as_deref(), of("conclusion")) {
        (Some("completed"), Some(word)) if conclusions.contains(&word.as_str()) => word,
        (None | Some("queued" | "in_progress"), None) => "pending".to_owned(),
        _ => return Err(problem(400, "status and conclusion do not fit")),
    };
    let Some(context) = of("name") else {
        return Err(problem(400, "name is missing"));
    };
    let shown = PostedStatus {
        state,
        context,
        description: of("output[summary]"),
        target_url: of("details_url"),
        ref_name: None,
        at: now,
    };
    Ok((form, shown))
}

/// The signature, which covers only the time and the secret.
fn sign(milliseconds: &str, secret: &str) -> String {
    let text = format!("{milliseconds}\n{secret}");
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| STANDARD.encode(mac.chain_update(text).finalize().into_bytes()))
        .unwrap_or_default()
}

impl Api for Gitee {
    fn action(&self, request: &Request) -> String {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().skip(5).map(String::as_str).collect();
        let what = match parts.as_slice() {
            ["git", what, ..] | [what, ..] => what,
            [] => "repository",
        };
        format!("{} {what}", request.method)
    }

    fn summary(&self, request: &Request) -> String {
        // The token may be in the query.
        format!("{} {}", request.method, request.path)
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let authorization = request.header("authorization").unwrap_or_default();
        let token = authorization
            .strip_prefix("Bearer ")
            .or_else(|| authorization.strip_prefix("token "))
            .map(str::to_owned)
            .or_else(|| request.query_value("access_token"));
        if token.as_deref() != Some(TOKEN) || self.rights == TokenRights::Expired {
            return problem(401, "401 Unauthorized: Access token does not exist");
        }
        self.route(request, now)
    }

    fn throttled(&self, _now: Timestamp) -> Answer {
        problem(403, "Rate limit exceeded")
    }

    fn failure(&self, code: &str) -> Answer {
        let (status, message) = code.split_once(' ').unwrap_or((code, "Server Error"));
        problem(status.parse().unwrap_or(500), message)
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        problem(403, "Rate limit exceeded")
    }
}

impl GitHost for Gitee {
    fn token(&self) -> &'static str {
        TOKEN
    }

    fn api_path(&self) -> &'static str {
        "/api/v5"
    }

    fn projects(&mut self) -> &mut Projects {
        &mut self.projects
    }

    fn pushed(&mut self, path: &str, moved: &Moved, now: Timestamp) -> Option<Delivery> {
        let (event, body) = push(self.projects.find(path)?, moved);
        Some(self.deliver(event, body, now))
    }

    fn webhook(&mut self, _path: &str, event: &WebhookEvent, _now: Timestamp) -> Option<Delivery> {
        match event {
            WebhookEvent::Ping
            | WebhookEvent::Deployment { .. }
            | WebhookEvent::Workflow { .. }
            | WebhookEvent::Pipeline { .. }
            | WebhookEvent::Release { .. } => None,
        }
    }

    fn again(&mut self, delivery: &Delivery, now: Timestamp) -> Delivery {
        let event = delivery.header("X-Gitee-Event").unwrap_or_default();
        let body = serde_json::from_slice(&delivery.body).unwrap_or(Value::Null);
        self.deliver(event, body, now)
    }

    fn set_rights(&mut self, rights: TokenRights) {
        self.rights = rights;
    }

    fn set_hook(&mut self, hook: HookSetup) {
        self.hook = Some(hook);
    }

    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus> {
        let of_it = |check: &&Check| check.path == path.to_lowercase() && check.sha == sha;
        let checks = self.checks.iter().filter(of_it);
        checks.flat_map(|check| check.shown.clone()).collect()
    }
}

/// The event and body of a push. `commits` is null where there are none.
fn push(project: &Project, moved: &Moved) -> (&'static str, Value) {
    let repo = &project.repo;
    let tag = moved.name.starts_with("refs/tags/");
    let (created, deleted) = (moved.before == ZERO, moved.after == ZERO);
    let (before, after) = (repo.peel(&moved.before), repo.peel(&moved.after));
    let commits: Vec<&Commit> = if tag || deleted {
        Vec::new()
    } else if created {
        let others: Vec<String> = moved.refs_before.values().cloned().collect();
        repo.commits_between(after, &others)
    } else {
        repo.commits_between(after, &[before.to_owned()])
    };
    let skipped = commits.len().saturating_sub(MAX_COMMITS);
    let lines: Vec<Value> = commits
        .iter()
        .skip(skipped)
        .map(|commit| commit_json(repo, commit))
        .collect();
    let none = lines.is_empty();
    let described = json!({
        "id": project.id,
        "name": project.name(),
        "full_name": project.path,
        "path_with_namespace": project.path,
        "default_branch": project.default_branch,
    });
    let body = json!({
        "ref": moved.name,
        "before": moved.before,
        "after": moved.after,
        "created": created,
        "deleted": deleted,
        "compare": format!("https://gitee.com/{}/compare/{before}...{after}", project.path),
        "commits": if none { Value::Null } else { Value::Array(lines) },
        "head_commit": repo.known(after).map(|commit| commit_json(repo, commit)),
        "total_commits_count": if none { Value::Null } else { json!(commits.len()) },
        "commits_more_than_ten": if none { Value::Null } else { json!(skipped > 0) },
        "hook_name": if tag { "tag_push_hooks" } else { "push_hooks" },
        "hook_id": 1,
        "project": described,
        "repository": described,
        "sender": {"login": "ada", "name": "Ada Example"},
    });
    (if tag { "Tag Push Hook" } else { "Push Hook" }, body)
}

fn commit_json(repo: &Repo, commit: &Commit) -> Value {
    let lists = Lists::of(repo, commit, Renames::BothSides, usize::MAX);
    json!({
        "id": commit.id,
        "tree_id": commit.tree,
        "parent_ids": commit.parents,
        "message": commit.message,
        "distinct": true,
        "timestamp": commit.at.to_string(),
        "added": lists.added,
        "removed": lists.removed,
        "modified": lists.modified,
    })
}

fn tree(repo: &Repo, sha: &str, request: &Request) -> Answer {
    let root = match repo.resolve(sha) {
        Some(commit) => commit.tree.clone(),
        None => sha.to_owned(),
    };
    if repo.tree(&root).is_none() {
        return not_found();
    }
    let recursive = request.query_value("recursive").as_deref() == Some("1");
    let mut entries = Vec::new();
    walk(repo, &root, "", recursive, &mut entries);
    Answer::json(
        200,
        &json!({"sha": root, "tree": entries, "truncated": false}),
    )
}

fn walk(repo: &Repo, id: &str, prefix: &str, recursive: bool, into: &mut Vec<Value>) {
    for entry in repo.tree(id).unwrap_or_default() {
        let path = format!("{prefix}{}", text(&entry.name));
        into.push(json!({
            "path": path,
            "mode": format!("{:06o}", entry.mode),
            "type": entry.kind(),
            "sha": entry.id,
        }));
        if recursive && entry.kind() == "tree" {
            walk(repo, &entry.id, &format!("{path}/"), recursive, into);
        }
    }
}

fn problem(status: u16, message: &str) -> Answer {
    Answer::refusal(
        status,
        format!("{status} {message}"),
        &json!({"message": message}),
    )
}

fn not_found() -> Answer {
    problem(404, "404 Not Found")
}

#[cfg(test)]
mod tests {
    use super::super::repo::Change;
    use super::*;

    #[test]
    fn the_signature_covers_time_and_secret_but_not_the_body() {
        let mut gitee = Gitee::new();
        let now = Timestamp::from_millisecond(1_700_000_000_123).unwrap();

        let one = gitee.deliver("Push Hook", json!({"ref": "a"}), now);
        let other = gitee.deliver("Push Hook", json!({"ref": "b"}), now);

        assert_eq!(one.header("X-Gitee-Timestamp"), Some("1700000000123"));
        assert_eq!(one.header("X-Gitee-Token"), other.header("X-Gitee-Token"));
        gitee.password = true;
        let plain = gitee.deliver("Push Hook", json!({}), now);
        assert_eq!(plain.header("X-Gitee-Token"), Some(SECRET));
    }

    #[test]
    fn a_push_of_nothing_new_has_null_for_commits() {
        let mut gitee = Gitee::new();
        gitee.projects.create("a/b", "main");
        let now = Timestamp::UNIX_EPOCH;
        let repo = &mut gitee.projects.find_mut("a/b").unwrap().repo;
        repo.commit("main", &[Change::write("x", "1")], now);
        let (before, after) = repo.push("refs/heads/main");
        let refs_before = repo.refs().clone();
        let moved = Moved {
            name: "refs/heads/copy".into(),
            before,
            after,
            refs_before,
        };

        let delivery = gitee.pushed("a/b", &moved, now).unwrap();

        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        assert!(body["commits"].is_null() && body["total_commits_count"].is_null());
        assert_eq!(
            (&body["created"], &body["hook_name"]),
            (&json!(true), &json!("push_hooks"))
        );
    }
}
