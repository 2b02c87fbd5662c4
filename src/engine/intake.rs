//! Writes verified deliveries to the database. Those that wait at the same time are stored together.
//!
//! If no task is storing deliveries when one arrives, the delivery starts one. That task stores everything that
//! waits or arrives until nothing is left. With SQLite it runs on the runtime of the request that started it, so
//! that a delivery crosses threads only for the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::store::{Accepted, NewDelivery, Store, StoreError};

/// Deliveries per transaction.
const MAX_DELIVERIES_PER_GROUP: usize = 256;
/// Bytes of bodies per transaction, so that small deliveries do not wait for many large ones.
const MAX_BYTES_PER_GROUP: usize = 16 * 1024 * 1024;
/// Deliveries that may wait for the disk before new ones are rejected with 503.
const MAX_WAITING: usize = 1_024;

/// How long storing a delivery may take: GitHub and GitLab give up after ten seconds and should see before that
/// that it was not accepted.
pub(super) const STORE_LIMIT: Duration = Duration::from_secs(8);

/// Deliveries that wait to be stored.
pub(super) struct Intake(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    work_available: Arc<Notify>,
    /// Where deliveries are stored, if not on the runtime of their request.
    runtime: Option<Handle>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether a task is storing deliveries.
    is_stored: bool,
}

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Intake {
    /// An intake for a store. Call it inside the runtime on which the store was opened.
    pub fn new(store: Arc<Store>, work_available: Arc<Notify>) -> Self {
        // A connection to a database server belongs to the runtime that opened it.
        let runtime = store.is_shared().then(Handle::current);
        Self(Arc::new(Shared {
            store,
            work_available,
            runtime,
            queue: Mutex::default(),
        }))
    }

    /// Stores a delivery; returns when it is on disk.
    pub async fn put(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.0.enqueue(Waiting { delivery, answer })? {
            let storing = Storing(Some(Arc::clone(&self.0)));
            let task = async move { storing.run().await };
            match &self.0.runtime {
                Some(runtime) => runtime.spawn(task),
                None => tokio::spawn(task),
            };
        }
        match tokio::time::timeout(STORE_LIMIT, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::unreachable(
                "the program is stopping".to_owned(),
            )),
            Err(_) => Err(StoreError::unreachable(format!(
                "it was not stored within {} s",
                STORE_LIMIT.as_secs()
            ))),
        }
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a delivery. True if no task is storing deliveries, so that the caller must start one.
    fn enqueue(&self, waiting: Waiting) -> Result<bool, StoreError> {
        let mut queue = self.queue();
        if queue.waiting.len() >= MAX_WAITING {
            return Err(StoreError::unreachable(format!(
                "{MAX_WAITING} deliveries are waiting for the disk already"
            )));
        }
        queue.waiting.push_back(waiting);
        Ok(!std::mem::replace(&mut queue.is_stored, true))
    }

    /// The deliveries for the next transaction; none if the queue is empty, and then no task counts as storing.
    fn next_group(&self) -> Option<(Vec<NewDelivery>, Vec<Answer>)> {
        let mut queue = self.queue();
        let (mut deliveries, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while deliveries.len() < MAX_DELIVERIES_PER_GROUP && bytes < MAX_BYTES_PER_GROUP {
            let Some(next) = queue.waiting.pop_front() else {
                break;
            };
            if next.answer.is_closed() {
                // Its request was already answered that storing took too long.
                continue;
            }
            bytes += next.delivery.body.in_memory();
            deliveries.push(next.delivery);
            answers.push(next.answer);
        }
        if deliveries.is_empty() {
            queue.is_stored = false;
            return None;
        }
        Some((deliveries, answers))
    }

    async fn store(&self, deliveries: Vec<NewDelivery>, answers: Vec<Answer>) {
        let store = &self.store;
        match store.accept(&deliveries).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // The sender may have disconnected; the delivery is stored all the same.
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(error) if error.is_outage() => {
                // The store fails for all of them: a retry of each would only delay those behind.
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
            Err(_) => {
                // One bad delivery must not fail the others: store each by itself.
                for (answer, delivery) in answers.into_iter().zip(deliveries) {
                    let outcome = store.accept(std::slice::from_ref(&delivery)).await;
                    let _ = answer.send(outcome.and_then(|outcomes| {
                        outcomes.into_iter().next().ok_or_else(|| {
                            StoreError::corrupt("a delivery had no outcome".to_owned())
                        })
                    }));
                }
            }
        }
        self.work_available.notify_one();
    }
}

type Answer = oneshot::Sender<Result<Accepted, StoreError>>;

/// The task that stores deliveries until none is left. None once it has finished.
struct Storing(Option<Arc<Shared>>);

impl Storing {
    async fn run(mut self) {
        let Some(shared) = self.0.clone() else {
            return;
        };
        while let Some((deliveries, answers)) = shared.next_group() {
            shared.store(deliveries, answers).await;
        }
        self.0 = None;
    }
}

impl Drop for Storing {
    /// The runtime may end before everything is stored: then the next delivery starts another task.
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.queue().is_stored = false;
        }
    }
}
