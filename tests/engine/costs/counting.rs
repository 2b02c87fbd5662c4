//! A database that counts what it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use purgehook::store::{Database, Dialect, Row, StoreError, Transaction, Value};

/// Characters of a statement that are shown.
const SHOWN: usize = 150;

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Each statement, and how often it was given, `BEGIN` and its like not among them.
    pub statements: BTreeMap<String, u64>,
    pub transactions: u64,
    /// Those that somebody waited for to be on disk.
    pub commits: u64,
}

impl Counts {
    /// All statements.
    pub fn given(&self) -> u64 {
        self.statements.values().sum()
    }

    /// Adds others to them.
    pub fn add(&mut self, more: Self) {
        for (sql, count) in more.statements {
            *self.statements.entry(sql).or_default() += count;
        }
        self.transactions += more.transactions;
        self.commits += more.commits;
    }

    /// Shows which statements they are, the most frequent first, and how often each push needs each.
    pub fn show(&self, pushes: u64) {
        let mut statements: Vec<_> = self.statements.iter().collect();
        statements.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (sql, count) in statements {
            let start: String = sql.chars().take(SHOWN).collect();
            println!("  {:>6.2}  {start}", *count as f64 / pushes as f64);
        }
    }

    fn note(&mut self, sql: &str) {
        // As it stands in the source, in one line.
        let words: Vec<&str> = sql.split_whitespace().collect();
        *self.statements.entry(words.join(" ")).or_default() += 1;
    }
}

/// What was asked so far, of a database that counts it.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<Counts>>);

impl Counter {
    /// What was asked since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn with(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.0.lock().unwrap());
    }
}

/// Counts what is asked of a database.
pub struct Counting {
    pub database: Box<dyn Database>,
    pub counter: Counter,
}

#[async_trait]
impl Database for Counting {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.counter.with(|counts| counts.transactions += 1);
        Ok(Box::new(CountingTransaction {
            transaction: self.database.begin().await?,
            counter: self.counter.clone(),
            notified: false,
        }))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.counter.with(|counts| counts.note(sql));
        self.database.read(sql, params).await
    }

    async fn scan(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.counter.with(|counts| counts.note(sql));
        self.database.scan(sql, params).await
    }

    fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    async fn notified(&self) -> Result<(), StoreError> {
        self.database.notified().await
    }
}

struct CountingTransaction {
    transaction: Box<dyn Transaction>,
    counter: Counter,
    notified: bool,
}

#[async_trait]
impl Transaction for CountingTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        self.counter.with(|counts| counts.note(sql));
        self.transaction.execute(sql, params).await
    }

    async fn execute_each(&mut self, sql: &str, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
        self.counter.with(|counts| counts.note(sql));
        self.transaction.execute_each(sql, rows).await
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.counter.with(|counts| counts.note(sql));
        self.transaction.query(sql, params).await
    }

    fn dialect(&self) -> Dialect {
        self.transaction.dialect()
    }

    async fn advisory_lock(&mut self, names: BTreeSet<String>) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres {
            self.counter
                .with(|counts| names.iter().for_each(|_| counts.note("advisory lock")));
        }
        self.transaction.advisory_lock(names).await
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres && !self.notified {
            self.counter.with(|counts| counts.note("NOTIFY"));
            self.notified = true;
        }
        self.transaction.notify().await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.counter.with(|counts| counts.commits += 1);
        self.transaction.commit().await
    }

    async fn commit_soon(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit_soon().await
    }
}
