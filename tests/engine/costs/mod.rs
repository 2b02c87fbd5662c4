//! How many statements and commits a push costs, on both databases.

mod counting;

use std::time::Duration;

use futures_util::future::join_all;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Delivery, Repository};
use purgehook::store::Store;
use tempfile::TempDir;

use self::counting::{Counter, Counting, Counts};
use crate::limits::hold;
use crate::postgres;
use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    mode: MODE
    settle: 0s
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";
/// How many pushes the counts are averages of.
const PUSHES: u64 = 20;
/// How many come at once, as over so many connections.
const AT_ONCE: u64 = 64;
/// What is due later is no push's matter: sites are compared with their forges, and what is old is removed.
const SOON: Duration = Duration::from_secs(60);

/// A world whose database counts what it is asked.
async fn counting(address: &str, folder: TempDir, mode: &str) -> (World, Repository, Counter) {
    let counter = Counter::default();
    let database = Counting {
        database: Store::open_database(address).await.unwrap(),
        counter: counter.clone(),
    };
    let world = World::on(
        1,
        &RULES.replace("MODE", mode),
        Store::on(Box::new(database)),
        folder,
    )
    .await;
    world.sandbox.lift_github_limits();
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("a.html", "first")]);
    website.push("main");
    world.reconcile(&["www"]).await;
    rest(&world).await;
    counter.take();
    (world, website, counter)
}

/// A world at rest: nothing is due soon.
async fn rest(world: &World) {
    while let Some(next) = world.engine.drain().await.unwrap() {
        if next > world.clock.now() + SOON {
            break;
        }
        world.time.move_to(next);
    }
}

/// What pushes cost until they are answered, and then until nothing is left to do: those that come one by one, and those that come at once.
struct Costs {
    one_by_one: [Counts; 2],
    at_once: [Counts; 2],
}

async fn costs((world, website, counter): (World, Repository, Counter)) -> Costs {
    let push = |number: u64| {
        let change = Change::write("a.html", format!("{number}"));
        website.commit("main", &[change]);
        website.push("main").unwrap()
    };
    let mut one_by_one = [Counts::default(), Counts::default()];
    for number in 0..PUSHES {
        world.accepted(&push(number)).await;
        one_by_one[0].add(counter.take());
        rest(&world).await;
        one_by_one[1].add(counter.take());
    }
    let pushes: Vec<Delivery> = (PUSHES..PUSHES + AT_ONCE).map(push).collect();
    join_all(pushes.iter().map(|push| world.accepted(push))).await;
    let accepted = counter.take();
    rest(&world).await;
    let at_once = [accepted, counter.take()];
    let pending = world
        .runs()
        .await
        .iter()
        .any(|run| run.state == RunState::Pending);
    assert!(!pending, "it does not come to rest");
    Costs {
        one_by_one,
        at_once,
    }
}

/// Shows what a push was spent on, and holds it to its limits.
fn hold_to_limits(name: &str, costs: &Costs, mode: &str) {
    let [one, one_rest] = &costs.one_by_one;
    let [many, many_rest] = &costs.at_once;
    let ways = [
        (format!("{name}, accepted"), one, PUSHES),
        (format!("{name}, {mode}, to its end"), one_rest, PUSHES),
        (
            format!("{name}, {AT_ONCE} at once, accepted"),
            many,
            AT_ONCE,
        ),
        (
            format!("{name}, {AT_ONCE} at once, {mode}, to their end"),
            many_rest,
            AT_ONCE,
        ),
    ];
    let mut counted = Vec::new();
    for (way, counts, pushes) in &ways {
        println!("\n{way}, for each push:");
        counts.show(*pushes);
        let each = |count: u64| count as f64 / *pushes as f64;
        counted.extend([
            (way.as_str(), "statements", each(counts.given())),
            (way.as_str(), "transactions", each(counts.transactions)),
            (way.as_str(), "commits", each(counts.commits)),
        ]);
    }
    hold(&counted);
}

async fn on_sqlite(mode: &str) {
    let folder = TempDir::new().unwrap();
    let address = format!("sqlite://{}", folder.path().join("purgehook.db").display());
    let world = counting(&address, folder, mode).await;
    hold_to_limits("SQLite", &costs(world).await, mode);
}

async fn on_postgres(mode: &str) {
    let address = postgres::new_database().await;
    let world = counting(&address, TempDir::new().unwrap(), mode).await;
    hold_to_limits("PostgreSQL", &costs(world).await, mode);
}

#[tokio::test]
async fn a_push_on_its_whole_way_keeps_within_its_statements_on_sqlite() {
    on_sqlite("live").await;
}

#[tokio::test]
async fn a_push_in_a_dry_run_keeps_within_its_statements_on_sqlite() {
    on_sqlite("dry-run").await;
}

#[tokio::test]
async fn a_push_on_its_whole_way_keeps_within_its_statements_on_postgresql() {
    on_postgres("live").await;
}

#[tokio::test]
async fn a_push_in_a_dry_run_keeps_within_its_statements_on_postgresql() {
    on_postgres("dry-run").await;
}
