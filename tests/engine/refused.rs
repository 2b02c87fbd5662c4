//! A target that a CDN refuses for good is said once, and holds up nothing else.

use std::time::Duration;

use purgehook::clock::TimeSource;
use purgehook::purge::PurgeKind;
use purgehook::run::{Run, RunState};
use purgehook::sandbox::{Change, Repository, TargetOutcome, When};
use purgehook::store::{RetryOutcome, SkipOutcome};

use crate::world::{ONE_SITE, World};

/// The same site on a CDN that takes URLs of 4,096 bytes at most.
const SHORT_URLS: &str = "
cdns:
  huawei: {kind: huawei-cdn, endpoint: '${HUAWEI_URL}'}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [huawei]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

const BROKEN: &str = "https://www.example.com/broken.html";

/// A site whose CDN fails at one URL each time, and has been told of it by one push.
async fn refused(paths: &[&str]) -> (World, Repository, Run) {
    let world = World::new(1, ONE_SITE).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("broken", When::Always, TargetOutcome::Fail);
    let run = push(&world, &website, paths).await;
    (world, website, run)
}

async fn push(world: &World, website: &Repository, paths: &[&str]) -> Run {
    world.time.pass(Duration::from_secs(60));
    let text = world.time.now().to_string();
    let changes: Vec<Change> = paths
        .iter()
        .map(|path| Change::write(path, &text))
        .collect();
    website.commit("main", &changes);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    world.run(&run).await
}

/// How often a URL was sent to be purged.
fn sent(world: &World, url: &str) -> usize {
    let purges = world.sandbox.tencent_cdn().purged();
    purges
        .iter()
        .filter(|purge| purge.kind == PurgeKind::Url && purge.target == url)
        .count()
}

#[tokio::test]
async fn it_is_said_on_the_commit_that_brought_it_and_later_commits_are_green_with_a_note() {
    let (world, website, first) = refused(&["broken.html", "a.html"]).await;
    assert_eq!(first.state, RunState::Failed);
    assert!(first.summary.contains("broken.html"), "{}", first.summary);
    assert!(first.notes[0].contains(&format!("purgehook retry {}", first.id)));
    let tries = sent(&world, BROKEN);

    for path in ["b.html", "c.html"] {
        let run = push(&world, &website, &[path]).await;

        assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
        let note = format!("; 1 URL still refused since {}", first.commit.short());
        assert!(run.summary.ends_with(&note), "{}", run.summary);
        let shown = website.statuses(run.commit.as_str());
        assert_eq!(shown.last().unwrap().state, "success");
    }
    assert_eq!(sent(&world, BROKEN), tries);
}

#[tokio::test]
async fn it_is_asked_for_again_when_it_changes_and_forgotten_when_it_is_purged() {
    let (world, website, first) = refused(&["broken.html"]).await;
    push(&world, &website, &["a.html"]).await;
    let tries = sent(&world, BROKEN);

    let again = push(&world, &website, &["broken.html", "b.html"]).await;
    assert_eq!(again.state, RunState::Failed);
    assert!(sent(&world, BROKEN) > tries);
    let noted = push(&world, &website, &["c.html"]).await;
    let since = format!("still refused since {}", again.commit.short());
    assert!(noted.summary.ends_with(&since), "{}", noted.summary);

    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("broken", When::Always, TargetOutcome::Done);
    let mended = push(&world, &website, &["broken.html"]).await;

    assert_eq!(mended.state, RunState::Succeeded);
    assert!(!mended.summary.contains("refused"), "{}", mended.summary);
    assert!(world.store().given_up("www").await.unwrap().is_empty());
    assert_ne!(first.id, mended.id);
}

