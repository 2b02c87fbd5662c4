//! What the sandbox's forges have in common: repositories to work in, deliveries to send, statuses to look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::repo::{Change, Repo};
use super::{Service, World};

/// A webhook request as the forge would send it, signature and all.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where it goes: `/hooks/github`.
    pub path: String,
    /// Its headers, in the forge's own spelling.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Delivery {
    /// Sends it to a receiver: the HTTP status and the JSON that came back (null if it was none).
    pub async fn send(&self, base_url: &str) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("{}{}", base_url.trim_end_matches('/'), self.path);
        // An error means that a provider is installed already, which is as good.
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

/// A status that the forge took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedStatus {
    /// The forge's word for the state.
    pub state: String,
    /// The context, or name.
    pub context: String,
    /// The line beside it.
    pub description: Option<String>,
    /// Where it links to.
    pub target_url: Option<String>,
    /// The ref, where the forge keeps one.
    pub ref_name: Option<String>,
    /// When it was posted.
    pub at: Timestamp,
}

/// Something that a forge tells its webhooks, beside pushes.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The hook was made. GitLab has no such event.
    Ping,
    /// A deployment of a commit reached a state (`success`, `failure`/`failed`, `in_progress`/`running`).
    Deployment {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// The environment's name.
        environment: String,
        /// The forge's own word.
        state: String,
    },
    /// GitHub: a workflow run came to its end.
    Workflow {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// The workflow's file, e.g. `.github/workflows/deploy.yml`.
        path: String,
        /// What set it off: `push`, `pull_request`, ...
        event: String,
        /// How it ended: `success`, `failure`, ...
        conclusion: String,
    },
    /// GitLab: a pipeline reached a state.
    Pipeline {
        /// The commit.
        sha: String,
        /// The branch.
        branch: String,
        /// What set it off: `push`, `external`, ...
        source: String,
        /// `success`, `failed`, ...
        status: String,
    },
    /// A release of a tag was published.
    Release {
        /// The tag's name.
        tag: String,
        /// The commit behind it.
        sha: String,
    },
}

/// A ref that moved on the forge.
pub(super) struct Moved {
    /// The full name.
    pub name: String,
    pub before: String,
    pub after: String,
    /// The forge's refs as they were before.
    pub refs_before: BTreeMap<String, String>,
}

/// A repository and what a forge says about it.
pub(super) struct Project {
    pub id: u64,
    /// `acme/website`, in its own spelling.
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

/// The repositories of a forge. Their paths are told apart without regard to case.
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

    pub fn by_id(&self, id: u64) -> Option<&Project> {
        self.0.values().find(|project| project.id == id)
    }
}

/// The side of a forge that people push to and that sends webhooks.
pub(super) trait Host {
    fn projects(&mut self) -> &mut Projects;
    /// The delivery for a ref that moved. None where the forge sends none.
    fn pushed(&mut self, path: &str, moved: &Moved, now: Timestamp) -> Option<Delivery>;
    /// The delivery for something else. None where the forge has no such event.
    fn happened(&mut self, path: &str, happening: &Happening, now: Timestamp) -> Option<Delivery>;
    /// The same delivery once more, as the forge's own retry or "Redeliver" sends it.
    fn again(&mut self, delivery: &Delivery, now: Timestamp) -> Delivery;
    /// The receiver answered a delivery. Only a forge that keeps a log of them cares.
    fn answered(&mut self, _delivery: &Delivery, _status: u16) {}
    /// The statuses taken for a commit, oldest first.
    fn statuses(&self, path: &str, sha: &str) -> Vec<PostedStatus>;
}

/// A forge of the sandbox.
#[derive(Clone)]
pub struct Forge {
    pub(super) world: Arc<World>,
    pub(super) service: Service,
}

impl Forge {
    /// The base address of its API, as `api_url:` takes it.
    pub fn url(&self) -> String {
        let path = match self.service {
            Service::GitLab => "/api/v4",
            Service::Gitea => "/api/v1",
            Service::Gitee => "/api/v5",
            Service::GitHub
            | Service::TencentCdn
            | Service::TencentEcdn
            | Service::QCloud
            | Service::HuaweiCdn => "",
        };
        format!("{}{path}", self.world.address(self.service))
    }

