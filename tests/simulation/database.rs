//! SQLite in memory behind the store's own trait, without threads: what happens
//! in it happens in the same order each time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use purgehook::store::{Database, Dialect, Row, StoreError, Transaction, Value};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, StatementStatus};

use crate::process::{Chance, Process, Time};
use crate::promises::Promises;
use crate::trace::Trace;

thread_local! {
    /// A database that a world has left behind: the next one on this thread empties it, which
    /// takes less time than making one, and finds its statements prepared.
    static LEFT_BEHIND: RefCell<Option<Connection>> = const { RefCell::new(None) };
    /// What stores ask of their databases on this thread, where somebody wants to know.
    static ASKED: RefCell<Option<Statements>> = const { RefCell::new(None) };
}

/// How long what nobody waits for may take until it is durable.
const SOON: Duration = Duration::from_millis(20);

/// Statements, with some of what was bound to each.
pub type Statements = BTreeMap<String, Vec<Vec<Value>>>;

/// Of so many times that a statement is given, what was bound is noted.
const TIMES: usize = 10;

/// Every statement that the store gives a database on this thread while something happens.
pub fn statements(happen: impl FnOnce()) -> Statements {
    ASKED.set(Some(Statements::new()));
    happen();
    ASKED.take().unwrap()
}

fn note(sql: &str, params: &[Value]) {
    ASKED.with_borrow_mut(|asked| {
        let Some(asked) = asked else { return };
        if !asked.contains_key(sql) {
            asked.insert(sql.to_owned(), Vec::new());
        }
        if let Some(times) = asked.get_mut(sql)
            && times.len() < TIMES
        {
            times.push(params.to_vec());
        }
    });
}

/// The tables that SQLite goes through from one end to the other for a statement, with its words for it.
pub fn scans(sql: &str) -> Vec<String> {
    let connection = LEFT_BEHIND.take().unwrap_or_else(made);
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let steps: Vec<String> = statement
        .raw_query()
        .mapped(|row| row.get("detail"))
        .map(Result::unwrap)
        .collect();
    drop(statement);
    LEFT_BEHIND.set(Some(connection));
    steps
        .iter()
        .filter_map(|step| step.strip_prefix("SCAN "))
        .map(ToOwned::to_owned)
        .collect()
}

/// How many runs [`PAST`] is.
pub const PAST_RUNS: i32 = 500;

/// Runs of one site that ended before any world begins, each with a delivery, a purge, a task and a status.
const PAST: &str = "
CREATE TEMP TABLE past AS
    WITH RECURSIVE past (id, at) AS (
        SELECT printf('00%024d', 1), unixepoch('2026-01-01') * 1000
        UNION ALL SELECT printf('00%024d', id + 1), at + 1000 FROM past LIMIT 500)
    SELECT id, at FROM past;
INSERT INTO deliveries
    (id, forge, forge_delivery, event, ordering_key, dedup_key, content_type, body, dedup_hash, digest,
     source, received_at)
    SELECT id, 'host', id, 'push', 'acme/website refs/heads/main', id, '', '', at, '', 'webhook', at FROM past;
INSERT INTO runs
    (id, site, forge, repo, git_ref, commit_id, delivery, origin, bases, state, step, summary, problems, notes, dry_run, revision,
     created_at, deadline, ended_at)
    SELECT id, 'www', 'host', 'acme/website', 'refs/heads/old', id, id, 'push', '[]', 'succeeded', 'ended',
        '', '[]', '[]', 0, 0, at, at, at FROM past;
INSERT INTO purges (run, seq, cdn, account, kind, target, rule, state, task, attempts)
    SELECT id, 1, 'edge', 'edge', 'url', 'https://www.example.com/a.html', 'pages', 'done', id, 1 FROM past;
INSERT INTO tasks (id, account, cdn, kind, state, vendor_id, size, submitted_at, deadline, ended_at)
    SELECT id, 'edge', 'edge', 'url', 'ended', id, 1, at, at, at FROM past;
INSERT INTO statuses (run, seq, state, description, wanted_at, posted_at)
    SELECT id, 1, 'success', '', at, at FROM past;
DROP TABLE past;";

