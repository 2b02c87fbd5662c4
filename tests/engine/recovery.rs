//! Deliveries that never arrived, found in the forge's own log of what it sent.

use std::time::Duration;

use purgehook::engine::Received;
use purgehook::purge::PurgeKind;
use purgehook::run::{Origin, Run, RunState};
use purgehook::sandbox::{Change, Delivery, Fault, Repository, Service, WebhookEvent, When};
use purgehook::store::{SiteCaches, Source};

use crate::world::{World, base};

const RULES: &str = "
server: {public_url: 'https://purge.example.com'}
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  pages:
    repo: github:acme/website
    trigger: {workflow: deploy.yml}
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['pages/*'], urls: ['/{path}']}]
  manual:
    repo: github:acme/website
    trigger: release
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['manual/*'], urls: ['/{path}']}]
";
const HOOK: &str = "https://purge.example.com/hooks/github";

/// Hands over a delivery, and lets GitHub know what came back.
async fn deliver(world: &World, delivery: &Delivery) -> Received {
    let received = world.receive(delivery).await.unwrap();
    let status = match received {
        Received::Accepted { .. } => 202,
        Received::Duplicate { .. } | Received::Pong | Received::Ignored { .. } => 200,
    };
    world.sandbox.github().answered(delivery, status);
    received
}

fn deployed(website: &Repository, sha: &str) -> Delivery {
    let event = WebhookEvent::Workflow {
        sha: sha.to_owned(),
        branch: "main".to_owned(),
        path: ".github/workflows/deploy.yml".to_owned(),
        event: "push".to_owned(),
        conclusion: "success".to_owned(),
    };
    website.emit(&event).unwrap()
}

/// A repository whose first commit was pushed, deployed, and purged for.
async fn begin(world: &World) -> Repository {
    world.sandbox.set_github_hook(HOOK);
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let id = website.commit("main", &[Change::write("pages/a", "1")]);
    deliver(world, &website.push("main").unwrap()).await;
    deliver(world, &deployed(&website, &id)).await;
    world.settle().await;
    world.time.pass(Duration::from_secs(900));
    website
}

async fn look(world: &World) {
    world.reconcile(&["pages", "manual"]).await;
}

fn calls(world: &World, action: &str) -> usize {
    world.sandbox.calls(Service::GITHUB, action).len()
}

async fn newest_of(world: &World, site: &str) -> Run {
    let runs = world.runs().await;
    runs.into_iter().find(|run| run.site == site).unwrap()
}

#[tokio::test]
async fn a_workflow_and_a_release_of_which_nobody_told_are_found_in_githubs_log() {
    let world = World::new(1, RULES).await;
    let website = begin(&world).await;
    let changes = [
        Change::write("pages/a", "2"),
        Change::write("manual/index", "1"),
    ];
    let id = website.commit("main", &changes);
    deliver(&world, &website.push("main").unwrap()).await;
    let lost = deployed(&website, &id);
    website.push_tag("v1", &id, true);
    let release = WebhookEvent::Release {
        tag: "v1".to_owned(),
        sha: id.clone(),
    };
    website.emit(&release).unwrap();
    world.time.pass(Duration::from_secs(300));
    let known = world.runs().await.len();

    look(&world).await;
    world.settle().await;

    assert_eq!(world.runs().await.len(), known + 2);
    let run = newest_of(&world, "pages").await;
    assert_eq!(
        (run.commit.as_str(), run.state),
        (&*id, RunState::Succeeded)
    );
    assert_eq!(run.origin, Origin::Workflow);
    let kept = world.store().delivery(run.delivery.as_deref().unwrap());
    let kept = kept.await.unwrap().unwrap();
    assert_eq!(kept.source, Source::Log);
    assert_eq!(
        kept.forge_delivery.as_deref(),
        lost.header("x-github-delivery")
    );
    let released = newest_of(&world, "manual").await;
    assert_eq!(
        (released.origin, released.commit.as_str()),
        (Origin::Release, &*id)
    );
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert!(purged.contains(&"https://www.example.com/pages/a".to_owned()));
    assert_eq!(website.statuses(&id).last().unwrap().state, "success");

    // What was found is known from now on, and what asks for nothing is not read twice.
    let read = calls(&world, "GET delivery");
    for _ in 0..3 {
        world.time.pass(Duration::from_secs(300));
        look(&world).await;
    }
    world.settle().await;
    assert_eq!(world.runs().await.len(), known + 2);
    assert_eq!(calls(&world, "GET delivery"), read);
    // Nor does it make another run when it arrives after all.
    let late = deliver(&world, &lost).await;
    assert!(matches!(late, Received::Duplicate { .. }), "{late:?}");
}

