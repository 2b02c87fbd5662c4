//! What the program does while PostgreSQL is away, and after it is back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Delivery, Repository};

use crate::postgres::Cluster;
use crate::world::World;

/// When GitHub and GitLab give up on a delivery: an answer has to be there before.
const FORGES_WAIT: Duration = Duration::from_secs(10);

/// A push of a page of its own, by number.
struct Push {
    page: String,
    commit: String,
    delivery: Delivery,
}

fn push(website: &Repository, number: usize) -> Push {
    let page = format!("page-{number}");
    let path = format!("content/{page}.md");
    Push {
        commit: website.commit("main", &[Change::write(path, "text")]),
        delivery: website.push("main").unwrap(),
        page,
    }
}

/// The program on a database of its own server, some pushes in the middle of their work.
async fn busy() -> (Cluster, World, Repository, Vec<Push>) {
    let cluster = Cluster::start();
    let mut world = World::with_replicas_on(cluster.new_database().await, 1).await;
    world.start().await;
    let website = world.website();
    let mut pushes = Vec::new();
    for number in 0..6 {
        let push = push(&website, number);
        world.accepted(&push.delivery).await;
        pushes.push(push);
    }
    world
        .until("the CDN is at the first of them", |world| {
            !world.sandbox.tencent_cdn().purged().is_empty()
        })
        .await;
    (cluster, world, website, pushes)
}

/// Two pushes that cannot be stored: each is told so before its forge gives up, and so is everyone who looks.
async fn turned_away(world: &World, website: &Repository, why: &str) -> Vec<Push> {
    let refused = vec![push(website, 6), push(website, 7)];
    let asked = Instant::now();
    let answers = tokio::join!(
        world.answer_to(&refused[0].delivery),
        world.answer_to(&refused[1].delivery)
    );
    assert!(asked.elapsed() < FORGES_WAIT, "{:?}", asked.elapsed());
    for answer in [answers.0, answers.1] {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(answer.retry_after.as_deref(), Some("10"));
        assert_eq!(answer.body["outcome"], "refused");
    }
    // What the database showed is good for a second.
    let told = format!(r#""store":"cannot be written to: {why}""#);
    world.answers("/readyz", &told).await;
    assert_eq!(world.get("/readyz").await.unwrap().0, 503);
    assert_eq!(world.get("/healthz").await.unwrap().0, 200);
    refused
}

async fn the_page_is_out_of_order(world: &World) {
    let page = world.text("/").await;
    assert!(page.contains("Out of order"), "{page}");
    assert!(page.contains("it does not answer"), "{page}");
}

/// Once the database is back: nothing was lost, and nobody has to do anything but what the forge's *Redeliver* does.
async fn all_come_to_their_end(world: &World, website: &Repository, pushes: &[Push]) {
    world.answers("/readyz", r#""ready":true"#).await;
    world.step_aside();
    for push in &pushes[6..] {
        let (status, answer) = world.send(&push.delivery).await;
        // The one that was being stored as the server went may have been stored after all.
        assert!(status == 202 || status == 200, "{answer}");
    }
    for push in pushes {
        assert_eq!(world.shown(website, &push.commit).await, "success");
    }
    let purged: BTreeSet<String> = world
        .sandbox
        .tencent_cdn()
        .purged_urls(PurgeKind::Url)
        .into_iter()
        .collect();
    let pages = pushes
        .iter()
        .map(|push| format!("https://www.example.com/{}/", push.page));
    assert_eq!(purged, pages.collect());
}

// The tests here wait for leases to end, which takes a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_crashes_and_comes_back_costs_nothing_that_was_accepted() {
    let (cluster, world, website, mut pushes) = busy().await;

    cluster.crash();
    let why = "it does not answer, or its disk fails";
    pushes.extend(turned_away(&world, &website, why).await);
    the_page_is_out_of_order(&world).await;
    cluster.start_again();

    all_come_to_their_end(&world, &website, &pushes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_hangs_and_goes_on_costs_nothing_that_was_accepted() {
    let (cluster, world, website, mut pushes) = busy().await;

    cluster.freeze();
    pushes.extend(turned_away(&world, &website, "it takes too long").await);
    the_page_is_out_of_order(&world).await;
    cluster.thaw();

    all_come_to_their_end(&world, &website, &pushes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_turns_read_only_and_back_costs_nothing_that_was_accepted() {
    let (cluster, world, website, mut pushes) = busy().await;

    // As after a failover that leaves the program on what is a standby by now: the sessions that
    // begin meanwhile stay read-only for as long as they live.
    cluster.let_write(false).await;
    let (before, began) = (world.log().lines().count(), Instant::now());
    pushes.extend(turned_away(&world, &website, "it is read-only").await);
    let again = push(&website, 8);
    for _ in 0..20 {
        assert_eq!(world.answer_to(&again.delivery).await.status, 503);
    }
    pushes.push(again);
    let page = world.text("/").await;
    assert!(
        page.contains("the database cannot be written to, it is read-only"),
        "{page}"
    );
    // Besides two lines for each delivery that is turned away, and some for the sessions that ended.
    let lines = world.log().lines().count() - before;
    let took = began.elapsed();
    println!("{lines} lines in the log for 22 deliveries in {took:?}");
    assert!(
        lines as u64 <= 2 * 22 + 20 + took.as_secs(),
        "{}",
        world.log()
    );
    cluster.let_write(true).await;

    all_come_to_their_end(&world, &website, &pushes).await;
}
