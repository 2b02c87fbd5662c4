//! The versions of the schema. A released version is never edited: each change is a new version.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// One version: its number, and its statements for each database.
struct Version {
    number: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Every version, oldest first.
const VERSIONS: &[Version] = &[
    Version {
        number: 1,
        sqlite: include_str!("schema/sqlite/0001.sql"),
        postgres: include_str!("schema/postgres/0001.sql"),
    },
    Version {
        number: 2,
        sqlite: include_str!("schema/sqlite/0002.sql"),
        postgres: include_str!("schema/postgres/0002.sql"),
    },
    Version {
        number: 3,
        sqlite: include_str!("schema/sqlite/0003.sql"),
        postgres: include_str!("schema/postgres/0003.sql"),
    },
];

/// Brings a SQLite file up to date. Its version is `user_version`.
pub fn sqlite(connection: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    let versions = VERSIONS.iter().map(|version| M::up(version.sqlite));
    Migrations::from_iter(versions).to_latest(connection)
}

/// The migrations that bring a PostgreSQL database up to date.
pub fn postgres() -> Migrator {
    let migrations: Vec<Migration> = VERSIONS
        .iter()
        .map(|version| {
            Migration::new(
                version.number,
                Cow::Borrowed("schema"),
                MigrationType::Simple,
                AssertSqlSafe(version.postgres).into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}
