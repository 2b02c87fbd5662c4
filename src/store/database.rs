//! A thin layer over the two drivers, so that every statement is written once.
//!
//! Statements use `$1` placeholders and three types that both databases share:
//! 64-bit integers (times are milliseconds since 1970), text, and bytes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::account::AccountId;

/// A value that is bound or read.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A BIGINT.
    Int(Option<i64>),
    /// A TEXT.
    Text(Option<String>),
    /// A BLOB or BYTEA. Cloning it copies nothing.
    Bytes(Bytes),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

/// PostgreSQL's TEXT holds no NUL, so a replacement character is stored for it on both databases.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Like [`storable`] for an owned text, which is not copied unless it contains a NUL.
fn storable_string(text: String) -> String {
    if text.contains('\0') {
        storable(&text)
    } else {
        text
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(storable(value)))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(storable_string(value)))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(storable(value)))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(storable_string))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(storable))
    }
}

impl From<&AccountId> for Value {
    fn from(value: &AccountId) -> Self {
        Self::from(value.as_str())
    }
}

impl From<Option<&AccountId>> for Value {
    fn from(value: Option<&AccountId>) -> Self {
        Self::from(value.map(AccountId::as_str))
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}

/// Binds values in order: `params![id, now, name]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::database::Value::from($value)),*] };
}
pub(crate) use params;

/// Placeholders for `count` parameters after the `first` that are already bound: `$4, $5, $6`.
pub(super) fn places(first: usize, count: usize) -> String {
    let mut places = String::new();
    push_places(&mut places, first, count);
    places
}

fn push_places(sql: &mut String, first: usize, count: usize) {
    for at in first + 1..=first + count {
        let between = if at > first + 1 { ", $" } else { "$" };
        sql.push_str(between);
        // A String takes whatever is written to it.
        let _ = write!(sql, "{at}");
    }
}

/// Binds texts and returns their placeholders for `IN (...)`. The last text is repeated up to a power of two, so
/// that few statements are prepared. An empty list becomes one empty text, which matches nothing.
pub(super) fn in_list<T: Into<Value>>(
    values: &mut Vec<Value>,
    texts: impl IntoIterator<Item = T>,
) -> String {
    let first = values.len();
    values.extend(texts.into_iter().map(Into::into));
    let last = match values.last() {
        Some(last) if values.len() > first => last.clone(),
        Some(_) | None => Value::from(""),
    };
    let count = (values.len() - first).next_power_of_two();
    values.resize(first + count, last);
    places(first, count)
}

/// Rows per INSERT, largest first. Few sizes, so that few statements are prepared; PostgreSQL binds at most 65,535
/// values.
const INSERT_SIZES: [usize; 6] = [64, 32, 16, 8, 4, 1];

/// Inserts rows, all with as many values. `insert` is the statement up to VALUES, `conflict` the part after the rows.
pub(super) async fn insert_rows(
    tx: &mut dyn Transaction,
    insert: &str,
    conflict: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    match tx.dialect() {
        Dialect::Sqlite => {
            let sql = format!("{insert} VALUES ({}) {conflict}", places(0, first.len()));
            tx.execute_each(&sql, rows).await
        }
        Dialect::Postgres => insert_many(tx, insert, conflict, rows).await,
    }
}

/// Inserts many rows per statement, since each statement is a round trip.
async fn insert_many(
    tx: &mut dyn Transaction,
    insert: &str,
    conflict: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let mut left = rows.into_iter();
    while left.len() > 0 {
        let size = INSERT_SIZES.into_iter().find(|size| *size <= left.len());
        let mut values = Vec::new();
        let mut sql = format!("{insert} VALUES ");
        for row in left.by_ref().take(size.unwrap_or(1)) {
            sql.push_str(if values.is_empty() { "(" } else { ", (" });
            push_places(&mut sql, values.len(), row.len());
            sql.push(')');
            values.extend(row);
        }
        sql.push(' ');
        sql.push_str(conflict);
        tx.execute(&sql, values).await?;
    }
    Ok(())
}

