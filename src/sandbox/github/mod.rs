//! A simulated GitHub: repositories, commit statuses, comparisons and trees, from GitHub's REST description (API
//! version 2022-11-28).

mod log;
mod statuses;
#[cfg(test)]
mod tests;
mod trees;
pub(in crate::sandbox) mod webhooks;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Sandbox;
use super::exchange::{Answer, Api, Request};
use super::forge::Forge;
use super::host::{
    Delivery, GitHost, HookSetup, Moved, PostedStatus, Projects, TokenRights, WebhookEvent,
};
use super::service::Service;
use super::stand_in::{Kind, StandIn};

/// The only token that the sandbox's GitHub accepts. Long, as app tokens are since 2026.
const TOKEN: &str =
    "ghs_sandbox_0123456789abcdefghijklmnopqrstuvwxyz_0123456789abcdefghijklmnopqrstuvwxyz";

/// Requests per hour and token.
const HOURLY: u32 = 5_000;
/// Writes per minute: GitHub's secondary limit on creating content, as if it counted statuses.
const WRITES_A_MINUTE: usize = 80;

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::GITHUB,
    start: |address| StandIn::forge(GitHub::new(address)),
};

impl Service {
    /// GitHub's REST API.
    pub const GITHUB: Self = Self::new("github");
}

impl Sandbox {
    /// GitHub, API version 2022-11-28.
    pub fn github(&self) -> Forge {
        self.forge_at(Service::GITHUB)
    }

    /// Limits GitHub's recursive trees to this many entries, instead of 100,000.
    pub fn limit_github_trees(&self, limit: usize) {
        self.with_github(|github| github.tree_limit = limit);
    }

    /// Removes the limits of requests and writes, which are far below what a load test sends.
    pub fn lift_github_limits(&self) {
        self.with_github(|github| {
            github.hourly = u32::MAX;
            github.writes_a_minute = usize::MAX;
        });
    }

    /// Makes GitHub send its webhooks as forms (the default on its web page) instead of JSON.
    pub fn send_github_forms(&self, forms: bool) {
        self.with_github(|github| github.forms = forms);
    }

    /// Sets the address of the webhooks of GitHub's repositories, as its API returns it. Before that, the
    /// repositories have no webhooks and no logs.
    pub fn set_github_hook(&self, url: &str) {
        self.with_github(|github| github.hook = Some(HookSetup::to(url)));
    }

    fn with_github(&self, use_it: impl FnOnce(&mut GitHub)) {
        self.world.state_of(Service::GITHUB, use_it);
    }
}

/// The state of GitHub.
pub(super) struct GitHub {
    address: String,
    projects: Projects,
    /// By repository (lower case) and commit, oldest first.
    statuses: BTreeMap<(String, String), Vec<statuses::Status>>,
    status_count: u64,
    delivery_count: u64,
    used: u32,
    resets_at: i64,
    writes: Vec<Timestamp>,
    /// Requests per hour; more for tests of other things.
    pub hourly: u32,
    /// Writes per minute before the secondary limit applies; more for tests of other things.
    pub writes_a_minute: usize,
    /// The maximum number of entries of a recursive tree; 100,000 on GitHub, less for tests.
    pub tree_limit: usize,
    /// Whether webhooks are sent as forms instead of JSON.
    pub forms: bool,
    /// The webhook of every repository, as the API returns it.
    hook: Option<HookSetup>,
    rights: TokenRights,
    /// The deliveries sent, oldest first.
    log: Vec<log::Logged>,
    logged: u64,
}

