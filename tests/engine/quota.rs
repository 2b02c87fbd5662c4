//! A CDN's daily quota, over several days.

use std::collections::BTreeMap;

use purgehook::purge::PurgeKind;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Service};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

#[tokio::test]
async fn twenty_five_thousand_urls_take_three_days_of_a_quota_of_ten_thousand() {
    let world = World::new(1, RULES).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let pages: Vec<_> = (0..25_000)
        .map(|n| Change::write(format!("{}/{n}.html", n % 50), "first"))
        .collect();
    let commit = website.commit("main", &pages);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let purged = world.sandbox.tencent_cdn().purged();
    let mut days: BTreeMap<String, usize> = BTreeMap::new();
    for purge in &purged {
        // Quota days are days in UTC+8.
        let day = purge.at + std::time::Duration::from_secs(8 * 3_600);
        *days.entry(day.strftime("%F").to_string()).or_default() += 1;
    }
    let days: Vec<_> = days.iter().map(|(day, n)| (day.as_str(), *n)).collect();
    assert_eq!(
        days,
        [
            ("2026-11-22", 10_000),
            ("2026-11-23", 10_000),
            ("2026-11-24", 5_000)
        ]
    );
    let mut urls = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    urls.dedup();
    assert_eq!(urls.len(), 25_000, "each once, none dropped");
    let submissions = world.sandbox.calls(Service::TencentCdn, "PurgeUrlsCache");
    assert_eq!(submissions.len(), 25);
    assert!(submissions.iter().all(|call| call.outcome == "ok"));

    let shown = website.statuses(&commit);
    let waits: Vec<_> = shown
        .iter()
        .filter(|status| status.description.as_ref().unwrap().contains("Waiting"))
        .map(|status| {
            (
                status.state.as_str(),
                status.description.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        waits,
        [
            (
                "pending",
                "Waiting until 2026-11-22 16:00 UTC for tencent's daily url quota"
            ),
            (
                "pending",
                "Waiting until 2026-11-23 16:00 UTC for tencent's daily url quota"
            ),
        ]
    );
    assert_eq!(shown.last().unwrap().state, "success");
}
