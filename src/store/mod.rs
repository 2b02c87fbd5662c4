//! Durable state, and the transactions that keep it consistent.
//!
//! Every durable step of the engine is one [`Store::commit`]: the changed rows and the disposition of the step's
//! work item are written together or not at all. A commit is refused if the step has lost its lease. To add a
//! database, implement [`Database`] and add its line to [`Store::open_database`].

mod bodies;
mod circuits;
#[cfg(debug_assertions)]
mod crash_injection;
mod database;
mod deliveries;
mod denials;
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
mod repositories;
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
pub use denials::{DeniedAccess, RepoKey, RepoRequest};
pub use errors::StoreError;
pub use given_up::{GivenUpTarget, Target};
pub use held::{HeldCommits, SiteCaches};
pub use intake::Accepted;
pub use packing::BodyDigest;
pub use purge_queue::{NextBatch, PassedOver, QueueHead, QueuedRun};
pub use purges::{
    Migration, NewPurge, Precondition, PurgeCounts, PurgeKey, PurgeUpdate, QueuedPurge,
};
pub use repositories::KnownRepo;
pub use retention::Removed;
pub use run_starts::{RetryOutcome, SkipOutcome};
pub use runs::{RunFilter, UnplannedRun};
pub use spool::{SpoolFile, SpooledBody};
pub use stats::{CdnCount, Failures, PendingPurges};
pub use statuses::{DOUBTFUL_DELAY, DRY_RUN_STATUS, Posting, StoredStatus};
pub use step_commit::Write;
pub use tasks::{StoredTask, TaskState};
pub use work_queue::{ClaimLimits, Claimed, Disposition, Lease, Work, WorkKey};

/// How often a transaction is tried when others conflict with it.
const TRIES: u32 = 5;

/// Runs a transaction, again if others conflict with it.
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

    /// Like [`Store::open`], but returns none, and creates nothing, if there is no database with the store's
    /// tables. For commands that only read or change an existing store.
    pub async fn open_existing(address: &str) -> Result<Option<Self>, StoreError> {
        let is_there = if let Some(path) = address.strip_prefix("sqlite://") {
            sqlite::has_tables(path)
        } else if is_postgres(address) {
            postgres::has_tables(address).await?
        } else {
            // Opening it reports what is wrong.
            true
        };
        if is_there {
            Self::open(address).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// Opens only the database, for a caller that wraps it before it makes a store.
    ///
    /// # Errors
    ///
    /// The same as for [`Store::open`].
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

    /// A store on an open database.
    pub fn on(database: Box<dyn Database>) -> Self {
        Self { database }
    }

    /// Whether other processes may be working on the same store.
    pub fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    /// Acquires the right to serve from this store: with SQLite for one process, with PostgreSQL for several.
    ///
    /// # Errors
    ///
    /// Another process holds it.
    pub async fn begin_serving(&self) -> Result<(), StoreError> {
        self.database.begin_serving().await
    }

    /// Checks that the database is still the one that was opened.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`]: nothing more can be stored.
    pub async fn check_files(&self) -> Result<(), StoreError> {
        self.database.check_files().await
    }

    /// Copies a write-ahead log into the database, so that no commit has to do it. Waits for the disk.
    pub fn checkpoint(&self) {
        self.database.checkpoint();
    }

    /// Checks that the store can be written to, by inserting a row and deleting it.
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

/// Parses a text that this program stored.
fn parsed<T>(
    what: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    parse(text).ok_or_else(|| StoreError::corrupt(format!("{what} holds {text:?}")))
}

/// A duration in milliseconds, as it is stored.
fn milliseconds(length: Duration) -> i64 {
    // Half of the range, so that adding it to any time does not overflow.
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2)
}

/// Reads a stored time.
fn timestamp(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| StoreError::corrupt(format!("{ms} is not a time")))
}
