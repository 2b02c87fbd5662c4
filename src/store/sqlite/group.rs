//! The one connection that writes, and transactions that share a commit.
//!
//! A commit waits for the disk, which may take long, and nobody else can write meanwhile. So
//! transactions are savepoints of a larger one: whoever has done their part lets those go on who are
//! waiting for their turn already, and then makes all of it durable with one commit. Each is told so
//! when that is on disk; if it fails, every one of them has failed. However slow the disk, a
//! transaction waits for two commits at most: the one under way, and its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::super::StoreError;

/// How long anyone waits for their turn: a forge gives up on a delivery after ten seconds.
const TURN_LIMIT: Duration = Duration::from_secs(8);

/// IMMEDIATE takes the write lock at once: a later upgrade could fail half-way.
const BEGIN: &str = "BEGIN IMMEDIATE";
const BEGIN_PART: &str = "SAVEPOINT part";
const END_PART: &str = "RELEASE part";
const UNDO_PART: &str = "ROLLBACK TO part; RELEASE part";
const COMMIT: &str = "COMMIT";

/// The connection that writes.
pub(super) struct Writer(Arc<Mutex<Group>>);

/// Transactions that share a commit. Whoever holds the lock is the one that is under way.
struct Group {
    options: SqliteConnectOptions,
    /// None after trouble: SQLite may have ended the transaction by itself then (its page on
    /// transactions, "Response To Errors Within A Transaction"), which the driver does not notice.
    connection: Option<SqliteConnection>,
    /// Whether a transaction is open for those that share it.
    open: bool,
    /// What happened that nothing of this can be committed after.
    broken: Option<StoreError>,
    /// Those that have done their part and wait for it to be durable.
    waiting: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Writer {
    pub fn new(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        Self(Arc::new(Mutex::new(Group {
            options,
            connection: Some(connection),
            open: false,
            broken: None,
            waiting: Vec::new(),
        })))
    }

    /// Begins a transaction when those before it have done their part.
    pub async fn begin(&self) -> Result<Part, StoreError> {
        let turn = tokio::time::timeout(TURN_LIMIT, Arc::clone(&self.0).lock_owned());
        let group = turn.await.map_err(|_| {
            StoreError::Unreachable(format!(
                "the database's disk took longer than {} s for what others wrote",
                TURN_LIMIT.as_secs()
            ))
        })?;
        let mut part = Part {
            all: Arc::clone(&self.0),
            group: Some(group),
        };
        part.group()?.begin().await?;
        Ok(part)
    }
}

/// One transaction of those that share a commit. Dropped without one, it leaves nothing behind.
pub(super) struct Part {
    all: Arc<Mutex<Group>>,
    /// None once it is over.
    group: Option<OwnedMutexGuard<Group>>,
}

impl Part {
    fn group(&mut self) -> Result<&mut Group, StoreError> {
        let group = self.group.as_deref_mut();
        group.ok_or_else(|| StoreError::Unreachable("the transaction is over".to_owned()))
    }

    /// The connection, for the statements of this transaction.
    pub fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.group()?.connection()
    }

    /// What a statement came to. After some errors the whole transaction may be gone.
    pub fn came_to<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = StoreError::from(error);
            if let (false, Ok(group)) = (is_of_one_statement(&error), self.group()) {
                group.broken = Some(error.clone());
            }
            error
        })
    }

    /// Makes it durable, with whatever others have done meanwhile: on disk when this returns.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let Some(mut group) = self.group.take() else {
            return Err(StoreError::Unreachable(
                "the transaction is over".to_owned(),
            ));
        };
        let all = Arc::clone(&self.all);
        // Seen through even if nobody waits for it any longer: others may have a part in it.
        let committing = tokio::spawn(async move {
            let (tell, mut told) = oneshot::channel();
            if let Err(error) = group.run(END_PART).await {
                group.finish().await;
                return Err(error);
            }
            group.waiting.push(tell);
            drop(group);
            // Turns are taken in the order in which they were asked for: those that wait already go first.
            let mut group = all.lock_owned().await;
            if let Ok(told) = told.try_recv() {
                return told;
            }
            group.finish().await;
            drop(group);
            told.await.unwrap_or_else(|_| Err(cut_off()))
        });
        committing.await.unwrap_or_else(|_| Err(cut_off()))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            // The program ends; the transaction ends with the connection.
            group.broken = Some(cut_off());
            return;
        };
        let all = Arc::clone(&self.all);
        runtime.spawn(async move {
            if group.open && group.broken.is_none() {
                let _ = group.run(UNDO_PART).await;
            }
            drop(group);
            all.lock_owned().await.finish().await;
        });
    }
}

