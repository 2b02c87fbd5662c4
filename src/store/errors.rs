//! Errors of the store: in full for the operator, in short for everyone else.

use std::error::Error;
use std::fmt;

use crate::cause::Cause;

/// A description of the problem, and the driver's error behind it.
#[derive(Clone, Debug)]
pub struct Trouble {
    words: String,
    cause: Cause,
}

impl Trouble {
    /// With the error that caused it. `words` repeat that error's text as far as it helps.
    pub(super) fn new(words: impl Into<String>, cause: Cause) -> Self {
        let words = words.into();
        Self { words, cause }
    }
}

impl<W: Into<String>> From<W> for Trouble {
    fn from(words: W) -> Self {
        Self::new(words, Cause::NONE)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Why a store operation failed.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// The database cannot be opened, hangs or is gone. A later try may succeed.
    Unreachable(Trouble),
    /// The database's disk is full.
    Full(Trouble),
    /// The database accepts no writes: its disk became read-only, its file belongs to another user, or it became a
    /// standby.
    ReadOnly(Trouble),
    /// Another program has held the database's lock for too long.
    Locked(Trouble),
    /// The database's file was deleted, replaced or truncated while it was open: anything written is lost.
    Replaced(Trouble),
    /// The database refused this statement; the next one may succeed.
    Refused(Trouble),
    /// The data that a step relied on has changed; the step must decide again.
    Outdated,
    /// Other transactions kept conflicting with this one. A later try succeeds.
    Contended(Trouble),
    /// The database holds invalid data.
    Corrupt(Trouble),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(what) => write!(f, "{what}"),
            Self::Full(what) => {
                write!(f, "the database's disk is full; make room on it: {what}")
            }
            Self::ReadOnly(what) => write!(
                f,
                "the database is read-only; see to its disk, who may write its file, or its role: {what}"
            ),
            Self::Locked(what) => write!(
                f,
                "another program holds the database's lock; look for a backup or a shell on it: {what}"
            ),
            Self::Replaced(what) => write!(
                f,
                "{what} while this program had it open: nothing more can be kept; restore the file, or start without it"
            ),
            Self::Refused(what) => write!(f, "the database refused a statement: {what}"),
            Self::Outdated => f.write_str("what this was decided on has changed meanwhile"),
            Self::Contended(what) => write!(f, "other transactions got in the way: {what}"),
            Self::Corrupt(what) => {
                write!(f, "the database holds something unexpected: {what}")
            }
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(what)
            | Self::Full(what)
            | Self::ReadOnly(what)
            | Self::Locked(what)
            | Self::Replaced(what)
            | Self::Refused(what)
            | Self::Contended(what)
            | Self::Corrupt(what) => what.cause.source(),
            Self::Outdated => None,
        }
    }
}

impl StoreError {
    /// The database cannot be reached, by our own judgement rather than the driver's.
    pub fn unreachable(words: impl Into<String>) -> Self {
        Self::Unreachable(words.into().into())
    }

    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Refused(words.into().into())
    }

    /// The database holds invalid data.
    pub fn corrupt(words: impl Into<String>) -> Self {
        Self::Corrupt(words.into().into())
    }

    /// Whether every other operation would fail too, for now.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Full(_)
            | Self::ReadOnly(_)
            | Self::Locked(_)
            | Self::Replaced(_) => true,
            Self::Refused(_) | Self::Outdated | Self::Contended(_) | Self::Corrupt(_) => false,
        }
    }

    /// The problem without addresses, paths or personal data, for public pages.
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "it does not answer, or its disk fails",
            Self::Full(_) => "its disk is full",
            Self::ReadOnly(_) => "it is read-only",
            Self::Locked(_) => "another program holds its lock",
            Self::Replaced(_) => "its file was deleted or replaced",
            Self::Refused(_) => "it refused a statement",
            Self::Outdated | Self::Contended(_) => "other transactions got in the way",
            Self::Corrupt(_) => "it holds something unexpected",
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let words = error.to_string();
        let code = error
            .as_database_error()
            .map(|error| error.code().unwrap_or_default().into_owned());
        let in_time = !matches!(error, sqlx::Error::PoolTimedOut);
        let cause = Cause::of(error);
        match code {
            Some(code) => by_sqlstate(&code, words, cause),
            None if in_time => failed(&words, cause),
            None => {
                let words = "no connection to the database could be had in time";
                Self::Unreachable(Trouble::new(words, cause))
            }
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let words = error.to_string();
        let code = error.sqlite_error().map(|failure| failure.extended_code);
        let cause = Cause::of(error);
        match code {
            Some(code) => by_sqlite_code(code, words, cause),
            None => Self::Refused(Trouble::new(words, cause)),
        }
    }
}

