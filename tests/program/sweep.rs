//! Kills without end: whatever the moment, nothing that was answered with 202
//! is lost, and hardly anything is purged twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use purgehook::sandbox::{Change, Delivery, Repository};

use crate::books::Books;
use crate::world::World;

/// Kills in a run of the tests; `PURGEHOOK_SWEEP_KILLS` asks for more.
const KILLS: usize = 150;
/// Kills of replicas in a run of the tests, which `PURGEHOOK_SWEEP_KILLS` is for, too.
const KILLS_OF_REPLICAS: usize = 50;
/// `PURGEHOOK_SWEEP_SEED` picks other moments.
const SEED: u64 = 7;
/// Pages that the pushes change, over and over.
const PAGES: u32 = 12;

/// Who send at once what is to be under way at a SIGTERM.
const SENDERS: usize = 8;

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    }
}

/// What was promised: runs, with the commits that are to show how they ended.
#[derive(Default)]
struct Promises(BTreeMap<String, String>);

impl Promises {
    /// Sends a push; a promise is what is answered with 2xx.
    async fn send(&mut self, base: &str, delivery: &Delivery, commit: &str) -> bool {
        let Ok((status, answer)) = delivery.send(base).await else {
            return false;
        };
        for run in answer["runs"].as_array().into_iter().flatten() {
            if let (200 | 202, Some(id)) = (status, run["id"].as_str()) {
                self.0.insert(id.to_owned(), commit.to_owned());
            }
        }
        status == 202
    }
}

/// A push of one to three pages, and the commit it brings.
fn push(website: &Repository, random: &mut fastrand::Rng, count: usize) -> (Delivery, String) {
    let changes: Vec<Change> = (0..random.u32(1..=3))
        .map(|_| {
            let page = random.u32(..PAGES);
            Change::write(format!("content/page-{page}.md"), format!("{count}"))
        })
        .collect();
    let commit = website.commit("main", &changes);
    (website.push("main").unwrap(), commit)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "random moments; commit_kills.rs tries each commit: cargo test --test program sweep -- --ignored"]
async fn no_kill_at_any_moment_loses_a_delivery_or_a_purge() {
    sweep(World::new().await, 1, KILLS).await;
}

/// What a killed replica had in hand waits for its lease to end; meanwhile the other goes on, and
/// takes it up then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "random moments: cargo test --test program sweep -- --ignored"]
async fn no_kill_of_one_of_two_replicas_loses_a_delivery_or_a_purge() {
    sweep(World::with_replicas(2).await, 2, KILLS_OF_REPLICAS).await;
}

/// Sends pushes, to each replica in turn, and kills the one that was sent to.
async fn sweep(mut world: World, replicas: usize, kills: usize) {
    let kills = setting("PURGEHOOK_SWEEP_KILLS", kills);
    let seed = setting("PURGEHOOK_SWEEP_SEED", SEED);
    let mut random = fastrand::Rng::with_seed(seed);
    let started = Instant::now();
    world.settle_at_once();
    world.sandbox.lift_github_limits();
    for replica in 0..replicas {
        world.start_replica(replica).await;
    }
    let website = world.website();
    let mut promises = Promises::default();
    let (mut sent, mut accepted) = (0, 0);

    for kill in 0..kills {
        let replica = kill % replicas;
        let (delivery, commit) = push(&website, &mut random, sent);
        let moment = Duration::from_millis(random.u64(0..=400));
        let base = world.base_of(replica);
        sent += 1;
        // The kill may come before the answer.
        let sending = promises.send(&base, &delivery, &commit);
        let killed = async {
            tokio::time::sleep(moment).await;
            world.kill_replica(replica);
        };
        let (answered, ()) = tokio::join!(sending, killed);
        accepted += usize::from(answered);
        world.start_replica(replica).await;
    }
    let (delivery, commit) = push(&website, &mut random, sent);
    assert!(promises.send(&world.base(), &delivery, &commit).await);

    let mut lost = Vec::new();
    for (run, commit) in &promises.0 {
        let run = world.ended(run).await;
        let last = world.shown(&website, commit).await;
        if run["state"] != "succeeded" && run["state"] != "superseded" || last != "success" {
            lost.push(format!("{run:#} shows {last}"));
        }
    }
    let runs = world.all_runs().await;
    let books = Books::compare(&runs, &world.sandbox.tencent_cdn().purged());
    println!(
        "{replicas} replicas, seed {seed}: {kills} kills in {:.0} s; {sent} pushes, {accepted} accepted before the kill, \
         {} runs, {} lost; {} purges planned, {} unconfirmed; {} submitted, {} of them in vain",
        started.elapsed().as_secs_f64(),
        runs.len(),
        lost.len(),
        books.planned,
        books.unconfirmed.len(),
        books.submitted,
        books.in_vain,
    );

    assert!(lost.is_empty(), "{lost:#?}");
    assert!(books.unconfirmed.is_empty(), "{:#?}", books.unconfirmed);
    assert!(books.in_vain <= kills, "{} in vain", books.in_vain);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_ends_with_0_in_time_and_loses_nothing() {
    let mut world = World::new().await;
    world.settle_at_once();
    world.sandbox.lift_github_limits();
    world.start().await;
    let website = world.website();
    let mut random = fastrand::Rng::with_seed(SEED);
    let pushes: Vec<(Delivery, String)> = (0..200)
        .map(|count| push(&website, &mut random, count))
        .collect();
    let mut load = tokio::task::JoinSet::new();
    for pushes in pushes.chunks(pushes.len() / SENDERS) {
        let (base, pushes) = (world.base(), pushes.to_vec());
        load.spawn(async move {
            let mut promises = Promises::default();
            for (delivery, commit) in &pushes {
                promises.send(&base, delivery, commit).await;
            }
            promises
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let asked = Instant::now();
    let status = world.terminate().await;
    let took = asked.elapsed();
    let mut promises = Promises::default();
    for sender in load.join_all().await {
        promises.0.extend(sender.0);
    }
    world.start().await;

    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(!promises.0.is_empty());
    for (run, commit) in &promises.0 {
        let run = world.ended(run).await;
        assert!(
            run["state"] == "succeeded" || run["state"] == "superseded",
            "{run:#}"
        );
        assert_eq!(world.shown(&website, commit).await, "success");
    }
    println!(
        "SIGTERM took {took:?}; {} of {} pushes were accepted before it",
        promises.0.len(),
        pushes.len()
    );
}
