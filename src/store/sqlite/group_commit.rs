//! The write connection, and transactions that share a commit.
//!
//! A commit waits for the disk, which may take long, and no other transaction can write in that time. So
//! transactions are savepoints of a larger one: a transaction that has ended lets those that already wait for the
//! connection go first, and then one commit makes all of them durable. Each caller is notified when the commit is
//! on disk; if it fails, all of its transactions have failed. However slow the disk is, a transaction waits for at
//! most two commits: the current one and its own.
//!
//! Statements, including those that end a savepoint, run on the calling thread. Only the commit runs on a blocking
//! thread, since it waits for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, oneshot};
use tracing::error;

use super::super::StoreError;
use super::admission::{Admission, Priority};
use super::connection::{OpenMode, open, patiently};
use super::files::DatabaseFiles;

/// How long a transaction waits for the connection: a forge gives up on a delivery after ten seconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a `commit_soon` waits for another commit to include it.
const SOON: Duration = Duration::from_millis(20);

/// IMMEDIATE takes the write lock at once: a later upgrade could fail half-way.
const BEGIN: &str = "BEGIN IMMEDIATE";
const BEGIN_SAVEPOINT: &str = "SAVEPOINT part";
const END_SAVEPOINT: &str = "RELEASE part";
const UNDO_SAVEPOINT: &str = "ROLLBACK TO part";
const COMMIT: &str = "COMMIT";

/// The write connection.
pub(super) struct Writer {
    connection: Arc<Mutex<CommitGroup>>,
    admission: Arc<Admission>,
}

/// Transactions that share a commit. The holder of the lock is the current transaction.
struct CommitGroup {
    path: String,
    admission: Arc<Admission>,
    files: DatabaseFiles,
    /// Set when the files were replaced: nothing can be written any more.
    replaced: Option<StoreError>,
    /// None after an error: SQLite may have rolled back the transaction (its page on transactions, "Response To
    /// Errors Within A Transaction").
    connection: Option<Connection>,
    /// Whether the enclosing transaction is open.
    open: bool,
    /// Whether a commit for `commit_soon` is scheduled.
    due_soon: bool,
    /// Why this group can no longer be committed.
    broken: Option<StoreError>,
    /// Transactions that have ended and wait until they are durable.
    waiting: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Writer {
    pub fn new(connection: Connection, path: String) -> Self {
        let admission = Arc::new(Admission::new());
        let group = CommitGroup {
            files: DatabaseFiles::new(&path),
            replaced: None,
            path,
            admission: Arc::clone(&admission),
            connection: Some(connection),
            open: false,
            due_soon: false,
            broken: None,
            waiting: Vec::new(),
        };
        Self {
            connection: Arc::new(Mutex::new(group)),
            admission,
        }
    }

    /// Checks the files once no transaction is open.
    pub async fn check_files(&self) -> Result<(), StoreError> {
        let mut group = self.connection.lock().await;
        if group.open {
            return Ok(());
        }
        group.check_files()
    }

    /// Begins a transaction after those before it have ended.
    pub async fn begin(&self, priority: Priority) -> Result<Savepoint, StoreError> {
        let turn = async {
            let permit = self.admission.admit(priority).await;
            (permit, Arc::clone(&self.connection).lock_owned().await)
        };
        let turn = tokio::time::timeout(CONNECTION_TIMEOUT, turn);
        let (permit, group) = turn.await.map_err(|_| {
            StoreError::unreachable(format!(
                "the database's disk took longer than {} s for earlier writes",
                CONNECTION_TIMEOUT.as_secs()
            ))
        })?;
        let mut savepoint = Savepoint {
            connection: Arc::clone(&self.connection),
            permit,
            group: Some(group),
        };
        patiently(|| savepoint.group()?.begin()).await?;
        Ok(savepoint)
    }
}

/// One of the transactions that share a commit. Dropping it without a commit rolls it back.
pub(super) struct Savepoint {
    connection: Arc<Mutex<CommitGroup>>,
    /// Of a background transaction, until it has ended.
    permit: Option<OwnedSemaphorePermit>,
    /// None once it has ended.
    group: Option<OwnedMutexGuard<CommitGroup>>,
}

impl Savepoint {
    fn group(&mut self) -> Result<&mut CommitGroup, StoreError> {
        self.group.as_deref_mut().ok_or_else(ended)
    }

