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

#[tokio::test]
async fn a_commit_that_is_deployed_again_has_the_same_purged_again() {
    let world = World::new(1, RULES).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    deploy(&world, &website, "a.html").await;
    world.settle().await;
    world.time.pass(Duration::from_secs(3_600));
    let first = deploy(&world, &website, "b.html").await;
    world.settle().await;
    world.time.pass(Duration::from_secs(3_600));

    let commit = world.run(&first).await.commit.as_str().to_owned();
    let event = WebhookEvent::Deployment {
        sha: commit.clone(),
        branch: "main".to_owned(),
        environment: "production".to_owned(),
        state: "success".to_owned(),
    };
    let again = world.accepted(&website.emit(&event).unwrap()).await;
    world.settle().await;

    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(purged, ["https://www.example.com/b.html"; 2]);
    let shown = website.statuses(&commit).pop().unwrap();
    assert_eq!(
        shown.description.as_deref(),
        Some("Purged 1 URL on tencent")
    );
    assert_eq!(world.run(&again).await.state, RunState::Succeeded);
}

/// Deploys a commit once more, in a world of a `redeploy:`, and returns what was purged by it and what the commit shows.
async fn deployed_again(redeploy: &str) -> (Vec<String>, Option<String>) {
    let rules = RULES.replace(
        "    when_unknown:",
        &format!("    redeploy: {redeploy}\n    when_unknown:"),
    );
    let world = World::new(1, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    deploy(&world, &website, "a.html").await;
    world.settle().await;
    world.time.pass(Duration::from_secs(3_600));
    let first = deploy(&world, &website, "b.html").await;
    world.settle().await;
    world.time.pass(Duration::from_secs(3_600));
    let purged = || {
        let all = world.sandbox.tencent_cdn().purged().into_iter();
        all.map(|purged| purged.target).collect::<Vec<_>>()
    };
    let before = purged().len();

    let commit = world.run(&first).await.commit.as_str().to_owned();
    let event = WebhookEvent::Deployment {
        sha: commit.clone(),
        branch: "main".to_owned(),
        environment: "production".to_owned(),
        state: "success".to_owned(),
    };
    let again = world.accepted(&website.emit(&event).unwrap()).await;
    world.settle().await;

    assert_eq!(world.run(&again).await.state, RunState::Succeeded);
    let shown = website.statuses(&commit).pop().unwrap();
    (purged().split_off(before), shown.description)
}

#[tokio::test]
async fn what_a_second_deployment_of_a_commit_purges_is_the_sites_to_say() {
    let (purged, shown) = deployed_again("same").await;
    assert_eq!(purged, ["https://www.example.com/b.html"]);
    assert_eq!(shown.as_deref(), Some("Purged 1 URL on tencent"));

    let (purged, shown) = deployed_again("everything").await;
    assert_eq!(purged, ["https://www.example.com/"]);
    assert_eq!(shown.as_deref(), Some("Purged 1 directory on tencent"));

    let (purged, shown) = deployed_again("nothing").await;
    assert!(purged.is_empty(), "{purged:?}");
    assert_eq!(shown.as_deref(), Some("Nothing to purge: 0 files changed"));
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
             `purgehook run www --everything` purges all"
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
