//! Two replicas of the program on one PostgreSQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Delivery, Fault, Repository, Service, When};

use crate::books::Books;
use crate::surroundings::Surroundings;
use crate::world::{World, states};

/// What docs/operate/deploy.md promises for a stop, whatever hangs.
const STOP_LIMIT: Duration = Duration::from_secs(30);

async fn two() -> World {
    let mut world = World::with_replicas(2).await;
    world.settle_at_once();
    world.start_replica(0).await;
    world.start_replica(1).await;
    world
}

#[tokio::test]
async fn pushes_sent_to_both_replicas_are_each_purged_once() {
    let world = two().await;
    let website = world.website();

    for number in 0..20 {
        let page = format!("content/page-{number}.md");
        let commit = website.commit("main", &[Change::write(&page, "second")]);
        let delivery = website.push("main").unwrap();
        let (status, answer) = delivery.send(&world.base_of(number % 2)).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        let run = answer["runs"][0]["id"].as_str().unwrap();
        assert_eq!(world.ended(run).await["state"], "succeeded");
        assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    }

    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    let mut pages: Vec<String> = (0..20)
        .map(|number| format!("https://www.example.com/page-{number}/"))
        .collect();
    pages.sort();
    assert_eq!(purged, pages);
}

#[tokio::test]
async fn a_delivery_that_reaches_both_replicas_at_once_makes_one_run() {
    let world = two().await;
    let website = world.website();

    for number in 0..20 {
        let content = number.to_string();
        website.commit("main", &[Change::write("content/about.md", &content)]);
        let delivery = website.push("main").unwrap();
        let (bases, again) = ([world.base_of(0), world.base_of(1)], delivery.clone());
        let (one, two) = tokio::join!(delivery.send(&bases[0]), again.send(&bases[1]));

        let (one, two) = (one.unwrap(), two.unwrap());
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 202], "{} {}", one.1, two.1);
        assert_eq!(one.1["runs"][0]["id"], two.1["runs"][0]["id"]);
        world.ended(one.1["runs"][0]["id"].as_str().unwrap()).await;
    }

    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(purged.len(), 20);
}

/// Replica 1 alone, stopped while the CDN is at its batch.
async fn stopped_in_the_middle() -> (World, Repository, String, String) {
    let mut world = World::with_replicas(2).await;
    world.settle_at_once();
    world.start_replica(1).await;
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Times(1),
        Fault::Slow(Duration::from_secs(2)),
    );
    let website = world.website();
    let commit = website.commit("main", &[Change::write("content/about.md", "second")]);
    let delivery = website.push("main").unwrap();
    let (status, answer) = delivery.send(&world.base_of(1)).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let run = answer["runs"][0]["id"].as_str().unwrap().to_owned();
    world
        .until("the CDN is at the batch", |world| {
            world.sandbox.faults().pending() == 0
        })
        .await;
    world.signal(1, "STOP");
    world.start_replica(0).await;
    // For a lease to end, which takes a minute.
    world.step_aside();
    (world, website, run, commit)
}

#[tokio::test]
async fn a_replica_that_sleeps_through_its_lease_writes_nothing_when_it_wakes() {
    let (world, website, run, commit) = stopped_in_the_middle().await;
    let ended = world.ended(&run).await;
    assert_eq!(ended["state"], "succeeded");

    world.signal(1, "CONT");
    world
        .until("the sleeper sees that its lease is lost", |world| {
            world.log().contains("the lease is lost")
        })
        .await;

    // It works again, and what the other did stands.
    website.commit("main", &[Change::write("content/_index.md", "second")]);
    let next = website.push("main").unwrap();
    let (_, answer) = next.send(&world.base_of(1)).await.unwrap();
    world.ended(answer["runs"][0]["id"].as_str().unwrap()).await;
    assert_eq!(world.ended(&run).await, ended);
    assert_eq!(world.shown(&website, &commit).await, "success");
    assert_eq!(
        world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url),
        ["https://www.example.com/", "https://www.example.com/about/"]
    );
}

#[tokio::test]
async fn what_a_killed_replica_had_in_hand_is_finished_by_the_other() {
    let (mut world, website, run, commit) = stopped_in_the_middle().await;

    world.kill_replica(1);

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(states(&website.statuses(&commit)).last(), Some(&"success"));
    assert_eq!(
        world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url),
        ["https://www.example.com/about/"]
    );
}