    /// Runs a statement of this transaction. Some errors abort all transactions of the group.
    pub fn run<T>(
        &mut self,
        statement: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let group = self.group()?;
        if let Some(error) = &group.broken {
            return Err(error.clone());
        }
        let result = statement(group.connection()?);
        if let Err(error) = &result
            && !leaves_transaction(error)
        {
            group.broken = Some(error.clone());
        }
        result
    }

    /// Ends the transaction; the group stays open.
    fn end(&mut self) -> Result<OwnedMutexGuard<CommitGroup>, StoreError> {
        let mut group = self.group.take().ok_or_else(ended)?;
        self.permit = None;
        match group.run(END_SAVEPOINT) {
            Ok(()) => Ok(group),
            Err(error) => {
                finish_later(group);
                Err(error)
            }
        }
    }

    /// Commits this transaction and all others of the group: on disk when this returns.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let mut group = self.end()?;
        let (tell, mut told) = oneshot::channel();
        group.waiting.push(tell);
        drop(group);
        // If the caller stops waiting, the group is committed all the same, since it may contain other
        // transactions.
        let committing = Committing(Some(Arc::clone(&self.connection)));
        // The lock is fair: those that already wait for it go first.
        let group = Arc::clone(&self.connection).lock_owned().await;
        if let Ok(told) = told.try_recv() {
            committing.end();
            return told;
        }
        committing.end();
        finish(group).await;
        told.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Makes the writes visible to later transactions, and durable with the next commit or after [`SOON`].
    pub fn commit_soon(mut self) -> Result<(), StoreError> {
        let mut group = self.end()?;
        if group.due_soon {
            return Ok(());
        }
        group.due_soon = true;
        drop(group);
        let connection = Arc::clone(&self.connection);
        tokio::spawn(async move {
            tokio::time::sleep(SOON).await;
            let mut group = connection.lock_owned().await;
            group.due_soon = false;
            finish(group).await;
        });
        Ok(())
    }
}

impl Drop for Savepoint {
    fn drop(&mut self) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        if !group.open && group.broken.is_none() {
            return;
        }
        let undone = match group.broken {
            Some(_) => false,
            None => group
                .run(UNDO_SAVEPOINT)
                .and_then(|()| group.run(END_SAVEPOINT))
                .is_ok(),
        };
        if !undone {
            finish_later(group);
        } else if !group.is_awaited() {
            // The group is empty, so this does not wait for the disk.
            group.finish();
        }
    }
}

/// Completes the commit if its caller stops waiting.
struct Committing(Option<Arc<Mutex<CommitGroup>>>);

impl Committing {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { finish(connection.lock_owned().await).await });
        }
    }
}

/// Commits the group and notifies its waiting callers.
async fn finish(mut group: OwnedMutexGuard<CommitGroup>) {
    if !group.open && group.broken.is_none() {
        return;
    }
    // Fails only when the program ends; the transaction then ends with it.
    let _ = tokio::task::spawn_blocking(move || group.finish()).await;
}

/// Like [`finish`], for callers that cannot wait.
fn finish_later(mut group: OwnedMutexGuard<CommitGroup>) {
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(finish(group));
        }
        // The program ends; the transaction ends with the connection.
        Err(_) => group.broken = Some(stopping()),
    }
}

