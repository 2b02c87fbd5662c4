//! Detects that the files of an open database were deleted, replaced or truncated.
//!
//! SQLite does not: it keeps using the open files, and later commits are lost with them (its page "How To Corrupt
//! An SQLite Database File", "Unlinking or renaming a database file while in use").

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::super::StoreError;
use super::super::errors::Trouble;
use crate::cause::Cause;

/// Bytes of the log's header and of each page header in it (SQLite's page "WAL-mode File Format").
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// How long a process that starts serving waits for another one to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The files of an open database.
pub(super) struct DatabaseFiles {
    file: Watched,
    /// The write-ahead log, which SQLite creates when it first needs it.
    log: Watched,
}

/// A file as it was last seen.
struct Watched {
    path: PathBuf,
    seen: Option<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    device: u64,
    inode: u64,
    length: u64,
}

/// How a file has changed.
enum Change {
    None,
    /// Shorter than before.
    Shorter(u64),
    /// Deleted, or replaced by another file.
    Gone(&'static str),
}

impl DatabaseFiles {
    pub fn new(path: &str) -> Self {
        let watched = |path: String| Watched {
            path: path.into(),
            seen: None,
        };
        Self {
            file: watched(path.to_owned()),
            log: watched(format!("{path}-wal")),
        }
    }

    /// Records that this program closed the connection. SQLite removes the log with its last connection and creates
    /// a new one later.
    pub fn closed(&mut self) {
        self.log.seen = None;
    }

    /// Whether the log was there at the last check. The first commit creates it.
    pub fn has_log(&self) -> bool {
        self.log.seen.is_some()
    }

    /// Checks the files, outside any transaction of the connection.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`]: the files were replaced. Later commits would be lost.
    pub fn check(&mut self, connection: &Connection) -> Result<(), StoreError> {
        match self.file.look()? {
            Change::None => {}
            Change::Shorter(_) => return Err(self.file.replaced("was cut off")),
            Change::Gone(how) => return Err(self.file.replaced(how)),
        }
        match self.log.look()? {
            Change::None => Ok(()),
            Change::Gone(how) => Err(self.log.replaced(how)),
            // Another program may have truncated it after copying all of it into the database.
            Change::Shorter(length) => match log_length(connection) {
                Ok(least) if length >= least => Ok(()),
                // Its content cannot be read either.
                Ok(_) | Err(_) => Err(self.log.replaced("was cut off")),
            },
        }
    }
}

impl Watched {
    fn look(&mut self) -> Result<Change, StoreError> {
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => Seen {
                device: metadata.dev(),
                inode: metadata.ino(),
                length: metadata.len(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(match self.seen {
                    None => Change::None,
                    Some(_) => Change::Gone("was deleted"),
                });
            }
            Err(error) => {
                let words = format!("{} cannot be examined: {error}", self.path.display());
                return Err(unreachable(words, error));
            }
        };
        let Some(before) = self.seen.replace(now) else {
            return Ok(Change::None);
        };
        Ok(
            if (before.device, before.inode) != (now.device, now.inode) {
                Change::Gone("was replaced")
            } else if now.length < before.length {
                Change::Shorter(now.length)
            } else {
                Change::None
            },
        )
    }

    fn replaced(&self, how: &str) -> StoreError {
        StoreError::Replaced(format!("{} {how}", self.path.display()).into())
    }
}

/// The system does not let us use a file.
fn unreachable(words: String, error: io::Error) -> StoreError {
    StoreError::Unreachable(Trouble::new(words, Cause::of(error)))
}

/// The length that the log must have for its content.
fn log_length(connection: &Connection) -> Result<u64, StoreError> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let frames: i64 =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
    if frames < 0 {
        // Within a transaction there is no answer, and no other program can have shortened the log.
        return Err(StoreError::unreachable("the log cannot be read".to_owned()));
    }
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(match count(frames) {
        0 => 0,
        frames => LOG_HEADER + frames * (count(page) + FRAME_HEADER),
    })
}

/// The right to serve from a SQLite file. One process holds it until that process ends.
pub(super) struct ServingLock(
    #[expect(dead_code, reason = "the lock is held by the open file")] File,
);

