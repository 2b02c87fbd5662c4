//! CDNs and forges that do not answer, and come back.

use std::time::Duration;

use jiff::Timestamp;
use purgehook::engine::UnavailableUpstream;
use purgehook::purge::PurgeKind;
use purgehook::run::{RunId, RunState};
use purgehook::sandbox::{Call, Change, Fault, Repository, Service, When};
use purgehook::store::{SiteCaches, WorkKey};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
  huawei: {kind: huawei-cdn, endpoint: '${HUAWEI_URL}'}
sites:
  one:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['*.html'], urls: ['/{path}']}]
  two:
    repo: gitlab:acme/docs
    base_urls: ['https://www.example.com']
    cdns: [huawei]
    rules: [{match: ['*.html'], urls: ['/{path}']}]
";

const HOUR: Duration = Duration::from_secs(60 * 60);

struct Sites {
    world: World,
    website: Repository,
    docs: Repository,
}

impl Sites {
    async fn new() -> Self {
        Self::with(RULES).await
    }

    async fn with(rules: &str) -> Self {
        let world = World::new(1, rules).await;
        let website = world.sandbox.github().create_repo("acme/website", "main");
        let docs = world.sandbox.gitlab().create_repo("acme/docs", "main");
        for repository in [&website, &docs] {
            repository.commit("main", &[Change::write("index.html", "first")]);
            repository.push("main");
        }
        Self {
            world,
            website,
            docs,
        }
    }

    async fn push(&self, repository: &Repository, content: &str) -> (String, RunId) {
        let commit = repository.commit("main", &[Change::write("index.html", content)]);
        let push = repository.push("main").unwrap();
        (commit, self.world.accepted(&push).await)
    }

    /// Goes on for so long, and on to what is due next then.
    async fn pass(&self, time: Duration) {
        let until = self.world.clock.now() + time;
        while self.world.clock.now() < until {
            self.world.step().await;
        }
    }

    /// Goes on until a forge or a CDN counts as one that does not answer.
    async fn until_one_is_silent(&self) -> UnavailableUpstream {
        loop {
            let silent = self.world.engine.unavailable_upstreams().await.unwrap();
            if let Some(first) = silent.into_iter().next() {
                return first;
            }
            self.world.step().await;
        }
    }

    fn calls(&self, service: Service) -> Vec<Call> {
        let all = self.world.sandbox.log().into_iter();
        all.filter(|call| call.service == service).collect()
    }
}

fn last_status(repository: &Repository, commit: &str) -> (String, String) {
    let last = repository.statuses(commit).pop().unwrap();
    (last.state, last.description.unwrap_or_default())
}

#[tokio::test]
async fn a_cdn_that_is_away_for_an_hour_holds_up_nobody_else_and_gets_its_purges_then() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    faults.add(Service::TENCENT_CDN, "*", When::Always, Fault::DropBefore);

    let (commit, waiting) = sites.push(&sites.website, "second").await;
    sites.pass(HOUR / 2).await;
    let began = sites.world.clock.now();
    let (other, calm) = sites.push(&sites.docs, "second").await;
    sites.pass(Duration::from_secs(10 * 60)).await;

    let calm = sites.world.run(&calm).await;
    assert_eq!(calm.state, RunState::Succeeded, "{}", calm.summary);
    let took = calm.ended_at.unwrap().duration_since(began);
    assert!(took.as_secs() < 120, "{took}");
    assert_eq!(last_status(&sites.docs, &other).0, "success");

    let (state, words) = last_status(&sites.website, &commit);
    assert_eq!(state, "pending");
    assert!(
        words.starts_with("Waiting: tencent has not answered since 04:0"),
        "{words}"
    );
    let silent = sites.world.engine.unavailable_upstreams().await.unwrap();
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].name, "the CDN tencent");
    let shown = sites.website.statuses(&commit).len();
    sites.pass(HOUR / 2).await;
    assert_eq!(sites.website.statuses(&commit).len(), shown, "said once");
    // Before each batch goes out its quota is asked for: two requests a try.
    let asked = sites.calls(Service::TENCENT_CDN).len();
    println!("{asked} requests in an hour");
    assert!((10..60).contains(&asked), "{asked} requests in an hour");

    faults.clear();
    sites.world.settle().await;

    let run = sites.world.run(&waiting).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    assert_eq!(last_status(&sites.website, &commit).0, "success");
    assert_eq!(sites.world.sandbox.tencent_cdn().purged().len(), 1);
    assert_eq!(
        sites.world.engine.unavailable_upstreams().await.unwrap(),
        []
    );
}