#[tokio::test]
async fn what_was_overtaken_before_it_was_told_of_is_purged_and_what_is_live_is_held_again() {
    let world = World::new(1, RULES).await;
    let website = begin(&world).await;
    let lost = website.commit("main", &[Change::write("pages/a", "2")]);
    deliver(&world, &website.push("main").unwrap()).await;
    deployed(&website, &lost);
    world.time.pass(Duration::from_secs(60));
    // Back to what it was, and something else: of this one GitHub tells.
    let changes = [Change::write("pages/a", "1"), Change::write("pages/b", "1")];
    let live = website.commit("main", &changes);
    deliver(&world, &website.push("main").unwrap()).await;
    deliver(&world, &deployed(&website, &live)).await;
    world.settle().await;
    let purged = |path: &str| {
        let urls = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
        urls.contains(&format!("https://www.example.com/{path}"))
    };
    assert!(!purged("pages/a"), "nobody knows of it yet");
    world.time.pass(Duration::from_secs(1_000));

    look(&world).await;
    world.settle().await;

    assert!(purged("pages/a"));
    assert_eq!(website.statuses(&lost).last().unwrap().state, "success");
    // Which of the two is live cannot be known for sure: the next run sees to both.
    world.time.pass(Duration::from_secs(1_000));
    let held = world
        .store()
        .held(&SiteCaches::real("pages"), world.clock.now())
        .await
        .unwrap();
    assert_eq!(held.commits, [base(&lost), base(&live)]);
}

#[tokio::test]
async fn workflows_whose_deliveries_change_places_leave_nothing_stale() {
    let world = World::new(1, RULES).await;
    let website = begin(&world).await;
    let mut ended = Vec::new();
    // "b" is the same before and after the second of these.
    for (path, content) in [("pages/b", "1"), ("pages/b", "2"), ("pages/b", "1")] {
        let id = website.commit("main", &[Change::write(path, content)]);
        deliver(&world, &website.push("main").unwrap()).await;
        ended.push(deployed(&website, &id));
    }
    deliver(&world, &ended[0]).await;
    world.settle().await;
    world.time.pass(Duration::from_secs(5_000));

    // Which of these two ended last, the order of their deliveries does not say.
    deliver(&world, &ended[1]).await;
    world.settle().await;
    world.time.pass(Duration::from_secs(30));
    deliver(&world, &ended[2]).await;
    world.settle().await;
    world.time.pass(Duration::from_secs(5_000));
    let so_far = world
        .sandbox
        .tencent_cdn()
        .purged_urls(PurgeKind::Url)
        .len();
    let next = website.commit("main", &[Change::write("pages/c", "1")]);
    deliver(&world, &website.push("main").unwrap()).await;
    deliver(&world, &deployed(&website, &next)).await;
    world.settle().await;

    // What the second one left in caches meanwhile goes with the next.
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    let new: Vec<_> = purged[so_far..].iter().map(String::as_str).collect();
    assert_eq!(
        new,
        [
            "https://www.example.com/pages/b",
            "https://www.example.com/pages/c"
        ]
    );
    // After that, the order is clear again.
    world.time.pass(Duration::from_secs(5_000));
    let held = world
        .store()
        .held(&SiteCaches::real("pages"), world.clock.now())
        .await;
    assert_eq!(held.unwrap().commits, [base(&next)]);
}

#[tokio::test]
async fn a_log_of_many_pages_is_read_to_the_end_and_only_once() {
    let world = World::new(1, RULES).await;
    let website = begin(&world).await;
    let id = website.commit("main", &[Change::write("pages/a", "2")]);
    deployed(&website, &id);
    for n in 0..250 {
        website.commit("main", &[Change::write("other", n.to_string())]);
        deliver(&world, &website.push("main").unwrap()).await;
    }
    world.time.pass(Duration::from_secs(900));

    look(&world).await;
    world.settle().await;

    assert_eq!(newest_of(&world, "pages").await.commit.as_str(), id);
    // Three pages, once for both sites.
    assert_eq!(calls(&world, "GET deliveries"), 3);
    assert_eq!(calls(&world, "GET delivery"), 1);
    world.time.pass(Duration::from_secs(900));
    look(&world).await;
    assert_eq!(calls(&world, "GET deliveries"), 4);
}

