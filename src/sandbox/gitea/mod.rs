//! A simulated Gitea and Forgejo: webhooks, statuses and trees, from their API descriptions and
//! `services/webhook/deliver.go`.

#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Sandbox;
use super::exchange::{Answer, Api, Request};
use super::forge::Forge;
use super::host::{
    Delivery, GitHost, HookSetup, Moved, PostedStatus, Project, Projects, TokenRights, WebhookEvent,
};
use super::repo::{Commit, Repo};
use super::service::Service;
use super::stand_in::{Kind, StandIn};
use super::tree::text;

/// The only token that the sandbox's Gitea accepts.
const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";

/// Entries per page of a tree, also the maximum that can be requested.
const TREE_PAGE: usize = 1_000;

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::GITEA,
    start: |address| StandIn::forge(Gitea::new(address)),
};

impl Service {
    /// Gitea's (or Forgejo's) API, version 1.
    pub const GITEA: Self = Self::new("gitea");
}

impl Sandbox {
    /// Gitea, or Forgejo after [`Sandbox::play_forgejo`].
    pub fn gitea(&self) -> Forge {
        self.forge_at(Service::GITEA)
    }

    /// Limits Gitea's trees to this many entries per page, instead of 1,000.
    pub fn limit_gitea_trees(&self, limit: usize) {
        self.with_gitea(|gitea| gitea.tree_page = limit);
    }

    /// Makes Gitea send its webhooks as forms instead of JSON.
    pub fn send_gitea_forms(&self, forms: bool) {
        self.with_gitea(|gitea| gitea.forms = forms);
    }

    /// Turns Gitea into Forgejo, which adds its own headers.
    pub fn play_forgejo(&self, forgejo: bool) {
        self.with_gitea(|gitea| gitea.forgejo = forgejo);
    }

    fn with_gitea(&self, use_it: impl FnOnce(&mut Gitea)) {
        self.world.state_of(Service::GITEA, use_it);
    }
}

/// The state of Gitea.
pub(super) struct Gitea {
    address: String,
    projects: Projects,
    /// By repository (lower case) and commit, oldest first.
    statuses: BTreeMap<(String, String), Vec<PostedStatus>>,
    delivery_count: u64,
    /// Whether webhooks are sent as forms instead of JSON.
    pub forms: bool,
    /// Whether it is Forgejo, which adds its own headers.
    pub forgejo: bool,
    /// Entries per page of a tree; [`TREE_PAGE`], less for tests.
    pub tree_page: usize,
    hook: Option<HookSetup>,
    rights: TokenRights,
}

impl Gitea {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            projects: Projects::default(),
            statuses: BTreeMap::new(),
            delivery_count: 0,
            forms: false,
            forgejo: false,
            tree_page: TREE_PAGE,
            hook: None,
            rights: TokenRights::All,
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Answer {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["api", "v1", "repos", owner, name, rest @ ..] = parts.as_slice() else {
            return not_found();
        };
        let path = format!("{owner}/{name}");
        let Some(project) = self.projects.find(&path) else {
            return not_found();
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => self.repository(project),
            ("GET", ["hooks"]) => self.hooks(),
            ("POST", _) if self.rights == TokenRights::Read => {
                problem(403, "user should have a permission to write to a repo")
            }
            ("POST", ["statuses", sha]) => self.post_status(&path, sha, request, now),
            ("GET", ["commits", reference, "statuses"]) => self.list_statuses(&path, reference),
            ("GET", ["git", "trees", sha]) => self.tree(&project.repo, &path, sha, request),
            ("GET", ["git", "commits", sha]) => match project.repo.resolve(sha) {
                Some(commit) => Answer::json(200, &commit_json(commit)),
                None => not_found(),
            },
            ("GET", ["branches", name @ ..]) => branch(&project.repo, &name.join("/")),
            _ => not_found(),
        }
    }

