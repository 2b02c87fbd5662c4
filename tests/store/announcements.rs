//! Replicas tell each other of work, so that none waits for the next look at the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::clock::{Clock, TimeSource};
use purgehook::config::{self, ALL_KINDS, Config};
use purgehook::engine::Engine;
use purgehook::http::Outbound;
use purgehook::run::StatusState;
use purgehook::settings::Environment;
use purgehook::store::{Disposition, Store, Work, WorkKey, Write};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::watch;

use crate::databases::{Opened, at, delivery, run_id};

/// Where nothing is announced this is how long a test takes; where something is, it never takes it.
const SOON: Duration = Duration::from_secs(4);

/// Time stands still and no pause ever ends: what happens, happens because of an announcement.
struct Frozen;

#[async_trait]
impl TimeSource for Frozen {
    fn now(&self) -> Timestamp {
        at(1)
    }

    /// The pause between two looks ends; the wait after which it would look by itself does not.
    async fn sleep(&self, duration: Duration) {
        if duration > Duration::from_secs(1) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(duration).await;
    }
}

fn item(number: u32) -> WorkKey {
    WorkKey::Reconcile {
        site: format!("site-{number}"),
    }
}

async fn claim_one(store: &Store) -> Work {
    let mut works = store
        .claim(at(1), Duration::from_secs(60), "one", 1)
        .await
        .unwrap()
        .works;
    works.remove(0)
}

async fn is_announced(store: &Store) -> bool {
    match tokio::time::timeout(SOON, store.notified()).await {
        Ok(announced) => {
            announced.unwrap();
            true
        }
        Err(_) => false,
    }
}

/// A store on the same database that listens already.
async fn listener(opened: &Opened) -> Store {
    let listener = opened.another().await;
    assert!(is_announced(&listener).await, "as soon as it listens");
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_makes_work_that_is_due_is_announced_to_others() {
    let opened = Opened::postgres().await;
    let (store, listener) = (&opened.store, listener(&opened).await);

    store.ask(&item(1), at(0)).await.unwrap();
    assert!(is_announced(&listener).await, "a wish");
    store.accept(&[delivery(2, "f-2", "A to B")]).await.unwrap();
    assert!(is_announced(&listener).await, "a delivery");
    let work = claim_one(store).await;
    let status = Write::Status(run_id(2), StatusState::Pending, "so it stands".to_owned());
    store
        .commit(&work.lease, &[status], Disposition::Continue, at(1))
        .await
        .unwrap();
    assert!(is_announced(&listener).await, "a status to post");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_work_for_later_or_of_their_own() {
    let opened = Opened::postgres().await;
    let (store, listener) = (&opened.store, listener(&opened).await);
    store.ask(&item(1), at(0)).await.unwrap();
    assert!(is_announced(&listener).await);
    let work = claim_one(store).await;

    let later = [Write::Enqueue(item(2), at(600))];
    store
        .commit(&work.lease, &later, Disposition::Complete, at(1))
        .await
        .unwrap();
    listener.ask(&item(3), at(0)).await.unwrap();

    assert!(!is_announced(&listener).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_connection_ends_listens_again_and_looks_at_once() {
    let opened = Opened::postgres().await;
    let listener = listener(&opened).await;

    let mut admin = PgConnection::connect(&opened.address).await.unwrap();
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        )
        .await
        .unwrap();

    // It lost what was said meanwhile, and says so; then it hears again.
    assert!(is_announced(&listener).await);
    assert!(is_announced(&listener).await);
    opened.store.ask(&item(1), at(0)).await.unwrap();
    assert!(is_announced(&listener).await);
}

/// Whether there is work for now; what is done every few hours is not.
async fn is_due(store: &Store) -> bool {
    let next = store.next_due().await.unwrap();
    next.is_some_and(|due| due <= at(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn work_asked_for_on_one_replica_is_done_by_another_that_never_looks_by_itself() {
    let opened = Opened::postgres().await;
    let clock = Clock::new(Arc::new(Frozen), fastrand::Rng::with_seed(1));
    let config = watch::Sender::new(Arc::new(config(&clock)));
    let replica = Arc::new(opened.another().await);
    let engine = Engine::new(config.subscribe(), replica, clock);
    let stop = watch::Sender::new(false);
    tokio::spawn(engine.run(stop.subscribe()));

    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let asked = Instant::now();
        opened.store.ask(&item(number), at(0)).await.unwrap();
        while is_due(&opened.store).await {
            assert!(asked.elapsed() < SOON, "nobody does it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slowest = slowest.max(asked.elapsed());
    }

    println!("the slowest of 20 was done {slowest:?} after it was asked for");
}

fn config(clock: &Clock) -> Config {
    let text = "
server: {reconcile: 0s}
forges:
  github: {kind: github, secrets: [s], token: t}
cdns:
  tencent: {kind: tencent-cdn, secret_id: i, secret_key: k}
sites:
  www:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";
    let outbound = Outbound::new(clock.clone()).unwrap();
    config::read(
        "rules.yaml",
        text,
        Environment::of([]),
        &outbound,
        ALL_KINDS,
    )
    .unwrap_or_else(|problems| panic!("{problems}"))
    .config
}
