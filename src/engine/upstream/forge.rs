//! A forge behind its circuit breaker.

use jiff::Timestamp;
use url::Url;

use super::breaker::{CircuitBreaker, Rejection, RequestError};
use crate::changes::{ChangeSet, FilePath};
use crate::event::{CommitId, Event, RepoPath};
use crate::forge::{
    DeliveryLog, Forge, ForgeError, LoggedDelivery, Malformed, PostOutcome, SentDelivery,
    StatusPost, Verified,
};
use crate::store::{StoreError, Upstream};

/// A forge that may be sent requests. For what each method asks, see [`Forge`].
pub struct ForgeHandle<'a> {
    /// Its name under `forges:`.
    pub name: &'a str,
    upstream: Upstream,
    forge: &'a dyn Forge,
    breaker: &'a CircuitBreaker,
}

type Answer<T> = Result<T, RequestError<ForgeError>>;

impl<'a> ForgeHandle<'a> {
    pub(super) fn new(name: &'a str, forge: &'a dyn Forge, breaker: &'a CircuitBreaker) -> Self {
        Self {
            name,
            upstream: Upstream::Forge(name.to_owned()),
            forge,
            breaker,
        }
    }

    /// Whether the circuit is open now.
    pub async fn rejection(&self) -> Result<Option<Rejection>, StoreError> {
        self.breaker.rejection(&self.upstream).await
    }

    pub async fn changes(
        &self,
        repo: &RepoPath,
        from: &CommitId,
        to: &CommitId,
    ) -> Answer<ChangeSet> {
        let request = self.forge.changes(repo, from, to);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn files(&self, repo: &RepoPath, commit: &CommitId) -> Answer<Option<Vec<FilePath>>> {
        let request = self.forge.files(repo, commit);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn resolve(&self, repo: &RepoPath, name: &str) -> Answer<CommitId> {
        let request = self.forge.resolve(repo, name);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Answer<CommitId> {
        let request = self.forge.branch_head(repo, branch);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn environment_head(
        &self,
        repo: &RepoPath,
        environment: &str,
    ) -> Answer<Option<CommitId>> {
        let request = self.forge.environment_head(repo, environment);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn delivery_log(
        &self,
        repo: &RepoPath,
        hook: &Url,
        since: Timestamp,
    ) -> Answer<Option<DeliveryLog>> {
        let request = self.forge.delivery_log(repo, hook, since);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn logged_delivery(
        &self,
        repo: &RepoPath,
        delivery: &LoggedDelivery,
    ) -> Answer<Option<SentDelivery>> {
        let request = self.forge.logged_delivery(repo, delivery);
        self.breaker.send(&self.upstream, request).await
    }

    pub async fn post_status(
        &self,
        repo: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Answer<PostOutcome> {
        let request = self.forge.post_status(repo, commit, status);
        self.breaker.send(&self.upstream, request).await
    }

    /// What a delivery says. Sends nothing.
    pub fn understand(
        &self,
        verified: &Verified,
        content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed> {
        self.forge.understand(verified, content_type, body)
    }
}
