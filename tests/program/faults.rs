//! What the program does when its surroundings fail, and when it is to stop meanwhile.

use std::time::{Duration, Instant};

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Fault, Service, When};

use crate::surroundings::Surroundings;
use crate::world::World;

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_no_delivery_that_was_accepted() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let before = world.accepted(&website.push("main").unwrap()).await;

    world.let_files_grow(false);
    website.commit("main", &[Change::write("content/_index.md", "second")]);
    let refused = website.push("main").unwrap();
    let (status, answer) = world.send(&refused).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["outcome"], "refused");
    world
        .answers(
            "/readyz",
            "cannot be written to: it does not answer, or its disk fails",
        )
        .await;
    let page = world.text("/").await;
    assert!(page.contains("Deliveries are rejected"), "{page}");
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);

    world.let_files_grow(true);
    world.answers("/readyz", r#""ready":true"#).await;
    let page = world.text("/").await;
    assert!(!page.contains("Deliveries are rejected"), "{page}");
    let after = world.accepted(&refused).await;
    // What was in hand when the disk failed may have to wait for its lease to end, a minute;
    // the newer run may speak for the older one.
    assert_eq!(world.ended(&after).await["state"], "succeeded");
    let before = world.ended(&before).await;
    assert!(
        ["succeeded", "superseded"]
            .iter()
            .any(|state| before["state"] == *state),
        "{before}"
    );
    // The older one may come after the newer one, and then purges all that differs once more.
    let mut purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    purged.dedup();
    assert_eq!(
        purged,
        ["https://www.example.com/", "https://www.example.com/about/"]
    );
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_said_to_be_so_and_costs_nothing_that_was_accepted() {
    let mut world = World::new().await;
    let surroundings = Surroundings::of(&mut world);
    world.start().await;
    let website = world.website();
    let before = website.commit("main", &[Change::write("content/about.md", "second")]);
    world.accepted(&website.push("main").unwrap()).await;

    // As Linux does with a filesystem that it finds damaged.
    surroundings.order("read-only", "");
    let commit = website.commit("main", &[Change::write("content/_index.md", "second")]);
    let refused = website.push("main").unwrap();
    let answer = world.answer_to(&refused).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.retry_after.as_deref(), Some("10"));
    world
        .answers("/readyz", "cannot be written to: it is read-only")
        .await;
    let page = world.text("/").await;
    assert!(
        page.contains("the database cannot be written to, it is read-only"),
        "{page}"
    );

    surroundings.take_back("read-only");
    world.answers("/readyz", r#""ready":true"#).await;
    world.accepted(&refused).await;
    for commit in [before, commit] {
        assert_eq!(world.shown(&website, &commit).await, "success");
    }
}

/// A program whose step waits for a CDN that never answers.
async fn with_a_hanging_cdn() -> (World, String) {
    let world = World::serving().await;
    let faults = world.sandbox.faults();
    faults.add(Service::TENCENT_CDN, "*", When::Times(1), Fault::Hang);
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world
        .until("the CDN has the request", |world| {
            world.sandbox.faults().pending() == 0
        })
        .await;
    (world, run)
}

#[tokio::test]
async fn a_cdn_that_hangs_does_not_keep_it_from_stopping() {
    let (mut world, run) = with_a_hanging_cdn().await;
    world.step_aside();

    let asked = Instant::now();
    let ended = world.terminate().await;

    // docs/operate/deploy.md says 30 seconds; twice that for a machine that is busy.
    assert!(ended.success(), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(60));
    world.start().await;
    assert_eq!(world.ended(&run).await["state"], "succeeded");
}

#[tokio::test]
async fn a_second_signal_stops_it_at_once_and_loses_nothing() {
    let (mut world, run) = with_a_hanging_cdn().await;

    world.signal(0, "TERM");
    world
        .until("it is stopping", |world| {
            world.log().contains("stopping: SIGTERM")
        })
        .await;
    // A supervisor's and a terminal's of one moment are one signal.
    world.signal(0, "TERM");
    world.signal(0, "INT");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!world.log().contains("stopping at once"), "{}", world.log());
    let ended = world.terminate().await;

    assert_eq!(ended.code(), Some(1));
    assert!(world.log().contains("stopping at once"), "{}", world.log());
    world.start().await;
    assert_eq!(world.ended(&run).await["state"], "succeeded");
}
