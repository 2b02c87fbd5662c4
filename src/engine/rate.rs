//! Requests of one action on one account keep their distance, whichever process makes them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::error;

use super::Engine;
use crate::cdn::{Pace, Turns};
use crate::clock::Clock;
use crate::purge::PurgeKind;
use crate::store::{Store, StoreError};

/// In which as many requests go out as an account may be sent in a second. Somewhat more than that second:
/// on their way some catch up with others, and a CDN that has had one too many refuses it.
const WINDOW: Duration = Duration::from_millis(1_100);

/// Turns that all processes take from the store.
struct Shared {
    store: Arc<Store>,
    clock: Clock,
    name: String,
    interval: Duration,
}

impl Shared {
    /// Returns when it is one's turn.
    async fn wait(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let at = self.store.take_turn(&self.name, now, self.interval).await?;
        if let Ok(wait) = Duration::try_from(at.duration_since(now))
            && !wait.is_zero()
        {
            self.clock.sleep(wait).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Turns for Shared {
    async fn next(&self) {
        if let Err(error) = self.wait().await {
            error!("cannot take a turn at `{}`: {error}", self.name);
            self.clock.sleep(self.interval).await;
        }
    }

    async fn rest(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

impl Engine {
    /// Returns when an account may be sent the next request to purge.
    pub(super) async fn keep_rate(
        &self,
        account: &str,
        kind: PurgeKind,
        per_second: u32,
    ) -> Result<(), StoreError> {
        let name = format!("submit {} {account}", kind.word());
        self.turns(name, per_second).wait().await
    }

    /// The pace of questions to an account: one for all of them, whatever they are about.
    pub(super) fn pace(&self, account: &str, per_second: u32) -> Pace {
        Pace::by(Arc::new(self.turns(format!("query {account}"), per_second)))
    }

    fn turns(&self, name: String, per_second: u32) -> Shared {
        Shared {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            name,
            interval: WINDOW / per_second.max(1),
        }
    }
}