impl ServingLock {
    /// Acquires the right; waits a while for another process that holds it to end.
    ///
    /// # Errors
    ///
    /// Another process keeps it, or the lock file cannot be created.
    pub async fn acquire(database: &str) -> Result<Self, StoreError> {
        let path = format!("{database}-lock");
        let failed = |error: io::Error| {
            let words = format!("cannot lock {path} for this process: {error}");
            unreachable(words, error)
        };
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(Path::new(&path)).map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if waited < LOCK_PATIENCE => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                    waited += LOCK_PAUSE;
                }
                Err(TryLockError::WouldBlock) => {
                    let words = format!(
                        "another purgehook serves from {database}, and a SQLite file belongs to one; stop that one, or \
                         use PostgreSQL for several"
                    );
                    return Err(StoreError::Locked(words.into()));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::connection::{OpenMode, open};
    use super::*;

    /// A database with a non-empty log, and the watcher of its files.
    fn watched() -> (TempDir, String, Connection, DatabaseFiles) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db").display().to_string();
        let connection = open(&path, OpenMode::Write).unwrap();
        connection
            .execute_batch("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('one')")
            .unwrap();
        let mut files = DatabaseFiles::new(&path);
        files.check(&connection).unwrap();
        (folder, path, connection, files)
    }

    fn how(files: &mut DatabaseFiles, connection: &Connection) -> String {
        match files.check(connection) {
            Err(StoreError::Replaced(how)) => how.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn files_that_are_written_to_are_as_they_should_be() {
        let (_folder, _path, connection, mut files) = watched();

        connection
            .execute_batch("INSERT INTO t VALUES ('two')")
            .unwrap();

        assert!(files.check(&connection).is_ok());
    }

    #[test]
    fn a_log_that_went_with_the_last_connection_is_no_trouble() {
        let (_folder, path, connection, mut files) = watched();

        drop(connection);
        files.closed();
        let connection = open(&path, OpenMode::Write).unwrap();
        connection
            .execute_batch("INSERT INTO t VALUES ('two')")
            .unwrap();

        assert_eq!(how(&mut files, &connection), "Ok(())");
    }

    #[test]
    fn a_log_that_another_program_has_emptied_in_order_is_no_trouble() {
        let (_folder, path, connection, mut files) = watched();

        let other = Connection::open(&path).unwrap();
        other
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();

        assert!(files.check(&connection).is_ok());
        connection
            .execute_batch("INSERT INTO t VALUES ('two')")
            .unwrap();
        assert!(files.check(&connection).is_ok());
    }

    #[test]
    fn files_that_are_deleted_replaced_or_cut_off_are_noticed() {
        for name in ["", "-wal"] {
            let (_folder, path, connection, mut files) = watched();
            let file = format!("{path}{name}");

            fs::copy(&file, format!("{file}.copy")).unwrap();
            fs::rename(format!("{file}.copy"), &file).unwrap();
            assert_eq!(how(&mut files, &connection), format!("{file} was replaced"));

            let (_folder, path, connection, mut files) = watched();
            let file = format!("{path}{name}");
            fs::remove_file(&file).unwrap();
            assert_eq!(how(&mut files, &connection), format!("{file} was deleted"));

            let (_folder, path, connection, mut files) = watched();
            let file = format!("{path}{name}");
            let half = fs::metadata(&file).unwrap().len() / 2;
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_len(half)
                .unwrap();
            assert_eq!(how(&mut files, &connection), format!("{file} was cut off"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_process_at_a_time_serves_from_a_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db").display().to_string();
        let first = ServingLock::acquire(&path).await.unwrap();

        let second = ServingLock::acquire(&path).await;

        assert!(matches!(second, Err(StoreError::Locked(_))));
        drop(first);
        assert!(ServingLock::acquire(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_made_says_why_and_keeps_the_systems_error() {
        let error = ServingLock::acquire("/nowhere/x.db").await.err().unwrap();

        assert!(error.to_string().contains("/nowhere/x.db-lock"), "{error}");
        let source = std::error::Error::source(&error).unwrap();
        let source = source.downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), ErrorKind::NotFound);
    }
}
