//! What all simulated forges have: repositories, webhooks, and the statuses that they accepted.

use std::any::Any;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::exchange::Api;
use super::repo::Repo;

/// A webhook request in the forge's format, including its signature.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The path: `/hooks/github`.
    pub path: String,
    /// Its headers, in the forge's own spelling.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Delivery {
    /// Sends it to a receiver; returns the HTTP status and the JSON of the response (null if it was not JSON).
    pub async fn send(&self, base_url: &str) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("{}{}", base_url.trim_end_matches('/'), self.path);
        // An error means that a provider is already installed, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut request = reqwest::Client::new().post(url).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A status that the forge accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedStatus {
    /// The forge's name of the state.
    pub state: String,
    /// The context, or name.
    pub context: String,
    /// The description.
    pub description: Option<String>,
    /// The link.
    pub target_url: Option<String>,
    /// The ref, if the forge stores one.
    pub ref_name: Option<String>,
    /// When it was posted.
    pub at: Timestamp,
}

/// An event other than a push.
#[derive(Clone, Debug)]
pub enum WebhookEvent {
    /// The webhook was created. GitLab has no such event.
    Ping,
    /// A deployment of a commit reached a state (`success`, `failure`/`failed`, `in_progress`/`running`).
    Deployment {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// The environment's name.
        environment: String,
        /// The forge's name of the state.
        state: String,
    },
    /// GitHub: a workflow run ended.
    Workflow {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// The workflow's file, e.g. `.github/workflows/deploy.yml`.
        path: String,
        /// What started it: `push`, `pull_request`, ...
        event: String,
        /// Its result: `success`, `failure`, ...
        conclusion: String,
    },
    /// GitLab: a pipeline reached a state.
    Pipeline {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// What started it: `push`, `external`, ...
        source: String,
        /// `success`, `failed`, ...
        status: String,
    },
    /// A release of a tag was published.
    Release {
        /// The tag's name.
        tag: String,
        /// Its commit.
        sha: String,
    },
}

/// The permissions of the forge's only token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRights {
    /// Everything that purgehook needs.
    All,
    /// Read, but not post statuses.
    Read,
    /// Nothing any more.
    Expired,
}

/// The webhook of each repository of a forge.
#[derive(Clone, Debug)]
pub struct HookSetup {
    /// The address that it calls.
    pub url: String,
    /// Whether it is enabled.
    pub active: bool,
    /// The events that it sends, by the forge's names; `*` for all.
    pub events: Vec<&'static str>,
    /// The response to its last delivery; none if there was none.
    pub last: Option<u16>,
}

impl HookSetup {
    /// A webhook that sends everything and has not sent anything yet.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            active: true,
            events: vec!["*"],
            last: None,
        }
    }

    /// Whether it sends an event.
    pub(super) fn sends(&self, event: &str) -> bool {
        self.events.iter().any(|e| *e == "*" || *e == event)
    }
}

/// A ref that moved on the forge.
pub(super) struct Moved {
    /// The full name.
    pub name: String,
    pub before: String,
    pub after: String,
    /// The forge's refs before the push.
    pub refs_before: BTreeMap<String, String>,
}

/// A repository and its description.
pub(super) struct Project {
    pub id: u64,
    /// `acme/website`, in its original spelling.
    pub path: String,
    pub default_branch: String,
    pub repo: Repo,
}

impl Project {
    /// The last segment of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Everything before the last segment.
    pub fn owner(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(owner, _)| owner)
    }
}

/// The repositories of a forge, whose paths ignore case.
#[derive(Default)]
pub(super) struct Projects(BTreeMap<String, Project>);

impl Projects {
    pub fn create(&mut self, path: &str, default_branch: &str) {
        let id = 1_000 + self.0.len() as u64;
        self.0.insert(
            path.to_ascii_lowercase(),
            Project {
                id,
                path: path.to_owned(),
                default_branch: default_branch.to_owned(),
                repo: Repo::default(),
            },
        );
    }

    pub fn find(&self, path: &str) -> Option<&Project> {
        self.0.get(&path.to_ascii_lowercase())
    }

    pub fn find_mut(&mut self, path: &str) -> Option<&mut Project> {
        self.0.get_mut(&path.to_ascii_lowercase())
    }

    /// Renames a repository; afterwards no repository has the old name.
    pub fn rename(&mut self, path: &str, to: &str) {
        if let Some(mut project) = self.0.remove(&path.to_ascii_lowercase()) {
            project.path = to.to_owned();
            self.0.insert(to.to_ascii_lowercase(), project);
        }
    }

    pub fn by_id(&self, id: u64) -> Option<&Project> {
        self.0.values().find(|project| project.id == id)
    }
}

/// A simulated forge: its API, and the side that receives pushes and sends webhooks.
pub(super) trait GitHost: Api + Any {
    /// The only token that the API accepts.
    fn token(&self) -> &'static str;
    /// The path at the end of the API's address.
    fn api_path(&self) -> &'static str;
    fn projects(&mut self) -> &mut Projects;
    /// The delivery for a moved ref. None if the forge sends none.
    fn pushed(&mut self, path: &str, moved: &Moved, now: Timestamp) -> Option<Delivery>;
    /// The delivery for another event. None if the forge has no such event.
    fn webhook(&mut self, path: &str, event: &WebhookEvent, now: Timestamp) -> Option<Delivery>;
    /// The same delivery again, as the forge's own retry or "Redeliver" sends it.
    fn again(&mut self, delivery: &Delivery, now: Timestamp) -> Delivery;
    /// Records the receiver's response to a delivery, on forges with a log.
    fn answered(&mut self, _delivery: &Delivery, _status: u16) {}
    /// Sets the token's permissions.
    fn set_rights(&mut self, rights: TokenRights);
    /// Sets the webhook of the repositories.
    fn set_hook(&mut self, hook: HookSetup);
    /// The statuses accepted for a commit, oldest first.
    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus>;
}
