//! Places for the tests that work: one for each core.
//!
//! The program has bounds on time, and those hold on a machine that is as busy as it can be, not on one that is several
//! times as busy. So tests that work take turns; those that have only to wait for something that takes its time, such as
//! the end of a lease, do so beside them.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

/// A test's place; dropped, the next test has it.
pub type Place = SemaphorePermit<'static>;

static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get)));

/// Waits for a place.
pub async fn take() -> Place {
    PLACES.acquire().await.unwrap()
}