    /// `repoGet`
    fn repository(&self, project: &Project) -> Answer {
        let may_write = self.rights == TokenRights::All;
        Answer::json(
            200,
            &json!({
                "id": project.id,
                "full_name": project.path,
                "archived": false,
                "default_branch": project.default_branch,
                "permissions": {"admin": may_write, "push": may_write, "pull": true},
            }),
        )
    }

    /// `repoListHooks`
    fn hooks(&self) -> Answer {
        let hooks: Vec<Value> = self
            .hook
            .iter()
            .map(|hook| {
                let events = ["create", "delete", "push", "release"];
                let events: Vec<&str> = events
                    .into_iter()
                    .filter(|event| hook.sends(event))
                    .collect();
                json!({
                    "id": 1,
                    "type": "gitea",
                    "config": {"url": hook.url, "content_type": "json"},
                    "events": events,
                    "active": hook.active,
                    "branch_filter": "*",
                })
            })
            .collect();
        Answer::json(200, &json!(hooks))
    }

    fn post_status(&mut self, path: &str, sha: &str, request: &Request, now: Timestamp) -> Answer {
        let known = self.projects.find(path).and_then(|p| p.repo.known(sha));
        if known.is_none() {
            return not_found();
        }
        let body: Value = match serde_json::from_slice(&request.body) {
            Ok(body) if request.content_type() == "application/json" => body,
            Ok(_) | Err(_) => return problem(422, "the body is not JSON"),
        };
        let field = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let states = ["pending", "success", "error", "failure", "warning"];
        let Some(state) = field("state").filter(|state| states.contains(&state.as_str())) else {
            return problem(422, "[State]: Required");
        };
        let status = PostedStatus {
            state,
            context: field("context").unwrap_or_else(|| "default".to_owned()),
            description: field("description"),
            target_url: field("target_url"),
            ref_name: None,
            at: now,
        };
        let answer = Answer::json(201, &status_json(&status));
        let key = (path.to_ascii_lowercase(), sha.to_owned());
        self.statuses.entry(key).or_default().push(status);
        answer
    }

    fn list_statuses(&self, path: &str, reference: &str) -> Answer {
        let found = self.projects.find(path);
        let Some(commit) = found.and_then(|p| p.repo.resolve(reference)) else {
            return not_found();
        };
        let all = GitHost::statuses(self, path, &commit.id);
        Answer::json(200, &all.iter().rev().map(status_json).collect())
    }

    /// `GET git/trees/{sha}`, paged; `truncated` means that another page follows.
    fn tree(&self, repo: &Repo, path: &str, sha: &str, request: &Request) -> Answer {
        let root = match repo.resolve(sha) {
            Some(commit) => commit.tree.clone(),
            None => sha.to_owned(),
        };
        if repo.tree(&root).is_none() {
            return problem(400, &format!("sha not found [{sha}]"));
        }
        let recursive = request.query_value("recursive").as_deref() == Some("true");
        let mut entries = Vec::new();
        walk(repo, &root, "", recursive, &mut entries);
        let number = |name: &str| request.query_value(name).and_then(|n| n.parse().ok());
        let size = number("per_page").unwrap_or(0);
        let size = if size == 0 || size > self.tree_page {
            self.tree_page
        } else {
            size
        };
        let page: usize = number("page").unwrap_or(1).max(1);
        let total = entries.len();
        let start = (page - 1).saturating_mul(size);
        let listed: Vec<Value> = entries.into_iter().skip(start).take(size).collect();
        let truncated = !listed.is_empty() && start + listed.len() < total;
        Answer::json(
            200,
            &json!({
                "sha": root,
                "url": format!("{}/api/v1/repos/{path}/git/trees/{root}", self.address),
                "tree": listed,
                "truncated": truncated,
                "page": page,
                "total_count": total,
            }),
        )
    }
}