#[tokio::test]
async fn replicas_whose_clocks_differ_by_two_minutes_take_no_batch_of_each_other_for_lost() {
    let mut world = World::with_replicas(2).await;
    world.settle_at_once();
    let _shim = Surroundings::of(&mut world);
    world.start_replica(0).await;
    world.set_variable("PURGEHOOK_CLOCK_AHEAD", "120");
    world.start_replica(1).await;
    let right = world.get_from(0, "/readyz").await.unwrap().1;
    assert_eq!(right["clock"], "ok");
    let ahead = world.get_from(1, "/readyz").await.unwrap().1["clock"].to_string();
    assert!(ahead.contains("s ahead of the database's"), "{ahead}");
    let warning = "this machine's clock differs from the database's by 1";
    world
        .until("the log warns", |world| world.log().contains(warning))
        .await;
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Always,
        Fault::Slow(Duration::from_secs(8)),
    );
    let website = world.website();
    world.step_aside();

    let mut runs = Vec::new();
    for number in 0..4 {
        let page = format!("content/page-{number}.md");
        website.commit("main", &[Change::write(&page, "second")]);
        let delivery = website.push("main").unwrap();
        let (status, answer) = delivery.send(&world.base_of(number % 2)).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        runs.push(answer["runs"][0]["id"].as_str().unwrap().to_owned());
        // While the CDN is at the batch, the other replica looks for work again and again.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    for run in &runs {
        world.ended(run).await;
    }

    let books = Books::compare(
        &world.all_runs().await,
        &world.sandbox.tencent_cdn().purged(),
    );
    assert_eq!(books.in_vain, 0, "URLs submitted twice");
    assert!(books.unconfirmed.is_empty(), "{:#?}", books.unconfirmed);
    assert!(!world.log().contains("the lease is lost"));
}

/// Pushes one after the other, each of a page of its own, until told to stop: their commits with
/// their pages, and how often a replica did not take one. As behind a load balancer, what one
/// replica does not take goes to the other.
async fn stream(
    website: Repository,
    bases: [String; 2],
    stop: Arc<AtomicBool>,
) -> (Vec<(String, String)>, usize) {
    let (mut pushed, mut turned_away) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let page = format!("page-{}", pushed.len());
        let path = format!("content/{page}.md");
        let commit = website.commit("main", &[Change::write(path, "text")]);
        let delivery = website.push("main").unwrap();
        turned_away += advisory_lock(&bases, pushed.len(), &delivery).await;
        pushed.push((commit, page));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (pushed, turned_away)
}

/// Offers a delivery to one replica and the other until one has taken it: how often none did.
async fn advisory_lock(bases: &[String; 2], first: usize, delivery: &Delivery) -> usize {
    for turn in 0..100 {
        match delivery.send(&bases[(first + turn) % 2]).await {
            Ok((200 | 202, _)) => return turn,
            Ok((503, _)) | Err(_) => {}
            Ok((status, answer)) => panic!("answered {status}: {answer}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no replica takes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_pushes_loses_nothing_and_purges_nothing_twice() {
    let mut world = two().await;
    world.sandbox.lift_github_limits();
    // On a slow machine there are more pushes, and what each of them purges grows with what is settling.
    let account = world.sandbox.tencent_cdn();
    account.set_allowance(PurgeKind::Url, 1_000, 1_000_000);
    let website = world.website();
    let stop = Arc::new(AtomicBool::new(false));
    let bases = [world.base_of(0), world.base_of(1)];
    let pushing = tokio::spawn(stream(website.clone(), bases, Arc::clone(&stop)));
    let began = Instant::now();

    let mut longest = Duration::ZERO;
    for replica in [0, 1, 0, 1] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = Instant::now();
        let ended = world.terminate_replica(replica).await;
        longest = longest.max(asked.elapsed());
        assert_eq!(ended.code(), Some(0), "{}", world.log());
        world.start_replica(replica).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (pushed, turned_away) = pushing.await.unwrap();
    let restarting = began.elapsed();

    for (commit, _) in &pushed {
        assert_eq!(world.shown(&website, commit).await, "success");
    }
    let all = began.elapsed();
    let runs = world.all_runs().await;
    let purged = world.sandbox.tencent_cdn().purged();
    let books = Books::compare(&runs, &purged);
    println!(
        "4 restarts in {restarting:.1?}, the longest stop {longest:.1?}; {} pushes, {turned_away} times turned away, \
         all final {:.1?} later; {} purges planned, {} unconfirmed; {} submitted, {} of them in vain",
        pushed.len(),
        all - restarting,
        books.planned,
        books.unconfirmed.len(),
        books.submitted,
        books.in_vain
    );
    assert!(longest < STOP_LIMIT, "{longest:?}");
    assert!(pushed.len() > 20, "{} pushes", pushed.len());
    let urls: BTreeSet<&str> = purged.iter().map(|purged| purged.target.as_str()).collect();
    for (_, page) in &pushed {
        let url = format!("https://www.example.com/{page}/");
        assert!(urls.contains(url.as_str()), "{url} is lost");
    }
    assert!(books.unconfirmed.is_empty(), "{:#?}", books.unconfirmed);
    assert_eq!(books.in_vain, 0);
}
