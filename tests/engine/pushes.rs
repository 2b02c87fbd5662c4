//! Several pushes at once: one run does the work of all.

use std::sync::Arc;
use std::time::Duration;

use purgehook::purge::PurgeKind;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Fault, Repository, Service, TargetOutcome, When};
use purgehook::store::SiteCaches;

use crate::world::{ONE_SITE, World, base};

/// The site's repository, whose first commit no delivery told of.
fn website(world: &World) -> Repository {
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    website
}

/// Three pushes that come in before anything was done about the first: their commits.
async fn three_pushes(world: &World) -> (Repository, Vec<String>) {
    let website = website(world);
    let mut commits = Vec::new();
    for name in ["a.html", "b.html", "c.html"] {
        commits.push(website.commit("main", &[Change::write(name, "new")]));
        world.accepted(&website.push("main").unwrap()).await;
        world.time.pass(Duration::from_millis(1));
    }
    (website, commits)
}

#[tokio::test]
async fn runs_that_have_not_planned_yet_are_covered_by_the_newest() {
    let world = World::new(1, ONE_SITE).await;

    let (website, commits) = three_pushes(&world).await;
    world.settle().await;

    let states: Vec<_> = world.runs().await.iter().map(|run| run.state).collect();
    assert_eq!(
        states,
        [
            RunState::Succeeded,
            RunState::Superseded,
            RunState::Superseded
        ]
    );
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(
        purged,
        ["a", "b", "c"].map(|name| format!("https://www.example.com/{name}.html"))
    );
    for commit in &commits {
        assert_eq!(website.statuses(commit).last().unwrap().state, "success");
    }
    let first = website.statuses(&commits[0]).pop().unwrap();
    let covered = format!("Covered by {}: Purged 3 URLs on tencent", &commits[2][..8]);
    assert_eq!(first.description, Some(covered));
}

