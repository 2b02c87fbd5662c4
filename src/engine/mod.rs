//! Carries runs from a delivery to their last status, in durable steps.
//!
//! Each step takes one claimed work item, does that work, and commits the outcome together with the work that
//! follows. Nothing else is kept between steps: if a process dies between two commits, its work is still due, and
//! any process can continue it.

mod baseline;
mod change_set;
mod clock_jumps;
mod concurrency;
mod context;
mod delivery_logs;
mod denied_access;
mod diff_cache;
mod ending;
mod intake;
mod large_body;
mod leases;
mod low_priority;
mod new_run;
mod out_of_order;
mod outcome;
mod pace;
mod plan_decision;
mod planner;
mod policy;
mod quota_shares;
mod receive;
mod redeployment;
mod repositories;
mod scheduler;
mod shortest_first;
mod steps;
mod superseding;
mod upstream;
mod wait_reasons;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use large_body::LargeBody;
pub use policy::match_sites::{named_branches, only_branch};
pub use policy::quota::quota_day;
pub use receive::{ReceiveError, Received, RequestBody};
pub use upstream::{DeniedSite, UnavailableUpstream};

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
    /// An engine on a store. It accepts deliveries at once; it runs steps once [`run`](Self::run) or
    /// [`drain`](Self::drain) is called.
    pub fn new(config: watch::Receiver<Arc<Config>>, store: Arc<Store>, clock: Clock) -> Arc<Self> {
        let ctx = Arc::new(StepContext::new(config, store, clock));
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&ctx)));
        Arc::new(Self { ctx, scheduler })
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        self.ctx.config()
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.ctx.store
    }

    /// The engine's current time.
    pub fn now(&self) -> Timestamp {
        self.ctx.now()
    }

    /// How far this machine's clock is ahead of [`now`](Self::now).
    pub fn clock_ahead(&self) -> SignedDuration {
        self.ctx.clock.machine_ahead()
    }

    /// Runs steps as they come due until `stop` turns true, then lets running steps finish for at most half a
    /// minute.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        self.scheduler.run(stop).await;
    }

    /// Runs due steps one after the other until none is due; returns when the next one will be.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn drain(&self) -> Result<Option<Timestamp>, StoreError> {
        self.scheduler.drain().await
    }

    /// Receives one webhook request. When this returns `Accepted`, the delivery is on disk.
    ///
    /// # Errors
    ///
    /// The request is rejected, or could not be stored; nothing of it is kept.
    pub async fn receive(
        &self,
        forge: &str,
        headers: &Headers,
        content_type: &str,
        body: impl Into<RequestBody>,
    ) -> Result<Received, ReceiveError> {
        receive::receive(&self.ctx, forge, headers, content_type, body.into()).await
    }

    /// Checks whether a request's headers alone show that it is rejected, so that its body need not be read.
    ///
    /// # Errors
    ///
    /// There is no such forge, the signature is missing, or a token is wrong.
    pub fn check_head(&self, forge: &str, headers: &Headers) -> Result<(), ReceiveError> {
        receive::check_head(&self.ctx, forge, headers)
    }

    /// Starts receiving a body that is too large for memory, of `size` bytes or, if that is not known, at most as many.
    ///
    /// # Errors
    ///
    /// There is no such forge, or the file cannot be created.
    pub fn begin_large_body(
        &self,
        forge: &str,
        headers: &Headers,
        size: usize,
    ) -> Result<LargeBody, ReceiveError> {
        receive::begin_large_body(&self.ctx, forge, headers, size)
    }

    /// Retries a failed run.
    ///
    /// # Errors
    ///
    /// The store cannot be used.
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
    /// The store cannot be used.
    pub async fn skip(&self, run: &RunId, target: &str) -> Result<SkipOutcome, StoreError> {
        let now = self.now();
        let skipped = self.ctx.store.skip(run, target, now, now + RUN_LIMIT);
        let skipped = skipped.await?;
        self.ctx.work_available.notify_one();
        Ok(skipped)
    }

    /// Starts a run for a site at the head of `branch`: for the changes since its last success, or for everything.
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

    /// The upstreams whose circuits are open.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn unavailable_upstreams(&self) -> Result<Vec<UnavailableUpstream>, StoreError> {
        self.ctx.upstreams.unavailable(&self.config()).await
    }

    /// What forges deny of the repositories of sites, until a person changes something.
    ///
    /// # Errors
    ///
    /// The store cannot say.
    pub async fn denied_sites(&self) -> Result<Vec<DeniedSite>, StoreError> {
        self.ctx.upstreams.denied_sites(&self.config()).await
    }

    /// What there is to say of the repositories of sites that have another name by now, by site.
    ///
    /// # Errors
    ///
    /// The store cannot say.
    pub async fn renamed_sites(&self) -> Result<Vec<(String, String)>, StoreError> {
        repositories::renamed_sites(self.store(), &self.config()).await
    }

    /// What retention has removed since this process started.
    pub fn removed(&self) -> Removed {
        self.ctx.removed()
    }
}
