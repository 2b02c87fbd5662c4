//! A database of any version is brought up to date with what it holds, and is of use afterwards.
//!
//! A version's tables are made by its file in `src/store/schema` and those before it, and filled by its file in
//! `tests/store/versions`: a new version needs one more of each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use purgehook::account::AccountId;
use purgehook::changes::{ChangeKind, FilePath};
use purgehook::event::CommitId;
use purgehook::purge::{PurgeKind, PurgeState};
use purgehook::run::{Base, RunState, RunStep};
use purgehook::store::{
    Accepted, Disposition, RetryOutcome, SiteCaches, Store, StoredBody, Upstream, WorkKey, Write,
};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};
use tempfile::TempDir;

use crate::databases::{at, base, delivery, run_id, url};
use crate::postgres;

/// The files of a folder with a file a version, oldest first.
fn versions(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn texts(files: &[PathBuf]) -> Vec<String> {
    let texts = files.iter().map(std::fs::read_to_string);
    texts.map(Result::unwrap).collect()
}

/// The statements that fill the tables, with `{bytes HEX}` written as the database has it.
fn rows(file: &Path, before: &str, after: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let mut parts = text.split("{bytes ");
    let mut sql = parts.next().unwrap().to_owned();
    for part in parts {
        let (hex, rest) = part.split_once('}').unwrap();
        sql.push_str(&format!("{before}{hex}{after}{rest}"));
    }
    sql
}

#[test]
fn every_version_has_a_file_for_each_database_and_one_with_rows() {
    let names = |folder| {
        let files = versions(folder).into_iter();
        let names = files.map(|file| file.file_name().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let sqlite = names("src/store/schema/sqlite");

    assert!(!sqlite.is_empty());
    assert_eq!(names("src/store/schema/postgres"), sqlite);
    assert_eq!(names("tests/store/versions"), sqlite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_of_any_version_is_brought_up_to_date() {
    let schema = texts(&versions("src/store/schema/sqlite"));
    for (number, file) in (1..).zip(&versions("tests/store/versions")) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        for statements in &schema[..number] {
            connection.execute_batch(statements).unwrap();
        }
        connection.execute_batch(&rows(file, "X'", "'")).unwrap();
        connection
            .pragma_update(None, "user_version", i64::try_from(number).unwrap())
            .unwrap();
        connection.close().unwrap();

        let address = format!("sqlite://{}", path.display());
        is_of_use(&address).await;

        let connection = rusqlite::Connection::open(&path).unwrap();
        let version =
            connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        assert_eq!(version.unwrap(), i64::try_from(schema.len()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_of_any_version_is_brought_up_to_date() {
    let schema = texts(&versions("src/store/schema/postgres"));
    for (number, file) in (1..).zip(&versions("tests/store/versions")) {
        let address = postgres::new_database().await;
        let mut connection = PgConnection::connect(&address).await.unwrap();
        let migrations = (1..).zip(&schema[..number]).map(|(number, statements)| {
            let statements = AssertSqlSafe(statements.clone()).into_sql_str();
            let name = Cow::Borrowed("schema");
            Migration::new(number, name, MigrationType::Simple, statements, false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        migrator.run(&mut connection).await.unwrap();
        let filled = AssertSqlSafe(rows(file, "'\\x", "'::bytea"));
        connection.execute(filled.into_sql_str()).await.unwrap();
        connection.close().await.unwrap();

        is_of_use(&address).await;
    }
}

/// Opens a database that the rows of some version were put into, twice, and works with it.
async fn is_of_use(address: &str) {
    drop(Store::open(address).await.unwrap());
    let store = Store::open(address).await.unwrap();
    what_it_held_is_read(&store).await;
    what_was_under_way_goes_on(&store).await;
    deliveries_are_taken_in(&store).await;
    what_is_old_is_removed(&store).await;
}

async fn what_it_held_is_read(store: &Store) {
    let ended = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(ended.state, RunState::Succeeded);
    assert_eq!(ended.bases, [base('a'), Base::Unknown]);
    assert_eq!(ended.notes, ["a note"]);
    let changes = store.changes(&run_id(1)).await.unwrap().unwrap();
    let changed = FilePath::new("content/a.md");
    assert_eq!(changes.by_link(), [(&changed, ChangeKind::Modified)]);
    let purges = store.purges(&run_id(1), 0, 10).await.unwrap();
    assert_eq!(purges[0].state, PurgeState::Done);
    assert_eq!(
        purges[0].task.as_ref().map(ToString::to_string).as_deref(),
        Some("v-1")
    );
    assert_eq!(
        store.statuses(&run_id(1)).await.unwrap()[0].description,
        "Purged 1 URL"
    );
    let commit = CommitId::parse(&"b".repeat(40)).unwrap();
    assert_eq!(store.statuses_on("www", &commit).await.unwrap().len(), 1);
    let dry = store.dry_run_purges().await.unwrap();
    assert_eq!(dry, [("tencent".to_owned(), PurgeKind::Url, 1)]);

    let kept = store.delivery("D0001").await.unwrap().unwrap();
    assert_eq!(kept.body, StoredBody::Whole("{}".into()));
    let held = store.held(&SiteCaches::real("www"), at(50)).await.unwrap();
    assert_eq!((held.version, held.commits.len()), (2, 2));
    let shadow = store
        .held(&SiteCaches::shadow("www"), at(50))
        .await
        .unwrap();
    assert_eq!((shadow.version, shadow.commits), (1, vec![base('a')]));

    let account = AccountId::new("an account");
    let handed_over = store.submitted_since(&account, PurgeKind::Url, at(0));
    assert_eq!(handed_over.await.unwrap(), 1);
    let circuit = store
        .circuit(&Upstream::Cdn(account))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(circuit.failures, 5);
    let waited = Duration::from_millis(100);
    store
        .reserve_slot("query an account", at(50), waited)
        .await
        .unwrap();
}

async fn what_was_under_way_goes_on(store: &Store) {
    let account = AccountId::new("an account");
    let lease = Duration::from_secs(60);
    let claimed = store.claim(at(50), lease, "test", 10).await.unwrap();
    assert_eq!(claimed.works.len(), 1);
    let work = &claimed.works[0];
    assert_eq!(work.key, WorkKey::Run(run_id(3)));
    let mut run = store.run(&run_id(3)).await.unwrap().unwrap();
    run.step = RunStep::Purging;
    run.held_version = Some(3);
    let caches = SiteCaches::real("www");
    let writes = [
        Write::Run(run),
        Write::Changes(
            run_id(3),
            BTreeMap::from([(FilePath::new("b.md"), ChangeKind::Added)]).into(),
        ),
        Write::Purges(run_id(3), vec![url("/b/")]),
        Write::ExpectHeldVersion(caches.clone(), 2),
        Write::Hold(caches, vec![base('d')], 3),
        Write::EnqueueSubmits(run_id(3)),
    ];
    let done = Disposition::Complete;
    assert!(
        store
            .commit(&work.lease, &writes, done, at(51))
            .await
            .unwrap()
    );
    let head = store.queue_head(&account, PurgeKind::Url).await.unwrap();
    assert_eq!(head.unwrap().cdn, "tencent");

    let retried = store.retry(&run_id(2), at(52), at(4_000)).await.unwrap();
    assert_eq!(retried, RetryOutcome::Retried);
    let purges = store.purges(&run_id(2), 0, 10).await.unwrap();
    let states: Vec<PurgeState> = purges.iter().map(|purge| purge.state).collect();
    assert_eq!(states, [PurgeState::Planned, PurgeState::DryRun]);
}

async fn deliveries_are_taken_in(store: &Store) {
    let again = delivery(8, "one", "a..b");
    let new = delivery(9, "two", "b..c");
    let outcomes = store.accept(&[again, new]).await.unwrap();
    assert_eq!(
        outcomes,
        [
            Accepted::Duplicate {
                delivery: "D0001".to_owned(),
                runs: vec![run_id(1)],
            },
            Accepted::New
        ]
    );
    assert_eq!(
        store.newest_run("www", None).await.unwrap().unwrap().id,
        run_id(9)
    );
}

async fn what_is_old_is_removed(store: &Store) {
    assert!(store.run(&run_id(0)).await.unwrap().is_some());
    while !store
        .remove_ended(at(100_000_000), &[])
        .await
        .unwrap()
        .is_nothing()
    {}
    assert!(store.run(&run_id(0)).await.unwrap().is_none());
    assert!(
        store.run(&run_id(3)).await.unwrap().is_some(),
        "it has not ended"
    );
}
