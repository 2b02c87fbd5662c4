//! What all processes know of those whom they call: who does not answer, and whose turn it is.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use purgehook::account::AccountId;
use purgehook::run::RunState;
use purgehook::store::{ClaimLimits, OpenCircuit, Store, Upstream, WorkKey};

use crate::databases::{Opened, at, delivery, on_both};

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(60);

on_both!(
    failures_in_a_row_are_counted_over_all_processes,
    who_answers_is_known_as_answering,
    after_a_pause_one_try_is_made_by_one_process,
    what_fails_during_a_pause_does_not_make_it_longer,
    turns_keep_their_distance_whoever_takes_them,
    turns_of_a_clock_that_was_set_back_are_not_waited_for,
    only_so_many_steps_wait_for_one_forge,
    what_there_is_no_room_for_is_not_due,
);

fn forge() -> Upstream {
    Upstream::Forge("github".to_owned())
}

/// A pause of a minute from the third failure on.
fn pause(failures: i64) -> Option<Duration> {
    (failures >= 3).then_some(60 * SECOND)
}

async fn fail(store: &Store, second: i64) -> Option<OpenCircuit> {
    let forge = forge();
    let noted = store.record_failure(&forge, "it hangs", at(second), pause);
    noted.await.unwrap()
}

async fn failures_in_a_row_are_counted_over_all_processes(opened: Opened) {
    let (one, two) = (&opened.store, opened.another().await);

    for (second, store) in [(0, one), (1, &two), (2, one)] {
        let noted = fail(store, second).await;
        assert!(noted.is_some());
    }

    let outage = two.circuit(&forge()).await.unwrap().unwrap();
    assert_eq!((outage.failures, outage.since), (3, at(0)));
    assert_eq!(outage.until, Some(at(62)));
    assert_eq!(outage.error, "it hangs");
    let other = Upstream::Cdn(AccountId::new("github"));
    assert_eq!(two.circuit(&other).await.unwrap(), None);
}

async fn who_answers_is_known_as_answering(opened: Opened) {
    let (one, two) = (&opened.store, opened.another().await);
    for second in 0..3 {
        fail(one, second).await;
    }

    assert!(two.record_success(&forge()).await.unwrap());

    assert!(!one.record_success(&forge()).await.unwrap(), "it was known");
    assert_eq!(one.circuits().await.unwrap(), []);
    let noted = fail(one, 9).await;
    assert_eq!(noted.unwrap().failures, 1, "counted anew");
}

async fn after_a_pause_one_try_is_made_by_one_process(opened: Opened) {
    let (one, two) = (&opened.store, opened.another().await);
    for second in 0..3 {
        fail(one, second).await;
    }

    assert!(!two.acquire_probe(&forge(), at(61), at(121)).await.unwrap());
    assert!(two.acquire_probe(&forge(), at(62), at(122)).await.unwrap());
    assert!(!one.acquire_probe(&forge(), at(62), at(122)).await.unwrap());

    // Its failure begins another pause; one that is never heard of leaves it to the next.
    let noted = fail(&two, 70).await;
    assert_eq!(noted.unwrap().until, Some(at(130)));
    assert!(one.acquire_probe(&forge(), at(130), at(190)).await.unwrap());
    assert!(two.acquire_probe(&forge(), at(190), at(250)).await.unwrap());
}

async fn what_fails_during_a_pause_does_not_make_it_longer(opened: Opened) {
    let store = &opened.store;
    for second in 0..3 {
        fail(store, second).await;
    }

    // These went out before the pause.
    for second in 30..40 {
        let noted = fail(store, second).await;
        assert_eq!(noted, None);
    }

    let outage = store.circuit(&forge()).await.unwrap().unwrap();
    assert_eq!((outage.failures, outage.until), (3, Some(at(62))));
}

async fn turns_keep_their_distance_whoever_takes_them(opened: Opened) {
    let stores = [&opened.store, &opened.another().await];
    let mut turns = BTreeSet::new();

    let takers = (0..20).map(|n| stores[n % 2].reserve_slot("submit url a", at(0), SECOND / 30));
    for turn in futures_util::future::join_all(takers).await {
        turns.insert(turn.unwrap());
    }
    let other = stores[0].reserve_slot("submit url b", at(0), SECOND / 30);

    assert_eq!(turns.len(), 20, "each has a turn of its own");
    assert_eq!(other.await.unwrap(), at(0));
    let all: Vec<Timestamp> = turns.into_iter().collect();
    assert_eq!(all[0], at(0));
    // A 30th of a second is no whole number of milliseconds.
    for (n, turn) in (0..).zip(&all) {
        let exact = at(0) + SECOND / 30 * n;
        let late = turn.duration_since(exact);
        assert!(!late.is_negative() && late.as_millis() <= 1, "{n}: {late}");
    }
    let later = stores[1].reserve_slot("submit url a", at(5), SECOND / 30);
    assert_eq!(later.await.unwrap(), at(5), "idle turns are not saved up");
}

