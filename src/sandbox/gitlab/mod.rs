//! A simulated GitLab: projects, commit statuses with their state machine, comparisons and trees, from GitLab's API
//! documentation and source (version 19).

mod statuses;
#[cfg(test)]
mod tests;
mod trees;
mod webhooks;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Sandbox;
use super::exchange::{Answer, Api, Request};
use super::forge::Forge;
use super::host::{
    Delivery, GitHost, HookSetup, Moved, PostedStatus, Project, Projects, TokenRights, WebhookEvent,
};
use super::service::Service;
use super::stand_in::{Kind, StandIn};

/// The only token that the sandbox's GitLab accepts.
const TOKEN: &str = "glpat-sandbox0123456789ab";

/// The key of the signing token: 32 bytes.
const SIGNING_KEY: &[u8; 32] = b"sandbox signing key, 32 bytes ok";

/// Requests per minute and token on GitLab.com.
const A_MINUTE: usize = 2_000;

/// The signing token of the hooks, as GitLab shows it once.
pub(super) fn signing_token() -> String {
    format!("whsec_{}", STANDARD.encode(SIGNING_KEY))
}

/// Its registration.
pub(super) const KIND: Kind = Kind {
    service: Service::GITLAB,
    start: |address| StandIn::forge(GitLab::new(address)),
};

impl Service {
    /// GitLab's API, version 4.
    pub const GITLAB: Self = Self::new("gitlab");
}

impl Sandbox {
    /// GitLab, API version 4.
    pub fn gitlab(&self) -> Forge {
        self.forge_at(Service::GITLAB)
    }

    /// Limits GitLab's comparisons to this many files, instead of 1,000.
    pub fn limit_gitlab_diffs(&self, limit: usize) {
        self.with_gitlab(|gitlab| gitlab.diff_limit = limit);
    }

    /// Sets which tokens GitLab sends with its webhooks: (signing token, plain token). Default: both.
    pub fn sign_gitlab_webhooks(&self, signed: bool, plain: bool) {
        self.with_gitlab(|gitlab| {
            gitlab.signed = signed;
            gitlab.plain = plain;
        });
    }

    fn with_gitlab(&self, use_it: impl FnOnce(&mut GitLab)) {
        self.world.state_of(Service::GITLAB, use_it);
    }
}

impl Forge {
    /// GitLab's signing token (`whsec_...`).
    pub fn signing_token(&self) -> String {
        signing_token()
    }
}

/// The state of GitLab.
pub(super) struct GitLab {
    address: String,
    projects: Projects,
    statuses: Vec<statuses::Status>,
    pipelines: Vec<statuses::Pipeline>,
    delivery_count: u64,
    calls: Vec<Timestamp>,
    /// Files in a comparison; 1,000 on GitLab.com, less for tests.
    pub diff_limit: usize,
    /// Whether webhooks are signed.
    pub signed: bool,
    /// Whether webhooks contain the plain token.
    pub plain: bool,
    hook: Option<HookSetup>,
    rights: TokenRights,
}

impl GitLab {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            projects: Projects::default(),
            statuses: Vec::new(),
            pipelines: Vec::new(),
            delivery_count: 0,
            calls: Vec::new(),
            diff_limit: trees::MAX_FILES,
            signed: true,
            plain: true,
            hook: None,
            rights: TokenRights::All,
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Answer {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        if parts == ["api", "v4", "personal_access_tokens", "self"] {
            return self.own_token();
        }
        let ["api", "v4", "projects", id, rest @ ..] = parts.as_slice() else {
            return message(404, "404 Not Found");
        };
        // A path must be one encoded segment: `acme%2Fwebsite`.
        let found = match id.parse() {
            Ok(number) => self.projects.by_id(number),
            Err(_) => self.projects.find(id),
        };
        let Some(path) = found.map(|project| project.path.clone()) else {
            return message(404, "404 Project Not Found");
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => self.project(&path),
            ("GET", ["hooks"]) => self.hooks(),
            ("GET", ["hooks", _, "events"]) => self.hook_events(),
            ("POST", _) if self.rights == TokenRights::Read => insufficient_scope(),
            ("POST", ["statuses", sha]) => self.post_status(&path, sha, request, now),
            ("GET", ["repository", "commits", sha, "statuses"]) => self.list_statuses(&path, sha),
            ("GET", ["repository", "commits", sha, "diff"]) => {
                self.commit_diff(&path, sha, request)
            }
            ("GET", ["repository", "commits", sha]) => self.commit(&path, sha),
            ("GET", ["repository", "compare"]) => self.compare(&path, request),
            ("GET", ["repository", "tree"]) => self.tree(&path, request),
            ("GET", ["repository", "merge_base"]) => self.merge_base(&path, request),
            ("GET", ["repository", "branches", name]) => self.branch(&path, name),
            ("GET", ["pipelines"]) => self.list_pipelines(&path, request),
            _ => message(404, "404 Not Found"),
        }
    }

