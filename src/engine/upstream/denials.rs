//! Requests that forges deny until a person changes something. A denial is recorded in the store, for all processes,
//! and ends with the first such request that is accepted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::forge::Denial;
use crate::store::{DeniedAccess, RepoKey, RepoRequest, Store, StoreError};

/// The denials of all forges.
pub struct Denials {
    store: Arc<Store>,
    clock: Clock,
    /// Repositories for which the store may have a denial. This only saves a write per answer.
    maybe_denied: Mutex<BTreeSet<RepoKey>>,
}

impl Denials {
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            maybe_denied: Mutex::default(),
        }
    }

    /// The denials for a repository.
    pub async fn of(&self, key: &RepoKey) -> Result<Vec<DeniedAccess>, StoreError> {
        let denied = self.store.denials_of(key).await?;
        if !denied.is_empty() {
            self.maybe_denied().insert(key.clone());
        }
        Ok(denied)
    }

    /// All denials.
    pub async fn all(&self) -> Result<Vec<DeniedAccess>, StoreError> {
        let denied = self.store.denials().await?;
        let keys = denied.iter().map(|denied| denied.key.clone());
        self.maybe_denied().extend(keys);
        Ok(denied)
    }

    /// Records that a request was denied.
    pub async fn record(&self, key: &RepoKey, access: RepoRequest, denial: Denial, error: &str) {
        self.maybe_denied().insert(key.clone());
        let denied = DeniedAccess {
            key: key.clone(),
            access,
            denial,
            since: self.clock.now(),
            error: error.to_owned(),
        };
        let RepoKey { forge, repo } = key;
        let to = in_words(access);
        match self.store.record_denial(&denied).await {
            Ok(true) => warn!(
                forge,
                repo,
                denial = denial.as_str(),
                "{forge} denies requests to {to} of {repo} until a person changes something: {error}"
            ),
            Ok(false) => {}
            Err(failure) => {
                error!("cannot record that {forge} denies requests to {to} of {repo}: {failure}")
            }
        }
    }

    /// Ends denials: a request of kind `access` was accepted or, if none, an answer showed that the repository exists.
    pub async fn end(&self, key: &RepoKey, access: Option<RepoRequest>) {
        if !self.maybe_denied().contains(key) {
            return;
        }
        let RepoKey { forge, repo } = key;
        let ended = match self.store.end_denials(key, access, self.clock.now()).await {
            Ok(ended) => ended,
            Err(failure) => {
                error!("cannot record that {forge} allows requests for {repo} again: {failure}");
                return;
            }
        };
        for DeniedAccess { access, since, .. } in &ended {
            let to = in_words(*access);
            info!(
                forge,
                repo,
                "{forge} allows requests to {to} of {repo} again, after denying them since {since}"
            );
        }
        match self.store.denials_of(key).await {
            Ok(left) if left.is_empty() => {
                self.maybe_denied().remove(key);
            }
            Ok(_) => {}
            Err(failure) => {
                error!("cannot read which requests for {repo} {forge} denies: {failure}")
            }
        }
    }

    fn maybe_denied(&self) -> MutexGuard<'_, BTreeSet<RepoKey>> {
        self.maybe_denied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is denied, to stand between "denies to" and "of acme/website".
pub fn in_words(access: RepoRequest) -> &'static str {
    match access {
        RepoRequest::Read => "read the commits",
        RepoRequest::PostStatus => "post statuses on the commits",
    }
}
