//! Carries runs from a delivery to their last status, in durable steps.
//!
//! Each step takes one claimed work item, does what it asks for, and commits
//! the outcome together with what comes next. Nothing else is remembered: a
//! process that dies between two commits leaves work that is due, which any
//! process goes on with.

mod baseline;
mod change_set;
mod clock_jumps;
mod concurrency;
mod context;
mod delivery_logs;
mod diff_cache;
mod ending;
mod intake;
mod large_body;
mod leases;
mod new_run;
mod outcome;
mod payloads;
mod plan_decision;
mod planner;
mod policy;
mod quota_shares;
mod receive;
mod scheduler;
mod steps;
mod upstream;
mod wait_reasons;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use large_body::LargeBody;
pub use policy::match_sites::{named_branches, only_branch};
pub use policy::quota::quota_day;
pub use receive::{ReceiveError, Received, RequestBody};
pub use upstream::UnavailableUpstream;

use crate::clock::Clock;
use crate::config::{Config, Site};
use crate::event::{CommitRef, GitRef};
use crate::forge::Headers;
use crate::run::{Origin, RunId};
use crate::store::{Removed, RetryOutcome, SkipOutcome, Store, StoreError};
use context::StepContext;
use policy::deadlines::RUN_LIMIT;
use scheduler::Scheduler;

/// Carries runs through their steps.
pub struct Engine {
    ctx: Arc<StepContext>,
    scheduler: Arc<Scheduler>,
}

impl Engine {
    /// An engine on a store. It receives deliveries at once; it runs steps when [`run`](Self::run) or [`drain`](Self::drain) is called.
    pub fn new(config: watch::Receiver<Arc<Config>>, store: Arc<Store>, clock: Clock) -> Arc<Self> {
        let ctx = Arc::new(StepContext::new(config, store, clock));
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&ctx)));
        Arc::new(Self { ctx, scheduler })
    }

    /// The configuration as of now.
    pub fn config(&self) -> Arc<Config> {
        self.ctx.config()
    }

    /// Everything that is kept.
    pub fn store(&self) -> &Store {
        &self.ctx.store
    }

    /// The time as the engine sees it.
    pub fn now(&self) -> Timestamp {
        self.ctx.now()
    }

    /// By how much this machine's clock is ahead of that time.
    pub fn clock_ahead(&self) -> SignedDuration {
        self.ctx.clock.machine_ahead()
    }

    /// Runs steps as they come due, until `stop` turns true; then lets running steps finish, for half a minute at most.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        self.scheduler.run(stop).await;
    }

    /// Runs every step that is due, one after the other, until none is; when the next one will be.
    ///
    /// # Errors
    ///
    /// The store cannot say what is due.
    pub async fn drain(&self) -> Result<Option<Timestamp>, StoreError> {
        self.scheduler.drain().await
    }

    /// Receives one webhook request. When this returns `Accepted`, it is on disk.
    ///
    /// # Errors
    ///
    /// The request is refused, or could not be stored; nothing is kept of it.
    pub async fn receive(
        &self,
        forge: &str,
        headers: &Headers,
        content_type: &str,
        body: impl Into<RequestBody>,
    ) -> Result<Received, ReceiveError> {
        receive::receive(&self.ctx, forge, headers, content_type, body.into()).await
    }

    /// Whether a request's head alone shows already that it is refused, so that its body need not be read.
    ///
    /// # Errors
    ///
    /// There is no such forge, the signature is missing, or a token is wrong.
    pub fn check_head(&self, forge: &str, headers: &Headers) -> Result<(), ReceiveError> {
        receive::check_head(&self.ctx, forge, headers)
    }

    /// Begins to take in a body that is too large to be held in memory.
    ///
    /// # Errors
    ///
    /// There is no such forge, or the disk takes no files.
    pub fn begin_large_body(
        &self,
        forge: &str,
        headers: &Headers,
    ) -> Result<LargeBody, ReceiveError> {
        receive::begin_large_body(&self.ctx, forge, headers)
    }

    /// Tries a failed run again.
    ///
    /// # Errors
    ///
    /// The store cannot be asked.
    pub async fn retry(&self, run: &RunId) -> Result<RetryOutcome, StoreError> {
        let now = self.now();
        let retried = self.ctx.store.retry(run, now, now + RUN_LIMIT).await?;
        self.ctx.work_available.notify_one();
        Ok(retried)
    }

    /// Gives up a target of a run, whatever its CDN says.
    ///
    /// # Errors
    ///
    /// The store cannot be asked.
    pub async fn skip(&self, run: &RunId, target: &str) -> Result<SkipOutcome, StoreError> {
        let now = self.now();
        let skipped = self.ctx.store.skip(run, target, now, now + RUN_LIMIT);
        let skipped = skipped.await?;
        self.ctx.work_available.notify_one();
        Ok(skipped)
    }

    /// Starts a run for a site at the head of `branch`: of what changed since
    /// its last success, or of everything.
    ///
    /// # Errors
    ///
    /// The run could not be stored.
    pub async fn start_by_hand(
        &self,
        site: &Site,
        branch: &str,
        everything: bool,
    ) -> Result<RunId, StoreError> {
        let origin = if everything {
            Origin::ManualEverything
        } else {
            Origin::Manual
        };
        let git_ref = GitRef::Branch(branch.to_owned());
        let head = CommitRef::Unresolved(branch.to_owned());
        let run = new_run::new_run(&self.ctx.clock, site, origin, Some(git_ref), head);
        self.ctx.store.start(&run, self.now()).await?;
        self.ctx.work_available.notify_one();
        Ok(run.id)
    }

    /// The upstreams that do not answer and are sent no requests for now.
    ///
    /// # Errors
    ///
    /// The store cannot say.
    pub async fn unavailable_upstreams(&self) -> Result<Vec<UnavailableUpstream>, StoreError> {
        self.ctx.upstreams.unavailable(&self.config()).await
    }

    /// What was removed since this process began, for its age.
    pub fn removed(&self) -> Removed {
        self.ctx.removed()
    }
}
