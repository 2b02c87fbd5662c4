//! Sites in dry-run mode, and what becomes of them when they are no longer.

use std::time::Duration;

use purgehook::purge::PurgeState;
use purgehook::run::{Origin, Run, RunState};
use purgehook::sandbox::{Change, Repository, Service};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}', limits: {urls_per_day: 3}}
sites:
  www:
    repo: github:acme/website
    mode: live
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    cover: over_quota
    rules: [{match: ['**'], urls: ['/{path}'], prefetch: ['/{path}']}]
";

fn in_dry_run() -> String {
    RULES.replace("mode: live", "mode: dry-run")
}

async fn website(world: &World) -> Repository {
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("a.html", "first")]);
    website.push("main");
    world.reconcile(&["www"]).await;
    website
}

/// Pushes a change of some paths, and waits until its run has ended.
async fn push(world: &World, website: &Repository, paths: &[&str]) -> Run {
    let changes: Vec<_> = paths
        .iter()
        .map(|path| Change::write(*path, world.clock.new_id()))
        .collect();
    website.commit("main", &changes);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    world.run(&run).await
}

/// The calls to the CDN, and those to the forge that did more than ask.
fn changing_calls(world: &World) -> Vec<String> {
    let calls = world.sandbox.log().into_iter();
    let changing = calls
        .filter(|call| call.service == Service::TENCENT_CDN || !call.summary.starts_with("GET "));
    changing.map(|call| call.summary).collect()
}

#[tokio::test]
async fn each_dry_run_shows_what_it_would_have_purged_and_reaches_no_cdn() {
    let world = World::new(1, &in_dry_run()).await;
    let website = website(&world).await;

    let first = push(&world, &website, &["a.html"]).await;
    let second = push(&world, &website, &["b.html"]).await;
    world.time.pass(Duration::from_secs(3_600));
    let third = push(&world, &website, &["c.html"]).await;

    // The one before may be in caches for a while yet after a purge, an older one no longer.
    for (run, would) in [
        (&first, "Would have purged 1 URL and 1 prefetch on tencent"),
        (
            &second,
            "Would have purged 2 URLs and 2 prefetches on tencent",
        ),
        (&third, "Would have purged 1 URL and 1 prefetch on tencent"),
    ] {
        assert_eq!(
            (run.state, run.summary.as_str()),
            (RunState::Succeeded, would)
        );
        assert!(run.dry_run);
        let purges = world.store().purges(&run.id, 0, 10).await.unwrap();
        assert!(purges.iter().all(|purge| purge.state == PurgeState::DryRun));
    }
    assert_eq!(changing_calls(&world), [""; 0]);
}

#[tokio::test]
async fn the_first_live_run_purges_all_that_was_only_a_dry_run() {
    let world = World::new(2, &in_dry_run()).await;
    let website = website(&world).await;
    push(&world, &website, &["a.html"]).await;
    world.time.pass(Duration::from_secs(3_600));
    push(&world, &website, &["b.html"]).await;
    world.time.pass(Duration::from_secs(3_600));

    world.set_rules(RULES);
    world.reconcile(&["www"]).await;
    world.settle().await;

    let live = world.runs().await.remove(0);
    assert_eq!(live.origin, Origin::Reconciliation);
    assert!(!live.dry_run);
    assert_eq!(live.summary, "Purged 2 URLs and 2 prefetches on tencent",);
    // Back in dry-run mode, it starts from what is held now.
    world.time.pass(Duration::from_secs(3_600));
    world.set_rules(&in_dry_run());
    let dry = push(&world, &website, &["c.html"]).await;
    assert_eq!(
        dry.summary,
        "Would have purged 1 URL and 1 prefetch on tencent"
    );
    assert!(!changing_calls(&world).is_empty(), "the live run made some");
}

#[tokio::test]
async fn a_run_that_waits_when_its_site_turns_to_dry_run_is_stopped_and_says_so() {
    let rules = RULES.replace("cover: over_quota", "cover: exact");
    let world = World::new(3, &rules).await;
    let website = website(&world).await;
    let paths = ["1", "2", "3", "4", "5"];
    let changes = paths.map(|path| Change::write(path, "first"));
    let commit = website.commit("main", &changes);
    let run = world.accepted(&website.push("main").unwrap()).await;
    while !world.run(&run).await.summary.starts_with("Waiting")
        || website.statuses(&commit).is_empty()
    {
        world.step().await;
    }

    world.set_rules(&rules.replace("mode: live", "mode: dry-run"));
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Cancelled);
    assert_eq!(
        run.summary,
        "The site is in dry-run mode by now: 2 URLs and 5 prefetches on tencent would have been purged; \
         purged before that: 3 URLs on tencent"
    );
    // What the commit was shown while the site was live has an end.
    let shown = website.statuses(&commit);
    assert_eq!(shown.last().unwrap().state, "error");
    assert_eq!(world.sandbox.tencent_cdn().purged().len(), 3);

    // Live again, the rest is made good.
    world.time.pass(Duration::from_secs(100_000));
    world.set_rules(RULES);
    world.reconcile(&["www"]).await;
    world.settle().await;
    let again = world.runs().await.remove(0);
    assert_eq!(
        (again.state, again.commit.as_str()),
        (RunState::Succeeded, &*commit)
    );
    assert!(world.sandbox.tencent_cdn().purged().len() > 3);
}