    fn project(&self, path: &str) -> Answer {
        match self.projects.find(path) {
            Some(project) => Answer::json(
                200,
                &json!({
                    "id": project.id,
                    "path_with_namespace": project.path,
                    "default_branch": project.default_branch,
                    "archived": false,
                    "permissions": {
                        "project_access": {"access_level": 40, "notification_level": 3},
                        "group_access": null,
                    },
                }),
            ),
            None => message(404, "404 Project Not Found"),
        }
    }
}

/// The requests of an operator. Facts are from the pages "Personal access tokens API" and "Project webhooks API".
impl GitLab {
    fn own_token(&self) -> Answer {
        let scopes = match self.rights {
            TokenRights::All => ["api"],
            TokenRights::Read | TokenRights::Expired => ["read_api"],
        };
        Answer::json(
            200,
            &json!({
                "id": 4,
                "name": "purgehook",
                "revoked": false,
                "active": true,
                "scopes": scopes,
                "user_id": 3,
                "expires_at": "2099-12-31",
            }),
        )
    }

    fn hooks(&self) -> Answer {
        let hooks: Vec<Value> = self
            .hook
            .iter()
            .map(|hook| {
                let status = if hook.active {
                    "executable"
                } else {
                    "disabled"
                };
                json!({
                    "id": 1,
                    "url": hook.url,
                    "push_events": hook.sends("push"),
                    "tag_push_events": hook.sends("tag_push"),
                    "deployment_events": hook.sends("deployment"),
                    "pipeline_events": hook.sends("pipeline"),
                    "releases_events": hook.sends("releases"),
                    "enable_ssl_verification": true,
                    "alert_status": status,
                    "disabled_until": null,
                })
            })
            .collect();
        Answer::json(200, &json!(hooks))
    }

    fn hook_events(&self) -> Answer {
        let last = self.hook.as_ref().and_then(|hook| hook.last);
        let events: Vec<Value> = last
            .iter()
            .map(|status| json!({"id": 1, "trigger": "push_hooks", "response_status": status.to_string()}))
            .collect();
        Answer::json(200, &json!(events))
    }
}

impl Api for GitLab {
    fn action(&self, request: &Request) -> String {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().skip(4).map(String::as_str).collect();
        let what = match parts.as_slice() {
            ["repository", "commits", _, what] => what,
            ["repository", what, ..] => what,
            [what, ..] => what,
            [] => "project",
        };
        format!("{} {what}", request.method)
    }

    fn summary(&self, request: &Request) -> String {
        request.summary()
    }

    fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let bearer = request
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer "));
        if request.header("private-token").or(bearer) != Some(TOKEN)
            || self.rights == TokenRights::Expired
        {
            return message(401, "401 Unauthorized");
        }
        self.calls
            .retain(|at| now.as_second() - at.as_second() < 60);
        if self.calls.len() >= A_MINUTE {
            return self.throttled(now);
        }
        self.calls.push(now);
        self.route(request, now)
            .with("ratelimit-limit", A_MINUTE)
            .with("ratelimit-observed", self.calls.len())
            .with("ratelimit-remaining", A_MINUTE - self.calls.len())
            .with("ratelimit-reset", now.as_second() + 60)
            .with("ratelimit-name", "throttle_authenticated_api")
    }

    fn throttled(&self, now: Timestamp) -> Answer {
        Answer::text(429, "Retry later\n")
            .with("retry-after", 30)
            .with("ratelimit-limit", A_MINUTE)
            .with("ratelimit-remaining", 0)
            .with("ratelimit-reset", now.as_second() + 30)
    }

    fn failure(&self, code: &str) -> Answer {
        let (status, rest) = code
            .split_once(' ')
            .unwrap_or((code, "Internal Server Error"));
        let status = status.parse().unwrap_or(500);
        match status {
            // These repeat the status in their message.
            401 | 403 | 404 | 500 => message(status, code),
            _ => message(status, rest),
        }
    }

    fn out_of_quota(&self, _action: &str) -> Answer {
        message(422, "The number of jobs has exceeded the limit")
    }
}

impl GitHost for GitLab {
    fn token(&self) -> &'static str {
        TOKEN
    }

    fn api_path(&self) -> &'static str {
        "/api/v4"
    }

    fn projects(&mut self) -> &mut Projects {
        &mut self.projects
    }

    fn pushed(&mut self, path: &str, moved: &Moved, now: Timestamp) -> Option<Delivery> {
        let (event, body) = webhooks::push(self.projects.find(path)?, moved);
        Some(self.deliver(event, &body, now))
    }

    fn webhook(&mut self, path: &str, event: &WebhookEvent, now: Timestamp) -> Option<Delivery> {
        let (event, body) = webhooks::other(self.projects.find(path)?, event, now)?;
        Some(self.deliver(event, &body, now))
    }

    fn again(&mut self, delivery: &Delivery, now: Timestamp) -> Delivery {
        self.redeliver(delivery, now)
    }

    fn set_rights(&mut self, rights: TokenRights) {
        self.rights = rights;
    }

    fn set_hook(&mut self, hook: HookSetup) {
        self.hook = Some(hook);
    }

    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus> {
        self.posted(path, sha)
    }
}

impl GitLab {
    fn find(&self, path: &str) -> Option<&Project> {
        self.projects.find(path)
    }
}

/// GitLab's usual error format.
fn message(status: u16, text: &str) -> Answer {
    Answer::refusal(status, text, &json!({"message": text}))
}

fn insufficient_scope() -> Answer {
    let body = json!({
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access token.",
        "scope": "api",
    });
    Answer::refusal(403, "insufficient_scope", &body)
}

/// The format of an error in the parameters.
fn error(text: &str) -> Answer {
    Answer::refusal(400, text, &json!({"error": text}))
}

/// GitLab's time format, with milliseconds and the zone.
fn time(at: Timestamp) -> Value {
    json!(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// The parameters of a request: query, form or JSON, since GitLab accepts all of them.
fn parameters(request: &Request) -> Result<BTreeMap<String, String>, Answer> {
    let mut found: BTreeMap<String, String> = request.query_pairs().into_iter().collect();
    if request.body.is_empty() {
        return Ok(found);
    }
    match request.content_type().as_str() {
        "application/x-www-form-urlencoded" => {
            found.extend(super::exchange::form_pairs(&request.body));
        }
        "application/json" => match serde_json::from_slice(&request.body) {
            Ok(Value::Object(fields)) => {
                for (name, value) in fields {
                    match value {
                        Value::Null => {}
                        Value::String(text) => {
                            found.insert(name, text);
                        }
                        Value::Bool(_) | Value::Number(_) => {
                            found.insert(name, value.to_string());
                        }
                        Value::Array(_) | Value::Object(_) => {
                            return Err(error(&format!("{name} is invalid")));
                        }
                    }
                }
            }
            Ok(_) | Err(_) => {
                return Err(error(
                    "The provided content-type 'application/json' does not match the body",
                ));
            }
        },
        other => {
            return Err(Answer::refusal(
                406,
                "406",
                &json!({"error": format!("The provided content-type '{other}' is not supported.")}),
            ));
        }
    }
    Ok(found)
}