/// How many steps of SQLite's machine each statement takes at most, in a database that keeps nothing and in
/// one that keeps a long past.
pub fn costs(statements: &Statements) -> BTreeMap<&str, [i32; 2]> {
    let connection = LEFT_BEHIND.take().unwrap_or_else(made);
    emptied(&connection);
    let cost = |sql: &str| {
        let times = statements[sql].iter();
        times.map(|params| steps(&connection, sql, params)).max()
    };
    let costs = |sql: &String| cost(sql).unwrap_or_default();
    let empty: Vec<i32> = statements.keys().map(costs).collect();
    connection.execute_batch(PAST).unwrap();
    let full: Vec<i32> = statements.keys().map(costs).collect();
    emptied(&connection);
    LEFT_BEHIND.set(Some(connection));
    let both = empty
        .into_iter()
        .zip(full)
        .map(|(empty, full)| [empty, full]);
    statements.keys().map(String::as_str).zip(both).collect()
}

/// How many steps a statement takes. What it does is undone.
fn steps(connection: &Connection, sql: &str, params: &[Value]) -> i32 {
    connection.execute_batch("BEGIN").unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    bind(&mut statement, params.to_vec()).unwrap();
    let mut rows = statement.raw_query();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    let steps = statement.get_status(StatementStatus::VmStep);
    drop(statement);
    connection.execute_batch("ROLLBACK").unwrap();
    steps
}

/// What outlives processes.
pub struct Disk {
    /// None once it is given back.
    connection: Mutex<Option<Connection>>,
    /// Whether other processes may be working on it at the same time.
    pub is_shared: bool,
    trace: Trace,
    time: Time,
    /// What goes wrong with it, in a hundred of transactions.
    trouble: Mutex<u32>,
    /// Transactions that failed at their end.
    failures: Mutex<usize>,
    /// Whose writes are visible and not durable yet, as its process asked for: they are gone if it dies.
    soon: Mutex<Option<Arc<Process>>>,
    chance: Chance,
}

impl Disk {
    pub fn new(is_shared: bool, chance: &Chance, time: Time, trace: &Trace) -> Arc<Self> {
        let connection = LEFT_BEHIND.take().unwrap_or_else(made);
        emptied(&connection);
        Arc::new(Self {
            connection: Mutex::new(Some(connection)),
            is_shared,
            trace: trace.clone(),
            time,
            trouble: Mutex::new(0),
            failures: Mutex::new(0),
            soon: Mutex::new(None),
            chance: Chance::new(chance.seed()),
        })
    }

    /// From now on so many transactions in a hundred fail.
    pub fn set_trouble(&self, percent: u32) {
        *self.trouble.lock().unwrap() = percent;
    }

    /// Transactions that failed at their end, whether they were done or not.
    pub fn failures(&self) -> usize {
        *self.failures.lock().unwrap()
    }

    /// The rows of a query, for the world's own eyes.
    pub fn rows(&self, sql: &str, params: Vec<Value>) -> Vec<Row> {
        self.on(|connection| query(connection, sql, params))
            .unwrap()
    }

    /// What [`WATCHES`] noted since the last time.
    pub fn seen(&self) -> Vec<Row> {
        let seen = self.rows(
            "SELECT what, a, b, c, d FROM seen ORDER BY rowid",
            Vec::new(),
        );
        if !seen.is_empty() {
            self.on(|connection| connection.execute_batch("DELETE FROM seen"))
                .unwrap();
        }
        seen
    }

    /// Does something with the connection. Nobody waits meanwhile.
    fn on<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        self.on_as_it_is(|connection| {
            let mut soon = self.soon.lock().unwrap();
            if soon.as_ref().is_some_and(|process| process.is_dead()) {
                connection.execute_batch("ROLLBACK").unwrap();
                *soon = None;
            }
            drop(soon);
            work(connection)
        })
    }

    /// As [`on`](Self::on), for a transaction that is open, whoever has died.
    fn on_as_it_is<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        let connection = self.connection.lock().unwrap();
        work(
            connection
                .as_ref()
                .expect("it is given back at the end only"),
        )
    }

    /// Makes durable what was to be so soon, or loses it to a failing disk.
    fn commit_what_is_soon(&self) {
        let in_trouble = self.is_in_trouble();
        self.on(|connection| {
            if self.soon.lock().unwrap().take().is_some() {
                let how = if in_trouble { "ROLLBACK" } else { "COMMIT" };
                connection.execute_batch(how).unwrap();
            }
        });
    }

    fn is_in_trouble(&self) -> bool {
        let percent = *self.trouble.lock().unwrap();
        percent > 0 && self.chance.percent(percent)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let connection = self.connection.get_mut().unwrap().take();
        if let (Some(connection), Some(_)) = (&connection, self.soon.get_mut().unwrap().take()) {
            connection.execute_batch("ROLLBACK").unwrap();
        }
        LEFT_BEHIND.set(connection);
    }
}