impl CommitGroup {
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let connection = self.connection.as_mut();
        connection.ok_or_else(|| StoreError::unreachable("the connection is gone".to_owned()))
    }

    /// Runs BEGIN, COMMIT, SAVEPOINT and the like. If one fails, the whole group is broken.
    fn run(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let done = self.connection()?.prepare_cached(statement);
        let done = done.and_then(|mut statement| statement.raw_execute());
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = StoreError::from(error);
                self.broken = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Begins a savepoint, and the enclosing transaction if none is open.
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.broken.is_some() {
            self.finish();
        }
        if self.connection.is_none() {
            self.connection = Some(open(&self.path, OpenMode::Write)?);
        }
        if !self.open {
            self.check_files()?;
            match self.run(BEGIN) {
                Ok(()) => self.open = true,
                Err(error) => {
                    if let StoreError::Locked(_) = &error {
                        // No transaction has begun, so the connection can be used again.
                        self.broken = None;
                    }
                    return Err(error);
                }
            }
        }
        self.run(BEGIN_SAVEPOINT)
    }

    fn check_files(&mut self) -> Result<(), StoreError> {
        if let Some(error) = &self.replaced {
            return Err(error.clone());
        }
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let checked = self.files.check(connection);
        if let Err(error @ StoreError::Replaced(_)) = &checked {
            error!("{error}");
            self.replaced = Some(error.clone());
        }
        checked
    }

    /// Whether the group has writes that a later commit will make durable.
    fn is_awaited(&self) -> bool {
        self.due_soon || !self.waiting.is_empty()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        let done = self.run(COMMIT);
        self.admission.committed(began.elapsed());
        done
    }

    /// Commits the group and notifies its waiting callers.
    fn finish(&mut self) {
        if !self.open && self.broken.is_none() {
            return;
        }
        // The transaction may have been open for a while. Its writes would extend a truncated log and hide the gap.
        if self.broken.is_none()
            && let Err(error) = self.check_files()
        {
            self.broken = Some(error);
        }
        let mut done = match self.broken.clone() {
            Some(error) => Err(error),
            None => self.commit(),
        };
        self.open = false;
        if done.is_ok() && !self.files.has_log() {
            // So that the next commit detects that the log was deleted in between.
            done = self.check_files();
        }
        if self.broken.take().is_some() {
            self.connection = None;
            self.files.closed();
        }
        if let Err(error) = &done
            && self.waiting.is_empty()
        {
            error!("writes that no one waits for were lost: {error}");
        }
        for waiting in self.waiting.drain(..) {
            // The caller may have stopped waiting.
            let _ = waiting.send(done.clone());
        }
    }
}

/// Whether an error undoes only its statement, as those of constraints and limits do (SQLite's page "ON CONFLICT":
/// ABORT is the default, and undoes only the statement).
fn leaves_transaction(error: &StoreError) -> bool {
    match error {
        StoreError::Refused(_) => true,
        StoreError::Unreachable(_)
        | StoreError::Full(_)
        | StoreError::ReadOnly(_)
        | StoreError::Locked(_)
        | StoreError::Replaced(_)
        | StoreError::Outdated
        | StoreError::Contended(_)
        | StoreError::Corrupt(_) => false,
    }
}

fn ended() -> StoreError {
    StoreError::unreachable("the transaction is over".to_owned())
}