#[tokio::test]
async fn a_webhook_that_goes_elsewhere_feeds_nothing_in() {
    for elsewhere in [
        "https://purge.example.com/hooks/other",
        "https://purge.example.com.evil.example/hooks/github",
        "http://purge.example.com/hooks/github",
        "https://purge.example.com/hooks/github/../github2",
        "no address",
    ] {
        let world = World::new(1, RULES).await;
        let website = begin(&world).await;
        world.sandbox.set_github_hook(elsewhere);
        let id = website.commit("main", &[Change::write("pages/a", "2")]);
        deployed(&website, &id);
        world.time.pass(Duration::from_secs(300));
        let known = world.runs().await.len();

        look(&world).await;

        assert_eq!(world.runs().await.len(), known, "{elsewhere}");
        assert_eq!(calls(&world, "GET deliveries"), 0, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_token_that_may_not_read_webhooks_is_asked_for_them_now_and_then_only() {
    let world = World::new(1, RULES).await;
    let website = begin(&world).await;
    let refusal = "403 Resource not accessible by personal access token".to_owned();
    let faults = world.sandbox.faults();
    faults.add(
        Service::GITHUB,
        "GET hooks",
        When::Always,
        Fault::Code(refusal),
    );
    let id = website.commit("main", &[Change::write("pages/a", "2")]);
    deployed(&website, &id);
    let known = world.runs().await.len();

    let before = calls(&world, "GET hooks");
    for _ in 0..12 {
        world.time.pass(Duration::from_secs(300));
        look(&world).await;
    }
    // Both sites are of one repository, and an hour has passed.
    assert!(calls(&world, "GET hooks") - before <= 2);
    assert_eq!(world.runs().await.len(), known);

    faults.clear();
    world.time.pass(Duration::from_secs(3_600));
    look(&world).await;
    assert_eq!(world.runs().await.len(), known + 1);
}

#[tokio::test]
async fn branches_that_have_not_moved_are_looked_up_for_nothing() {
    let rules = RULES.replace("trigger: release", "trigger: push");
    let world = World::new(1, &rules).await;
    let website = begin(&world).await;

    let mut last = None;
    for _ in 0..10 {
        world.time.pass(Duration::from_secs(300));
        look(&world).await;
        last = world.sandbox.calls(Service::GITHUB, "GET commits").pop();
    }

    assert_eq!(last.unwrap().status, 304);
    // So is the log to which nothing came.
    let read = world.sandbox.calls(Service::GITHUB, "GET deliveries");
    assert_eq!(read.last().unwrap().status, 304);
    let id = website.commit("main", &[Change::write("manual/a", "2")]);
    website.push("main");
    world.sandbox.set_github_hook("https://elsewhere.example/");
    world.time.pass(Duration::from_secs(300));
    look(&world).await;
    assert_eq!(newest_of(&world, "manual").await.commit.as_str(), id);
}

#[tokio::test]
async fn a_head_whose_delivery_is_on_its_way_is_left_to_it() {
    let rules = RULES.replace("trigger: release", "trigger: push");
    let world = World::new(1, &rules).await;
    let website = begin(&world).await;
    let known = world.runs().await.len();
    website.commit("main", &[Change::write("manual/a", "2")]);
    let on_its_way = website.push("main").unwrap();

    world.ask_to_reconcile("manual").await;
    world.engine.drain().await.unwrap();
    world.time.pass(Duration::from_secs(5));
    deliver(&world, &on_its_way).await;
    world.settle().await;
    world.time.pass(Duration::from_secs(60));
    world.engine.drain().await.unwrap();

    assert_eq!(world.runs().await.len(), known + 1);
    let run = newest_of(&world, "manual").await;
    assert_eq!((run.origin, run.state), (Origin::Push, RunState::Succeeded));
}

#[tokio::test]
async fn a_branch_that_was_made_this_moment_is_not_what_caches_hold() {
    let rules = RULES.replace("trigger: release", "trigger: push");
    let world = World::new(1, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("manual/a", "1")]);
    let on_its_way = website.push("main").unwrap();

    world.ask_to_reconcile("manual").await;
    world.engine.drain().await.unwrap();
    deliver(&world, &on_its_way).await;
    world.settle().await;

    // Nobody knows what was there before.
    let purged = world
        .sandbox
        .tencent_cdn()
        .purged_urls(PurgeKind::Directory);
    assert_eq!(purged, ["https://www.example.com/"]);
}