#[tokio::test]
async fn a_forge_that_is_away_for_an_hour_gets_its_statuses_then_and_is_not_pressed() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    // One push is planned from what its delivery proves, the others cannot be.
    let (first, _) = sites.push(&sites.website, "second").await;
    faults.add(Service::GITHUB, "*", When::Always, Fault::Http(502, None));
    let mut commits = vec![first];
    for n in 0..20 {
        sites.world.step().await;
        commits.push(sites.push(&sites.website, &format!("more {n}")).await.0);
    }
    sites.pass(HOUR).await;
    let asked = sites.calls(Service::GITHUB).len();
    assert!(asked < 60, "{asked} requests in an hour");
    assert!(sites.website.statuses(&commits[0]).is_empty());
    let silent = sites.world.engine.unavailable_upstreams().await.unwrap();
    assert_eq!(silent[0].name, "the forge github");

    faults.clear();
    sites.world.settle().await;

    for commit in commits {
        assert_eq!(last_status(&sites.website, &commit).0, "success");
    }
    assert_eq!(
        sites.world.engine.unavailable_upstreams().await.unwrap(),
        []
    );
}

#[tokio::test]
async fn a_forge_that_is_away_for_half_a_day_keeps_no_cache_stale_and_hears_of_every_commit_then() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    sites.push(&sites.website, "second").await;
    sites.world.settle().await;
    let purged = || sites.world.sandbox.tencent_cdn().purged().len();
    let (before, from) = (purged(), sites.calls(Service::GITHUB).len());

    faults.add(Service::GITHUB, "*", When::Always, Fault::DropBefore);
    let mut commits = Vec::new();
    for hour in 0..12 {
        let (commit, run) = sites.push(&sites.website, &format!("at {hour}")).await;
        commits.push(commit);
        sites.pass(HOUR).await;
        let run = sites.world.run(&run).await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    }
    let asked = sites.calls(Service::GITHUB).len() - from;
    // One try every two and a half to five minutes: 144 to 288.
    assert!(
        (125..=300).contains(&asked),
        "{asked} requests in half a day"
    );
    assert_eq!(purged() - before, 12, "what each hour's push brought");
    assert!(sites.website.statuses(&commits[0]).is_empty());
    let silent = sites.world.engine.unavailable_upstreams().await.unwrap();
    assert_eq!(silent[0].name, "the forge github");
    // The last push is one of which nobody told.
    let told_of_nobody = sites
        .website
        .commit("main", &[Change::write("index.html", "in the end")]);
    sites.website.push("main").unwrap();

    faults.clear();
    sites.world.settle().await;
    sites.world.ask_to_reconcile("one").await;
    sites.pass(HOUR / 4).await;
    sites.world.settle().await;

    for commit in commits.iter().chain([&told_of_nobody]) {
        assert_eq!(last_status(&sites.website, commit).0, "success");
    }
    assert_eq!(
        sites.world.engine.unavailable_upstreams().await.unwrap(),
        []
    );
}

#[tokio::test]
async fn who_answers_now_and_then_is_not_left_alone() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    faults.add(
        Service::TENCENT_CDN,
        "DescribeCdnTask",
        When::Always,
        Fault::Http(503, None),
    );
    for n in 0..4 {
        let times = When::Times(2);
        faults.add(
            Service::TENCENT_CDN,
            "PurgeUrlsCache",
            times,
            Fault::DropBefore,
        );
        let (_, run) = sites.push(&sites.website, &format!("no {n}")).await;
        sites.world.settle().await;
        assert_eq!(sites.world.run(&run).await.state, RunState::Succeeded);
    }

    assert_eq!(
        sites.world.engine.unavailable_upstreams().await.unwrap(),
        []
    );
}

#[tokio::test]
async fn a_forge_without_a_log_of_deliveries_does_not_count_as_answering_for_it() {
    let rules = format!("server: {{public_url: 'https://purge.example.com'}}\n{RULES}");
    let sites = Sites::with(&rules).await;
    let faults = sites.world.sandbox.faults();
    faults.add(Service::GITLAB, "*", When::Always, Fault::DropBefore);
    sites.push(&sites.docs, "second").await;
    let began = sites.until_one_is_silent().await.since;

    sites.world.ask_to_reconcile("two").await;
    sites.pass(HOUR).await;

    let silent = sites.world.engine.unavailable_upstreams().await.unwrap();
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!(silent[0].since, began);
}

#[tokio::test]
async fn a_site_with_nothing_to_ask_takes_no_try_from_those_who_have() {
    let rules = format!(
        "{RULES}  three:
    repo: gitlab:acme/docs
    trigger: {{pipeline: success}}
    base_urls: ['https://www.example.com']
    cdns: [huawei]
    rules: [{{match: ['*.html'], urls: ['/{{path}}']}}]
"
    );
    let sites = Sites::with(&rules).await;
    let faults = sites.world.sandbox.faults();
    faults.add(Service::GITLAB, "*", When::Always, Fault::DropBefore);
    let (_, run) = sites.push(&sites.docs, "second").await;
    let over = sites.until_one_is_silent().await.until;

    faults.clear();
    sites.world.time.move_to(over);
    // Before all that is due.
    let site = "three".to_owned();
    let look = WorkKey::Reconcile { site };
    let store = sites.world.store();
    store.ask(&look, Timestamp::UNIX_EPOCH).await.unwrap();
    sites.world.settle().await;

    let run = sites.world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let took = run.ended_at.unwrap().duration_since(over);
    assert!(took.as_secs() < 50, "{took}");
}