async fn turns_of_a_clock_that_was_set_back_are_not_waited_for(opened: Opened) {
    let turn = |second| opened.store.reserve_slot("query a", at(second), SECOND);
    turn(3_600).await.unwrap();

    assert_eq!(turn(0).await.unwrap(), at(0));
    assert_eq!(turn(0).await.unwrap(), at(1));
}

/// Deliveries of two forges, 40 of the first and 1 of the second, each a site's, each with a run and a status due.
async fn crowded(opened: &Opened) -> WorkKey {
    let mut all: Vec<_> = (0..41)
        .map(|n| {
            let mut delivery = delivery(n, &format!("f-{n}"), &format!("push {n}"));
            delivery.runs[0].site = format!("site-{n}");
            delivery
        })
        .collect();
    let calm = all.last_mut().unwrap();
    calm.runs[0].forge = "gitlab".to_owned();
    let calm = WorkKey::Run(calm.runs[0].id.clone());
    opened.store.accept(&all).await.unwrap();
    calm
}

fn room() -> ClaimLimits {
    ClaimLimits {
        total: 64,
        per_site: usize::MAX,
        per_key: 16,
        running: [("forge github".to_owned(), 10)].into(),
    }
}

async fn only_so_many_steps_wait_for_one_forge(opened: Opened) {
    let calm = crowded(&opened).await;

    let works = opened
        .store
        .claim(at(100), LEASE, "one", room())
        .await
        .unwrap()
        .works;

    let of = |concurrency_key: &str| {
        let concurrency_key = Some(format!("forge {concurrency_key}"));
        works
            .iter()
            .filter(|work| work.concurrency_key == concurrency_key)
            .count()
    };
    assert_eq!((of("github"), of("gitlab")), (6, 2), "{works:?}");
    assert!(works.iter().any(|work| work.key == calm));

    // A run that waits for its purges waits for no forge.
    let run = works.iter().find_map(|work| match &work.key {
        WorkKey::Run(id) if work.concurrency_key == Some("forge github".to_owned()) => {
            Some(id.clone())
        }
        _ => None,
    });
    let mut run = opened.store.run(&run.unwrap()).await.unwrap().unwrap();
    run.step = purgehook::run::RunStep::Purging;
    assert_eq!(run.state, RunState::Pending);
    let work = works
        .iter()
        .find(|work| work.key == WorkKey::Run(run.id.clone()));
    let again = purgehook::store::Disposition::Reschedule { at: at(100) };
    let write = [purgehook::store::Write::Run(run.clone())];
    let lease = &work.unwrap().lease;
    assert!(
        opened
            .store
            .commit(lease, &write, again, at(100))
            .await
            .unwrap()
    );
    let full = ClaimLimits {
        running: [("forge github".to_owned(), 16)].into(),
        ..room()
    };
    let works = opened
        .store
        .claim(at(101), LEASE, "two", full)
        .await
        .unwrap()
        .works;
    let keys: Vec<&WorkKey> = works.iter().map(|work| &work.key).collect();
    assert_eq!(keys, [&WorkKey::Run(run.id)]);
}

async fn what_there_is_no_room_for_is_not_due(opened: Opened) {
    crowded(&opened).await;
    let store = &opened.store;
    let full = || ClaimLimits {
        running: [("forge github".to_owned(), 16)].into(),
        ..room()
    };

    let first = store.claim(at(100), LEASE, "one", full()).await.unwrap();
    let again = store.claim(at(100), LEASE, "two", full()).await.unwrap();
    let with_room = store.claim(at(100), LEASE, "three", 1).await.unwrap();

    assert_eq!(first.works.len(), 2, "the other forge's");
    assert_eq!(first.next_due, None);
    assert!(again.works.is_empty());
    assert_eq!(again.next_due, Some(at(160)), "when a lease ends");
    assert_eq!(with_room.works.len(), 1);
    assert!(with_room.next_due.unwrap() < at(100), "there is more");
}
