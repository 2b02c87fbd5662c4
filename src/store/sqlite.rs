//! SQLite: one file, no server, every commit on disk before it is reported.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, Connection, Row as _, Sqlite, SqlitePool, TypeInfo, ValueRef};

use super::StoreError;
use super::database::{Database, Row, Transaction, Value};
use super::opening;

/// How long a writer waits for another process's lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long anyone waits for the one connection that writes: a forge gives up on a delivery after ten seconds.
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

/// Whether a connection that is given back can be used for another transaction.
///
/// After an error such as a full disk SQLite ends the transaction by itself (its page on
/// transactions, "Response To Errors Within A Transaction"). The driver's own ROLLBACK then
/// fails, and the driver takes the transaction for open for ever: a new connection is due.
async fn can_begin(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What was asked for before, the ROLLBACK among it, has been done when this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// A SQLite file in WAL mode: one connection that writes, several that read.
pub struct SqliteDatabase {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteDatabase {
    /// Opens the file, makes it if it isn't there, and brings its schema up to date.
    pub async fn open(path: &str) -> Result<Self, StoreError> {
        if let Some(error) = opening::no_file(path) {
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
                .after_release(|connection, _| Box::pin(can_begin(connection)))
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
        let writer = opened.map_err(|error| opening::file(path, &error))?;
        // The migrator has no lock for SQLite: of programs that start at once, one
        // makes the tables and the others find them at their next try.
        let mut prepared = super::migrations::sqlite().run(&writer).await;
        for _ in 1..PREPARATIONS {
            if prepared.is_ok() {
                break;
            }
            prepared = super::migrations::sqlite().run(&writer).await;
        }
        prepared.map_err(|error| opening::tables(path, &error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| opening::file(path, &error))?;
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        // IMMEDIATE takes the write lock at once: a later upgrade could fail half-way.
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Box::new(SqliteTransaction(tx)))
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

    async fn announced(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

struct SqliteTransaction(sqlx::Transaction<'static, Sqlite>);

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        Ok(bind(sql, params)
            .execute(&mut *self.0)
            .await?
            .rows_affected())
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bind(sql, params).fetch_all(&mut *self.0).await?;
        rows.iter().map(row).collect()
    }

    fn keep_rows(&self) -> &'static str {
        // Nobody else writes meanwhile.
        ""
    }

    async fn take_turns(&mut self, _: BTreeSet<String>) -> Result<(), StoreError> {
        // There is one turn for everyone, and BEGIN IMMEDIATE took it.
        Ok(())
    }

    async fn announce(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
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
