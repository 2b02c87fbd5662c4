//! A database with many runs of a month ago, all copies of one that is in it.

use sqlx::{AssertSqlSafe, Column, Connection, Executor, PgConnection, Row};

/// Tables with what a run leaves behind, and what tells one copy's row from another's.
const TABLES: [(&str, &[&str]); 6] = [
    ("deliveries", &["id", "forge_delivery"]),
    ("runs", &["id", "delivery", "commit_id"]),
    ("run_changes", &["run"]),
    ("purges", &["run", "task"]),
    ("tasks", &["id", "vendor_id"]),
    ("statuses", &["run"]),
];
/// Columns that name a site or its repository.
const OF_SITE: [&str; 6] = [
    "site",
    "repo",
    "stream",
    "meaning",
    "ordering_key",
    "dedup_key",
];
/// Bytes that are kept of a delivery's body.
const BODY: usize = 400;
const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Between two copies.
const APART_MS: i64 = 1_000;
/// Older than any id that is made now, and as long with the twelve digits behind it.
const OLD_ID: &str = "01A00000000000";
/// So that all numbers have as many digits.
const FIRST: u64 = 100_000_000_000;

/// Another connection than the program's.
pub enum Database {
    Sqlite(rusqlite::Connection),
    Postgres(PgConnection),
}

impl Database {
    /// Where one run of a site has ended well.
    pub async fn open(url: &str, site: &str) -> Self {
        let mut database = match url.strip_prefix("sqlite://") {
            Some(path) => Self::Sqlite(rusqlite::Connection::open(path).unwrap()),
            None => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        };
        let run =
            format!("(SELECT MAX(id) FROM runs WHERE site = '{site}' AND state = 'succeeded')");
        for (table, _) in TABLES {
            let whose = match table {
                "runs" => format!("id = {run}"),
                "deliveries" => format!("id = (SELECT delivery FROM runs WHERE id = {run})"),
                "tasks" => format!("id IN (SELECT task FROM purges WHERE run = {run})"),
                _ => format!("run = {run}"),
            };
            let copied =
                format!("CREATE TEMP TABLE copied_{table} AS SELECT * FROM {table} WHERE {whose}");
            database.execute(&copied).await;
        }
        database
    }

    /// Copies that run and all that is its own, so many times, in turn for so many sites: what says `site-0` in the
    /// first one says `site-1` and on in the others.
    pub async fn copy_run(&mut self, copies: u64, sites: u64) {
        for (table, own) in TABLES {
            let columns = self.columns(table).await;
            let copied: Vec<String> = columns
                .iter()
                .map(|column| match column.as_str() {
                    column if OF_SITE.contains(&column) => {
                        format!("replace({column}, 'site-0', 'site-' || (n.i % {sites}))")
                    }
                    // Nobody reads what was understood long ago.
                    "body" => format!("substr(body, 1, {BODY})"),
                    "commit_id" => "substr(commit_id, 1, 28) || n.i".to_owned(),
                    column if own.contains(&column) => format!("'{OLD_ID}' || n.i"),
                    column if column.ends_with("_at") => {
                        format!("{column} - {MONTH_MS} + (n.i - {FIRST}) * {APART_MS}")
                    }
                    column => column.to_owned(),
                })
                .collect();
            self.execute(&format!(
                "INSERT INTO {table} ({})
                 WITH RECURSIVE n (i) AS (
                     SELECT {FIRST} UNION ALL SELECT i + 1 FROM n WHERE i < {})
                 SELECT {} FROM n CROSS JOIN copied_{table}",
                columns.join(", "),
                FIRST + copies - 1,
                copied.join(", "),
            ))
            .await;
        }
    }

    /// Whether anything is left of the copies: tasks go last.
    pub async fn is_rid_of_copies(&mut self) -> bool {
        // By the primary key, so that looking costs nobody anything.
        let copies = format!("SELECT id FROM tasks WHERE id >= '{OLD_ID}' AND id < '01B' LIMIT 1");
        let sql = format!("SELECT COUNT(*) FROM ({copies}) AS copies");
        self.number(&sql).await == 0
    }

    /// How large the database is, if PostgreSQL has it.
    pub async fn postgres_mb(&mut self) -> Option<i64> {
        if matches!(self, Self::Sqlite(_)) {
            return None;
        }
        let sql = "SELECT pg_database_size(current_database()) / 1048576";
        Some(self.number(sql).await)
    }

    async fn execute(&mut self, sql: &str) {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).unwrap(),
            Self::Postgres(connection) => {
                let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                connection.execute(sql).await.unwrap();
            }
        }
    }

    async fn number(&mut self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(connection) => connection.query_row(sql, (), |row| row.get(0)).unwrap(),
            Self::Postgres(connection) => {
                let sql = AssertSqlSafe(sql.to_owned());
                sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
            }
        }
    }

    async fn columns(&mut self, table: &str) -> Vec<String> {
        let sql = format!("SELECT * FROM {table} LIMIT 1");
        match self {
            Self::Sqlite(connection) => {
                let statement = connection.prepare(&sql).unwrap();
                statement
                    .column_names()
                    .into_iter()
                    .map(str::to_owned)
                    .collect()
            }
            Self::Postgres(connection) => {
                let row = sqlx::query(AssertSqlSafe(sql))
                    .fetch_one(connection)
                    .await
                    .unwrap();
                row.columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect()
            }
        }
    }
}
