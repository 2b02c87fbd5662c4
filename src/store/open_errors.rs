//! Why a database cannot be opened and what to do about it, for the person who starts the program.

use std::path::Path;

use rusqlite::ErrorCode;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

use super::StoreError;
use super::errors::Trouble;
use crate::cause::Cause;

/// Rejects a path that is no SQLite file.
pub(super) fn no_file(path: &str) -> Option<StoreError> {
    let what = match path.trim() {
        "" => "names no file",
        // Each connection would have its own database, which would be lost when the program ends.
        ":memory:" => "is not kept anywhere",
        _ => return None,
    };
    Some(StoreError::unreachable(format!(
        "the database `sqlite://{path}` {what}; write `sqlite://purgehook.db`"
    )))
}

/// A SQLite file cannot be opened.
pub(super) fn file(path: &str, error: rusqlite::Error) -> StoreError {
    let file = Path::new(path);
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let words = error.to_string();
    let code = error.sqlite_error_code();
    let advice = if file.is_dir() {
        "it is a directory; name a file in it".to_owned()
    } else if !folder.is_dir() {
        format!("there is no directory {}; make it", folder.display())
    } else if code == Some(ErrorCode::NotADatabase) {
        "the file is something else; name another, or move it away".to_owned()
    } else if code == Some(ErrorCode::DatabaseCorrupt) {
        DAMAGED.to_owned()
    } else {
        format!(
            "this program's user must be allowed to write the file, and others beside it in {}",
            folder.display()
        )
    };
    let words = format!("cannot open the database {path}: {words}; {advice}");
    StoreError::Unreachable(Trouble::new(words, Cause::of(error)))
}

/// A PostgreSQL server refuses the connection. The text omits the password.
pub(super) fn server(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let words = driver_words(&error);
    let code = error.as_database_error().and_then(|error| error.code());
    let advice = match code.as_deref() {
        // PostgreSQL's manual, Appendix A: invalid_authorization_specification, invalid_password.
        Some("28000" | "28P01") => "check the user and the password in `server.database`",
        // invalid_catalog_name
        Some("3D000") => "make it with `createdb`, or name another in `server.database`",
        // insufficient_privilege
        Some("42501") => "give the user rights on it",
        // too_many_connections
        Some("53300") => "raise its `max_connections`, or end others' connections",
        Some(_) => "see its log",
        None => {
            "see that it runs and can be reached from here, and that `server.database` is right"
        }
    };
    let words = format!(
        "cannot connect to PostgreSQL at {}:{}, database {}: {words}; {advice}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or(options.get_username()),
    );
    StoreError::Unreachable(Trouble::new(words, Cause::of(error)))
}

/// The tables of a SQLite file are not as expected.
pub(super) fn tables(path: &str, error: rusqlite_migration::Error) -> StoreError {
    use rusqlite_migration::{Error, MigrationDefinitionError};
    let words = match &error {
        Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            NEWER.to_owned()
        }
        Error::RusqliteError { err, .. }
            if err.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) =>
        {
            format!("{err}; {DAMAGED}")
        }
        Error::RusqliteError { err, .. } => format!("{err}; {FOREIGN}"),
        other => format!("{other}; {FOREIGN}"),
    };
    unprepared(path, &words, Cause::of(error))
}

/// The tables of a PostgreSQL database are not as expected.
pub(super) fn server_tables(name: &str, error: MigrateError) -> StoreError {
    let words = match &error {
        MigrateError::VersionMissing(_) => NEWER.to_owned(),
        MigrateError::VersionMismatch(version) => format!(
            "its tables of version {version} were made by another build; name another database"
        ),
        other => {
            let failed = match other {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                    Some(error)
                }
                _ => None,
            };
            let words = failed.map_or_else(|| other.to_string(), driver_words);
            let code = failed.and_then(|error| error.as_database_error()?.code());
            // PostgreSQL's manual, Appendix A: read_only_sql_transaction.
            let advice = match code.as_deref() {
                Some("25006") => {
                    "it takes no writes: name the primary server, or see to its `default_transaction_read_only`"
                }
                Some(_) | None => FOREIGN,
            };
            format!("{words}; {advice}")
        }
    };
    unprepared(name, &words, Cause::of(error))
}

const NEWER: &str = "its tables are of a newer purgehook; start that one, or name another database";
/// For a file with invalid pages, as after an incomplete copy or on a failing disk (`SQLITE_CORRUPT`).
const DAMAGED: &str = "the file is damaged: put a backup in its place, or move it and its `-wal` away to begin anew; \
                       `sqlite3 FILE .recover` saves what can be read";
const FOREIGN: &str = "is it another program's?";

fn unprepared(name: &str, words: &str, cause: Cause) -> StoreError {
    let words = format!("cannot prepare the database {name}: {words}");
    StoreError::Unreachable(Trouble::new(words, cause))
}

/// The driver's error text without its own prefix.
fn driver_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
