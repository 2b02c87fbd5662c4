//! The schema's versions. A version that was released is never edited: a change is a new one.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Number, name and statements of each version, in SQLite's words.
const VERSIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("schema/0001_first.sql")),
    (
        2,
        "delivery source",
        include_str!("schema/0002_delivery_source.sql"),
    ),
    (3, "observe", include_str!("schema/0003_observe.sql")),
    (4, "outages", include_str!("schema/0004_outages.sql")),
    (5, "removal", include_str!("schema/0005_removal.sql")),
    (6, "narrow", include_str!("schema/0006_narrow.sql")),
    (7, "planner", include_str!("schema/0007_planner.sql")),
];

/// The schema for SQLite.
pub fn sqlite() -> Migrator {
    migrator(|sql| sql.to_owned())
}

/// The schema for PostgreSQL, whose only other word is that for bytes.
pub fn postgres() -> Migrator {
    migrator(|sql| sql.replace(" BLOB", " BYTEA"))
}

fn migrator(dialect: fn(&str) -> String) -> Migrator {
    let migrations: Vec<Migration> = VERSIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                Cow::Borrowed(*name),
                MigrationType::Simple,
                AssertSqlSafe(dialect(sql)).into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}
