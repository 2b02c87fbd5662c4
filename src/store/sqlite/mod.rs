//! SQLite: one file, no server, every commit on disk before it is acknowledged.

mod admission;
mod connection;
mod files;
mod group_commit;

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use self::admission::Priority;
use self::connection::{Checkpoints, OpenMode, Readers, open_patiently, patiently};
use self::files::ServingLock;
use self::group_commit::{Savepoint, Writer};
use super::database::{Database, Dialect, Row, Transaction, Value};
use super::{StoreError, migrations, open_errors};

/// How often the schema migration is tried.
const MIGRATION_ATTEMPTS: u32 = 5;
/// The pause between two tries: another program is preparing the file.
const MIGRATION_PAUSE: Duration = Duration::from_millis(200);

/// A SQLite file in WAL mode: one write connection, several read connections.
pub struct SqliteDatabase {
    writer: Writer,
    readers: Arc<Readers>,
    checkpoints: Checkpoints,
    path: String,
    /// The folder of the file.
    folder: PathBuf,
    /// Set once this process serves.
    serving: Mutex<Option<ServingLock>>,
}

/// Whether the file exists and has the store's tables. An unreadable file counts: opening it reports the error.
pub(super) fn has_tables(path: &str) -> bool {
    if open_errors::no_file(path).is_some() {
        return true;
    }
    if !Path::new(path).exists() {
        return false;
    }
    let version = connection::open(path, OpenMode::Read).and_then(|connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    });
    version.map_or(true, |version| version > 0)
}

impl SqliteDatabase {
    /// Opens the file, creates it if necessary, and brings its schema up to date.
    pub async fn open(path: &str) -> Result<Self, StoreError> {
        if let Some(error) = open_errors::no_file(path) {
            return Err(error);
        }
        // If it cannot be created, opening it reports why.
        let _ = make_private(path);
        let mut connection = open_patiently(path)
            .await
            .map_err(|error| open_errors::file(path, error))?;
        // If several programs start at once, one creates the tables and the others find them on their next try.
        let mut migrated = migrations::sqlite(&mut connection);
        for _ in 1..MIGRATION_ATTEMPTS {
            if migrated.is_ok() {
                break;
            }
            tokio::time::sleep(MIGRATION_PAUSE).await;
            migrated = migrations::sqlite(&mut connection);
        }
        migrated.map_err(|error| open_errors::tables(path, error))?;
        Ok(Self {
            writer: Writer::new(connection, path.to_owned()),
            readers: Arc::new(Readers::new(path.to_owned())),
            checkpoints: Checkpoints::new(path.to_owned()),
            path: path.to_owned(),
            serving: Mutex::default(),
            folder: match Path::new(path).parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
                Some(_) | None => PathBuf::from("."),
            },
        })
    }
}

/// Creates the file if necessary, readable only by its owner whatever the umask: it holds names, addresses and
/// private paths. SQLite gives the files beside it (`-wal`, `-shm`) the same mode (`findCreateFileMode` in its
/// `os_unix.c`).
fn make_private(path: &str) -> io::Result<()> {
    if Path::new(path).exists() {
        return Ok(());
    }
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let begun = self.writer.begin(Priority::Normal);
        Ok(Box::new(SqliteTransaction(begun.await?)))
    }

    async fn begin_background(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let begun = self.writer.begin(Priority::Background);
        Ok(Box::new(SqliteTransaction(begun.await?)))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        patiently(|| self.readers.query(sql, &params)).await
    }

    async fn scan(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let (readers, sql) = (Arc::clone(&self.readers), sql.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(patiently(|| readers.query(&sql, &params)))
        });
        read.await.unwrap_or_else(|_| Err(group_commit::stopping()))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn begin_serving(&self) -> Result<(), StoreError> {
        let lock = ServingLock::acquire(&self.path).await?;
        *self.serving.lock() = Some(lock);
        Ok(())
    }

    async fn check_files(&self) -> Result<(), StoreError> {
        self.writer.check_files().await
    }

    fn checkpoint(&self) {
        self.checkpoints.run();
    }

    fn spool_folder(&self) -> PathBuf {
        self.folder.clone()
    }

    async fn notified(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

struct SqliteTransaction(Savepoint);

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        self.0
            .run(|connection| connection::execute(connection, sql, &params))
    }

    async fn execute_each(&mut self, sql: &str, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        self.0
            .run(|connection| connection::execute_each(connection, sql, &rows))
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.0
            .run(|connection| connection::query(connection, sql, &params))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn advisory_lock(&mut self, _: BTreeSet<String>) -> Result<(), StoreError> {
        // Only one transaction writes at a time, so each already waits for all others.
        Ok(())
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await
    }

    async fn commit_soon(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit_soon()
    }
}
