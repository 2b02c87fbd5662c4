//! The rate limits of accounts, shared by all processes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::AccountId;
use crate::cause::Cause;
use crate::cdn::{CdnError, ErrorClass, FailureKind, Pace, Turns};
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// The window for the requests that an account may receive in a second. It is somewhat longer than that: requests
/// can catch up with each other on the way, and a CDN refuses one too many.
const RATE_WINDOW: Duration = Duration::from_millis(1_100);
/// How late after its slot a request may be sent: the part of [`RATE_WINDOW`] beyond a second.
const SLOT_TOLERANCE: Duration = Duration::from_millis(100);
/// How many slots are reserved until one is in time. If the store is slower, all other writes are late too.
const MAX_RESERVATIONS: usize = 4;

/// Rate limits by account and action.
pub struct RateLimits {
    store: Arc<Store>,
    clock: Clock,
}

/// One rate limit.
struct RateLimit {
    store: Arc<Store>,
    clock: Clock,
    name: String,
    interval: Duration,
}

impl RateLimits {
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Waits until the account may receive the next purge request.
    pub async fn acquire(
        &self,
        account: &AccountId,
        action: &str,
        per_second: u32,
    ) -> Result<(), StoreError> {
        let limit = self.limit(format!("submit {action} {account}"), per_second);
        limit.acquire().await
    }

    /// The rate limit of queries to an account: one for all of them.
    pub fn queries(&self, account: &AccountId, per_second: u32) -> Pace {
        Pace::by(Arc::new(self.limit(format!("query {account}"), per_second)))
    }

    fn limit(&self, name: String, per_second: u32) -> RateLimit {
        RateLimit {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            name,
            interval: RATE_WINDOW / per_second.max(1),
        }
    }
}

impl RateLimit {
    /// Reserves a slot and waits for it.
    async fn acquire(&self) -> Result<(), StoreError> {
        let mut lead = Duration::ZERO;
        for _ in 0..MAX_RESERVATIONS {
            let asked = self.clock.now();
            let slot = self
                .store
                .reserve_slot(&self.name, asked + lead, self.interval)
                .await?;
            let now = self.clock.now();
            match Duration::try_from(slot.duration_since(now)) {
                Ok(wait) => {
                    if !wait.is_zero() {
                        self.clock.sleep(wait).await;
                    }
                    return Ok(());
                }
                Err(_) if now <= slot + SLOT_TOLERANCE => return Ok(()),
                // The store was so slow that the slot has passed: reserve one further ahead.
                Err(_) => {
                    let took = Duration::try_from(now.duration_since(asked)).unwrap_or_default();
                    lead = lead.max(took) * 2;
                }
            }
        }
        Err(StoreError::unreachable(format!(
            "each of {MAX_RESERVATIONS} slots was over when the store said which it is"
        )))
    }
}

#[async_trait]
impl Turns for RateLimit {
    /// Without a slot nothing is sent, since other processes reserve theirs too.
    async fn next(&self) -> Result<(), CdnError> {
        self.acquire().await.map_err(|error| CdnError {
            class: ErrorClass::Retry,
            kind: FailureKind::NoSlot,
            message: format!("cannot reserve a slot of `{}`: {error}", self.name),
            retry_after: None,
            maybe_done: false,
            cause: Cause::of(error),
        })
    }

    async fn rest(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
