//! The rate limits of accounts, which all processes keep together.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::AccountId;
use crate::cause::Cause;
use crate::cdn::{CdnError, ErrorClass, FailureKind, Pace, Turns};
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// In which as many requests go out as an account may be sent in a second. Somewhat longer than that second:
/// on their way some catch up with others, and a CDN that has had one too many refuses it.
const RATE_WINDOW: Duration = Duration::from_millis(1_100);
/// How long after its slot a request may go out: by how much [`RATE_WINDOW`] is longer than a second.
const SLOT_TOLERANCE: Duration = Duration::from_millis(100);
/// Slots that are reserved until there is one in time. A store that is this slow writes nothing else in time either.
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

    /// Returns when an account may be sent the next request of an action that purges.
    pub async fn acquire(
        &self,
        account: &AccountId,
        action: &str,
        per_second: u32,
    ) -> Result<(), StoreError> {
        let limit = self.limit(format!("submit {action} {account}"), per_second);
        limit.acquire().await
    }

    /// The rate of queries to an account: one for all of them, whatever they are about.
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
    /// Reserves a slot and returns when it has come.
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
                // The store took so long that the slots of others have come: the next is to be far enough ahead.
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
    /// Without a slot nothing is sent: other processes reserve theirs.
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
