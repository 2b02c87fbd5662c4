//! What can be wrong with a store, in words for its operator, and in fewer for everyone else.

/// Why the store could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be opened, hangs or is gone. Trying later may help.
    #[error("{0}")]
    Unreachable(String),
    /// There is no room on the database's disk.
    #[error("the database's disk is full; make room on it: {0}")]
    Full(String),
    /// The database takes no writes: its disk turned read-only, its file is someone else's, or it became a standby.
    #[error("the database is read-only; see to its disk, who may write its file, or its role: {0}")]
    ReadOnly(String),
    /// Another program has held the database's lock for too long.
    #[error("another program holds the database's lock; look for a backup or a shell on it: {0}")]
    Locked(String),
    /// The database's file was deleted, replaced or cut off under this program: what is written is lost.
    #[error(
        "{0} while this program had it open: nothing more can be kept; restore the file, or start without it"
    )]
    Replaced(String),
    /// The database did not take this one statement; the next may be fine.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// What a step was decided on has changed meanwhile; it is to be decided anew.
    #[error("what this was decided on has changed meanwhile")]
    Outdated,
    /// Other transactions got in the way of this one again and again. Trying later helps.
    #[error("other transactions got in the way: {0}")]
    Contended(String),
    /// What the database holds makes no sense.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether nobody else can be served either, for now.
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

    /// What is wrong, without addresses, paths or anyone's data: fit for pages that anyone may read.
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
        let Some(database) = error.as_database_error() else {
            return Self::Unreachable(match error {
                sqlx::Error::PoolTimedOut => {
                    "no connection to the database could be had in time".to_owned()
                }
                _ => format!("the database failed: {words}"),
            });
        };
        by_sqlstate(&database.code().unwrap_or_default(), words)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let words = error.to_string();
        match error.sqlite_error() {
            Some(failure) => by_sqlite_code(failure.extended_code, words),
            None => Self::Refused(words),
        }
    }
}

/// By SQLite's result codes (its page "Result and Error Codes"); an extended code's lowest byte is the primary one.
fn by_sqlite_code(code: i32, words: String) -> StoreError {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const NOT_A_DATABASE: i32 = 26;
    match code & 0xff {
        BUSY | LOCKED => StoreError::Locked(words),
        READONLY => StoreError::ReadOnly(words),
        FULL => StoreError::Full(words),
        CORRUPT | NOT_A_DATABASE => StoreError::Corrupt(words),
        TOO_BIG | CONSTRAINT | MISMATCH => StoreError::Refused(words),
        _ => StoreError::Unreachable(format!("the database failed: {words}")),
    }
}

/// By PostgreSQL's SQLSTATE (Appendix A of its manual).
fn by_sqlstate(code: &str, words: String) -> StoreError {
    match code {
        // To be done anew from the beginning: `unique_violation` by a row that another
        // transaction has just written, `serialization_failure`, `deadlock_detected`.
        "23505" | "40001" | "40P01" => StoreError::Contended(words),
        // `disk_full`
        "53100" => StoreError::Full(words),
        // `read_only_sql_transaction`
        "25006" => StoreError::ReadOnly(words),
        // Data exceptions, constraints, rules on names and types, limits of one statement.
        _ if ["22", "23", "42", "54"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            StoreError::Refused(words)
        }
        _ => StoreError::Unreachable(format!("the database failed: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_what_the_operator_is_to_see_to() {
        let short = |error: StoreError| error.in_short();

        assert_eq!(short(by_sqlite_code(13, String::new())), "its disk is full");
        // SQLITE_READONLY_DBMOVED, an extended code.
        assert_eq!(
            short(by_sqlite_code(1032, String::new())),
            "it is read-only"
        );
        assert_eq!(
            short(by_sqlite_code(5, String::new())),
            "another program holds its lock"
        );
        assert_eq!(
            short(by_sqlstate("53100", String::new())),
            "its disk is full"
        );
        assert_eq!(
            short(by_sqlstate("25006", String::new())),
            "it is read-only"
        );
        // SQLITE_IOERR_WRITE; admin_shutdown.
        assert_eq!(
            short(by_sqlite_code(778, String::new())),
            "it does not answer, or its disk fails"
        );
        assert_eq!(
            short(by_sqlstate("57P01", String::new())),
            "it does not answer, or its disk fails"
        );
    }

    #[test]
    fn one_statements_trouble_is_no_outage() {
        assert!(!by_sqlite_code(18, String::new()).is_outage());
        assert!(!by_sqlstate("22021", String::new()).is_outage());
        assert!(!by_sqlstate("40P01", String::new()).is_outage());
        assert!(by_sqlstate("57P03", String::new()).is_outage());
    }
}
