//! A thin layer over the two drivers, so that every statement is written once.
//!
//! Statements use `$1` placeholders and three types that both databases share:
//! 64-bit integers (times are milliseconds since 1970), text, and bytes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::account::AccountId;

/// A value to bind or a value read.
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

/// A text as both databases take it: PostgreSQL's TEXT holds no NUL, so what has one shows a replacement.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same of a text that is nobody else's: without a NUL, it is not copied.
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

/// A list of parameters for a statement, after `first` that are bound already: `$4, $5, $6`.
pub(super) fn places(first: usize, count: usize) -> String {
    let places: Vec<String> = (first + 1..=first + count)
        .map(|n| format!("${n}"))
        .collect();
    places.join(", ")
}

/// Binds texts, and gives the list of their places for `IN (...)`. The last text is repeated up to a power of
/// two, so that few statements are prepared; an empty list is one text that nothing is.
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

/// Rows that one INSERT takes at most. Few sizes, so that few statements are prepared; PostgreSQL binds 65,535 values.
const INSERT_SIZES: [usize; 6] = [64, 32, 16, 8, 4, 1];

/// Inserts rows, many with each statement. `insert` is what stands before VALUES, and `conflict` what stands
/// after them.
pub(super) async fn insert_rows(
    tx: &mut dyn Transaction,
    insert: &str,
    conflict: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let mut left = rows.into_iter();
    while left.len() > 0 {
        let size = INSERT_SIZES.into_iter().find(|size| *size <= left.len());
        let mut values = Vec::new();
        let mut lists = Vec::new();
        for row in left.by_ref().take(size.unwrap_or(1)) {
            lists.push(format!("({})", places(values.len(), row.len())));
            values.extend(row);
        }
        tx.execute(
            &format!("{insert} VALUES {} {conflict}", lists.join(", ")),
            values,
        )
        .await?;
    }
    Ok(())
}

/// One row of an answer. The rows of one answer share the names of their columns.
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

    /// A TEXT holding one of our own words.
    pub fn word<T: FromStr>(&self, column: &str) -> Result<T, StoreError> {
        self.maybe_word(column)?
            .ok_or_else(|| StoreError::corrupt(format!("{column} is null")))
    }

    /// The same, where it may be null.
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
    /// Starts a transaction that may write. Dropped without a commit, it leaves nothing behind.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Reads outside any transaction, as of the last commit: a few rows, found by an index.
    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// As [`read`](Self::read), for a statement that may go through many rows: nothing else waits for it.
    async fn scan(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.read(sql, params).await
    }

    /// What differs between the databases that statements are written for.
    fn dialect(&self) -> Dialect;

    /// Whether other processes may be working on the same store.
    fn is_shared(&self) -> bool;

    /// Takes the right to serve from the database, where only one process may have it, for as long as it is open.
    async fn begin_serving(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether the database is still the one that was opened.
    async fn check_files(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// A folder for what waits to be stored.
    fn spool_folder(&self) -> PathBuf {
        std::env::temp_dir()
    }

    /// Returns once another process has notified of work, or may have while nobody
    /// listened: the first call returns as soon as it listens. For ever pending
    /// where no other process works on the store. One caller at a time.
    async fn notified(&self) -> Result<(), StoreError>;
}

/// A transaction under way.
#[async_trait]
pub trait Transaction: Send {
    /// Runs a statement; the number of rows it touched.
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError>;

    /// Runs a statement that answers with rows.
    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// What differs between the databases that statements are written for.
    fn dialect(&self) -> Dialect;

    /// Waits for other transactions that took the same names, and holds up those that do so later, until this one is over.
    async fn advisory_lock(&mut self, names: BTreeSet<String>) -> Result<(), StoreError>;

    /// Tells other processes, once this is committed, that there is work to do now.
    async fn notify(&mut self) -> Result<(), StoreError>;

    /// Makes everything durable at once: on disk when this returns.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;

    /// Makes everything visible to later transactions at once, and durable soon: with the next commit,
    /// or within some milliseconds. For what may be lost in a crash without harm.
    async fn commit_soon(self: Box<Self>) -> Result<(), StoreError>;
}

/// What differs between the databases that statements are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One transaction writes at a time.
    Sqlite,
    /// Many transactions write at the same time.
    Postgres,
}

impl Dialect {
    /// What a SELECT appends so that its rows stay as they are until the transaction is over.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }

    /// What a SELECT from `work` appends to skip rows that another replica is just claiming.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE OF work SKIP LOCKED",
        }
    }
}
