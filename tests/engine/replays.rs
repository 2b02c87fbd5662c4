//! Pushes that arrive out of order: old ones that are sent again, and late ones.

use std::time::Duration;

use purgehook::engine::Received;
use purgehook::run::{Origin, Run, RunState};
use purgehook::sandbox::{Change, Delivery, Repository, Service};
use purgehook::store::SiteCaches;

use crate::world::{ONE_SITE, World, base};

/// A site whose caches hold its first commit.
async fn site(seed: u64) -> (World, Repository, String) {
    let rules = ONE_SITE.replace("    base_urls", "    settle: 0s\n    base_urls");
    let world = World::new(seed, &rules).await;
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let (first, delivery) = push(&website, "first.html");
    world.accepted(&delivery).await;
    world.settle().await;
    (world, website, first)
}

fn push(website: &Repository, path: &str) -> (String, Delivery) {
    let commit = website.commit("main", &[Change::write(path, "new")]);
    (commit, website.push("main").unwrap())
}

/// The same bytes under another id. No forge signs the id, so someone who has recorded a delivery can send this.
fn replayed(delivery: &Delivery, id: &str) -> Delivery {
    let mut replayed = delivery.clone();
    for (name, value) in &mut replayed.headers {
        if name.eq_ignore_ascii_case("x-github-delivery") {
            *value = id.to_owned();
        }
    }
    replayed
}

fn purged(world: &World) -> usize {
    world.sandbox.tencent_cdn().purged().len()
}

fn asked_for_heads(world: &World) -> usize {
    world.sandbox.calls(Service::GITHUB, "GET commits").len()
}

async fn held(world: &World) -> Vec<purgehook::run::Base> {
    let caches = SiteCaches::real("www");
    let held = world.store().held(&caches, world.clock.now()).await;
    held.unwrap().commits
}

async fn newest(world: &World) -> Run {
    world.runs().await.remove(0)
}

#[tokio::test]
async fn an_old_push_that_is_sent_again_purges_nothing_and_lets_go_of_nothing() {
    let (world, website, first) = site(1).await;
    let (second, there) = push(&website, "second.html");
    world.accepted(&there).await;
    world.settle().await;
    // The branch moves back. The earlier push to the second commit now begins at the head again.
    website.reset("main", &first);
    world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    let (before, shown) = (purged(&world), website.statuses(&second));

    for n in 0..5 {
        world.time.pass(Duration::from_secs(20 * 60));
        let replay = replayed(&there, &format!("replay-{n}"));
        let run = match world.receive(&replay).await.unwrap() {
            Received::Accepted { mut runs, .. } => runs.remove(0),
            Received::Duplicate { .. } => continue,
            other => panic!("{other:?}"),
        };
        world.settle().await;

        let run = world.run(&run).await;
        assert_eq!(run.state, RunState::Superseded);
        let summary = format!("Superseded: main is at {}", &first[..8]);
        assert_eq!(run.summary, summary);
        world.reconcile(&["www"]).await;
        assert_eq!(
            newest(&world).await.id,
            run.id,
            "a look finds nothing to do"
        );
    }

    assert_eq!(purged(&world), before);
    assert_eq!(website.statuses(&second), shown);
    assert_eq!(held(&world).await, [base(&first)]);
}

#[tokio::test]
async fn a_push_whose_delivery_comes_after_the_next_one_is_covered_by_that() {
    let (world, website, _) = site(2).await;
    let (early, late) = push(&website, "early.html");
    let (_, next) = push(&website, "next.html");
    let next = world.accepted(&next).await;
    world.settle().await;
    let before = purged(&world);

    let late = world.accepted(&late).await;
    world.settle().await;

    let late = world.run(&late).await;
    assert_eq!(late.state, RunState::Superseded);
    assert_eq!(late.covered_by, Some(next));
    assert_eq!(purged(&world), before);
    assert_eq!(website.statuses(&early).pop().unwrap().state, "success");
}

#[tokio::test]
async fn what_a_late_push_brought_is_purged_by_a_run_for_what_is_live() {
    let (world, website, _) = site(3).await;
    let (early, late) = push(&website, "early.html");
    let change = [
        Change::write("next.html", "new"),
        Change::remove("early.html"),
    ];
    let next = website.commit("main", &change);
    website.push("main");
    world.time.pass(Duration::from_secs(120));
    world.reconcile(&["www"]).await;
    world.settle().await;
    let before = purged(&world);

    world.accepted(&late).await;
    world.settle().await;

    let run = newest(&world).await;
    assert_eq!(
        (run.origin, run.state),
        (Origin::Reconciliation, RunState::Succeeded)
    );
    assert_eq!(run.commit.as_str(), next);
    assert!(run.bases.contains(&base(&early)), "{:?}", run.bases);
    assert!(purged(&world) > before);
    assert_eq!(website.statuses(&early).pop().unwrap().state, "success");
}

#[tokio::test]
async fn a_late_push_back_to_a_commit_has_what_was_live_in_between_purged() {
    let (world, website, first) = site(5).await;
    let (lost, _) = push(&website, "lost.html");
    website.reset("main", &first);
    let late = website.push("main").unwrap();
    let (head, next) = push(&website, "next.html");
    world.accepted(&next).await;
    world.settle().await;
    let shown = website.statuses(&first);

    let late = world.accepted(&late).await;
    world.settle().await;

    assert_eq!(world.run(&late).await.state, RunState::Superseded);
    let run = newest(&world).await;
    assert_eq!(
        (run.origin, run.commit.as_str()),
        (Origin::Reconciliation, &*head)
    );
    assert_eq!(run.state, RunState::Succeeded);
    assert!(run.bases.contains(&base(&lost)), "{:?}", run.bases);
    assert_eq!(website.statuses(&first), shown, "it had its own run");
}

#[tokio::test]
async fn a_push_that_does_not_follow_on_and_is_the_head_goes_on_as_any_other() {
    let (world, website, _) = site(4).await;
    push(&website, "lost.html");
    let (_, delivery) = push(&website, "next.html");
    let before = asked_for_heads(&world);

    let run = world.accepted(&delivery).await;
    world.settle().await;
    assert_eq!(world.run(&run).await.state, RunState::Succeeded);
    assert_eq!(asked_for_heads(&world), before + 1);

    for path in ["a.html", "b.html", "c.html"] {
        let run = world.accepted(&push(&website, path).1).await;
        world.settle().await;
        assert_eq!(world.run(&run).await.state, RunState::Succeeded);
    }
    assert_eq!(
        asked_for_heads(&world),
        before + 1,
        "nothing is asked on the way that is usual"
    );
}