/// Notes what becomes of runs and purges, and only if its transaction is committed.
const WATCHES: &str = "
CREATE TEMP TABLE seen (what TEXT, a TEXT, b TEXT, c TEXT, d TEXT);
CREATE TEMP TRIGGER run_moves AFTER UPDATE OF state ON main.runs WHEN old.state <> new.state BEGIN
    INSERT INTO seen VALUES ('run', new.id, old.state, new.state, '');
END;
CREATE TEMP TRIGGER purge_moves AFTER UPDATE OF state ON main.purges
WHEN old.state <> new.state AND (old.state IN ('done', 'failed') OR new.state = 'done') BEGIN
    INSERT INTO seen VALUES ('purge ' || old.state || ' ' || new.state, new.account, new.kind,
        new.target, (SELECT vendor_id FROM tasks WHERE tasks.id = new.task));
END;";

/// A database with its tables.
fn made() -> Connection {
    // Nothing else uses this connection, and what is bound never changes a plan: else
    // SQLite plans most statements anew each time, which takes longer than running them.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_in_memory_with_flags(flags).unwrap();
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .unwrap();
    connection.set_prepared_statement_cache_capacity(256);
    for statements in schema() {
        connection.execute_batch(&statements).unwrap();
    }
    connection.execute_batch(WATCHES).unwrap();
    connection
}

/// Leaves nothing in any table.
fn emptied(connection: &Connection) {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables = query(connection, sql, Vec::new()).unwrap();
    connection.execute_batch("DELETE FROM seen").unwrap();
    for table in tables {
        let name = table.text("name").unwrap();
        connection
            .execute(&format!("DELETE FROM {name}"), ())
            .unwrap();
    }
}

/// The versions of the schema, oldest first.
fn schema() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema/sqlite");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

/// One process's way to the disk.
pub struct Opened {
    pub disk: Arc<Disk>,
    pub process: Arc<Process>,
    /// Looks at what was committed. None for the world's own eyes.
    pub promises: Option<Promises>,
}

#[async_trait]
impl Database for Opened {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        self.process.others().await;
        if self.disk.is_in_trouble() {
            return Err(full());
        }
        // Nothing waits for anything until the end of a transaction, so there is one at a time.
        let changes = self.disk.on(|connection| {
            if self.disk.soon.lock().unwrap().is_none() {
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            }
            connection.execute_batch("SAVEPOINT part").unwrap();
            connection.total_changes()
        });
        Ok(Box::new(Open {
            disk: Arc::clone(&self.disk),
            process: Arc::clone(&self.process),
            promises: self.promises.clone(),
            changes,
            over: false,
        }))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.process.others().await;
        note(sql, &params);
        self.disk.on(|connection| query(connection, sql, params))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn is_shared(&self) -> bool {
        self.disk.is_shared
    }

