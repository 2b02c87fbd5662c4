//! PostgreSQL: for several replicas that share the work.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, PgPool, Postgres, Row as _, TypeInfo, ValueRef};
use tokio::sync::Mutex;

use super::StoreError;
use super::database::{Database, Dialect, Row, Transaction, Value};
use super::errors::Trouble;
use super::open_errors;
use crate::cause::Cause;

/// Connections per replica, besides the one that listens.
const CONNECTIONS: u32 = 10;
/// How long a caller waits for a connection: a forge gives up on a delivery after ten seconds.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to try a server that refuses connections at the start.
const GREETINGS: u32 = 10;
/// The pause between these tries.
const GREETING_PAUSE: Duration = Duration::from_millis(500);
/// How long a statement may take. Ours take milliseconds, so a longer one means that the server hangs or the
/// network drops packets.
const STATEMENT_LIMIT: Duration = Duration::from_secs(15);
/// How long the check of a returned connection may take.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// The settings of every connection.
///
/// If a replica dies within a transaction, the others wait until the server ends its session; that must happen
/// before its leases end. A reported commit is on disk, even if the server's default is otherwise. Our statements
/// often look for rare or missing values: the generic plan to which the server switches after a few executions
/// would search all rows for them.
const SESSION: &str = "
    SET idle_in_transaction_session_timeout = '10s';
    SET plan_cache_mode = 'force_custom_plan';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// The commit of this transaction does not wait for the disk. A later commit that waits makes it durable too, since
/// PostgreSQL writes commits to its log in order.
const COMMIT_SOON: &str = "SET LOCAL synchronous_commit = off";

/// The channel on which replicas notify each other of work. The payload is the sender's name.
const CHANNEL: &str = "purgehook_work";

/// A PostgreSQL database.
pub struct PostgresDatabase {
    pool: PgPool,
    /// The name of this process among those that share the database.
    name: Arc<str>,
    /// None until the first call that listens, and after the connection was lost.
    listener: Mutex<Option<PgListener>>,
}

impl PostgresDatabase {
    /// Connects and brings the schema up to date. Replicas that start at the same time take turns.
    pub async fn open(address: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(address).map_err(|error| {
            StoreError::unreachable(format!("the database's address cannot be read: {error}"))
        })?;
        greet(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS + 1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(SESSION).execute(connection).await?;
                    Ok(())
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // The driver's own check has no time limit and keeps its slot in the pool: if the server
                    // vanished, all slots would be used up.
                    tokio::time::timeout(RELEASE_LIMIT, takes_writes(connection))
                        .await
                        .map_err(|_| sqlx::Error::PoolTimedOut)?
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(|error| open_errors::server(&options, error))?;
        super::migrations::postgres()
            .run(&pool)
            .await
            .map_err(|error| {
                let name = options.get_database().unwrap_or(options.get_username());
                open_errors::server_tables(name, error)
            })?;
        let name: String =
            limited(sqlx::query_scalar("SELECT gen_random_uuid()::text").fetch_one(&pool)).await?;
        Ok(Self {
            pool,
            name: name.into(),
            listener: Mutex::new(None),
        })
    }
}

/// Whether a database contains the store's tables.
pub(super) async fn has_tables(address: &str) -> Result<bool, StoreError> {
    let options = PgConnectOptions::from_str(address).map_err(|error| {
        let words = format!("the database's address cannot be read: {error}");
        StoreError::Unreachable(Trouble::new(words, Cause::of(error)))
    })?;
    greet(&options).await?;
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(|error| open_errors::server(&options, error))?;
    // The table of schema versions, which is created with the first version.
    let found = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
    let found: bool = limited(found.fetch_one(&mut connection)).await?;
    Ok(found)
}

/// Connects once. The pool would only report a timeout without the reason. A server that refuses connections may
/// still be starting, for example in the same composition, so it gets some time.
async fn greet(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        let connecting = PgConnection::connect_with(options);
        let connected = match tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
        };
        let error = match connected {
            Ok(connection) => {
                // Whether the server sees the disconnect does not matter.
                let _ = tokio::time::timeout(RELEASE_LIMIT, connection.close()).await;
                return Ok(());
            }
            Err(error) => error,
        };
        // `cannot_connect_now`: the server is starting or stopping.
        let code = error.as_database_error().and_then(|error| error.code());
        let may_come = code.as_deref() == Some("57P03")
            || matches!(&error, sqlx::Error::Io(error) if error.kind() != io::ErrorKind::TimedOut);
        tries += 1;
        if !may_come || tries >= GREETINGS {
            return Err(open_errors::server(options, error));
        }
        tokio::time::sleep(GREETING_PAUSE).await;
    }
}

