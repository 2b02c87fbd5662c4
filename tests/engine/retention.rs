//! What ended long ago goes, and nothing is forgotten that matters.

use std::time::Duration;

use purgehook::engine::Received;
use purgehook::event::GitRef;
use purgehook::purge::PurgeKind;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Repository};
use purgehook::store::Removed;
use rusqlite::Connection;

use crate::world::World;

const RULES: &str = "
server: {retention: 30d}
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    branches: [main, legacy]
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Pushes in a year, three days apart.
const PUSHES: u64 = 122;
const TABLES: [&str; 6] = [
    "deliveries",
    "runs",
    "run_changes",
    "purges",
    "tasks",
    "statuses",
];

/// A repository that stands somewhere, in a world that removes what is old.
async fn begin(seed: u64) -> (World, Repository) {
    let world = World::new(seed, RULES).await;
    world.sandbox.lift_github_limits();
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    world.ask_to_remove().await;
    (world, website)
}

/// Lets days pass in which the program runs.
async fn live(world: &World, days: u32) {
    for _ in 0..days {
        world.time.pass(DAY);
        world.step().await;
    }
}

/// A push of some pages, and all that it asks for.
async fn push(world: &World, website: &Repository, pages: u32, text: &str) {
    let pages = (0..pages).map(|page| Change::write(format!("{page}.html"), text));
    website.commit("main", &pages.collect::<Vec<_>>());
    world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
}

/// Rows of each table.
fn rows(world: &World) -> [i64; TABLES.len()] {
    let database = Connection::open(world.database()).unwrap();
    TABLES.map(|table| {
        let count = format!("SELECT COUNT(*) FROM {table}");
        database.query_row(&count, [], |row| row.get(0)).unwrap()
    })
}

/// Bytes of the database's file, with all that was written in it.
fn bytes(world: &World) -> u64 {
    let database = Connection::open(world.database()).unwrap();
    let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
    database.query_row(fold, [], |_| Ok(())).unwrap();
    std::fs::metadata(world.database()).unwrap().len()
}

#[tokio::test]
async fn a_year_of_pushes_takes_no_more_room_than_what_is_kept_of_it() {
    let (world, website) = begin(1).await;
    let mut after_two_months = ([0; TABLES.len()], 0);

    for n in 0..PUSHES {
        push(&world, &website, 20, &format!("push {n}")).await;
        live(&world, 3).await;
        if n == 20 {
            after_two_months = (rows(&world), bytes(&world));
        }
    }

    let (rows_then, bytes_then) = after_two_months;
    let (rows, bytes) = (rows(&world), bytes(&world));
    println!(
        "after two months {rows_then:?} rows of {TABLES:?} in {bytes_then} bytes, after a year {rows:?} in {bytes}"
    );
    let kept = u64::try_from(rows[1]).unwrap();
    assert!((9..=11).contains(&kept), "the runs of 30 days: {kept}");
    for ((table, then), now) in TABLES.iter().zip(rows_then).zip(rows) {
        assert!(now <= then, "{now} {table}, {then} after two months");
    }
    assert!(
        bytes <= bytes_then + bytes_then / 10,
        "{bytes} bytes, {bytes_then} after two months"
    );
    let gone = PUSHES - kept;
    let expected = Removed {
        runs: gone,
        deliveries: gone,
        purges: gone * 20,
        tasks: gone,
    };
    assert_eq!(world.engine.removed(), expected);
    let runs = world.runs().await;
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded));
}

#[tokio::test]
async fn after_a_long_silence_the_next_push_purges_what_changed_and_no_branch_counts_as_missed() {
    let (world, website) = begin(2).await;
    website.commit("legacy", &[Change::write("old.html", "1")]);
    world.accepted(&website.push("legacy").unwrap()).await;
    world.settle().await;
    for text in ["1", "2", "3"] {
        world.time.pass(DAY);
        push(&world, &website, 3, text).await;
    }
    world.ask_to_reconcile("www").await;
    let before = world.runs().await;
    assert_eq!(before.len(), 4);

    live(&world, 200).await;
    world.reconcile(&["www"]).await;
    world.settle().await;

    let left = world.runs().await;
    let refs = left.iter().filter_map(|run| run.git_ref.as_ref());
    let refs: Vec<&str> = refs.map(GitRef::name).collect();
    assert_eq!(refs, ["main", "legacy"]);
    assert_eq!(left[0], before[0]);
    let purged = || {
        world
            .sandbox
            .tencent_cdn()
            .purged_urls(PurgeKind::Url)
            .len()
    };
    let so_far = purged();
    push(&world, &website, 1, "4").await;
    assert_eq!(purged() - so_far, 1);
    let newest = world.runs().await.remove(0);
    assert_eq!(newest.state, RunState::Succeeded);
    assert_eq!(newest.proof, before[0].proof);
}

#[tokio::test]
async fn a_delivery_that_comes_again_within_the_time_is_no_news() {
    let (world, website) = begin(3).await;
    website.commit("main", &[Change::write("a.html", "1")]);
    let delivery = website.push("main").unwrap();
    let run = world.accepted(&delivery).await;
    world.settle().await;
    world.time.pass(DAY);
    push(&world, &website, 1, "2").await;

    world.time.pass(28 * DAY);
    world.step().await;

    match world.receive(&delivery).await.unwrap() {
        Received::Duplicate { runs, .. } => assert_eq!(runs, [run]),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.engine.removed(), Removed::default());
}

#[tokio::test]
async fn a_clock_that_is_far_ahead_for_a_while_removes_nothing() {
    let (world, website) = begin(4).await;
    for text in ["1", "2", "3"] {
        push(&world, &website, 3, text).await;
        live(&world, 1).await;
    }
    let kept = rows(&world);
    let year = jiff::SignedDuration::from_hours(400 * 24);

    world.set_clock(year);
    // What is due by that clock is done, and no time passes.
    world.engine.drain().await.unwrap();
    world.set_clock(-year);
    world.settle().await;
    live(&world, 2).await;

    assert_eq!(world.engine.removed(), Removed::default());
    assert_eq!(rows(&world), kept);
    // A clock that goes on is right.
    live(&world, 40).await;
    assert_ne!(world.engine.removed(), Removed::default());
}
