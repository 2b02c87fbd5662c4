//! What following many tasks costs.

use std::time::Duration;

use purgehook::purge::PurgeKind;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Service};

use crate::world::World;

/// One URL a request, so that a thousand URLs are a thousand tasks.
const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}', limits: {urls_per_request: 1}}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

#[tokio::test]
async fn a_thousand_tasks_are_followed_by_the_page_and_not_one_by_one() {
    let world = World::new(1, RULES).await;
    // Longer than it takes to hand a thousand over at 20 a second.
    world
        .sandbox
        .tencent_cdn()
        .set_duration(Duration::from_secs(120));
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let pages: Vec<_> = (0..1_000)
        .map(|n| Change::write(format!("{n}.html"), "first"))
        .collect();
    website.commit("main", &pages);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let cdn = world.sandbox.tencent_cdn();
    let mut tasks: Vec<_> = cdn.purged().into_iter().map(|purged| purged.task).collect();
    tasks.sort();
    tasks.dedup();
    assert_eq!(tasks.len(), 1_000);
    assert_eq!(cdn.purged_urls(PurgeKind::Url).len(), 1_000);
    let looks = world
        .sandbox
        .calls(Service::TencentCdn, "DescribePurgeTasks");
    println!("{} requests followed 1,000 tasks", looks.len());
    // A page holds 100 entries; a look at all of them is at most ten pages and
    // one to see the end, and there are some twenty looks in those minutes.
    assert!(looks.len() < 400, "{} requests", looks.len());
}
