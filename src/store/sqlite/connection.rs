//! Connections to one SQLite file, and statements on them.
//!
//! Statements run on the calling thread: a hop to another thread costs more than most of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};

use super::super::StoreError;
use super::super::database::{Row, Value};

/// How long to wait for another program's lock, such as that of a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two tries while another program has locked the file.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// Idle read connections that are kept open.
const IDLE_READERS: usize = 4;
/// Prepared statements per connection: more than the store has.
const PREPARED_STATEMENTS: usize = 256;
/// The log's size in pages after which a commit copies it into the database. SQLite's default of 1,000 is reached
/// several times in a busy second, mostly by the same few pages.
const CHECKPOINT_PAGES: u32 = 4_000;

/// The page cache of a read connection, in kB as SQLite counts it. Another connection's commit empties it, so a large one
/// would only take memory.
const READ_CACHE: i32 = -256;

/// The purpose of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenMode {
    Write,
    /// For checkpoints. The file must exist.
    Checkpoint,
    Read,
}

/// Opens a connection.
pub(super) fn open(path: &str, access: OpenMode) -> Result<Connection, rusqlite::Error> {
    let flags = match access {
        OpenMode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        OpenMode::Checkpoint => OpenFlags::SQLITE_OPEN_READ_WRITE,
        OpenMode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Callers that find the file locked wait without blocking a thread (`patiently`).
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // Otherwise a statement whose LIMIT is a parameter is prepared again each time it is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Otherwise, beyond 64 kB, a savepoint's journal would be written to a temporary file, payloads included.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    match access {
        OpenMode::Write => {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        }
        OpenMode::Checkpoint => {}
        OpenMode::Read => connection.pragma_update(None, "cache_size", READ_CACHE)?,
    }
    Ok(connection)
}

/// Opens the write connection, as soon as no other program locks the file.
pub(super) async fn open_patiently(path: &str) -> Result<Connection, rusqlite::Error> {
    let began = Instant::now();
    loop {
        match open(path, OpenMode::Write) {
            Err(error) if is_locked(&error) && began.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

/// Repeats an operation while another program locks the file, for at most [`BUSY_TIMEOUT`].
pub(super) async fn patiently<T>(
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(StoreError::Locked(_)) if began.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Read connections, opened on demand.
pub(super) struct Readers {
    path: String,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn new(path: String) -> Self {
        Self {
            path,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Reads the state of the last commit.
    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path, OpenMode::Read)?,
        };
        let rows = query(&connection, sql, params);
        // After an error, the next reader opens the file again.
        if rows.is_ok() {
            let mut idle = self.lock();
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
        }
        rows
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies the log's pages into the database, on a separate connection, so that writers do not wait for it.
pub(super) struct Checkpoints {
    path: String,
    connection: Mutex<Option<Connection>>,
}

impl Checkpoints {
    pub fn new(path: String) -> Self {
        Self {
            path,
            connection: Mutex::new(None),
        }
    }

    /// Copies as much as other connections allow. After an error, the next commit that finds the log long tries again.
    pub fn run(&self) {
        let mut kept = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => open(&self.path, OpenMode::Checkpoint),
        };
        *kept = connection.ok().filter(|connection| {
            let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            done.is_ok()
        });
    }
}

/// Runs a statement and returns the number of affected rows.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    params: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    bind(&mut statement, params)?;
    Ok(u64::try_from(statement.raw_execute()?).unwrap_or_default())
}

/// Runs a statement once for each list of parameters.
pub(super) fn execute_each(
    connection: &Connection,
    sql: &str,
    rows: &[Vec<Value>],
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    for params in rows {
        bind(&mut statement, params)?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// Runs a statement that returns rows.
pub(super) fn query(
    connection: &Connection,
    sql: &str,
    params: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    bind(&mut statement, params)?;
    let columns: Arc<[String]> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns.len()).map(|at| Ok(value(row.get_ref(at)?)));
        let values = values.collect::<Result<_, rusqlite::Error>>()?;
        found.push(Row::new(Arc::clone(&columns), values));
    }
    Ok(found)
}

/// SQLite treats `$7` as a name, numbered by its first occurrence; `?7` is the seventh parameter.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), rusqlite::Error> {
    for (at, value) in (1..).zip(params) {
        match value {
            Value::Int(value) => statement.raw_bind_parameter(at, value)?,
            Value::Text(value) => statement.raw_bind_parameter(at, value)?,
            Value::Bytes(value) => statement.raw_bind_parameter(at, &value[..])?,
        }
    }
    Ok(())
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Int(None),
        ValueRef::Integer(value) => Value::Int(Some(value)),
        // No column of ours holds a REAL, and no result is one.
        ValueRef::Real(value) => Value::Text(Some(value.to_string())),
        ValueRef::Text(text) => Value::Text(Some(String::from_utf8_lossy(text).into_owned())),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec().into()),
    }
}