#[tokio::test]
async fn a_retry_asks_for_it_again() {
    let (world, website, first) = refused(&["broken.html"]).await;
    push(&world, &website, &["a.html"]).await;
    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("broken", When::Always, TargetOutcome::Done);

    let retried = world.engine.retry(&first.id).await.unwrap();
    world.settle().await;

    assert_eq!(retried, RetryOutcome::Retried);
    assert_eq!(world.run(&first.id).await.state, RunState::Succeeded);
    let next = push(&world, &website, &["b.html"]).await;
    assert!(!next.summary.contains("refused"), "{}", next.summary);
}

#[tokio::test]
async fn a_target_that_is_skipped_leaves_the_run_green() {
    let (world, website, first) = refused(&["broken.html", "a.html"]).await;

    let skipped = world.engine.skip(&first.id, BROKEN).await.unwrap();
    world.settle().await;

    assert_eq!(skipped, SkipOutcome::Skipped { purges: 1 });
    let run = world.run(&first.id).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(
        run.summary,
        "Purged 1 URL on tencent; skipped 1 URL on tencent"
    );
    assert_eq!(
        website.statuses(run.commit.as_str()).last().unwrap().state,
        "success"
    );
    let none = world
        .engine
        .skip(&first.id, "https://www.example.com/no")
        .await;
    assert_eq!(none.unwrap(), SkipOutcome::NoSuchPurge);
}

#[tokio::test]
async fn a_cdn_that_refuses_all_of_several_targets_is_tried_again_by_the_next_run() {
    let (world, website, first) =
        refused(&["broken/1.html", "broken/2.html", "broken/3.html"]).await;
    assert_eq!(first.state, RunState::Failed);
    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("broken", When::Always, TargetOutcome::Done);

    let next = push(&world, &website, &["a.html"]).await;

    assert_eq!(next.summary, "Purged 4 URLs on tencent");
}

/// A path whose URL is longer than that.
fn long_path() -> String {
    vec!["x".repeat(200); 21].join("/") + ".html"
}

async fn too_long(paths: &[&str]) -> (World, Repository, Run) {
    let world = World::new(1, SHORT_URLS).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let run = push(&world, &website, paths).await;
    (world, website, run)
}

#[tokio::test]
async fn a_url_that_a_cdn_cannot_be_asked_for_is_said_once_as_well() {
    let long = long_path();
    for paths in [vec![long.as_str()], vec![long.as_str(), "a.html"]] {
        let (world, website, first) = too_long(&paths).await;
        assert_eq!(first.state, RunState::Failed);
        let why = "huawei takes URLs of up to 4096 bytes";
        assert!(first.summary.contains(why), "{}", first.summary);
        let advice = format!("purgehook retry {}", first.id);
        assert!(first.notes[0].contains(&advice), "{:?}", first.notes);

        let next = push(&world, &website, &["b.html"]).await;
        let note = format!("; 1 URL still refused since {}", first.commit.short());
        assert_eq!(next.state, RunState::Succeeded, "{}", next.summary);
        assert!(next.summary.ends_with(&note), "{}", next.summary);

        let again = push(&world, &website, &[long.as_str()]).await;
        assert_eq!(again.state, RunState::Failed, "it has changed");
    }
}

#[tokio::test]
async fn a_retry_of_what_a_cdn_cannot_be_asked_for_fails_until_the_rules_are_mended() {
    let (world, website, first) = too_long(&[&long_path()]).await;

    world.engine.retry(&first.id).await.unwrap();
    world.settle().await;
    assert_eq!(world.run(&first.id).await.state, RunState::Failed);

    world.set_rules(&SHORT_URLS.replace("'/{path}'", "'/'"));
    world.engine.retry(&first.id).await.unwrap();
    world.settle().await;

    let mended = world.run(&first.id).await;
    assert_eq!(mended.state, RunState::Succeeded, "{}", mended.summary);
    assert!(mended.problems.is_empty());
    assert!(world.store().given_up("www").await.unwrap().is_empty());
    let next = push(&world, &website, &["b.html"]).await;
    assert!(!next.summary.contains("refused"), "{}", next.summary);
}