#[tokio::test]
async fn a_cdn_that_wants_to_be_left_alone_for_a_day_is_asked_again_after_a_quarter_of_an_hour() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    for (action, seconds) in [("PurgeUrlsCache", 86_400), ("DescribePurgeTasks", u32::MAX)] {
        let away = Fault::Http(503, Some(seconds));
        faults.add(Service::TENCENT_CDN, action, When::Times(1), away);
    }

    let (_, run) = sites.push(&sites.website, "second").await;
    sites.world.settle().await;

    let run = sites.world.run(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
    let took = run.ended_at.unwrap().duration_since(run.created_at);
    assert!((30..40).contains(&(took.as_secs() / 60)), "{took}");
    assert_eq!(sites.world.sandbox.tencent_cdn().purged().len(), 1);
}

#[tokio::test]
async fn a_forge_that_wants_to_be_left_alone_for_a_year_is_asked_within_the_hour_what_changed() {
    for (status, most) in [(429, 61), (503, 6)] {
        let sites = Sites::new().await;
        sites.push(&sites.docs, "second").await;
        sites.world.settle().await;
        sites.world.time.pass(HOUR);
        let faults = sites.world.sandbox.faults();
        let away = Fault::Http(status, Some(31_536_000));
        faults.add(Service::GITLAB, "GET compare", When::Times(1), away);
        let purged = sites.world.sandbox.huawei_cdn();
        let before = purged.purged().len();

        let (commit, run) = sites.push(&sites.docs, "third").await;
        sites.world.settle().await;

        assert_eq!(faults.pending(), 0);
        let run = sites.world.run(&run).await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
        let took = run.ended_at.unwrap().duration_since(run.created_at);
        assert!(took.as_secs() < most * 60, "{status}: {took}");
        assert_eq!(last_status(&sites.docs, &commit).0, "success");
        assert!(purged.purged_urls(PurgeKind::Directory).is_empty());
        assert_eq!(purged.purged().len(), before + 1);
    }
}

#[tokio::test]
async fn on_gitlab_a_run_that_waits_shows_one_text_more_than_that_it_began() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    faults.add(Service::HUAWEI_CDN, "*", When::Always, Fault::DropBefore);

    let (commit, run) = sites.push(&sites.docs, "second").await;
    sites.pass(HOUR).await;
    faults.clear();
    sites.world.settle().await;

    let shown = sites.docs.statuses(&commit);
    let states: Vec<_> = shown.iter().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["pending", "running", "success"], "{shown:?}");
    // Of no other text it is said that it was posted.
    let wanted = sites.world.store().statuses(&run).await.unwrap();
    let posted = wanted.iter().filter(|status| status.posted_at.is_some());
    let posted: Vec<_> = posted.map(|status| &status.description).collect();
    let shown: Vec<_> = shown
        .iter()
        .filter_map(|status| status.description.as_ref())
        .collect();
    assert_eq!(posted, shown, "{wanted:?}");
}

#[tokio::test]
async fn a_lost_batch_is_looked_for_again_and_again_however_often_it_was_not_taken_before() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    for (action, times, fault) in [
        ("PurgeUrlsCache", 12, Fault::Throttle),
        ("PurgeUrlsCache", 1, Fault::DropAfter),
        ("DescribePurgeTasks", 3, Fault::Http(503, None)),
    ] {
        faults.add(Service::TENCENT_CDN, action, When::Times(times), fault);
    }

    let (_, run) = sites.push(&sites.website, "second").await;
    sites.world.settle().await;

    assert_eq!(sites.world.run(&run).await.state, RunState::Succeeded);
    assert_eq!(faults.pending(), 0);
    assert_eq!(sites.world.sandbox.tencent_cdn().purged().len(), 1);
}

#[tokio::test]
async fn pushes_without_end_while_a_forge_is_away_leave_no_more_behind_than_can_be_told_apart() {
    let sites = Sites::new().await;
    let faults = sites.world.sandbox.faults();
    faults.add(Service::GITLAB, "*", When::Always, Fault::DropBefore);
    let mut commits = Vec::new();
    for n in 0..230 {
        let (commit, _) = sites.push(&sites.docs, &format!("{n}")).await;
        commits.push(commit);
        sites.world.time.pass(Duration::from_millis(100));
        sites.world.engine.drain().await.unwrap();
    }

    let caches = SiteCaches::real("two");
    let held = sites.world.store().held(&caches, sites.world.clock.now());
    let held = held.await.unwrap().commits;
    assert!(held.len() < 100, "{held:?}");
    faults.clear();
    sites.world.settle().await;

    let purged = sites.world.sandbox.huawei_cdn();
    let purged = purged.purged_urls(PurgeKind::Directory);
    assert!(purged.contains(&"https://www.example.com/".to_owned()));
    for commit in commits {
        assert_eq!(last_status(&sites.docs, &commit).0, "success");
    }
    // Once all that is over, it is known again what differs.
    sites.world.time.pass(HOUR);
    let (_, run) = sites.push(&sites.docs, "in the end").await;
    sites.world.settle().await;
    let run = sites.world.run(&run).await;
    assert_eq!(run.summary, "Purged 1 URL on huawei");
}
