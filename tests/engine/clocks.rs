//! Clocks that are set while the program runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use purgehook::purge::PurgeKind;
use purgehook::run::{RunId, RunState};
use purgehook::sandbox::{Change, Fault, Repository, Service, When};
use rusqlite::Connection;
use tokio::task::JoinHandle;

use crate::world::{ONE_SITE, World};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A repository whose branch stands somewhere, and a push of one page.
async fn pushed(world: &World) -> (Repository, String, RunId) {
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let commit = website.commit("main", &[Change::write("a.html", "new")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    (website, commit, run)
}

/// Goes on until the run has ended well and its commit shows it: how much time that took.
async fn time_to_success(
    world: &World,
    website: &Repository,
    commit: &str,
    run: &RunId,
) -> SignedDuration {
    let began = world.clock.now();
    world.settle().await;
    let run = world.run(run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    assert_eq!(website.statuses(commit).pop().unwrap().state, "success");
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(purged, ["https://www.example.com/a.html"], "once");
    world.clock.now().duration_since(began)
}

/// A push in each of its stages: just taken in, under way at the CDN, waiting for a CDN that fails.
async fn set_in_every_stage(by: SignedDuration) {
    for stage in 0..12 {
        for failing in [false, true] {
            let world = World::new(stage, ONE_SITE).await;
            world.engine.drain().await.unwrap();
            let (website, commit, run) = pushed(&world).await;
            let faults = world.sandbox.faults();
            if failing {
                let down = Fault::Http(502, None);
                faults.add(Service::TENCENT_CDN, "*", When::Always, down);
            }
            for _ in 0..stage {
                world.step().await;
            }
            faults.clear();

            world.set_clock(by);

            let took = time_to_success(&world, &website, &commit, &run).await;
            assert!(
                took <= 10 * MINUTE,
                "stage {stage}, failing {failing}: {took:#}"
            );
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_an_hour_makes_nothing_wait_for_an_hour() {
    set_in_every_stage(-HOUR).await;
}

#[tokio::test]
async fn a_clock_that_is_set_forward_by_a_day_loses_nothing_and_sends_nothing_twice() {
    set_in_every_stage(DAY).await;
}

#[tokio::test]
async fn what_a_clock_a_year_ahead_put_off_is_done_after_a_restart_by_the_right_clock() {
    let mut world = World::new(1, ONE_SITE).await;
    let year = 365 * DAY;
    world.set_clock(year);
    let (website, commit, run) = pushed(&world).await;
    let down = Fault::Http(502, None);
    let faults = world.sandbox.faults();
    faults.add(Service::TENCENT_CDN, "*", When::Always, down);
    for _ in 0..5 {
        world.step().await;
    }
    faults.clear();

    world.set_clock(-year);
    world.restart().await;

    let took = time_to_success(&world, &website, &commit, &run).await;
    assert!(took <= 2 * HOUR, "{took:#}");
}

/// A batch that the CDN takes its time to answer, as it is sent.
async fn on_its_way(world: &World, slow: Duration) -> JoinHandle<()> {
    let faults = world.sandbox.faults();
    let slow = Fault::Slow(slow);
    faults.add(Service::TENCENT_CDN, "PurgeUrlsCache", When::Times(1), slow);
    let engine = Arc::clone(&world.engine);
    let sending = tokio::spawn(async move {
        engine.drain().await.unwrap();
    });
    while faults.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sending
}

#[tokio::test]
async fn a_batch_on_its_way_as_the_clock_is_set_forward_is_not_sent_again() {
    let world = World::new(1, ONE_SITE).await;
    let (website, commit, run) = pushed(&world).await;
    let sending = on_its_way(&world, Duration::from_secs(20)).await;

    world.set_clock(DAY);
    // As the next look for work does, which comes before the lease is renewed by itself.
    world.engine.drain().await.unwrap();
    world.time.pass(Duration::from_secs(20));
    sending.await.unwrap();

    time_to_success(&world, &website, &commit, &run).await;
}

/// Does something with the database as another process would.
async fn beside<T: Send + 'static>(
    world: &World,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> T {
    let path = world.database();
    let done = tokio::task::spawn_blocking(move || work(&Connection::open(path)?));
    done.await.unwrap().unwrap()
}

/// From now on whatever asks for this table fails at once, or finds it again under its name.
async fn rename(world: &World, from: &str, to: &str) {
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    beside(world, move |database| database.execute_batch(&sql)).await;
}

/// The token of the lease under which batches are sent.
async fn lease_to_submit(world: &World) -> String {
    let sql = "SELECT lease FROM work WHERE kind = 'submit'";
    beside(world, move |database| {
        database.query_row(sql, [], |row| row.get(0))
    })
    .await
}

#[tokio::test]
async fn a_step_in_hand_while_the_database_is_away_for_longer_than_a_lease_is_not_claimed_again() {
    let world = World::new(1, ONE_SITE).await;
    let (website, commit, run) = pushed(&world).await;
    let sending = on_its_way(&world, Duration::from_secs(80)).await;
    let lease = lease_to_submit(&world).await;

    rename(&world, "work", "away").await;
    for _ in 0..4 {
        world.time.pass(Duration::from_secs(13));
        world.engine.drain().await.unwrap_err();
    }
    rename(&world, "away", "work").await;
    world.time.pass(Duration::from_secs(9));
    // As the next look for work does, which comes before the lease is renewed by itself.
    world.engine.drain().await.unwrap();
    assert_eq!(lease_to_submit(&world).await, lease);
    world.time.pass(Duration::from_secs(20));
    sending.await.unwrap();

    time_to_success(&world, &website, &commit, &run).await;
}
