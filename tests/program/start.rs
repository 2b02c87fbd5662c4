//! A start that fails says what failed, and what to do.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::World;

/// What `purgehook serve` says when it cannot start with these flags.
async fn refused(world: &World, flags: &[&str]) -> String {
    let mut serve = world.command(0, &["serve"]);
    serve.args(flags).env_remove("RUST_BACKTRACE");
    let child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().to_string();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let Ok(output) = tokio::time::timeout(Duration::from_secs(60), ended).await else {
        Command::new("kill").arg(process).status().unwrap();
        panic!("it does not end by itself with {flags:?}");
    };
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn says(said: &str, words: &[&str]) {
    for words in words {
        assert!(said.contains(words), "{words}: {said}");
    }
}

fn version_of_tables(path: &Path, version: i64) {
    let file = rusqlite::Connection::open(path).unwrap();
    file.pragma_update(None, "user_version", version).unwrap();
}

#[tokio::test]
async fn a_database_that_does_not_open_is_named_with_what_to_do() {
    let mut world = World::new().await;
    world.start().await;
    world.terminate().await;
    let folder = world.folder().to_owned();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(
        at("text"),
        "this is no database, and never was one\n".repeat(100),
    )
    .unwrap();
    let damaged = at("damaged.db");
    let mut bytes = std::fs::read(at("purgehook.db")).unwrap();
    // All but the head of the file.
    bytes[100..].fill(0x5a);
    std::fs::write(&damaged, bytes).unwrap();
    let newer = at("newer.db");
    version_of_tables(Path::new(&newer), 9_000);

    for (database, words) in [
        (
            "sqlite://".to_owned(),
            ["names no file", "write `sqlite://purgehook.db`"],
        ),
        (
            "sqlite://:memory:".to_owned(),
            ["is not kept anywhere", "write `sqlite://purgehook.db`"],
        ),
        (
            format!("sqlite://{}", at("")),
            [
                "cannot open the database",
                "it is a directory; name a file in it",
            ],
        ),
        (
            format!("sqlite://{}", at("none/x.db")),
            ["there is no directory", "make it"],
        ),
        (
            format!("sqlite://{}", at("text")),
            ["not a database", "name another, or move it away"],
        ),
        (
            format!("sqlite://{damaged}"),
            [
                "malformed",
                "the file is damaged: put a backup in its place",
            ],
        ),
        (
            format!("sqlite://{newer}"),
            [
                "its tables are of a newer purgehook",
                "name another database",
            ],
        ),
        (
            "mysql://x".to_owned(),
            ["must start with sqlite:// or postgres://", ""],
        ),
    ] {
        let said = refused(&world, &["--database", &database]).await;
        says(&said, &words);
    }
}

#[tokio::test]
async fn a_server_that_does_not_let_it_in_is_named_without_the_password() {
    let world = World::new().await;
    let password = "pass-word-of-the-tests";
    // Nobody listens on a port for root alone (tcpmux).
    let port = 1;
    let address = format!("postgres://me:{password}@127.0.0.1:{port}/mine");
    let said = refused(&world, &["--database", &address]).await;
    says(
        &said,
        &[
            &format!(
                "cannot connect to PostgreSQL at 127.0.0.1:{port}, database mine: Connection refused"
            ),
            "see that it runs and can be reached from here",
        ],
    );
    assert!(!said.contains(password), "{said}");

    let known = crate::postgres::new_database().await;
    for (address, words) in [
        (
            known.replacen(name_in(&known), "none_such", 1),
            [
                "database \"none_such\" does not exist",
                "make it with `createdb`",
            ],
        ),
        (
            format!(
                "postgres://nobody_such@{}",
                known.split_once('@').unwrap().1
            ),
            [
                "role \"nobody_such\" does not exist",
                "check the user and the password",
            ],
        ),
    ] {
        let said = refused(&world, &["--database", &address]).await;
        says(&said, &words);
    }
}

/// The name of the database in an address.
fn name_in(address: &str) -> &str {
    let (before, _) = address.split_once('?').unwrap();
    before.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_named_with_what_to_do() {
    let world = World::new().await;
    let database = crate::postgres::new_database().await;
    let mut session = PgConnection::connect(&database).await.unwrap();
    let sql = format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        name_in(&database)
    );
    session.execute(AssertSqlSafe(sql)).await.unwrap();

    let said = refused(&world, &["--database", &database]).await;

    says(
        &said,
        &[
            "in a read-only transaction",
            "name the primary server, or see to its `default_transaction_read_only`",
        ],
    );
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_named_with_what_to_do() {
    let world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, words) in [
        (
            taken.as_str(),
            ["cannot listen on", "another program listens there"],
        ),
        (
            "192.0.2.1:8080",
            [
                "cannot listen on 192.0.2.1:8080",
                "it is no address of this machine",
            ],
        ),
        (
            "127.0.0.1:99999",
            [
                "cannot listen on 127.0.0.1:99999",
                "`server.listen` or --listen",
            ],
        ),
        (
            "nowhere.invalid:80",
            [
                "cannot listen on nowhere.invalid:80",
                "`server.listen` or --listen",
            ],
        ),
    ] {
        let said = refused(&world, &["--listen", listen]).await;
        says(&said, &words);
    }
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let world = World::serving().await;

    let said = refused(&world, &["--listen", "127.0.0.1:0"]).await;

    says(
        &said,
        &[
            "another purgehook serves from",
            "use PostgreSQL for several",
        ],
    );
}
