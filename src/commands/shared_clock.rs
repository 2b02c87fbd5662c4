//! Keeps a replica's time equal to the database's, and reports if its machine's clock differs.

use std::convert::Infallible;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock::{Clock, MAX_MACHINE_DIFFERENCE, SharedTime, TimeSource};
use crate::store::{Store, StoreError};

/// How often to ask the database for its time.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often to check whether the machine's clock was set, or the machine was asleep, which neither clock reports.
const LOOK: Duration = Duration::from_secs(5);
/// A difference from here on means one of the two.
const MIN_JUMP: SignedDuration = SignedDuration::from_secs(1);

/// A clock that shows the store's time.
///
/// # Errors
///
/// The database does not answer.
pub(super) async fn clock_of(store: &Store) -> Result<Clock, StoreError> {
    let time = SharedTime::system();
    store.synchronize(&time).await?;
    Ok(time.clock())
}

/// Keeps a time equal to the database's. Never returns.
pub(super) async fn keep(store: &Store, time: &SharedTime) -> Infallible {
    if !store.is_shared() {
        return std::future::pending().await;
    }
    let mut differs = false;
    loop {
        if let Err(error) = store.synchronize(time).await {
            warn!("the database does not tell its time: {error}");
        }
        let ahead = time.machine_ahead();
        let differed = std::mem::replace(&mut differs, ahead.abs() > MAX_MACHINE_DIFFERENCE);
        match (differed, differs) {
            (false, true) => warn!(
                "this machine's clock differs from the database's by {} s; the database's counts",
                ahead.as_secs()
            ),
            (true, false) => info!("this machine's clock agrees with the database's again"),
            (true, true) | (false, false) => {}
        }
        until_due(time, ahead).await;
    }
}

/// Returns when the database must be asked again.
async fn until_due(time: &SharedTime, ahead: SignedDuration) {
    let asked = Instant::now();
    loop {
        time.sleep(LOOK).await;
        let has_jumped = (time.machine_ahead() - ahead).abs() > MIN_JUMP;
        if has_jumped || !time.is_set() || asked.elapsed() >= INTERVAL {
            return;
        }
    }
}
