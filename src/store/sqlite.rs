//! SQLite: one file, no server, every commit on disk before it is reported.

mod group;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, Row as _, Sqlite, SqlitePool, TypeInfo, ValueRef};

use self::group::{Part, Writer};
use super::StoreError;
use super::database::{Database, Row, Transaction, Value};
use super::open_errors;

/// How long a writer waits for another process's lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long anyone waits for a connection that reads, and the start for one that writes.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);
/// Connections for reading; pages and the engine's look-ups share them.
const READERS: u32 = 4;

/// Tries at bringing the schema up to date.
const PREPARATIONS: u32 = 5;

/// How long to leave a file alone that another program is preparing.
const LOCKED_PAUSE: Duration = Duration::from_millis(200);

/// Whether another program holds the file just now (`SQLITE_BUSY`).
fn is_locked(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "5")
}

/// A SQLite file in WAL mode: one connection that writes, several that read.
pub struct SqliteDatabase {
    writer: Writer,
    readers: SqlitePool,
}

impl SqliteDatabase {
    /// Opens the file, makes it if it isn't there, and brings its schema up to date.
    pub async fn open(path: &str) -> Result<Self, StoreError> {
        if let Some(error) = open_errors::no_file(path) {
            return Err(error);
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let connect = || {
            SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options.clone())
        };
        // SQLite does not wait for the lock that turns a new file to WAL: of programs
        // that start at once, some are refused.
        let mut opened = connect().await;
        for _ in 1..PREPARATIONS {
            if !opened.as_ref().is_err_and(is_locked) {
                break;
            }
            tokio::time::sleep(LOCKED_PAUSE).await;
            opened = connect().await;
        }
        let prepares = opened.map_err(|error| open_errors::file(path, &error))?;
        // The migrator has no lock for SQLite: of programs that start at once, one
        // makes the tables and the others find them at their next try.
        let mut prepared = super::migrations::sqlite().run(&prepares).await;
        for _ in 1..PREPARATIONS {
            if prepared.is_ok() {
                break;
            }
            prepared = super::migrations::sqlite().run(&prepares).await;
        }
        prepared.map_err(|error| open_errors::tables(path, &error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone().read_only(true))
            .await
            .map_err(|error| open_errors::file(path, &error))?;
        let writer = prepares.acquire().await?.detach();
        let writer = Writer::new(writer, options);
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(SqliteTransaction(self.writer.begin().await?)))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bind(sql, params).fetch_all(&self.readers).await?;
        rows.iter().map(row).collect()
    }

    fn skip_locked(&self) -> &'static str {
        ""
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn notified(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

struct SqliteTransaction(Part);

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let done = bind(sql, params).execute(self.0.connection()?).await;
        Ok(self.0.came_to(done)?.rows_affected())
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bind(sql, params).fetch_all(self.0.connection()?).await;
        let rows = self.0.came_to(rows)?;
        rows.iter().map(row).collect()
    }

    fn for_update(&self) -> &'static str {
        // Nobody else writes meanwhile.
        ""
    }

    async fn advisory_lock(&mut self, _: BTreeSet<String>) -> Result<(), StoreError> {
        // There is one turn for everyone, and its place in the group is its turn.
        Ok(())
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit().await
    }
}

type Query = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind(sql: &str, params: Vec<Value>) -> Query {
    // Safe: statements are made of our own text; what comes from outside is bound.
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for param in params {
        query = match param {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        };
    }
    query
}

fn row(row: &SqliteRow) -> Result<Row, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let value = if raw.is_null() {
            Value::Int(None)
        } else {
            match raw.type_info().name() {
                "INTEGER" => Value::Int(row.try_get(at)?),
                "BLOB" => Value::Bytes(row.try_get(at)?),
                _ => Value::Text(row.try_get(at)?),
            }
        };
        values.push((column.name().to_owned(), value));
    }
    Ok(Row(values))
}