impl GitHub {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            projects: Projects::default(),
            statuses: BTreeMap::new(),
            status_count: 0,
            delivery_count: 0,
            used: 0,
            resets_at: 0,
            writes: Vec::new(),
            hourly: HOURLY,
            writes_a_minute: WRITES_A_MINUTE,
            tree_limit: trees::LIMIT,
            forms: false,
            hook: None,
            rights: TokenRights::All,
            log: Vec::new(),
            logged: 0,
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Answer {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["repos", owner, name, rest @ ..] = parts.as_slice() else {
            return not_found();
        };
        let path = format!("{owner}/{name}");
        if self.projects.find(&path).is_none() {
            return not_found();
        }
        match (request.method.as_str(), rest) {
            // What a classic token's scopes do not cover does not exist for it.
            ("POST", ["statuses", _]) if self.rights == TokenRights::Read => not_found(),
            ("POST", ["statuses", sha]) => self.post_status(&path, sha, &request.body, now),
            ("GET", ["commits", reference @ .., "status"]) => {
                self.combined_status(&path, &reference.join("/"))
            }
            ("GET", ["commits", reference @ .., "statuses"]) => {
                self.list_statuses(&path, &reference.join("/"))
            }
            ("GET", ["compare", both @ ..]) => self.compare(&path, &both.join("/"), request),
            ("GET", ["commits", reference @ ..]) => self.commit(&path, &reference.join("/")),
            ("GET", ["git", "trees", sha]) => self.tree(&path, sha, request),
            ("GET", ["git", "commits", sha]) => self.git_commit(&path, sha),
            ("GET", ["git", "ref", name @ ..]) => self.git_ref(&path, &name.join("/")),
            ("GET", ["branches", name @ ..]) => self.branch(&path, &name.join("/")),
            ("GET", []) => self.repository(&path),
            ("GET", ["hooks"]) => self.hooks(),
            ("GET", ["hooks", hook, "deliveries"]) => self.deliveries(&path, hook, request, now),
            ("GET", ["hooks", hook, "deliveries", id]) => self.delivery(&path, hook, id),
            _ => not_found(),
        }
    }

    /// `GET /repos/{owner}/{repo}`
    fn repository(&self, path: &str) -> Answer {
        let Some(project) = self.projects.find(path) else {
            return not_found();
        };
        let permissions =
            json!({"admin": true, "maintain": true, "push": true, "triage": true, "pull": true});
        Answer::json(
            200,
            &json!({
                "id": project.id,
                "full_name": project.path,
                "private": false,
                "archived": false,
                "default_branch": project.default_branch,
                "permissions": permissions,
            }),
        )
    }

    /// A classic token's scopes, which every answer to it contains.
    fn scopes(&self) -> &'static str {
        match self.rights {
            TokenRights::All => "admin:repo_hook, repo",
            TokenRights::Read | TokenRights::Expired => "admin:repo_hook, read:org",
        }
    }

    /// Counts the request; returns an error if the hour's requests are used up.
    fn count(&mut self, now: Timestamp) -> Option<Answer> {
        if now.as_second() >= self.resets_at {
            self.used = 0;
            self.resets_at = now.as_second() + 3_600;
        }
        if self.used >= self.hourly {
            return Some(self.throttled(now));
        }
        self.used += 1;
        None
    }

    /// Counts a write; returns an error if there were too many in a minute.
    fn count_write(&mut self, now: Timestamp) -> Option<Answer> {
        self.writes
            .retain(|at| now.as_second() - at.as_second() < 60);
        if self.writes.len() >= self.writes_a_minute {
            return Some(secondary_limit());
        }
        self.writes.push(now);
        None
    }
}

impl Api for GitHub {
    fn action(&self, request: &Request) -> String {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().skip(3).map(String::as_str).collect();
        let what = match parts.as_slice() {
            ["commits", .., "status"] => "status",
            ["commits", .., "statuses"] => "statuses",
            ["git", what, ..] => what,
            ["hooks", _, "deliveries"] => "deliveries",
            ["hooks", _, "deliveries", _] => "delivery",
            [what, ..] => what,
            [] => "repository",
        };
        format!("{} {what}", request.method)
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        // GitHub answers requests without a User-Agent with an HTML page.
        if request.header("user-agent").is_none_or(str::is_empty) {
            return Answer::text(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\r\n",
            );
        }
        let authorization = request.header("authorization").unwrap_or_default();
        let token = authorization
            .strip_prefix("Bearer ")
            .or_else(|| authorization.strip_prefix("token "));
        match token {
            None => return problem(401, "Requires authentication"),
            Some(token) if token != TOKEN || self.rights == TokenRights::Expired => {
                return problem(401, "Bad credentials");
            }
            Some(_) => {}
        }
        if let Some(version) = request.header("x-github-api-version")
            && !["2022-11-28", "2026-03-10"].contains(&version)
        {
            return problem(400, "The API version is not supported.");
        }
        if let Some(refusal) = self.count(now) {
            return refusal;
        }
        if request.method != "GET"
            && let Some(refusal) = self.count_write(now)
        {
            return refusal;
        }
        let mut answer = self.route(request, now);
        if request.method == "GET" && answer.status == 200 {
            let tag = format!("W/\"{}\"", hex::encode(Sha256::digest(&answer.body)));
            if request.header("if-none-match") == Some(&tag) {
                // The client already has it, so it does not count.
                answer = Answer::unchanged();
                self.used -= 1;
            }
            answer = answer.with("etag", tag);
        }
        answer
            .with("x-oauth-scopes", self.scopes())
            .with("x-ratelimit-limit", self.hourly)
            .with("x-ratelimit-remaining", self.hourly - self.used)
            .with("x-ratelimit-used", self.used)
            .with("x-ratelimit-reset", self.resets_at)
            .with("x-ratelimit-resource", "core")
    }

