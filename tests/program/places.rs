//! Permits for tests that use a core: two for each core, since each such test also waits for its program.
//!
//! The program has time limits that hold on a busy machine, but not on one with several times as much work as cores. So
//! tests that compute take turns. Tests that only wait, for example for the end of a lease, run beside them.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

/// A test's permit. Dropping it lets the next test run.
pub type Place = SemaphorePermit<'static>;

static COUNT: LazyLock<usize> =
    LazyLock::new(|| 2 * thread::available_parallelism().map_or(1, NonZero::get));
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*COUNT));

/// Waits for a permit.
pub async fn take() -> Place {
    PLACES.acquire().await.unwrap()
}

/// Waits for all permits, for a test whose program needs all cores to keep a time limit.
pub async fn take_all() -> Place {
    let all = u32::try_from(*COUNT).unwrap();
    PLACES.acquire_many(all).await.unwrap()
}
