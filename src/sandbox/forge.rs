//! The handle to a simulated forge for tests and the demo: its repositories, deliveries and statuses.

use std::sync::Arc;

use super::host::{Delivery, HookSetup, Moved, PostedStatus, Project, TokenRights, WebhookEvent};
use super::repo::Change;
use super::service::Service;
use super::world::World;

/// A forge of the sandbox.
#[derive(Clone)]
pub struct Forge {
    pub(super) world: Arc<World>,
    pub(super) service: Service,
}

impl Forge {
    /// The base address of its API, as `api_url:` takes it.
    pub fn url(&self) -> String {
        let path = self.world.host(self.service, |host| host.api_path());
        format!("{}{path}", self.world.address(self.service))
    }

    /// The token its API takes.
    pub fn token(&self) -> &'static str {
        self.world.host(self.service, |host| host.token())
    }

    /// What its token may do from now on. All at first.
    pub fn set_token_rights(&self, rights: TokenRights) {
        self.world
            .host(self.service, |host| host.set_rights(rights));
    }

    /// The webhook that its repositories have from now on, as its API shows it. None at first.
    pub fn set_webhook(&self, hook: HookSetup) {
        self.world.host(self.service, |host| host.set_hook(hook));
    }

    /// The secret of its webhooks; for GitLab the plain token of `X-Gitlab-Token`.
    pub fn webhook_secret(&self) -> &'static str {
        "sandbox-webhook-secret"
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
    pub fn emit(&self, event: &WebhookEvent) -> Option<Delivery> {
        let now = self.forge.world.now();
        self.forge.world.host(self.forge.service, |host| {
            host.webhook(&self.path, event, now)
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