pub(super) fn stopping() -> StoreError {
    StoreError::unreachable("the program is stopping".to_owned())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use tempfile::TempDir;

    use super::super::super::database::{Value, params};
    use super::super::connection::{execute, query};
    use super::*;

    fn writer() -> (Writer, String, TempDir) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db").display().to_string();
        let connection = open(&path, OpenMode::Write).unwrap();
        connection
            .execute_batch("CREATE TABLE t (x TEXT NOT NULL)")
            .unwrap();
        (Writer::new(connection, path.clone()), path, folder)
    }

    fn put(savepoint: &mut Savepoint, value: Option<&str>) -> Result<u64, StoreError> {
        let params: Vec<Value> = params![value];
        savepoint.run(|connection| execute(connection, "INSERT INTO t VALUES ($1)", &params))
    }

    fn kept(path: &str) -> Vec<String> {
        let reader = open(path, OpenMode::Read).unwrap();
        let rows = query(&reader, "SELECT x FROM t ORDER BY x", &[]).unwrap();
        rows.iter().map(|row| row.text("x").unwrap()).collect()
    }

    /// Polls a future once; whether it is not ready.
    async fn waits<F: Future + Unpin>(future: &mut F) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
    }

    /// Background transactions that wait.
    async fn background(
        writer: &Writer,
        count: usize,
    ) -> Vec<Pin<Box<impl Future<Output = Result<Savepoint, StoreError>>>>> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut one = Box::pin(writer.begin(Priority::Background));
            assert!(waits(&mut one).await);
            all.push(one);
        }
        all
    }

    /// Begins a transaction, and another one that waits until the first is committed.
    async fn two(writer: &Writer) -> (tokio::task::JoinHandle<Result<(), StoreError>>, Savepoint) {
        let mut first = writer.begin(Priority::Normal).await.unwrap();
        put(&mut first, Some("first")).unwrap();
        let second = writer.begin(Priority::Normal);
        tokio::pin!(second);
        assert!(waits(&mut second).await);
        let first = tokio::spawn(first.commit());
        let second = second.await.unwrap();
        (first, second)
    }

    #[tokio::test]
    async fn one_that_waits_for_its_turn_shares_the_commit_of_the_one_before() {
        let (writer, path, _folder) = writer();
        let (first, mut second) = two(&writer).await;

        put(&mut second, Some("second")).unwrap();
        assert!(!first.is_finished());
        assert!(kept(&path).is_empty());
        second.commit().await.unwrap();

        first.await.unwrap().unwrap();
        assert_eq!(kept(&path), ["first", "second"]);
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_nothing_behind_and_takes_nothing_from_others() {
        let (writer, path, _folder) = writer();
        let (first, mut second) = two(&writer).await;

        put(&mut second, Some("second")).unwrap();
        drop(second);

        first.await.unwrap().unwrap();
        assert_eq!(kept(&path), ["first"]);
        drop(writer.begin(Priority::Normal).await.unwrap());
        let mut third = writer.begin(Priority::Normal).await.unwrap();
        put(&mut third, Some("third")).unwrap();
        third.commit().await.unwrap();
        assert_eq!(kept(&path), ["first", "third"]);
    }

    #[tokio::test]
    async fn one_waits_for_two_background_transactions_however_many_there_are() {
        let (writer, path, _folder) = writer();
        let mut first = writer.begin(Priority::Background).await.unwrap();
        put(&mut first, Some("first")).unwrap();
        let mut others = background(&writer, 6).await;
        let mut webhook = Box::pin(writer.begin(Priority::Normal));
        assert!(waits(&mut webhook).await);

        let first = tokio::spawn(first.commit());
        drop(others.remove(0).await.unwrap());
        let mut webhook = webhook.await.unwrap();
        put(&mut webhook, Some("webhook")).unwrap();
        for other in &mut others {
            assert!(waits(other).await);
        }
        drop(others);
        webhook.commit().await.unwrap();

        first.await.unwrap().unwrap();
        assert_eq!(kept(&path), ["first", "webhook"]);
    }

    #[tokio::test]
    async fn on_a_slow_disk_all_background_transactions_share_a_commit() {
        let (writer, path, _folder) = writer();
        writer.admission.committed(Duration::from_secs(1));
        let mut first = writer.begin(Priority::Background).await.unwrap();
        put(&mut first, Some("0")).unwrap();
        let others = background(&writer, 20).await;

        let first = tokio::spawn(first.commit());
        let mut commits = Vec::new();
        for other in others {
            let mut other = other.await.unwrap();
            put(&mut other, Some("1")).unwrap();
            assert!(kept(&path).is_empty());
            commits.push(tokio::spawn(other.commit()));
        }
        for commit in commits {
            commit.await.unwrap().unwrap();
        }

        first.await.unwrap().unwrap();
        assert_eq!(kept(&path).len(), 21);
    }

    #[tokio::test]
    async fn a_statement_that_is_refused_is_nobodys_trouble_but_its_own() {
        let (writer, path, _folder) = writer();
        let (first, mut second) = two(&writer).await;

        let refused = put(&mut second, None);
        assert!(matches!(refused, Err(StoreError::Refused(_))));
        put(&mut second, Some("second")).unwrap();
        second.commit().await.unwrap();

        first.await.unwrap().unwrap();
        assert_eq!(kept(&path), ["first", "second"]);
    }

    #[tokio::test]
    async fn a_disk_that_fails_fails_all_that_share_the_commit_and_the_next_can_be_made() {
        let (writer, path, _folder) = writer();
        let (first, mut second) = two(&writer).await;

        let too_much = second.run(|connection| {
            connection.pragma_update(None, "max_page_count", 1)?;
            execute(
                connection,
                "INSERT INTO t VALUES (hex(zeroblob(1000000)))",
                &[],
            )
        });
        assert!(matches!(too_much, Err(StoreError::Full(_))));
        drop(second);

        assert!(matches!(first.await.unwrap(), Err(StoreError::Full(_))));
        assert!(kept(&path).is_empty());
        let mut third = writer.begin(Priority::Normal).await.unwrap();
        put(&mut third, Some("third")).unwrap();
        third.commit().await.unwrap();
        assert_eq!(kept(&path), ["third"]);
    }

    #[tokio::test]
    async fn what_is_to_be_durable_soon_goes_with_the_next_commit() {
        let (writer, path, _folder) = writer();
        let mut soon = writer.begin(Priority::Normal).await.unwrap();
        put(&mut soon, Some("soon")).unwrap();
        soon.commit_soon().unwrap();
        assert!(kept(&path).is_empty());

        let mut now = writer.begin(Priority::Normal).await.unwrap();
        put(&mut now, Some("now")).unwrap();
        now.commit().await.unwrap();

        assert_eq!(kept(&path), ["now", "soon"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_durable_soon_is_so_without_another_commit() {
        let (writer, path, _folder) = writer();
        let mut soon = writer.begin(Priority::Normal).await.unwrap();
        put(&mut soon, Some("soon")).unwrap();
        soon.commit_soon().unwrap();
        assert!(kept(&path).is_empty());

        tokio::time::sleep(SOON * 2).await;
        drop(writer.begin(Priority::Normal).await.unwrap());

        assert_eq!(kept(&path), ["soon"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_truncated_under_an_open_transaction_is_noticed() {
        let (writer, path, _folder) = writer();
        let mut soon = writer.begin(Priority::Normal).await.unwrap();
        put(&mut soon, Some("soon")).unwrap();
        soon.commit_soon().unwrap();
        let log = std::fs::File::options()
            .write(true)
            .open(format!("{path}-wal"));
        log.unwrap().set_len(100).unwrap();

        // Its commit makes the log longer than before.
        tokio::time::sleep(SOON * 2).await;
        let next = writer.begin(Priority::Normal).await;

        assert!(matches!(next.map(drop), Err(StoreError::Replaced(_))));
    }

    #[tokio::test]
    async fn a_commit_that_nobody_waits_for_any_longer_is_seen_through() {
        let (writer, path, _folder) = writer();
        let mut first = writer.begin(Priority::Normal).await.unwrap();
        put(&mut first, Some("first")).unwrap();
        {
            let second = writer.begin(Priority::Normal);
            tokio::pin!(second);
            assert!(waits(&mut second).await);
            let commit = first.commit();
            tokio::pin!(commit);
            assert!(waits(&mut commit).await);
        }

        let third = writer.begin(Priority::Normal).await.unwrap();
        third.commit().await.unwrap();

        assert_eq!(kept(&path), ["first"]);
    }

    #[tokio::test]
    async fn a_file_that_another_program_has_locked_is_waited_for() {
        let (writer, path, _folder) = writer();
        let other = open(&path, OpenMode::Write).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let waits =
            tokio::time::timeout(Duration::from_millis(50), writer.begin(Priority::Normal)).await;
        assert!(waits.is_err());
        other.execute_batch("ROLLBACK").unwrap();

        let mut first = writer.begin(Priority::Normal).await.unwrap();
        put(&mut first, Some("first")).unwrap();
        first.commit().await.unwrap();

        assert_eq!(kept(&path), ["first"]);
    }
}
