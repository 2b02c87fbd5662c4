//! Verified deliveries on their way to the disk. Those that wait at the same time share one transaction.
//!
//! With SQLite the store shares commits once more, between all that write at the same time; what is shared here are the statements.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::store::{Accepted, NewDelivery, Store, StoreError};

/// Deliveries that share one commit at most.
const MAX_DELIVERIES_PER_GROUP: usize = 256;
/// Bytes of bodies that share one commit at most, so that small deliveries don't wait for a stack of large ones.
const MAX_BYTES_PER_GROUP: usize = 16 * 1024 * 1024;
/// Deliveries that may wait for the disk before new ones are turned away with 503.
const MAX_WAITING: usize = 1_024;

/// How long a delivery may take to be stored: GitHub and GitLab give up on it
/// after ten seconds, and are to read that it was not taken in.
const STORE_LIMIT: Duration = Duration::from_secs(8);

/// Deliveries on their way to the disk. Those that wait at the same time share one commit.
pub(super) struct Intake {
    sender: mpsc::Sender<Waiting>,
}

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Intake {
    pub fn start(store: Arc<Store>, work_available: Arc<Notify>) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        tokio::spawn(write(store, work_available, receiver));
        Self { sender }
    }

    /// Returns when the delivery is on disk.
    pub async fn put(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .try_send(Waiting { delivery, answer })
            .map_err(|_| {
                StoreError::Unreachable(format!(
                    "{MAX_WAITING} deliveries are waiting for the disk already"
                ))
            })?;
        match tokio::time::timeout(STORE_LIMIT, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::Unreachable(
                "the program is stopping".to_owned(),
            )),
            Err(_) => Err(StoreError::Unreachable(format!(
                "it was not on disk within {} s",
                STORE_LIMIT.as_secs()
            ))),
        }
    }
}

async fn write(
    store: Arc<Store>,
    work_available: Arc<Notify>,
    mut receiver: mpsc::Receiver<Waiting>,
) {
    while let Some(first) = receiver.recv().await {
        if first.answer.is_closed() {
            // It was told already that it was not stored in time.
            continue;
        }
        let mut bytes = first.delivery.body.len();
        let (mut deliveries, mut answers) = (vec![first.delivery], vec![first.answer]);
        while deliveries.len() < MAX_DELIVERIES_PER_GROUP && bytes < MAX_BYTES_PER_GROUP {
            let Ok(next) = receiver.try_recv() else { break };
            if next.answer.is_closed() {
                continue;
            }
            bytes += next.delivery.body.len();
            deliveries.push(next.delivery);
            answers.push(next.answer);
        }
        match store.accept(&deliveries).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever asked may have hung up; the delivery is stored all the same.
                    let _ = answer.send(Ok(outcome));
                }
                work_available.notify_one();
            }
            Err(error) if error.is_outage() => {
                // Out of order for everyone: another try each would only keep those behind waiting.
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
            Err(_) => {
                // One delivery's trouble must not be everyone's: each by itself.
                for (answer, delivery) in answers.into_iter().zip(deliveries) {
                    let outcome = store.accept(std::slice::from_ref(&delivery)).await;
                    let _ = answer.send(outcome.and_then(|outcomes| {
                        outcomes.into_iter().next().ok_or_else(|| {
                            StoreError::Corrupt("a delivery had no outcome".to_owned())
                        })
                    }));
                }
                work_available.notify_one();
            }
        }
    }
}