#[tokio::test]
async fn a_run_whose_turn_it_is_plans_although_newer_pushes_keep_arriving() {
    let docs = "  docs:
    repo: gitlab:acme/docs
    base_urls: ['https://www.example.com/docs']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";
    let world = World::new(1, &format!("{ONE_SITE}{docs}")).await;
    let website = website(&world);
    let docs = world.sandbox.gitlab().create_repo("acme/docs", "main");
    docs.commit("main", &[Change::write("index.html", "first")]);
    docs.push("main");
    // Its step comes before that of the website's run, with which it is claimed, and takes a while.
    let slow = Fault::Slow(Duration::from_millis(300));
    let faults = world.sandbox.faults();
    faults.add(Service::GITLAB, "GET compare", When::Times(1), slow);
    docs.commit("main", &[Change::write("a.html", "new")]);
    world.accepted(&docs.push("main").unwrap()).await;
    world.time.pass(Duration::from_millis(1));
    website.commit("main", &[Change::write("a.html", "new")]);
    let first = world.accepted(&website.push("main").unwrap()).await;

    let newer = async {
        while world
            .sandbox
            .calls(Service::GITLAB, "GET compare")
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.time.pass(Duration::from_millis(1));
        website.commit("main", &[Change::write("b.html", "new")]);
        world.accepted(&website.push("main").unwrap()).await
    };
    let (drained, second) = tokio::join!(world.engine.drain(), newer);
    drained.unwrap();
    world.settle().await;

    assert_eq!(world.run(&first).await.state, RunState::Succeeded);
    assert_eq!(world.run(&second).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn one_plan_does_the_work_of_more_pushes_than_a_transaction_takes_over() {
    let world = World::new(1, ONE_SITE).await;
    let website = website(&world);
    let mut runs = Vec::new();
    for push in 0..300 {
        website.commit("main", &[Change::write("a.html", format!("push {push}"))]);
        runs.push(world.accepted(&website.push("main").unwrap()).await);
    }

    world.settle().await;

    let newest = runs.pop().unwrap();
    assert_eq!(world.run(&newest).await.state, RunState::Succeeded);
    for run in &runs {
        assert_eq!(world.run(run).await.state, RunState::Superseded);
    }
}

#[tokio::test]
async fn pushes_within_a_second_of_a_plan_are_planned_together() {
    let world = World::new(1, ONE_SITE).await;
    let website = website(&world);
    let mut runs = Vec::new();
    for name in ["a.html", "b.html", "c.html"] {
        website.commit("main", &[Change::write(name, "new")]);
        runs.push(world.accepted(&website.push("main").unwrap()).await);
        world.engine.drain().await.unwrap();
        world.time.pass(Duration::from_millis(200));
    }

    world.settle().await;

    let mut states = Vec::new();
    for run in &runs {
        states.push(world.run(run).await.state);
    }
    let [done, left] = [RunState::Succeeded, RunState::Superseded];
    assert_eq!(states, [done, left, done]);
}

#[tokio::test]
async fn pushes_that_are_planned_together_need_no_comparison_by_the_forge() {
    let world = World::new(1, ONE_SITE).await;

    three_pushes(&world).await;
    world.settle().await;

    let compared = world.sandbox.calls(Service::GITHUB, "GET compare");
    assert_eq!(compared.len(), 0, "{compared:?}");
}

#[tokio::test]
async fn the_work_of_a_run_that_took_over_others_needs_no_comparison_by_the_forge_either() {
    let mut world = World::new(1, ONE_SITE).await;
    let website = website(&world);
    let push = |name| {
        website.commit("main", &[Change::write(name, "new")]);
        website.push("main").unwrap()
    };
    world.accepted(&push("a.html")).await;
    world.engine.drain().await.unwrap();
    // Another process does not know that the site has just planned, so this one is due at once.
    let other = world.another_engine();
    let planned = std::mem::replace(&mut world.engine, other);
    let due = world.accepted(&push("b.html")).await;
    world.engine = planned;
    world.time.pass(Duration::from_millis(1));
    let waits = world.accepted(&push("c.html")).await;
    world.engine.drain().await.unwrap();
    assert_eq!(world.run(&due).await.covered_by.as_ref(), Some(&waits));
    world.time.pass(Duration::from_secs(2));

    let newest = world.accepted(&push("d.html")).await;
    world.settle().await;

    let waited = world.run(&waits).await;
    assert_eq!(waited.covered_by.as_ref(), Some(&newest));
    assert_eq!(world.run(&newest).await.state, RunState::Succeeded);
    let compared = world.sandbox.calls(Service::GITHUB, "GET compare");
    assert_eq!(compared.len(), 0, "{compared:?}");
}

#[tokio::test]
async fn a_covered_commit_fails_as_the_run_that_covers_it_fails() {
    let world = World::new(1, ONE_SITE).await;
    world
        .sandbox
        .tencent_cdn()
        .set_outcome("b.html", When::Always, TargetOutcome::Fail);

    let (website, commits) = three_pushes(&world).await;
    world.settle().await;

    for commit in &commits {
        let last = website.statuses(commit).pop().unwrap();
        assert_eq!(last.state, "failure", "{last:?}");
        assert!(last.description.unwrap().contains("b.html"));
    }
}

#[tokio::test]
async fn a_late_status_of_an_older_run_does_not_hide_what_a_newer_one_said_of_the_same_commit() {
    let world = World::new(4, ONE_SITE).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let commit = website.commit("main", &[Change::write("a.html", "new")]);
    // Its run fails while GitHub takes no statuses.
    let faults = world.sandbox.faults();
    let take_no_statuses = || {
        let down = Fault::Http(503, None);
        faults.add(Service::GITHUB, "POST statuses", When::Always, down);
    };
    take_no_statuses();
    let refusal = Fault::Code("AuthFailure.SecretIdNotFound".to_owned());
    faults.add(Service::TENCENT_CDN, "*", When::Always, refusal);
    let failed = world.accepted(&website.push("main").unwrap()).await;
    while world.run(&failed).await.state == RunState::Pending {
        world.step().await;
    }
    faults.clear();
    take_no_statuses();
    let config = world.config();
    let site = &config.sites["www"];
    let again = world
        .engine
        .start_by_hand(site, "main", false)
        .await
        .unwrap();
    while world.run(&again).await.state == RunState::Pending {
        world.step().await;
    }

    faults.clear();
    world.settle().await;

    assert_eq!(world.run(&failed).await.state, RunState::Failed);
    assert_eq!(world.run(&again).await.state, RunState::Succeeded);
    let shown = website.statuses(&commit);
    let states: Vec<_> = shown.iter().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["success"]);
    let unposted = world
        .store()
        .statuses(&failed)
        .await
        .unwrap()
        .pop()
        .unwrap();
    let why = unposted.error.unwrap();
    assert!(why.contains("newer run"), "{why}");
}

#[tokio::test]
async fn what_went_live_again_stays_held_until_the_run_that_heard_of_it_has_purged_it() {
    let world = World::new(5, ONE_SITE).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let first = website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    website.commit("main", &[Change::write("index.html", "second")]);
    let second = world.accepted(&website.push("main").unwrap()).await;
    world.engine.drain().await.unwrap();
    // While the second is being purged the first is live once more, which nobody tells of.
    website.reset("main", &first);
    website.push("main");
    website.commit("main", &[Change::write("c.html", "third")]);
    let tencent = world.sandbox.tencent_cdn();
    tencent.set_outcome("c.html", When::Always, TargetOutcome::Never);
    let third = world.accepted(&website.push("main").unwrap()).await;

    world.settle().await;

    assert_eq!(world.run(&second).await.state, RunState::Succeeded);
    assert_eq!(world.run(&third).await.state, RunState::Failed);
    let later = world.clock.now() + std::time::Duration::from_secs(60 * 60);
    let held = world
        .store()
        .held(&SiteCaches::real("www"), later)
        .await
        .unwrap();
    assert!(held.commits.contains(&base(&first)), "{held:?}");
}

#[tokio::test]
async fn a_status_that_was_long_on_its_way_does_not_stay_over_a_newer_one() {
    let world = World::new(1, ONE_SITE).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    let commit = website.commit("main", &[Change::write("a.html", "new")]);
    let faults = world.sandbox.faults();
    let refusal = Fault::Code("AuthFailure.SecretIdNotFound".to_owned());
    faults.add(Service::TENCENT_CDN, "*", When::Always, refusal);
    faults.add(
        Service::GITHUB,
        "POST statuses",
        When::Always,
        Fault::Http(503, None),
    );
    let failed = world.accepted(&website.push("main").unwrap()).await;
    while world.run(&failed).await.state == RunState::Pending {
        world.step().await;
    }
    faults.clear();
    let slow = Fault::Slow(Duration::from_secs(50));
    faults.add(Service::GITHUB, "POST statuses", When::Times(1), slow);
    world.time.pass(Duration::from_secs(60));

    let first = Arc::clone(&world.engine);
    let on_its_way = tokio::spawn(async move { first.drain().await });
    while faults.pending() > 0 {
        tokio::task::yield_now().await;
    }
    let second = world.another_engine();
    let config = world.config();
    let by_hand = second
        .start_by_hand(&config.sites["www"], "main", true)
        .await
        .unwrap();
    for _ in 0..30 {
        second.drain().await.unwrap();
        world.time.pass(Duration::from_secs(1));
    }
    assert_eq!(world.run(&by_hand).await.state, RunState::Succeeded);
    assert_eq!(website.statuses(&commit).last().unwrap().state, "success");
    world.time.pass(Duration::from_secs(25));
    on_its_way.await.unwrap().unwrap();
    world.settle().await;

    let shown = website.statuses(&commit);
    assert!(
        shown
            .iter()
            .any(|status| status.state == "error" || status.state == "failure")
    );
    assert_eq!(shown.last().unwrap().state, "success");
}

#[tokio::test]
async fn a_run_that_waits_to_ask_the_forge_again_leaves_its_work_to_a_newer_one_that_plans() {
    let world = World::new(
        8,
        &ONE_SITE.replace("    base_urls", "    settle: 0s\n    base_urls"),
    )
    .await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("a.html", "first")]);
    website.push("main");
    let faults = world.sandbox.faults();
    let away = Fault::Http(503, None);
    faults.add(Service::GITHUB, "GET compare", When::Times(1), away);
    // Two commits, which the delivery does not prove.
    for text in ["second", "third"] {
        website.commit("main", &[Change::write("a.html", text)]);
    }
    let older = world.accepted(&website.push("main").unwrap()).await;
    world.engine.drain().await.unwrap();
    assert_eq!(world.run(&older).await.state, RunState::Pending);

    website.commit("main", &[Change::write("b.html", "new")]);
    let newer = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    let older = world.run(&older).await;
    assert_eq!(older.state, RunState::Superseded);
    assert_eq!(older.covered_by.as_ref(), Some(&newer));
    let purged = world.sandbox.tencent_cdn().purged();
    let mut targets: Vec<&str> = purged.iter().map(|purge| purge.target.as_str()).collect();
    targets.sort_unstable();
    let both = [
        "https://www.example.com/a.html",
        "https://www.example.com/b.html",
    ];
    assert_eq!(targets, both, "each once");
    let shown = website.statuses(older.commit.as_str()).pop().unwrap();
    assert_eq!(shown.state, "success", "{:?}", shown.description);
}