    /// Nobody announces: each process finds what others left when it next looks.
    async fn notified(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

struct Open {
    disk: Arc<Disk>,
    process: Arc<Process>,
    promises: Option<Promises>,
    /// Rows changed in all before it began.
    changes: u64,
    over: bool,
}

impl Open {
    fn look(&self) {
        if let Some(promises) = &self.promises {
            promises.committed();
        }
    }

    /// Ends it; what others want durable soon goes with it if it is kept.
    fn end(&mut self, how: End) {
        self.disk.on_as_it_is(|connection| {
            let mut soon = self.disk.soon.lock().unwrap();
            if how == End::Undone {
                connection.execute_batch("ROLLBACK TO part").unwrap();
            }
            connection.execute_batch("RELEASE part").unwrap();
            match how {
                End::Durable => {
                    connection.execute_batch("COMMIT").unwrap();
                    *soon = None;
                }
                End::Undone if soon.is_none() => connection.execute_batch("COMMIT").unwrap(),
                End::Undone => {}
                End::Soon => *soon = Some(Arc::clone(&self.process)),
            }
        });
        self.over = true;
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Durable,
    Soon,
    Undone,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.over {
            self.end(End::Undone);
        }
    }
}

#[async_trait]
impl Transaction for Open {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        note(sql, &params);
        self.disk.on_as_it_is(|connection| {
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            bind(&mut statement, params)?;
            let count = statement.raw_execute().map_err(failed)?;
            Ok(count as u64)
        })
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        note(sql, &params);
        self.disk
            .on_as_it_is(|connection| query(connection, sql, params))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn advisory_lock(&mut self, _: BTreeSet<String>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let changed = self.changed();
        if changed == 0 {
            self.end(End::Undone);
            return Ok(());
        }
        if self.process.dies("before a commit") {
            self.end(End::Undone);
            std::future::pending::<()>().await;
        }
        if self.disk.is_in_trouble() {
            // Half of them are on disk all the same: the connection broke off after the work.
            let done = self.disk.chance.one_in(2);
            self.end(if done { End::Durable } else { End::Undone });
            *self.disk.failures.lock().unwrap() += 1;
            self.look();
            return Err(full());
        }
        self.end(End::Durable);
        self.committed(changed).await;
        Ok(())
    }

    async fn commit_soon(mut self: Box<Self>) -> Result<(), StoreError> {
        let changed = self.changed();
        if changed == 0 {
            self.end(End::Undone);
            return Ok(());
        }
        if self.process.dies("before a commit that nobody waits for") {
            self.end(End::Undone);
            std::future::pending::<()>().await;
        }
        // What one of several processes leaves to the database does not die with it.
        if self.disk.is_shared {
            self.end(End::Durable);
        } else {
            self.end(End::Soon);
            let disk = Arc::clone(&self.disk);
            tokio::spawn(async move {
                tokio::time::sleep(SOON).await;
                disk.commit_what_is_soon();
            });
        }
        self.committed(changed).await;
        Ok(())
    }
}

impl Open {
    /// Rows changed so far.
    fn changed(&self) -> u64 {
        self.disk.on_as_it_is(Connection::total_changes) - self.changes
    }

    async fn committed(&self, rows: u64) {
        let (now, name) = (self.disk.time.now(), &self.process.name);
        self.disk
            .trace
            .tell(now, &format!("{name} commits {rows} rows"));
        self.look();
        self.process.point("after a commit").await;
        self.process.others().await;
    }
}

fn full() -> StoreError {
    StoreError::unreachable("the disk is full".to_owned())
}

fn failed(error: rusqlite::Error) -> StoreError {
    panic!("the database does not take a statement: {error}")
}

fn query(connection: &Connection, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    bind(&mut statement, params)?;
    let names: Arc<[String]> = statement
        .column_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        let mut values = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let value = match row.get_ref(at).map_err(failed)? {
                ValueRef::Null => Value::Int(None),
                ValueRef::Integer(number) => Value::Int(Some(number)),
                ValueRef::Text(text) => {
                    Value::Text(Some(String::from_utf8(text.to_vec()).unwrap()))
                }
                ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec().into()),
                ValueRef::Real(number) => panic!("{name} is the fraction {number}"),
            };
            values.push(value);
        }
        found.push(Row::new(Arc::clone(&names), values));
    }
    Ok(found)
}

/// SQLite numbers `$3` by where it stands, not by its name.
fn bind(statement: &mut rusqlite::Statement<'_>, params: Vec<Value>) -> Result<(), StoreError> {
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).unwrap();
        let number: usize = name.trim_start_matches('$').parse().unwrap();
        match &params[number - 1] {
            Value::Int(value) => statement.raw_bind_parameter(place, value),
            Value::Text(value) => statement.raw_bind_parameter(place, value),
            Value::Bytes(value) => statement.raw_bind_parameter(place, &value[..]),
        }
        .map_err(failed)?;
    }
    Ok(())
}