impl Group {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let connection = self.connection.as_mut();
        connection.ok_or_else(|| StoreError::Unreachable("the connection is gone".to_owned()))
    }

    /// Runs one of the statements that transactions are made of. It does not fail unless something is wrong with all of it.
    async fn run(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let done = self.connection()?.execute(sqlx::raw_sql(statement)).await;
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = StoreError::from(error);
                self.broken = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Begins a part, and the whole if nobody has.
    async fn begin(&mut self) -> Result<(), StoreError> {
        if self.broken.is_some() {
            self.finish().await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        if !self.open {
            // Said before it is so: who is cut off in between leaves it to be undone.
            self.open = true;
            self.run(BEGIN).await?;
        }
        self.run(BEGIN_PART).await
    }

    /// Makes durable what is done, and tells those who wait.
    async fn finish(&mut self) {
        if !self.open && self.broken.is_none() {
            return;
        }
        let done = match self.broken.clone() {
            Some(error) => Err(error),
            None => self.run(COMMIT).await,
        };
        self.open = false;
        if self.broken.take().is_some() {
            self.connection = None;
        }
        for waiting in self.waiting.drain(..) {
            // Whoever asked may not wait any longer.
            let _ = waiting.send(done.clone());
        }
    }
}

/// Whether an error leaves the transaction as it was before the statement: constraints and limits do
/// (SQLite's page "ON CONFLICT": ABORT is the default, and undoes the statement alone).
fn is_of_one_statement(error: &StoreError) -> bool {
    match error {
        StoreError::Refused(_) => true,
        StoreError::Unreachable(_)
        | StoreError::Full(_)
        | StoreError::ReadOnly(_)
        | StoreError::Locked(_)
        | StoreError::Outdated
        | StoreError::Contended(_)
        | StoreError::Corrupt(_) => false,
    }
}

fn cut_off() -> StoreError {
    StoreError::Unreachable("the program is stopping".to_owned())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use sqlx::sqlite::SqliteJournalMode;
    use tempfile::TempDir;

    use super::*;

    async fn writer() -> (Writer, SqliteConnectOptions, TempDir) {
        let folder = TempDir::new().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("x.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut connection = options.connect().await.unwrap();
        connection
            .execute("CREATE TABLE t (x BLOB NOT NULL)")
            .await
            .unwrap();
        (Writer::new(connection, options.clone()), options, folder)
    }

    async fn put(part: &mut Part, value: &'static str) -> Result<(), StoreError> {
        let sql = sqlx::query("INSERT INTO t VALUES (CAST($1 AS BLOB))").bind(value);
        let done = sql.execute(part.connection()?).await;
        part.came_to(done).map(|_| ())
    }

    async fn kept(options: &SqliteConnectOptions) -> Vec<String> {
        let mut reader = options.connect().await.unwrap();
        sqlx::query_scalar("SELECT CAST(x AS TEXT) FROM t ORDER BY x")
            .fetch_all(&mut reader)
            .await
            .unwrap()
    }

    /// Begins a transaction, and another that waits for its turn until the first is committed.
    async fn two(writer: &Writer) -> (tokio::task::JoinHandle<Result<(), StoreError>>, Part) {
        let mut first = writer.begin().await.unwrap();
        put(&mut first, "first").await.unwrap();
        let second = writer.begin();
        tokio::pin!(second);
        let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        let first = tokio::spawn(first.commit());
        let second = second.await.unwrap();
        (first, second)
    }

    #[tokio::test]
    async fn one_that_waits_for_its_turn_shares_the_commit_of_the_one_before() {
        let (writer, options, _folder) = writer().await;
        let (first, mut second) = two(&writer).await;

        put(&mut second, "second").await.unwrap();
        assert!(!first.is_finished());
        assert!(kept(&options).await.is_empty());
        second.commit().await.unwrap();

        first.await.unwrap().unwrap();
        assert_eq!(kept(&options).await, ["first", "second"]);
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_nothing_behind_and_takes_nothing_from_others() {
        let (writer, options, _folder) = writer().await;
        let (first, mut second) = two(&writer).await;

        put(&mut second, "second").await.unwrap();
        drop(second);

        first.await.unwrap().unwrap();
        assert_eq!(kept(&options).await, ["first"]);
        drop(writer.begin().await.unwrap());
        let mut third = writer.begin().await.unwrap();
        put(&mut third, "third").await.unwrap();
        third.commit().await.unwrap();
        assert_eq!(kept(&options).await, ["first", "third"]);
    }

    #[tokio::test]
    async fn a_statement_that_is_refused_is_nobodys_trouble_but_its_own() {
        let (writer, options, _folder) = writer().await;
        let (first, mut second) = two(&writer).await;

        let refused = sqlx::query("INSERT INTO t VALUES (NULL)")
            .execute(second.connection().unwrap())
            .await;
        assert!(matches!(
            second.came_to(refused),
            Err(StoreError::Refused(_))
        ));
        put(&mut second, "second").await.unwrap();
        second.commit().await.unwrap();

        first.await.unwrap().unwrap();
        assert_eq!(kept(&options).await, ["first", "second"]);
    }

    #[tokio::test]
    async fn a_disk_that_fails_fails_all_that_share_the_commit_and_the_next_can_be_made() {
        let (writer, options, _folder) = writer().await;
        let (first, mut second) = two(&writer).await;

        let full = second.connection().unwrap();
        full.execute("PRAGMA max_page_count = 1").await.unwrap();
        let too_much = sqlx::query("INSERT INTO t VALUES (zeroblob(1000000))")
            .execute(full)
            .await;
        assert!(matches!(second.came_to(too_much), Err(StoreError::Full(_))));
        drop(second);

        assert!(matches!(first.await.unwrap(), Err(StoreError::Full(_))));
        assert!(kept(&options).await.is_empty());
        let mut third = writer.begin().await.unwrap();
        put(&mut third, "third").await.unwrap();
        third.commit().await.unwrap();
        assert_eq!(kept(&options).await, ["third"]);
    }
}
