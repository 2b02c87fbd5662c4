//! Kills the process at a chosen commit, so that a test can crash it at each of them.
//!
//! Only in builds with debug assertions: a release ignores the variable.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::StoreError;
use super::database::{Database, Dialect, Row, Transaction, Value};

/// `before:7` or `after:7`: the process kills itself just before the seventh commit that changes something, or just
/// after that commit is on disk and before anyone is notified.
const VARIABLE: &str = "PURGEHOOK_CRASH_AT";

/// On which side of the commit the process dies.
#[derive(Clone, Copy)]
struct Point {
    after: bool,
    commit: u64,
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        let (when, commit) = text.split_once(':')?;
        let after = match when {
            "before" => false,
            "after" => true,
            _ => return None,
        };
        let commit = commit.parse().ok()?;
        Some(Self { after, commit })
    }
}

/// The database itself, or a wrapper that kills the process if the environment asks for it.
pub(super) fn from_environment(
    database: Box<dyn Database>,
) -> Result<Box<dyn Database>, StoreError> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(database);
    };
    let point = Point::parse(&text).ok_or_else(|| {
        StoreError::unreachable(format!(
            "{VARIABLE} is no `before:N` or `after:N`: {text:?}"
        ))
    })?;
    Ok(Box::new(CrashingDatabase {
        database,
        point,
        commits: Arc::default(),
    }))
}

struct CrashingDatabase {
    database: Box<dyn Database>,
    point: Point,
    commits: Arc<AtomicU64>,
}

impl CrashingDatabase {
    fn crashing(&self, tx: Box<dyn Transaction>) -> Box<dyn Transaction> {
        Box::new(CrashingTransaction {
            tx,
            wrote: false,
            point: self.point,
            commits: Arc::clone(&self.commits),
        })
    }
}

#[async_trait]
impl Database for CrashingDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(self.crashing(self.database.begin().await?))
    }

    async fn begin_background(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(self.crashing(self.database.begin_background().await?))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.database.read(sql, params).await
    }

    async fn scan(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.database.scan(sql, params).await
    }

    fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    async fn begin_serving(&self) -> Result<(), StoreError> {
        self.database.begin_serving().await
    }

    async fn check_files(&self) -> Result<(), StoreError> {
        self.database.check_files().await
    }

    fn checkpoint(&self) {
        self.database.checkpoint();
    }

    fn spool_folder(&self) -> PathBuf {
        self.database.spool_folder()
    }

    async fn notified(&self) -> Result<(), StoreError> {
        self.database.notified().await
    }
}

struct CrashingTransaction {
    tx: Box<dyn Transaction>,
    wrote: bool,
    point: Point,
    commits: Arc<AtomicU64>,
}

#[async_trait]
impl Transaction for CrashingTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let touched = self.tx.execute(sql, params).await?;
        self.wrote |= touched > 0;
        Ok(touched)
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = self.tx.query(sql, params).await?;
        self.wrote |= sql.contains("RETURNING") && !rows.is_empty();
        Ok(rows)
    }

    fn dialect(&self) -> Dialect {
        self.tx.dialect()
    }

    async fn advisory_lock(&mut self, names: BTreeSet<String>) -> Result<(), StoreError> {
        self.tx.advisory_lock(names).await
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        self.tx.notify().await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let is_last = self.is_last();
        if is_last && !self.point.after {
            die();
        }
        self.tx.commit().await?;
        if is_last {
            die();
        }
        Ok(())
    }

    async fn commit_soon(self: Box<Self>) -> Result<(), StoreError> {
        let is_last = self.is_last();
        if is_last && !self.point.after {
            die();
        }
        self.tx.commit_soon().await?;
        if is_last {
            die();
        }
        Ok(())
    }
}

impl CrashingTransaction {
    /// Whether this commit is the one at which the process dies.
    fn is_last(&self) -> bool {
        self.wrote && self.commits.fetch_add(1, Ordering::SeqCst) + 1 == self.point.commit
    }
}

/// SIGKILL: no unwinding, no flush, no shutdown.
fn die() {
    let sent =
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    if sent.is_err() {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}