    /// The token its API takes.
    pub fn token(&self) -> &'static str {
        match self.service {
            Service::GitLab => super::gitlab::TOKEN,
            Service::Gitea => super::gitea::TOKEN,
            Service::Gitee => super::gitee::TOKEN,
            Service::GitHub
            | Service::TencentCdn
            | Service::TencentEcdn
            | Service::QCloud
            | Service::HuaweiCdn => super::github::TOKEN,
        }
    }

    /// The secret of its webhooks; for GitLab the plain token of `X-Gitlab-Token`.
    pub fn webhook_secret(&self) -> &'static str {
        "sandbox-webhook-secret"
    }

    /// GitLab's signing token (`whsec_...`).
    pub fn signing_token(&self) -> String {
        super::gitlab::signing_token()
    }

    /// Makes an empty repository: `acme/website`.
    pub fn create_repo(&self, path: &str, default_branch: &str) -> Repository {
        self.world.host(self.service, |host| {
            host.projects().create(path, default_branch)
        });
        self.repo(path)
    }

    /// A repository that was made before.
    pub fn repo(&self, path: &str) -> Repository {
        Repository {
            forge: self.clone(),
            path: path.to_owned(),
        }
    }

    /// Tells the forge what the receiver answered to a delivery. GitHub's log says so
    /// from then on; what it is not told of, nobody was there to take.
    pub fn answered(&self, delivery: &Delivery, status: u16) {
        self.world
            .host(self.service, |host| host.answered(delivery, status));
    }

    /// The same delivery once more, as the forge's retry or "Redeliver" button sends it:
    /// the same id and body; GitLab dates and signs it anew.
    pub fn again(&self, delivery: &Delivery) -> Delivery {
        let now = self.world.now();
        self.world
            .host(self.service, |host| host.again(delivery, now))
    }
}

/// A repository on a forge, with a working clone of it.
#[derive(Clone)]
pub struct Repository {
    forge: Forge,
    path: String,
}

impl Repository {
    /// Its full path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds a commit to a branch of the clone. Nothing reaches the forge before [`Repository::push`].
    pub fn commit(&self, branch: &str, changes: &[Change]) -> String {
        let now = self.forge.world.now();
        self.with(|project| project.repo.commit(branch, changes, now))
            .unwrap_or_default()
    }

    /// Merges a branch of the clone into another with a merge commit; `changes` come on top of it.
    pub fn merge(&self, into: &str, from: &str, changes: &[Change]) -> Option<String> {
        let now = self.forge.world.now();
        self.with(|project| project.repo.merge(into, from, changes, now))?
    }

    /// Points a branch of the clone at any commit; pushing it then is a forced push, or a new branch.
    pub fn reset(&self, branch: &str, commit: &str) {
        self.with(|project| project.repo.reset(branch, commit));
    }

    /// Pushes a branch of the clone: the delivery that the forge sends.
    pub fn push(&self, branch: &str) -> Option<Delivery> {
        self.push_ref(&format!("refs/heads/{branch}"))
    }

    /// Tags a commit and pushes the tag.
    pub fn push_tag(&self, name: &str, commit: &str, annotated: bool) -> Option<Delivery> {
        self.with(|project| project.repo.tag(name, commit, annotated));
        self.push_ref(&format!("refs/tags/{name}"))
    }

    /// Deletes a branch here and on the forge.
    pub fn delete_branch(&self, branch: &str) -> Option<Delivery> {
        let name = format!("refs/heads/{branch}");
        self.with(|project| project.repo.delete(&name));
        self.push_ref(&name)
    }

    /// Deletes a tag here and on the forge.
    pub fn delete_tag(&self, tag: &str) -> Option<Delivery> {
        let name = format!("refs/tags/{tag}");
        self.with(|project| project.repo.delete(&name));
        self.push_ref(&name)
    }

    /// Lets something else than a push happen: the delivery that the forge sends.
    pub fn happen(&self, happening: &Happening) -> Option<Delivery> {
        let now = self.forge.world.now();
        self.forge.world.host(self.forge.service, |host| {
            host.happened(&self.path, happening, now)
        })
    }

    /// The forge loses a commit, as after a forced push and garbage collection.
    pub fn forget(&self, commit: &str) {
        self.with(|project| project.repo.forget(commit));
    }

    /// The statuses taken for a commit, oldest first.
    pub fn statuses(&self, sha: &str) -> Vec<PostedStatus> {
        self.forge
            .world
            .host(self.forge.service, |host| host.statuses(&self.path, sha))
    }

    fn push_ref(&self, name: &str) -> Option<Delivery> {
        let now = self.forge.world.now();
        self.forge.world.host(self.forge.service, |host| {
            let project = host.projects().find_mut(&self.path)?;
            let refs_before = project.repo.refs().clone();
            let (before, after) = project.repo.push(name);
            if before == after {
                return None;
            }
            let name = name.to_owned();
            let moved = Moved {
                name,
                before,
                after,
                refs_before,
            };
            host.pushed(&self.path, &moved, now)
        })
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Project) -> T) -> Option<T> {
        self.forge.world.host(self.forge.service, |host| {
            host.projects().find_mut(&self.path).map(use_it)
        })
    }
}
