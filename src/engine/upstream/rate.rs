//! Requests of one action on one account keep their distance, whichever process makes them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cdn::{CdnError, ErrorClass, FailureKind, Pace, Turns};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::store::{Store, StoreError};

/// In which as many requests go out as an account may be sent in a second. Somewhat more than that second:
/// on their way some catch up with others, and a CDN that has had one too many refuses it.
const WINDOW: Duration = Duration::from_millis(1_100);
/// How long after its turn a request may go out: what [`WINDOW`] has more than a second.
const LATE: Duration = Duration::from_millis(100);
/// Turns that are taken until there is one in time. A store that is this slow writes nothing else in time either.
const TRIES: usize = 4;

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
        let mut lead = Duration::ZERO;
        for _ in 0..TRIES {
            let asked = self.clock.now();
            let turn = self
                .store
                .reserve_slot(&self.name, asked + lead, self.interval);
            let turn = turn.await?;
            let now = self.clock.now();
            match Duration::try_from(turn.duration_since(now)) {
                Ok(wait) => {
                    if !wait.is_zero() {
                        self.clock.sleep(wait).await;
                    }
                    return Ok(());
                }
                Err(_) if now <= turn + LATE => return Ok(()),
                // The store took so long that others' turns have come: the next is to be far enough ahead.
                Err(_) => {
                    let took = Duration::try_from(now.duration_since(asked)).unwrap_or_default();
                    lead = lead.max(took) * 2;
                }
            }
        }
        Err(StoreError::Unreachable(format!(
            "the turn was over each of {TRIES} times when the store said which it is"
        )))
    }
}

#[async_trait]
impl Turns for Shared {
    /// Whoever cannot take a turn sends nothing: others take theirs.
    async fn next(&self) -> Result<(), CdnError> {
        self.wait().await.map_err(|error| CdnError {
            class: ErrorClass::Retry,
            kind: FailureKind::NoSlot,
            message: format!("cannot take a turn at `{}`: {error}", self.name),
            retry_after: None,
            maybe_done: false,
        })
    }

    async fn rest(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

impl Engine {
    /// Returns when an account may be sent the next request of an action that purges.
    pub(in crate::engine) async fn keep_rate(
        &self,
        account: &str,
        action: &str,
        per_second: u32,
    ) -> Result<(), StoreError> {
        let name = format!("submit {action} {account}");
        self.turns(name, per_second).wait().await
    }

    /// The pace of questions to an account: one for all of them, whatever they are about.
    pub(in crate::engine) fn pace(&self, account: &str, per_second: u32) -> Pace {
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