/// One row of a result. The rows of a result share the names of their columns.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// A row with a value for each column.
    pub fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }

    fn value(&self, column: &str) -> Result<&Value, StoreError> {
        self.columns
            .iter()
            .position(|name| name == column)
            .and_then(|at| self.values.get(at))
            .ok_or_else(|| StoreError::corrupt(format!("an answer lacks the column {column}")))
    }

    /// A BIGINT that may be null.
    pub fn maybe_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.value(column)? {
            Value::Int(value) => Ok(*value),
            Value::Text(None) => Ok(None),
            Value::Text(Some(_)) | Value::Bytes(_) => {
                Err(StoreError::corrupt(format!("{column} is not a number")))
            }
        }
    }

    /// A BIGINT.
    pub fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.maybe_int(column)?
            .ok_or_else(|| StoreError::corrupt(format!("{column} is null")))
    }

    /// A TEXT that may be null.
    pub fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        match self.value(column)? {
            Value::Text(value) => Ok(value.clone()),
            Value::Int(None) => Ok(None),
            Value::Int(Some(_)) | Value::Bytes(_) => {
                Err(StoreError::corrupt(format!("{column} is not text")))
            }
        }
    }

    /// A TEXT.
    pub fn text(&self, column: &str) -> Result<String, StoreError> {
        self.maybe_text(column)?
            .ok_or_else(|| StoreError::corrupt(format!("{column} is null")))
    }

    /// A BLOB or BYTEA.
    pub fn bytes(&self, column: &str) -> Result<Bytes, StoreError> {
        match self.value(column)? {
            Value::Bytes(value) => Ok(value.clone()),
            Value::Int(_) | Value::Text(_) => {
                Err(StoreError::corrupt(format!("{column} is not bytes")))
            }
        }
    }

    /// A TEXT that holds one of our enums.
    pub fn word<T: FromStr>(&self, column: &str) -> Result<T, StoreError> {
        self.maybe_word(column)?
            .ok_or_else(|| StoreError::corrupt(format!("{column} is null")))
    }

    /// The same for a column that may be null.
    pub fn maybe_word<T: FromStr>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let Some(word) = self.maybe_text(column)? else {
            return Ok(None);
        };
        let known = word.parse().map(Some);
        known.map_err(|_| StoreError::corrupt(format!("{column} holds the unknown word {word:?}")))
    }
}

/// A database: SQLite or PostgreSQL.
#[async_trait]
pub trait Database: Send + Sync {
    /// Starts a transaction that may write. Dropping it without a commit rolls it back.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Like [`begin`](Self::begin), for one of many transactions that may take a while: it lets others go first where
    /// only one can write at a time.
    async fn begin_background(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.begin().await
    }

    /// Reads a few rows by an index, outside any transaction, as of the last commit.
    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// Like [`read`](Self::read), for a statement that may read many rows. It delays no other statement.
    async fn scan(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.read(sql, params).await
    }

    /// The database's dialect, for statements that depend on it.
    fn dialect(&self) -> Dialect;

    /// Whether other processes may use the same store.
    fn is_shared(&self) -> bool;

    /// Acquires the right to serve from the database for as long as it is open, if only one process may serve from
    /// it.
    async fn begin_serving(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Checks that the database is still the one that was opened.
    async fn check_files(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Copies a write-ahead log into the database, so that no commit has to do it. Waits for the disk.
    fn checkpoint(&self) {}

    /// The folder for spool files.
    fn spool_folder(&self) -> PathBuf {
        std::env::temp_dir()
    }

    /// Returns once another process has notified of work, or may have done so before this one listened: the first
    /// call returns as soon as it listens. Never returns if no other process uses the store. Only one caller at a
    /// time.
    async fn notified(&self) -> Result<(), StoreError>;
}

/// An open transaction.
#[async_trait]
pub trait Transaction: Send {
    /// Runs a statement and returns the number of affected rows.
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError>;

    /// Runs a statement once for each list of parameters.
    async fn execute_each(&mut self, sql: &str, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        for params in rows {
            self.execute(sql, params).await?;
        }
        Ok(())
    }

    /// Runs a statement that returns rows.
    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// The database's dialect, for statements that depend on it.
    fn dialect(&self) -> Dialect;

    /// Locks names until the transaction ends: waits for other transactions that hold one of them.
    async fn advisory_lock(&mut self, names: BTreeSet<String>) -> Result<(), StoreError>;

    /// Notifies other processes, once this is committed, that work is due.
    async fn notify(&mut self) -> Result<(), StoreError>;

    /// Commits durably: the writes are on disk when this returns.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Makes the writes visible to later transactions at once, and durable with the next commit or within some
    /// milliseconds. For writes that a crash may lose without harm.
    async fn commit_soon(self: Box<Self>) -> Result<(), StoreError>;
}

/// The differences between the databases that statements depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One transaction writes at a time.
    Sqlite,
    /// Many transactions write at the same time.
    Postgres,
}

impl Dialect {
    /// Appended to a SELECT to lock its rows until the transaction ends.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }

    /// Appended to a SELECT from `work` to skip rows that another replica is claiming.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE OF work SKIP LOCKED",
        }
    }
}