    fn throttled(&self, now: Timestamp) -> Answer {
        problem(403, "API rate limit exceeded for installation.")
            .with("x-ratelimit-limit", self.hourly)
            .with("x-ratelimit-remaining", 0)
            .with("x-ratelimit-used", self.hourly)
            .with(
                "x-ratelimit-reset",
                self.resets_at.max(now.as_second() + 60),
            )
            .with("x-ratelimit-resource", "core")
    }

    fn failure(&self, code: &str) -> Answer {
        let (status, message) = code.split_once(' ').unwrap_or((code, "Server Error"));
        problem(status.parse().unwrap_or(500), message)
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        secondary_limit()
    }
}

impl GitHost for GitHub {
    fn token(&self) -> &'static str {
        TOKEN
    }

    fn api_path(&self) -> &'static str {
        ""
    }

    fn projects(&mut self) -> &mut Projects {
        &mut self.projects
    }

    fn pushed(&mut self, path: &str, moved: &Moved, now: Timestamp) -> Option<Delivery> {
        let body = webhooks::push(self.projects.find(path)?, moved, now);
        Some(self.deliver("push", &body, now))
    }

    fn webhook(&mut self, path: &str, event: &WebhookEvent, now: Timestamp) -> Option<Delivery> {
        let (event, body) = webhooks::other(self.projects.find(path)?, event, now)?;
        Some(self.deliver(event, &body, now))
    }

    fn again(&mut self, delivery: &Delivery, now: Timestamp) -> Delivery {
        let guid = delivery.header("x-github-delivery").unwrap_or_default();
        self.note_again(guid, now);
        delivery.clone()
    }

    fn answered(&mut self, delivery: &Delivery, status: u16) {
        let guid = delivery.header("x-github-delivery").unwrap_or_default();
        self.note_answer(guid, status);
    }

    fn set_rights(&mut self, rights: TokenRights) {
        self.rights = rights;
    }

    fn set_hook(&mut self, hook: HookSetup) {
        self.hook = Some(hook);
    }

    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus> {
        let key = (path.to_ascii_lowercase(), sha.to_owned());
        let taken = self.statuses.get(&key).map_or(&[][..], Vec::as_slice);
        taken.iter().map(statuses::Status::posted).collect()
    }
}

fn problem(status: u16, message: &str) -> Answer {
    Answer::refusal(
        status,
        format!("{status} {message}"),
        &json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        }),
    )
}

fn not_found() -> Answer {
    problem(404, "Not Found")
}

fn secondary_limit() -> Answer {
    problem(
        403,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    )
    .with("retry-after", 60)
}

/// A 422 in the newer of its two formats: `errors` is one string.
fn invalid(message: &str) -> Answer {
    Answer::refusal(
        422,
        format!("422 {message}"),
        &json!({
            "message": "Validation Failed",
            "errors": format!("Validation failed: {message}"),
            "documentation_url": "https://docs.github.com/rest/commits/statuses#create-a-commit-status",
            "status": "422",
        }),
    )
}

fn time(at: Timestamp) -> Value {
    json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
