//! What is kept, and the transactions that keep it.
//!
//! Every durable step of the engine is one [`Store::commit`]: the rows that
//! change, and what becomes of the work item that asked for the step, together
//! or not at all. A commit is refused when the step's lease has passed on.
//! To add a database, write a [`Database`] and its line in [`Store::open_database`].

mod bodies;
mod circuits;
#[cfg(debug_assertions)]
mod crash_injection;
mod database;
mod deliveries;
mod duplicates;
mod errors;
mod given_up;
mod held;
mod intake;
mod migrations;
mod open_errors;
mod packing;
mod postgres;
mod purge_queue;
mod purges;
mod rate_limits;
mod retention;
mod run_starts;
mod runs;
mod shared_time;
mod site_use;
mod spool;
mod sqlite;
mod stats;
mod statuses;
mod step_commit;
mod tasks;
mod work_queue;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

pub use bodies::{DeliveryBody, StoredBody};
pub use circuits::{OpenCircuit, Upstream};
pub use database::{Database, Dialect, Row, Transaction, Value};
pub use deliveries::{NewDelivery, Source, StoredDelivery};
pub use errors::StoreError;
pub use given_up::{GivenUpTarget, Target};
pub use held::{HeldCommits, SiteCaches};
pub use intake::Accepted;
pub use packing::BodyDigest;
pub use purge_queue::{NextBatch, PassedOver, QueueHead, QueuedRun};
pub use purges::{
    Migration, NewPurge, Precondition, PurgeCounts, PurgeKey, PurgeUpdate, QueuedPurge,
};
pub use retention::Removed;
pub use run_starts::{RetryOutcome, SkipOutcome};
pub use runs::RunFilter;
pub use spool::{SpoolFile, SpooledBody};
pub use stats::{CdnCount, Failures, PendingPurges};
pub use statuses::{DRY_RUN_STATUS, Posting, StoredStatus};
pub use step_commit::Write;
pub use tasks::{StoredTask, TaskState};
pub use work_queue::{ClaimLimits, Claimed, Disposition, Lease, Work, WorkKey};

/// Tries at a transaction that others get in the way of.
const TRIES: u32 = 5;

/// Does a transaction, anew where others got in its way.
async fn retry_on_conflict<T, F>(transaction: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..TRIES {
        match transaction().await {
            Err(StoreError::Contended(_)) => {}
            ended => return ended,
        }
    }
    transaction().await
}

/// Everything that must survive a crash.
pub struct Store {
    database: Box<dyn Database>,
}

impl Store {
    /// Opens `sqlite://path` or `postgres://...` and brings its schema up to date.
    pub async fn open(address: &str) -> Result<Self, StoreError> {
        let database = Self::open_database(address).await?;
        #[cfg(debug_assertions)]
        let database = crash_injection::from_environment(database)?;
        Ok(Self::on(database))
    }

    /// As [`Store::open`], for those that only work with what is kept: none where there is no database with the store's
    /// tables, and then none is made.
    pub async fn open_existing(address: &str) -> Result<Option<Self>, StoreError> {
        let is_there = if let Some(path) = address.strip_prefix("sqlite://") {
            sqlite::has_tables(path)
        } else if is_postgres(address) {
            postgres::has_tables(address).await?
        } else {
            // Opening it says what is wrong.
            true
        };
        if is_there {
            Self::open(address).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// The database alone, for a store that is to see it through something else.
    ///
    /// # Errors
    ///
    /// As of [`Store::open`].
    pub async fn open_database(address: &str) -> Result<Box<dyn Database>, StoreError> {
        let database: Box<dyn Database> = if let Some(path) = address.strip_prefix("sqlite://") {
            Box::new(sqlite::SqliteDatabase::open(path).await?)
        } else if is_postgres(address) {
            Box::new(postgres::PostgresDatabase::open(address).await?)
        } else {
            return Err(StoreError::unreachable(
                "the database's address must start with sqlite:// or postgres://".to_owned(),
            ));
        };
        Ok(database)
    }

    /// A store on a database that is open already.
    pub fn on(database: Box<dyn Database>) -> Self {
        Self { database }
    }

    /// Whether other processes may be working on the same store.
    pub fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    /// Takes the right to serve from this store. Several processes may have it with PostgreSQL, one with SQLite.
    ///
    /// # Errors
    ///
    /// Another process has it.
    pub async fn begin_serving(&self) -> Result<(), StoreError> {
        self.database.begin_serving().await
    }

    /// Whether the database is still the one that was opened.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`]: nothing more can be kept.
    pub async fn check_files(&self) -> Result<(), StoreError> {
        self.database.check_files().await
    }

    /// Whether the store can be written to at this moment: writes a row and takes it back.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        tx.execute(
            "INSERT INTO removals (run) VALUES ('probe') ON CONFLICT (run) DO NOTHING",
            Vec::new(),
        )
        .await?;
        tx.execute("DELETE FROM removals WHERE run = 'probe'", Vec::new())
            .await?;
        tx.commit().await
    }
}

fn is_postgres(address: &str) -> bool {
    address.starts_with("postgres://") || address.starts_with("postgresql://")
}

/// A stored text of ours, read back.
fn parsed<T>(
    what: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    parse(text).ok_or_else(|| StoreError::corrupt(format!("{what} holds {text:?}")))
}

/// A length of time as it is stored.
fn milliseconds(length: Duration) -> i64 {
    // Half of it, so that it can be added to any time.
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2)
}

/// A stored time.
fn timestamp(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| StoreError::corrupt(format!("{ms} is not a time")))
}
