//! A forge behind its circuit breaker.

use jiff::Timestamp;
use url::Url;

use super::breaker::{CircuitBreaker, Rejection, RequestError};
use super::denials::Denials;
use crate::changes::{ChangeSet, FilePath};
use crate::event::{CommitId, Event, RepoPath};
use crate::forge::{
    DeliveryLog, Denial, Forge, ForgeError, LoggedDelivery, Malformed, PostOutcome, SentDelivery,
    StatusPost, Verified,
};
use crate::http;
use crate::store::{RepoKey, RepoRequest, StoreError, Upstream};

/// A forge with its circuit breaker. For the requests that each method sends, see [`Forge`].
pub struct ForgeHandle<'a> {
    /// Its name under `forges:`.
    pub name: &'a str,
    upstream: Upstream,
    forge: &'a dyn Forge,
    breaker: &'a CircuitBreaker,
    denials: &'a Denials,
}

type Answer<T> = Result<T, RequestError<ForgeError>>;

impl<'a> ForgeHandle<'a> {
    pub(super) fn new(
        name: &'a str,
        forge: &'a dyn Forge,
        breaker: &'a CircuitBreaker,
        denials: &'a Denials,
    ) -> Self {
        Self {
            name,
            upstream: Upstream::Forge(name.to_owned()),
            forge,
            breaker,
            denials,
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
        self.send(repo, RepoRequest::Read, request).await
    }

    pub async fn files(&self, repo: &RepoPath, commit: &CommitId) -> Answer<Option<Vec<FilePath>>> {
        let request = self.forge.files(repo, commit);
        self.send(repo, RepoRequest::Read, request).await
    }

    pub async fn resolve(&self, repo: &RepoPath, name: &str) -> Answer<CommitId> {
        let request = self.forge.resolve(repo, name);
        self.send(repo, RepoRequest::Read, request).await
    }

    pub async fn branch_head(&self, repo: &RepoPath, branch: &str) -> Answer<CommitId> {
        let request = self.forge.branch_head(repo, branch);
        self.send(repo, RepoRequest::Read, request).await
    }

    pub async fn environment_head(
        &self,
        repo: &RepoPath,
        environment: &str,
    ) -> Answer<Option<CommitId>> {
        let request = self.forge.environment_head(repo, environment);
        self.breaker.send(&self.upstream, request).await
    }

    /// A denial here is not recorded: few tokens may read the log, and other requests may still be accepted.
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
        self.send(repo, RepoRequest::PostStatus, request).await
    }

    /// Parses a delivery. Sends nothing.
    pub fn understand(
        &self,
        verified: &Verified,
        content_type: &str,
        body: &[u8],
    ) -> Result<Event, Malformed> {
        self.forge.understand(verified, content_type, body)
    }

    /// Sends a request about a repository, and records whether it was denied.
    async fn send<T>(
        &self,
        repo: &RepoPath,
        access: RepoRequest,
        request: impl Future<Output = Result<T, ForgeError>>,
    ) -> Answer<T> {
        let key = RepoKey::new(self.name, repo);
        let recorded = async {
            let (result, was_sent) = http::tracked(request).await;
            if !was_sent {
                return result;
            }
            http::note_request();
            let (result, is_found) = match result {
                // Either the commit or the repository may be missing.
                Err(ForgeError::Gone(why)) => match self.forge.find_repo(repo).await {
                    Ok(()) => (Err(ForgeError::Gone(why)), true),
                    Err(ForgeError::Gone(message)) => {
                        let denial = Denial::Repository;
                        (Err(ForgeError::Denied { denial, message }), false)
                    }
                    Err(denied @ ForgeError::Denied { .. }) => (Err(denied), false),
                    Err(ForgeError::Later { .. } | ForgeError::Refused(_)) => {
                        (Err(ForgeError::Gone(why)), false)
                    }
                },
                result => (result, false),
            };
            match &result {
                Err(ForgeError::Denied { denial, message }) => {
                    self.denials.record(&key, access, *denial, message).await;
                }
                Ok(_) => self.denials.end(&key, Some(access)).await,
                // The repository exists; the answer shows nothing more.
                Err(_) if is_found => self.denials.end(&key, None).await,
                Err(_) => {}
            }
            result
        };
        self.breaker.send(&self.upstream, recorded).await
    }
}
