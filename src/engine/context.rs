//! What every step receives.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::delivery_logs::DeliveryLogs;
use super::diff_cache::DiffCache;
use super::intake::Intake;
use super::large_body::LargeBodies;
use super::outcome::StepError;
use super::pace::Pace;
use super::repositories::Repositories;
use super::upstream::Upstreams;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Disposition, Removed, Store, Work, Write};

/// Everything that a step may use.
pub(super) struct StepContext {
    config: watch::Receiver<Arc<Config>>,
    pub store: Arc<Store>,
    pub clock: Clock,
    /// Notified when work may be due.
    pub work_available: Arc<Notify>,
    pub upstreams: Upstreams,
    pub intake: Intake,
    pub large_bodies: LargeBodies,
    pub diffs: DiffCache,
    pub delivery_logs: DeliveryLogs,
    pub repositories: Repositories,
    pub pace: Pace,
    removed: Mutex<Removed>,
}

impl StepContext {
    /// A context on a store, with empty caches. Its intake accepts deliveries at once.
    pub fn new(config: watch::Receiver<Arc<Config>>, store: Arc<Store>, clock: Clock) -> Self {
        let work_available = Arc::new(Notify::new());
        Self {
            config,
            intake: Intake::new(Arc::clone(&store), Arc::clone(&work_available)),
            upstreams: Upstreams::new(Arc::clone(&store), clock.clone()),
            repositories: Repositories::new(Arc::clone(&store)),
            pace: Pace::default(),
            store,
            clock,
            large_bodies: LargeBodies::default(),
            work_available,
            diffs: DiffCache::default(),
            delivery_logs: DeliveryLogs::default(),
            removed: Mutex::default(),
        }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Watches the configuration for changes.
    pub fn watch_config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.clone()
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Commits writes in the middle of a step, which keeps its lease.
    pub async fn commit(&self, work: &Work, writes: &[Write]) -> Result<(), StepError> {
        let keep = Disposition::Continue;
        match self
            .store
            .commit(&work.lease, writes, keep, self.now())
            .await?
        {
            true => Ok(()),
            false => Err(StepError::LeaseLost),
        }
    }

    /// What retention has removed since this process started.
    pub fn removed(&self) -> Removed {
        *self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the count of removed rows.
    pub fn count_removed(&self, removed: Removed) {
        *self.removed.lock().unwrap_or_else(PoisonError::into_inner) += removed;
    }
}