fn failed(words: &str, cause: Cause) -> StoreError {
    let words = format!("the database failed: {words}");
    StoreError::Unreachable(Trouble::new(words, cause))
}

/// Classifies SQLite's result codes (its page "Result and Error Codes"); the lowest byte of an extended code is the
/// primary code.
fn by_sqlite_code(code: i32, words: String, cause: Cause) -> StoreError {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const NOT_A_DATABASE: i32 = 26;
    let kind = match code & 0xff {
        BUSY | LOCKED => StoreError::Locked,
        READONLY => StoreError::ReadOnly,
        FULL => StoreError::Full,
        CORRUPT | NOT_A_DATABASE => StoreError::Corrupt,
        TOO_BIG | CONSTRAINT | MISMATCH => StoreError::Refused,
        _ => return failed(&words, cause),
    };
    kind(Trouble::new(words, cause))
}

/// Classifies PostgreSQL's SQLSTATE (Appendix A of its manual).
fn by_sqlstate(code: &str, words: String, cause: Cause) -> StoreError {
    let kind = match code {
        // To be retried from the beginning: `unique_violation` by a row that another transaction has just written,
        // `serialization_failure`, `deadlock_detected`.
        "23505" | "40001" | "40P01" => StoreError::Contended,
        // `disk_full`
        "53100" => StoreError::Full,
        // `read_only_sql_transaction`
        "25006" => StoreError::ReadOnly,
        // Data exceptions, constraints, rules on names and types, limits of one statement.
        _ if ["22", "23", "42", "54"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            StoreError::Refused
        }
        _ => return failed(&words, cause),
    };
    kind(Trouble::new(words, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause;

    #[test]
    fn a_code_tells_what_the_operator_is_to_see_to() {
        let short = |error: StoreError| error.in_short();

        assert_eq!(
            short(by_sqlite_code(13, String::new(), Cause::NONE)),
            "its disk is full"
        );
        // SQLITE_READONLY_DBMOVED, an extended code.
        assert_eq!(
            short(by_sqlite_code(1032, String::new(), Cause::NONE)),
            "it is read-only"
        );
        assert_eq!(
            short(by_sqlite_code(5, String::new(), Cause::NONE)),
            "another program holds its lock"
        );
        assert_eq!(
            short(by_sqlstate("53100", String::new(), Cause::NONE)),
            "its disk is full"
        );
        assert_eq!(
            short(by_sqlstate("25006", String::new(), Cause::NONE)),
            "it is read-only"
        );
        // SQLITE_IOERR_WRITE; admin_shutdown.
        assert_eq!(
            short(by_sqlite_code(778, String::new(), Cause::NONE)),
            "it does not answer, or its disk fails"
        );
        assert_eq!(
            short(by_sqlstate("57P01", String::new(), Cause::NONE)),
            "it does not answer, or its disk fails"
        );
    }

    #[test]
    fn one_statements_trouble_is_no_outage() {
        assert!(!by_sqlite_code(18, String::new(), Cause::NONE).is_outage());
        assert!(!by_sqlstate("22021", String::new(), Cause::NONE).is_outage());
        assert!(!by_sqlstate("40P01", String::new(), Cause::NONE).is_outage());
        assert!(by_sqlstate("57P03", String::new(), Cause::NONE).is_outage());
    }

    #[test]
    fn the_drivers_error_stands_behind_ours_and_is_said_once() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE one (id INTEGER NOT NULL)")
            .unwrap();
        let failed = connection.execute("INSERT INTO one VALUES (NULL)", []);

        let error = StoreError::from(failed.unwrap_err());

        let source = error.source().unwrap();
        assert!(source.is::<rusqlite::Error>());
        let said = cause::chain(&error);
        assert_eq!(
            said.matches("NOT NULL constraint failed").count(),
            1,
            "{said}"
        );

        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(error.source().unwrap().is::<sqlx::Error>());
        assert!(StoreError::Outdated.source().is_none());
    }
}
