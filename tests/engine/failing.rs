//! What has failed of a run that goes on is said at once.

use std::time::Duration;

use purgehook::clock::TimeSource;
use purgehook::run::{Run, RunState};
use purgehook::sandbox::{Change, Repository, TargetOutcome, When};

use crate::world::{ONE_SITE, World};

/// Steps of the clock in which a run must have said what failed.
const STEPS: usize = 200;
const REASON: &str = "1 failed, 1 still running: Tencent Cloud reports";

/// A run of which one target failed and another never ends, once it has said so.
async fn failing(changes: &[&str]) -> (World, Repository, Run) {
    let world = World::new(1, ONE_SITE).await;
    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("broken", When::Always, TargetOutcome::Fail);
    tencent.set_outcome("slow", When::Always, TargetOutcome::Never);
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let changes: Vec<Change> = changes
        .iter()
        .map(|path| Change::write(path, "new"))
        .collect();
    website.commit("main", &changes);
    let id = world.accepted(&website.push("main").unwrap()).await;
    for _ in 0..STEPS {
        world.step().await;
        let run = world.run(&id).await;
        if run.summary.contains("still running") {
            return (world, website, run);
        }
    }
    panic!("it did not say so: {:?}", world.run(&id).await);
}

#[tokio::test]
async fn a_run_that_goes_on_says_what_has_failed() {
    let (world, website, run) = failing(&["broken.html", "slow.html"]).await;
    assert_eq!(run.state, RunState::Pending);
    assert!(run.summary.starts_with(REASON), "{}", run.summary);
    assert!(world.time.now() < run.created_at + Duration::from_secs(60));

    world.step().await;
    world.step().await;

    let shown = website.statuses(run.commit.as_str());
    let last = shown.last().unwrap();
    assert_eq!(last.state, "pending");
    let text = last.description.as_deref().unwrap();
    assert!(text.starts_with(REASON), "{text}");
    assert!(world.time.now() < run.created_at + Duration::from_secs(60));
}

#[tokio::test]
async fn the_commit_shows_the_reason_whole_where_a_url_is_long() {
    let long = format!("{}broken.html", "directory/".repeat(30));
    let (world, website, run) = failing(&[&long, "slow.html"]).await;
    assert!(run.summary.contains(&long), "the page has all of it");

    world.settle().await;

    let shown = website.statuses(run.commit.as_str());
    let texts: Vec<&str> = shown
        .iter()
        .filter_map(|status| status.description.as_deref())
        .collect();
    let last = texts.last().unwrap();
    assert!(last.starts_with("2 of 2 targets failed: "), "{last}");
    let mut running = texts.iter().filter(|text| text.contains("still running"));
    let running = running.next().unwrap();
    let target = "the task failed: https://www.example.com/…/broken.html on tencent";
    assert!(running.ends_with(target), "{running}");
}
