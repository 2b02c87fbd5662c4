//! A CDN's daily quota, over several days.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use purgehook::purge::{PurgeKind, PurgeState};
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Repository, Service};

use crate::world::{ONE_SITE, World};

#[tokio::test]
async fn twenty_five_thousand_urls_take_three_days_of_a_quota_of_ten_thousand() {
    let world = World::new(1, ONE_SITE).await;
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
        let day = purge.at + Duration::from_secs(8 * 3_600);
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
    let submissions = world.sandbox.calls(Service::TENCENT_CDN, "PurgeUrlsCache");
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

fn waits(website: &Repository, commit: &str) -> Vec<String> {
    let shown = website.statuses(commit).into_iter();
    shown
        .filter_map(|status| status.description)
        .filter(|words| words.starts_with("Waiting"))
        .collect()
}

#[tokio::test]
async fn a_run_that_waits_for_several_quotas_says_so_once_a_day() {
    // Three lines wait: URLs on both CDNs, and directories on one.
    let world = World::new(
        1,
        "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}', limits: {urls_per_day: 2, directories_per_day: 2}}
  huawei: {kind: huawei-cdn, endpoint: '${HUAWEI_URL}', limits: {urls_per_day: 2}}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent, huawei]
    rules: [{match: ['**'], urls: ['/{path}'], directories: ['/{stem}/'], mode: flush}]
",
    )
    .await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let pages: Vec<_> = (0..5)
        .map(|n| Change::write(format!("{n}.html"), "first"))
        .collect();
    let commit = website.commit("main", &pages);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let said = world.store().statuses(&run).await.unwrap();
    assert_eq!(said.len(), 5, "{said:#?}");
    let run = world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let waits = waits(&website, &commit);
    let days: Vec<&str> = waits.iter().filter_map(|words| words.get(..38)).collect();
    assert_eq!(
        days,
        [
            "Waiting until 2026-11-22 16:00 UTC for",
            "Waiting until 2026-11-23 16:00 UTC for"
        ]
    );
}

#[tokio::test]
async fn an_entry_that_used_up_its_own_share_does_not_hold_up_another_of_the_same_account() {
    let world = World::new(
        1,
        "
cdns:
  main: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
  small: {kind: tencent-cdn, endpoint: '${TENCENT_URL}', limits: {urls_per_day: 2}}
sites:
  shop:
    repo: github:acme/shop
    base_urls: ['https://www.example.com']
    cdns: [small]
    rules: [{match: ['**'], urls: ['/{path}']}]
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [main]
    rules: [{match: ['**'], urls: ['/{path}']}]
",
    )
    .await;
    let [shop, website] = ["acme/shop", "acme/website"].map(|name| {
        let repository = world.sandbox.github().create_repo(name, "main");
        repository.commit("main", &[Change::write("index.html", "first")]);
        repository.push("main");
        repository
    });
    let pages: Vec<_> = (0..3)
        .map(|n| Change::write(format!("{n}.html"), "first"))
        .collect();
    let [slow, fast] = [&shop, &website].map(|repository| repository.commit("main", &pages));

    let waiting = world.accepted(&shop.push("main").unwrap()).await;
    world.step().await;
    let free = world.accepted(&website.push("main").unwrap()).await;
    let noon = world.clock.now();
    world.settle().await;

    let free = world.run(&free).await;
    assert_eq!(free.state, RunState::Succeeded, "{}", free.summary);
    let took = free.ended_at.unwrap().duration_since(noon);
    assert!(took.as_secs() < 600, "{took}");
    assert_eq!(waits(&website, &fast), [""; 0]);
    let waiting = world.run(&waiting).await;
    assert_eq!(waiting.state, RunState::Succeeded, "{}", waiting.summary);
    assert_eq!(
        waits(&shop, &slow),
        ["Waiting until 2026-11-22 16:00 UTC for small's daily url quota"]
    );
}

