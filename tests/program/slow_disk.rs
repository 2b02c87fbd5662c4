//! A disk that takes its time.

use std::time::{Duration, Instant};

use purgehook::sandbox::{Change, Delivery};

use crate::books::Books;
use crate::surroundings::Surroundings;
use crate::world::World;

/// When GitHub and GitLab give up on a delivery.
const FORGES_WAIT: Duration = Duration::from_secs(10);
/// Senders at once.
const SENDERS: usize = 64;

/// Milliseconds that a slow disk takes for an fsync. `PURGEHOOK_SYNC` says how many; 300 otherwise.
fn slow() -> String {
    std::env::var("PURGEHOOK_SYNC").unwrap_or_else(|_| "300".to_owned())
}

/// How long the slowest and all of them took.
async fn all_accepted(world: &World, deliveries: &[Delivery]) -> (Duration, Duration) {
    let began = Instant::now();
    let sent = deliveries.iter().map(|delivery| async move {
        let sent = Instant::now();
        let answer = world.answer_to(delivery).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        sent.elapsed()
    });
    let took = futures_util::future::join_all(sent).await;
    (took.into_iter().max().unwrap(), began.elapsed())
}

async fn lives(world: &World) {
    let asked = Instant::now();
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_is_shared_by_all_that_wait_for_it_and_one_that_hangs_costs_nothing_accepted() {
    let mut world = World::new().await;
    world.sandbox.lift_github_limits();
    let surroundings = Surroundings::of(&mut world);
    world.start().await;
    let website = world.website();
    let mut commits = Vec::new();
    let mut push = |page: &str| {
        let path = format!("content/{page}.md");
        commits.push(website.commit("main", &[Change::write(path, "text")]));
        website.push("main").unwrap()
    };
    let mut pages: Vec<Delivery> = (0..3 * SENDERS)
        .map(|n| push(&format!("page-{n}")))
        .collect();
    let last = push("last");

    surroundings.order("sync", &slow());
    let mut rounds = Vec::new();
    while !pages.is_empty() {
        let some: Vec<Delivery> = pages.drain(..SENDERS).collect();
        rounds.push(all_accepted(&world, &some).await);
        lives(&world).await;
    }
    println!("{SENDERS} deliveries at once, the slowest and all of them: {rounds:?}");
    for (slowest, _) in rounds {
        assert!(slowest < FORGES_WAIT, "{slowest:?}");
    }
    let log = world.log();
    assert!(!log.contains("a step failed"), "{log}");
    assert!(!log.contains("cannot claim work"), "{log}");

    surroundings.order("sync", "12000");
    // What is under way goes to the disk as it was until now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = Instant::now();
    let refused = world.answer_to(&last).await;
    assert!(asked.elapsed() < FORGES_WAIT, "{:?}", asked.elapsed());
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.retry_after.as_deref(), Some("10"));
    lives(&world).await;
    world
        .answers("/readyz", "cannot be written to: it takes too long")
        .await;
    let page = world.text("/").await;
    assert!(page.contains("it takes too long"), "{page}");

    surroundings.take_back("sync");
    world.step_aside();
    let began = Instant::now();
    world.answers("/readyz", r#""ready":true"#).await;
    let (status, answer) = world.send(&last).await;
    // It may have been stored after all, when it was too late to say so.
    assert!(status == 202 || status == 200, "{answer}");
    for commit in &commits {
        assert_eq!(world.shown(&website, commit).await, "success");
    }
    println!("all is well {:?} after the disk is", began.elapsed());
    let runs = world.all_runs().await;
    let books = Books::compare(&runs, &world.sandbox.tencent_cdn().purged());
    assert_eq!(books.unconfirmed, Vec::<serde_json::Value>::new());
    assert_eq!(books.in_vain, 0);
}
