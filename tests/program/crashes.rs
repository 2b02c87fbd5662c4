//! What survives SIGKILL and SIGTERM.

use std::time::Duration;

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Fault, Service, When};

use crate::world::{World, states};

async fn the_cdn_has_the_purge(world: &World) {
    world
        .until("the CDN has the purge", |world| {
            !world.sandbox.tencent_cdn().purged().is_empty()
        })
        .await;
}

fn purged_urls(world: &World) -> usize {
    let cdn = world.sandbox.tencent_cdn();
    cdn.purged_urls(PurgeKind::Url).len()
}

#[tokio::test]
async fn killed_while_a_purge_is_in_flight_the_status_still_arrives() {
    let mut world = World::serving().await;
    world
        .sandbox
        .tencent_cdn()
        .set_duration(Duration::from_secs(3));
    let website = world.website();
    let commit = website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    the_cdn_has_the_purge(&world).await;

    world.kill();
    world.start().await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    assert_eq!(purged_urls(&world), 1, "purged once");
}

#[tokio::test]
async fn killed_between_handing_a_batch_over_and_noting_its_task_the_batch_is_found_again() {
    let mut world = World::serving().await;
    let website = world.website();
    // The CDN does the work and answers only later: by then nobody is there to hear it.
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Times(1),
        Fault::DropAfter,
    );
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    the_cdn_has_the_purge(&world).await;

    world.kill();
    world.start().await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(purged_urls(&world), 1, "purged once");
}

#[tokio::test]
async fn a_delivery_that_was_answered_with_202_survives_a_kill_right_after() {
    let mut world = World::serving().await;
    let website = world.website();
    let commit = website.commit("main", &[Change::write("content/about.md", "second")]);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.kill();
    world.start().await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
}

#[tokio::test]
async fn sigterm_ends_the_program_with_0_and_the_work_goes_on_after_the_next_start() {
    let mut world = World::serving().await;
    world
        .sandbox
        .tencent_cdn()
        .set_duration(Duration::from_secs(2));
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;

    let status = world.terminate().await;
    world.start().await;

    assert_eq!(status.code(), Some(0));
    assert_eq!(world.ended(&run).await["state"], "succeeded");
}
