//! What a push costs of the disk.

use purgehook::sandbox::{Change, Delivery};

use crate::limits;
use crate::surroundings::{Counts, Surroundings};
use crate::world::World;

/// How many pushes the counts are averages of.
const PUSHES: u32 = 10;

/// Pushes one after the other, each to its end, and all that comes of them at the disk for each.
async fn hold_to_limits(name: &str, mut world: World, mode: &str) {
    world.sandbox.lift_github_limits();
    world.settle_at_once();
    world.edit_rules("server:\n", &format!("server:\n  mode: {mode}\n"));
    let surroundings = Surroundings::of(&mut world);
    surroundings.count();
    world.start().await;
    let website = world.website();
    let push = |number: u32| -> Delivery {
        let change = Change::write("content/about.md", format!("{number}"));
        website.commit("main", &[change]);
        website.push("main").unwrap()
    };
    // The first ones find out what is live.
    for number in 0..3 {
        let run = world.accepted(&push(number)).await;
        world.ended(&run).await;
    }

    let before = surroundings.counts();
    for number in 3..3 + PUSHES {
        let run = world.accepted(&push(number)).await;
        world.ended(&run).await;
    }
    let Counts {
        fsyncs,
        bytes_written,
        temporary_files,
    } = surroundings.counts();
    let each = |count: u64, before: u64| (count - before) as f64 / f64::from(PUSHES);
    limits::hold(&[
        (name, "fsyncs", each(fsyncs, before.fsyncs)),
        (
            name,
            "kB written",
            each(bytes_written, before.bytes_written) / 1e3,
        ),
        (
            name,
            "temporary files",
            each(temporary_files, before.temporary_files),
        ),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_on_its_whole_way_keeps_within_what_it_may_ask_of_the_disk() {
    hold_to_limits(
        "disk, live, accepted and to its end",
        World::new().await,
        "live",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_in_a_dry_run_keeps_within_what_it_may_ask_of_the_disk() {
    hold_to_limits(
        "disk, dry-run, accepted and to its end",
        World::new().await,
        "dry-run",
    )
    .await;
}
