//! The handle to a simulated forge for tests and the demo: its repositories, deliveries and statuses.

use std::sync::Arc;

use super::host::{Delivery, HookSetup, Moved, PostedStatus, Project, TokenRights, WebhookEvent};
use super::repo::Change;
use super::service::Service;
use super::world::World;

/// A simulated forge.
#[derive(Clone)]
pub struct Forge {
    pub(super) world: Arc<World>,
    pub(super) service: Service,
}

impl Forge {
    /// The base address of its API, for `api_url:`.
    pub fn url(&self) -> String {
        let path = self.world.host(self.service, |host| host.api_path());
        format!("{}{path}", self.world.address(self.service))
    }

    /// The token that its API accepts.
    pub fn token(&self) -> &'static str {
        self.world.host(self.service, |host| host.token())
    }

    /// Sets the permissions of its token. Default: all.
    pub fn set_token_rights(&self, rights: TokenRights) {
        self.world
            .host(self.service, |host| host.set_rights(rights));
    }

    /// Sets the webhook of its repositories, as its API returns it. Default: none.
    pub fn set_webhook(&self, hook: HookSetup) {
        self.world.host(self.service, |host| host.set_hook(hook));
    }

    /// The secret of its webhooks; for GitLab the plain token in `X-Gitlab-Token`.
    pub fn webhook_secret(&self) -> &'static str {
        "sandbox-webhook-secret"
    }

    /// Renames a repository.
    pub fn rename_repo(&self, path: &str, to: &str) -> Repository {
        self.world
            .host(self.service, |host| host.projects().rename(path, to));
        self.repo(to)
    }

    /// Creates an empty repository: `acme/website`.
    pub fn create_repo(&self, path: &str, default_branch: &str) -> Repository {
        self.world.host(self.service, |host| {
            host.projects().create(path, default_branch)
        });
        self.repo(path)
    }

    /// A repository that was created before.
    pub fn repo(&self, path: &str) -> Repository {
        Repository {
            forge: self.clone(),
            path: path.to_owned(),
        }
    }

    /// Tells the forge the receiver's response to a delivery, which GitHub's log then contains. For other
    /// deliveries, the log says that nobody answered.
    pub fn answered(&self, delivery: &Delivery, status: u16) {
        self.world
            .host(self.service, |host| host.answered(delivery, status));
    }

    /// The delivery again, as the forge's retry or "Redeliver" button sends it: with the same id and body; GitLab
    /// dates and signs it again.
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

    /// Merges a branch of the clone into another one with a merge commit, to which `changes` are added.
    pub fn merge(&self, into: &str, from: &str, changes: &[Change]) -> Option<String> {
        let now = self.forge.world.now();
        self.with(|project| project.repo.merge(into, from, changes, now))?
    }

    /// Moves a branch of the clone to any commit; pushing it is then a forced push, or creates a branch.
    pub fn reset(&self, branch: &str, commit: &str) {
        self.with(|project| project.repo.reset(branch, commit));
    }

    /// Pushes a branch of the clone and returns the forge's delivery.
    pub fn push(&self, branch: &str) -> Option<Delivery> {
        self.push_ref(&format!("refs/heads/{branch}"))
    }

    /// Tags a commit and pushes the tag.
    pub fn push_tag(&self, name: &str, commit: &str, annotated: bool) -> Option<Delivery> {
        self.with(|project| project.repo.tag(name, commit, annotated));
        self.push_ref(&format!("refs/tags/{name}"))
    }

    /// Deletes a branch in the clone and on the forge.
    pub fn delete_branch(&self, branch: &str) -> Option<Delivery> {
        let name = format!("refs/heads/{branch}");
        self.with(|project| project.repo.delete(&name));
        self.push_ref(&name)
    }

    /// Deletes a tag in the clone and on the forge.
    pub fn delete_tag(&self, tag: &str) -> Option<Delivery> {
        let name = format!("refs/tags/{tag}");
        self.with(|project| project.repo.delete(&name));
        self.push_ref(&name)
    }

    /// Causes an event other than a push and returns the forge's delivery.
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

    /// The statuses accepted for a commit, oldest first.
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