impl Api for Gitea {
    fn action(&self, request: &Request) -> String {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().skip(5).map(String::as_str).collect();
        let what = match parts.as_slice() {
            ["commits", _, what] | ["git", what, ..] | [what, ..] => what,
            [] => "repository",
        };
        format!("{} {what}", request.method)
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let authorization = request.header("authorization").unwrap_or_default();
        let token = authorization
            .strip_prefix("token ")
            .or_else(|| authorization.strip_prefix("Bearer "));
        match token {
            None => problem(401, "token is required"),
            Some(TOKEN) if self.rights != TokenRights::Expired => self.route(request, now),
            Some(_) => problem(401, "invalid username, password or token"),
        }
    }

    fn throttled(&self, _now: Timestamp) -> Answer {
        problem(429, "too many requests").with("retry-after", 30)
    }

    fn failure(&self, code: &str) -> Answer {
        let (status, message) = code.split_once(' ').unwrap_or((code, "Server Error"));
        problem(status.parse().unwrap_or(500), message)
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        problem(413, "quota exceeded")
    }
}

impl GitHost for Gitea {
    fn token(&self) -> &'static str {
        TOKEN
    }

    fn api_path(&self) -> &'static str {
        "/api/v1"
    }

    fn projects(&mut self) -> &mut Projects {
        &mut self.projects
    }

    fn pushed(&mut self, path: &str, moved: &Moved, _now: Timestamp) -> Option<Delivery> {
        let body = webhooks::push(self.projects.find(path)?, moved);
        Some(self.deliver("push", &body))
    }

    fn webhook(&mut self, path: &str, event: &WebhookEvent, now: Timestamp) -> Option<Delivery> {
        let (event, body) = webhooks::other(self.projects.find(path)?, event, now)?;
        Some(self.deliver(event, &body))
    }

    fn again(&mut self, delivery: &Delivery, _now: Timestamp) -> Delivery {
        delivery.clone()
    }

    fn set_rights(&mut self, rights: TokenRights) {
        self.rights = rights;
    }

    fn set_hook(&mut self, hook: HookSetup) {
        self.hook = Some(hook);
    }

    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus> {
        let key = (path.to_ascii_lowercase(), sha.to_owned());
        self.statuses.get(&key).cloned().unwrap_or_default()
    }
}

fn walk(repo: &Repo, id: &str, prefix: &str, recursive: bool, into: &mut Vec<Value>) {
    for entry in repo.tree(id).unwrap_or_default() {
        let path = format!("{prefix}{}", text(&entry.name));
        into.push(json!({
            "path": path,
            "mode": format!("{:06o}", entry.mode),
            "type": entry.kind(),
            "size": entry.size.unwrap_or(0),
            "sha": entry.id,
        }));
        if recursive && entry.kind() == "tree" {
            walk(repo, &entry.id, &format!("{path}/"), recursive, into);
        }
    }
}

fn branch(repo: &Repo, name: &str) -> Answer {
    let full = format!("refs/heads/{name}");
    match repo.refs().get(&full).and_then(|id| repo.known(id)) {
        Some(commit) => {
            let body = json!({"name": name, "commit": {"id": commit.id}, "protected": false});
            Answer::json(200, &body)
        }
        None => not_found(),
    }
}

fn commit_json(commit: &Commit) -> Value {
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|sha| json!({"sha": sha}))
        .collect();
    json!({
        "sha": commit.id,
        "commit": {"message": commit.message, "tree": {"sha": commit.tree}},
        "parents": parents,
    })
}

fn status_json(status: &PostedStatus) -> Value {
    json!({
        "status": status.state,
        "context": status.context,
        "description": status.description.clone().unwrap_or_default(),
        "target_url": status.target_url.clone().unwrap_or_default(),
        "created_at": status.at.to_string(),
    })
}

fn problem(status: u16, message: &str) -> Answer {
    Answer::refusal(
        status,
        format!("{status} {message}"),
        &json!({"message": message, "url": "https://gitea.example.com/api/swagger"}),
    )
}

fn not_found() -> Answer {
    problem(404, "The target couldn't be found.")
}
