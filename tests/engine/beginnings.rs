//! A new site: what its caches hold from before, nobody can say until everything was purged once.

use std::time::Duration;

use purgehook::purge::PurgeKind;
use purgehook::run::{RunId, RunState};
use purgehook::sandbox::{Change, Fault, Repository, Service, WebhookEvent, When};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    trigger: {deployment: production}
    when_unknown: everything
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

/// A commit that was deployed, and that purgehook was told of.
async fn deploy(world: &World, website: &Repository, path: &str) -> RunId {
    let sha = website.commit("main", &[Change::write(path, "new")]);
    website.push("main");
    let event = WebhookEvent::Deployment {
        sha,
        branch: "main".to_owned(),
        environment: "production".to_owned(),
        state: "success".to_owned(),
    };
    world.accepted(&website.emit(&event).unwrap()).await
}

fn everything_was_purged(world: &World) -> bool {
    let purged = world
        .sandbox
        .tencent_cdn()
        .purged_urls(PurgeKind::Directory);
    purged.contains(&"https://www.example.com/".to_owned())
}

#[tokio::test]
async fn everything_is_purged_by_the_next_run_where_the_first_one_failed_to() {
    let world = World::new(1, RULES).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let refusal = Fault::Code("AuthFailure.SecretIdNotFound".to_owned());
    let faults = world.sandbox.faults();
    faults.add(Service::TENCENT_CDN, "*", When::Always, refusal);
    let first = deploy(&world, &website, "a.html").await;
    world.settle().await;
    assert_eq!(world.run(&first).await.state, RunState::Failed);
    assert!(!everything_was_purged(&world));

    faults.clear();
    let second = deploy(&world, &website, "b.html").await;
    world.settle().await;

    assert_eq!(world.run(&second).await.state, RunState::Succeeded);
    assert!(everything_was_purged(&world));
    // From now on it is known.
    world.time.pass(Duration::from_secs(3_600));
    deploy(&world, &website, "c.html").await;
    world.settle().await;
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(purged, ["https://www.example.com/c.html"]);
}

#[tokio::test]
async fn everything_is_purged_by_the_run_that_covers_the_first_one() {
    let world = World::new(1, RULES).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let first = deploy(&world, &website, "a.html").await;
    world.time.pass(Duration::from_millis(1));
    deploy(&world, &website, "b.html").await;
    world.settle().await;

    assert_eq!(world.run(&first).await.state, RunState::Superseded);
    assert!(everything_was_purged(&world));
}

#[tokio::test]
async fn where_unknown_is_to_fail_it_fails_until_somebody_has_everything_purged() {
    let rules = RULES.replace("when_unknown: everything", "when_unknown: fail");
    let world = World::new(1, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let first = deploy(&world, &website, "a.html").await;
    world.settle().await;

    world.engine.retry(&first).await.unwrap();
    world.settle().await;
    let second = deploy(&world, &website, "b.html").await;
    world.settle().await;

    for run in [&first, &second] {
        let run = world.run(run).await;
        assert_eq!(run.state, RunState::Failed);
        assert_eq!(
            run.summary,
            "Unknown what changed: it is not known what the caches hold; \
             `purgehook run www --everything` purges everything"
        );
    }
    let config = world.config();
    let site = &config.sites["www"];
    let by_hand = world
        .engine
        .start_by_hand(site, "main", true)
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(world.run(&by_hand).await.state, RunState::Succeeded);

    // Within the site's `settle`, caches may have filled anew with what was there at first.
    let third = deploy(&world, &website, "c.html").await;
    world.engine.drain().await.unwrap();
    let waiting = world.run(&third).await;
    assert_eq!(waiting.state, RunState::Pending);
    assert!(
        waiting.summary.starts_with("Waiting until 2026-11-22 04:1"),
        "{}",
        waiting.summary
    );
    world.settle().await;
    assert_eq!(world.run(&third).await.state, RunState::Succeeded);
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert!(
        purged.contains(&"https://www.example.com/c.html".to_owned()),
        "{purged:?}"
    );
}