/// Whether a session may write. A session on a standby may not, and one that began while the server was read-only
/// never will. The next session goes to whichever server the address then leads to.
async fn takes_writes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let read_only: String = sqlx::query_scalar("SHOW transaction_read_only")
        .fetch_one(connection)
        .await?;
    Ok(read_only == "off")
}

/// Waits for the server for a limited time.
async fn limited<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(STATEMENT_LIMIT, statement).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(StoreError::unreachable(format!(
            "the database did not answer within {} s",
            STATEMENT_LIMIT.as_secs()
        ))),
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(PostgresTransaction {
            tx: limited(self.pool.begin()).await?,
            process: Arc::clone(&self.name),
            announced: false,
        }))
    }

    async fn read(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        rows(&limited(bind(sql, params).fetch_all(&self.pool)).await?)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn notified(&self) -> Result<(), StoreError> {
        let mut listener = self.listener.lock().await;
        let Some(open) = listener.as_mut() else {
            let mut open = limited(PgListener::connect_with(&self.pool)).await?;
            limited(open.listen(CHANNEL)).await?;
            *listener = Some(open);
            // Notifications sent before now were not received.
            return Ok(());
        };
        loop {
            match open.try_recv().await {
                Ok(Some(said)) if said.payload() == &*self.name => {}
                Ok(Some(_)) => return Ok(()),
                // The connection is lost: the next call opens another.
                Ok(None) => {
                    *listener = None;
                    return Ok(());
                }
                Err(error) => {
                    *listener = None;
                    return Err(error.into());
                }
            }
        }
    }
}

struct PostgresTransaction {
    tx: sqlx::Transaction<'static, Postgres>,
    process: Arc<str>,
    announced: bool,
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, StoreError> {
        let done = limited(bind(sql, params).execute(&mut *self.tx)).await?;
        Ok(done.rows_affected())
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        rows(&limited(bind(sql, params).fetch_all(&mut *self.tx)).await?)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn advisory_lock(&mut self, names: BTreeSet<String>) -> Result<(), StoreError> {
        // In sorted order, so that two transactions that need the same names cannot deadlock.
        for name in names {
            let turn = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
                .bind(name)
                .execute(&mut *self.tx);
            limited(turn).await?;
        }
        Ok(())
    }

    async fn notify(&mut self) -> Result<(), StoreError> {
        if !self.announced {
            let notice = sqlx::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(&*self.process)
                .execute(&mut *self.tx);
            limited(notice).await?;
            self.announced = true;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        limited(self.tx.commit()).await
    }

    async fn commit_soon(mut self: Box<Self>) -> Result<(), StoreError> {
        limited(sqlx::raw_sql(COMMIT_SOON).execute(&mut *self.tx)).await?;
        limited(self.tx.commit()).await
    }
}

type Query = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

fn bind(sql: &str, params: Vec<Value>) -> Query {
    // Safe: the statements are our own text, and outside values are bound.
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for param in params {
        query = match param {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value.to_vec()),
        };
    }
    query
}

/// The rows of one result.
fn rows(rows: &[PgRow]) -> Result<Vec<Row>, StoreError> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let columns: Arc<[String]> = first
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let row = |row: &PgRow| Ok(Row::new(Arc::clone(&columns), values(row)?));
    rows.iter().map(row).collect()
}

fn values(row: &PgRow) -> Result<Vec<Value>, StoreError> {
    let mut values = Vec::with_capacity(row.columns().len());
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        values.push(match raw.type_info().name() {
            "INT8" => Value::Int(row.try_get(at)?),
            // A number in a statement's own text.
            "INT4" => Value::Int(row.try_get::<Option<i32>, _>(at)?.map(i64::from)),
            "BYTEA" => Value::Bytes(
                row.try_get::<Option<Vec<u8>>, _>(at)?
                    .unwrap_or_default()
                    .into(),
            ),
            _ => Value::Text(row.try_get(at)?),
        });
    }
    Ok(values)
}
