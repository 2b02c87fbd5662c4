//! Two replicas of the program on one PostgreSQL.

use std::time::Duration;

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Fault, Often, Repository, Service};

use crate::world::{World, states};

async fn two() -> World {
    let mut world = World::with_replicas(2).await;
    world.settle_at_once();
    world.start_replica(0).await;
    world.start_replica(1).await;
    world
}

#[tokio::test]
async fn pushes_sent_to_both_replicas_are_each_purged_once() {
    let world = two().await;
    let website = world.website();

    for number in 0..20 {
        let page = format!("content/page-{number}.md");
        let commit = website.commit("main", &[Change::write(&page, "second")]);
        let delivery = website.push("main").unwrap();
        let (status, answer) = delivery.send(&world.base_of(number % 2)).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        let run = answer["runs"][0]["id"].as_str().unwrap();
        assert_eq!(world.ended(run).await["state"], "succeeded");
        assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    }

    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    let mut pages: Vec<String> = (0..20)
        .map(|number| format!("https://www.example.com/page-{number}/"))
        .collect();
    pages.sort();
    assert_eq!(purged, pages);
}

#[tokio::test]
async fn a_delivery_that_reaches_both_replicas_at_once_makes_one_run() {
    let world = two().await;
    let website = world.website();

    for number in 0..20 {
        let content = number.to_string();
        website.commit("main", &[Change::write("content/about.md", &content)]);
        let delivery = website.push("main").unwrap();
        let (bases, again) = ([world.base_of(0), world.base_of(1)], delivery.clone());
        let (one, two) = tokio::join!(delivery.send(&bases[0]), again.send(&bases[1]));

        let (one, two) = (one.unwrap(), two.unwrap());
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 202], "{} {}", one.1, two.1);
        assert_eq!(one.1["runs"][0]["id"], two.1["runs"][0]["id"]);
        world.ended(one.1["runs"][0]["id"].as_str().unwrap()).await;
    }

    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(purged.len(), 20);
}

/// Replica 1 alone, stopped while the CDN is at its batch.
async fn stopped_in_the_middle() -> (World, Repository, String, String) {
    let mut world = World::with_replicas(2).await;
    world.settle_at_once();
    world.start_replica(1).await;
    world.sandbox.faults().add(
        Service::TencentCdn,
        "PurgeUrlsCache",
        Often::Times(1),
        Fault::Slow(Duration::from_secs(2)),
    );
    let website = world.website();
    let commit = website.commit("main", &[Change::write("content/about.md", "second")]);
    let delivery = website.push("main").unwrap();
    let (status, answer) = delivery.send(&world.base_of(1)).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let run = answer["runs"][0]["id"].as_str().unwrap().to_owned();
    world
        .until("the CDN is at the batch", |world| {
            world.sandbox.faults().pending() == 0
        })
        .await;
    world.signal(1, "STOP");
    world.start_replica(0).await;
    (world, website, run, commit)
}

// This test and the next wait for a lease to end, which takes a minute; they wait side by side.
#[tokio::test]
async fn a_replica_that_sleeps_through_its_lease_writes_nothing_when_it_wakes() {
    let (world, website, run, commit) = stopped_in_the_middle().await;
    let ended = world.ended(&run).await;
    assert_eq!(ended["state"], "succeeded");

    world.signal(1, "CONT");
    world
        .until("the sleeper sees that its lease has passed on", |world| {
            world.log().contains("the lease has passed on")
        })
        .await;

    // It works again, and what the other did stands.
    website.commit("main", &[Change::write("content/_index.md", "second")]);
    let next = website.push("main").unwrap();
    let (_, answer) = next.send(&world.base_of(1)).await.unwrap();
    world.ended(answer["runs"][0]["id"].as_str().unwrap()).await;
    assert_eq!(world.ended(&run).await, ended);
    assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    assert_eq!(
        world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url),
        ["https://www.example.com/", "https://www.example.com/about/"]
    );
}

#[tokio::test]
async fn what_a_killed_replica_had_in_hand_is_finished_by_the_other() {
    let (mut world, website, run, commit) = stopped_in_the_middle().await;

    world.kill_replica(1);

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    assert_eq!(
        world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url),
        ["https://www.example.com/about/"]
    );
}