/// A site whose quota of the day is used up.
async fn used_up(rules: &str, per_day: usize) -> (World, Repository) {
    let world = World::new(1, rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let pages: Vec<_> = (0..per_day)
        .map(|n| Change::write(format!("old/{n}.html"), "first"))
        .collect();
    website.commit("main", &pages);
    world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    // Caches have settled: nothing of this is purged again.
    world.time.pass(Duration::from_secs(3_600));
    world.engine.drain().await.unwrap();
    (world, website)
}

#[tokio::test]
async fn what_several_pushes_wait_to_purge_is_handed_over_once_for_all_of_them() {
    let rules = ONE_SITE.replace("}'}", "}', limits: {urls_per_day: 60}}");
    let (world, website) = used_up(&rules, 60).await;
    let before = world.sandbox.tencent_cdn().purged().len();
    assert_eq!(before, 60);
    let mut runs = Vec::new();
    for push in 0..12 {
        // Nine pages of its own, and one that each of them changes.
        let mut pages: Vec<_> = (0..9)
            .map(|n| Change::write(format!("{push}/{n}.html"), "second"))
            .collect();
        pages.push(Change::write("index.html", format!("push {push}")));
        website.commit("main", &pages);
        runs.push(world.accepted(&website.push("main").unwrap()).await);
        world.engine.drain().await.unwrap();
        // Pushes soon after a plan are planned together.
        world.time.pass(Duration::from_secs(2));
    }
    let planned = world.store().purges(&runs[0], 0, 100).await.unwrap();
    assert!(!planned.is_empty(), "they wait with their plans");

    world.settle().await;

    for run in runs {
        let run = world.run(&run).await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    }
    let purged = world.sandbox.tencent_cdn().purged();
    let new = &purged[before..];
    let distinct: BTreeSet<_> = new.iter().map(|purge| &purge.target).collect();
    assert_eq!(distinct.len(), 109);
    assert_eq!(new.len(), 109, "nothing is handed over twice");
    let submissions = world.sandbox.calls(Service::TENCENT_CDN, "PurgeUrlsCache");
    assert_eq!(submissions.len(), 3, "one on each day");
}

#[tokio::test]
async fn a_url_that_is_refused_fails_alone_however_many_runs_want_it() {
    let rules = ONE_SITE
        .replace("}'}", "}', limits: {urls_per_day: 12}}")
        .replace(".com']", ".com', 'https://other.example.net']")
        .replace("'/{path}'", "'https://www.example.com/{path}'")
        .replace(
            "rules: [",
            "rules: [{match: ['bad.html'], urls: ['https://other.example.net/{path}'], last: true}, ",
        );
    let (world, website) = used_up(&rules, 12).await;
    let before = world.sandbox.tencent_cdn().purged().len();
    let mut runs = Vec::new();
    for push in 0..3 {
        let pages = ["bad.html", "a.html", "b.html", "c.html"]
            .map(|page| Change::write(page, format!("push {push}")));
        website.commit("main", &pages);
        runs.push(world.accepted(&website.push("main").unwrap()).await);
        world.engine.drain().await.unwrap();
        world.time.pass(Duration::from_secs(2));
    }

    world.settle().await;

    for run in runs {
        let purges = world.store().purges(&run, 0, 100).await.unwrap();
        assert_eq!(purges.len(), 4);
        for purge in purges {
            let is_bad = purge.planned.target.ends_with("bad.html");
            assert_eq!(purge.state == PurgeState::Failed, is_bad, "{purge:?}");
        }
    }
    let purged = world.sandbox.tencent_cdn().purged();
    assert_eq!(purged.len() - before, 3, "each of the others once");
}

/// Two sites of two repositories on one account.
const TWO_SITES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  docs:
    repo: github:acme/docs
    base_urls: ['https://www.example.com/docs']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

/// Repositories with a page each, which no site has seen a push of.
fn repositories<const N: usize>(world: &World, names: [&str; N]) -> [Repository; N] {
    world.sandbox.lift_github_limits();
    names.map(|name| {
        let repository = world.sandbox.github().create_repo(name, "main");
        repository.commit("main", &[Change::write("index.html", "first")]);
        repository.push("main");
        repository
    })
}

/// Commits so many pages.
fn commit_pages(repository: &Repository, count: usize) -> String {
    let pages: Vec<_> = (0..count)
        .map(|n| Change::write(format!("{}/{n}.html", n % 50), "first"))
        .collect();
    repository.commit("main", &pages)
}

/// How many targets went out on each quota day, by the start of their URL.
fn by_day(world: &World, start: &str) -> Vec<usize> {
    let mut days: BTreeMap<String, usize> = BTreeMap::new();
    for purge in world.sandbox.tencent_cdn().purged() {
        if purge.target.starts_with(start) {
            let day = purge.at + Duration::from_secs(8 * 3_600);
            *days.entry(day.strftime("%F").to_string()).or_default() += 1;
        }
    }
    days.into_values().collect()
}

#[tokio::test]
async fn a_push_larger_than_the_quota_leaves_another_site_its_share_of_the_day() {
    let world = World::new(1, TWO_SITES).await;
    let [docs, website] = repositories(&world, ["acme/docs", "acme/website"]);
    let large = commit_pages(&website, 12_000);
    let large_run = world.accepted(&website.push("main").unwrap()).await;
    world.engine.drain().await.unwrap();
    // Eleven whole hours of the day are left: of the quarter that the quota keeps for each site at first, that
    // much is kept still.
    let noon = world.clock.now();
    let purged = world.sandbox.tencent_cdn().purged().len();
    assert_eq!(purged, 8_855);

    let small = docs.commit("main", &[Change::write("page.html", "first")]);
    let small_run = world.accepted(&docs.push("main").unwrap()).await;
    world.settle().await;

    let small_run = world.run(&small_run).await;
    assert_eq!(
        small_run.state,
        RunState::Succeeded,
        "{}",
        small_run.summary
    );
    let took = small_run.ended_at.unwrap().duration_since(noon);
    assert!(took.as_secs() < 600, "{took}");
    assert_eq!(waits(&docs, &small), [""; 0]);
    let large_run = world.run(&large_run).await;
    assert_eq!(
        large_run.state,
        RunState::Succeeded,
        "{}",
        large_run.summary
    );
    assert_eq!(
        waits(&website, &large),
        [
            "Waiting until 2026-11-22 16:00 UTC: www has used its share of tencent's url quota for today; \
             1145 are kept for other sites",
        ]
    );
    let days = by_day(&world, "https://www.example.com/");
    assert_eq!(days, [10_000, 2_001], "what nobody used was lent out");
}

#[tokio::test]
async fn sites_that_both_push_more_than_the_quota_have_equal_parts_of_the_day() {
    let world = World::new(1, TWO_SITES).await;
    let [docs, website] = repositories(&world, ["acme/docs", "acme/website"]);
    for repository in [&docs, &website] {
        commit_pages(repository, 8_000);
        world.accepted(&repository.push("main").unwrap()).await;
    }

    world.settle().await;

    let docs = by_day(&world, "https://www.example.com/docs/");
    let both = by_day(&world, "https://www.example.com/");
    assert_eq!(docs, [5_000, 3_000]);
    assert_eq!(both, [10_000, 6_000]);
}

#[tokio::test]
async fn a_cover_is_planned_with_what_the_site_may_have_of_the_quota() {
    let rules = TWO_SITES.replace("cdns: [tencent]", "cdns: [tencent]\n    cover: over_quota");
    let world = World::new(1, &rules).await;
    let [_, website] = repositories(&world, ["acme/docs", "acme/website"]);
    // The quota would do for all of them, the site's share of it does not.
    commit_pages(&website, 9_500);

    let run = world.accepted(&website.push("main").unwrap()).await;
    world.engine.drain().await.unwrap();

    let purges = world.store().purges(&run, 0, 10_000).await.unwrap();
    let mut kinds = purges.iter().map(|purge| purge.planned.kind);
    assert!(kinds.any(|kind| kind == PurgeKind::Directory));
}
