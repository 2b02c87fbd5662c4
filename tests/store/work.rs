//! The queue: leases, wishes and waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use purgehook::account::AccountId;
use purgehook::clock::{SharedTime, TimeSource};
use purgehook::purge::PurgeKind;
use purgehook::run::StatusState;
use purgehook::store::{Disposition, Posting, SiteCaches, Store, StoreError, Work, WorkKey, Write};

use crate::databases::{Opened, at, base, delivery, on_both, run, run_id};

const LEASE: Duration = Duration::from_secs(60);

on_both!(
    work_is_claimed_oldest_first_and_when_it_is_due,
    claimers_at_once_get_work_of_which_none_is_in_two_hands,
    a_claim_takes_no_more_than_it_may,
    a_storm_of_one_site_does_not_hold_up_another,
    a_lease_that_passed_on_writes_nothing,
    machines_whose_clocks_differ_hold_leases_by_the_databases_time,
    a_lease_that_passed_on_cannot_be_renewed,
    a_wish_made_while_work_is_in_hand_is_not_lost,
    a_wish_does_not_shorten_a_wait_after_a_failure,
    a_wish_moves_work_to_an_earlier_time_only,
    the_next_due_work_is_the_earliest_free_or_freed,
    commits_that_wish_for_each_others_work_all_go_through,
    statuses_are_numbered_without_gaps_however_many_want_one,
    a_plan_on_outdated_knowledge_is_not_written,
    a_write_that_fails_leaves_nothing_of_its_commit,
);

fn item(number: u32) -> WorkKey {
    WorkKey::Reconcile {
        site: format!("site-{number}"),
    }
}

async fn claim_one(store: &Store, second: i64, token: &str) -> Work {
    let mut works = store
        .claim(at(second), LEASE, token, 10)
        .await
        .unwrap()
        .works;
    assert_eq!(works.len(), 1);
    works.remove(0)
}

async fn work_is_claimed_oldest_first_and_when_it_is_due(opened: Opened) {
    let store = &opened.store;
    for (number, due) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        store.ask(&item(number), at(due)).await.unwrap();
    }

    let works = store.claim(at(30), LEASE, "one", 10).await.unwrap().works;

    let keys: Vec<WorkKey> = works.into_iter().map(|work| work.key).collect();
    assert_eq!(keys, [item(2), item(3), item(1)]);
    assert!(
        store
            .claim(at(31), LEASE, "two", 10)
            .await
            .unwrap()
            .works
            .is_empty()
    );
}

async fn claimers_at_once_get_work_of_which_none_is_in_two_hands(opened: Opened) {
    let mut claimers = Vec::new();
    for number in 0..200 {
        opened.store.ask(&item(number), at(0)).await.unwrap();
    }
    for claimer in 0..4 {
        let store = opened.another().await;
        claimers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let token = format!("{claimer} {}", mine.len());
                let works = store.claim(at(1), LEASE, &token, 7).await.unwrap().works;
                if works.is_empty() {
                    return mine;
                }
                assert!(works.len() <= 7);
                mine.extend(works.into_iter().map(|work| work.key));
            }
        }));
    }

    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }

    // A claimer may find everything left being claimed by another just then; the last one doesn't.
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 200);
}

async fn a_claim_takes_no_more_than_it_may(opened: Opened) {
    for number in 0..50 {
        opened.store.ask(&item(number), at(0)).await.unwrap();
    }

    let works = opened
        .store
        .claim(at(1), LEASE, "one", 16)
        .await
        .unwrap()
        .works;

    assert_eq!(works.len(), 16);
}

async fn a_storm_of_one_site_does_not_hold_up_another(opened: Opened) {
    let store = &opened.store;
    let storm: Vec<_> = (0..2_000)
        .map(|n| delivery(n, &format!("f-{n}"), &format!("push {n}")))
        .collect();
    store.accept(&storm).await.unwrap();
    let mut calm = delivery(5_000, "calm", "calm");
    calm.runs[0].site = "docs".to_owned();
    calm.received_at = at(5);
    let wanted = WorkKey::Run(calm.runs[0].id.clone());
    store.accept(&[calm]).await.unwrap();

    let asked = Instant::now();
    let works = store
        .claim(at(10_000), LEASE, "one", 16)
        .await
        .unwrap()
        .works;

    println!("a claim among 4,002 took {:?}", asked.elapsed());
    assert_eq!(works.len(), 16, "no place is left empty");
    assert!(
        works.iter().any(|work| work.key == wanted),
        "the next one to be claimed, though 4,000 are older: {works:?}"
    );
}

/// A machine whose clock is ahead by so many seconds.
struct Ahead(i64);

#[async_trait]
impl TimeSource for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.0)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

async fn machines_whose_clocks_differ_hold_leases_by_the_databases_time(opened: Opened) {
    if !opened.store.is_shared() {
        // One process alone works on it, by its own clock.
        let time = SharedTime::on(Arc::new(Ahead(120)));
        opened.store.synchronize(&time).await.unwrap();
        assert!(!time.is_set());
        return;
    }
    let (store, other) = (&opened.store, opened.another().await);
    let [right, ahead] = [0, 120].map(|ahead| SharedTime::on(Arc::new(Ahead(ahead))));
    store.synchronize(&right).await.unwrap();
    other.synchronize(&ahead).await.unwrap();
    let [right, ahead] = [right, ahead].map(|time| time.clock());
    assert!((ahead.machine_ahead().as_secs() - 120).abs() < 5);
    assert!(right.machine_ahead().as_secs().abs() < 5);
    store.ask(&item(1), right.now()).await.unwrap();

    let mine = store
        .claim(right.now(), LEASE, "one", 1)
        .await
        .unwrap()
        .works;
    assert_eq!(mine.len(), 1);
    let theirs = other
        .claim(ahead.now(), LEASE, "two", 1)
        .await
        .unwrap()
        .works;
    assert_eq!(theirs.len(), 0);
    assert!(
        store
            .renew(&mine[0].lease, right.now(), LEASE)
            .await
            .unwrap()
    );
}

async fn a_lease_that_passed_on_writes_nothing(opened: Opened) {
    let (store, other) = (&opened.store, opened.another().await);
    store.ask(&item(1), at(0)).await.unwrap();
    let stale = claim_one(store, 0, "one").await;
    let fresh = claim_one(&other, 61, "two").await;
    let status = |text: &str| Write::Status(run_id(1), StatusState::Success, text.to_owned());

    for after in [
        Disposition::Continue,
        Disposition::Complete,
        Disposition::Reschedule { at: at(99) },
    ] {
        let written = store
            .commit(&stale.lease, &[status("stale")], after, at(62))
            .await;
        assert!(!written.unwrap(), "{after:?}");
    }
    assert!(
        other
            .commit(
                &fresh.lease,
                &[status("fresh")],
                Disposition::Complete,
                at(62)
            )
            .await
            .unwrap()
    );

    let shown = store.statuses(&run_id(1)).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].description, "fresh");
    // A lease that is done with is one that passed on.
    assert!(
        !other
            .commit(
                &fresh.lease,
                &[status("again")],
                Disposition::Continue,
                at(62)
            )
            .await
            .unwrap()
    );
}

async fn a_lease_that_passed_on_cannot_be_renewed(opened: Opened) {
    let store = &opened.store;
    store.ask(&item(1), at(0)).await.unwrap();
    let first = claim_one(store, 0, "one").await;
    assert!(store.renew(&first.lease, at(50), LEASE).await.unwrap());
    assert!(
        store
            .claim(at(100), LEASE, "two", 1)
            .await
            .unwrap()
            .works
            .is_empty()
    );

    claim_one(store, 110, "two").await;

    assert!(!store.renew(&first.lease, at(111), LEASE).await.unwrap());
}

async fn a_wish_made_while_work_is_in_hand_is_not_lost(opened: Opened) {
    let store = &opened.store;
    store.ask(&item(1), at(0)).await.unwrap();
    let work = claim_one(store, 0, "one").await;
    store.ask(&item(1), at(1)).await.unwrap();

    assert!(
        store
            .commit(&work.lease, &[], Disposition::Complete, at(2))
            .await
            .unwrap()
    );

    let again = claim_one(store, 2, "two").await;
    store.ask(&item(1), at(3)).await.unwrap();
    let later = Disposition::Reschedule { at: at(500) };
    assert!(store.commit(&again.lease, &[], later, at(4)).await.unwrap());
    let last = claim_one(store, 4, "three").await;
    assert!(
        store
            .commit(&last.lease, &[], Disposition::Complete, at(5))
            .await
            .unwrap()
    );
    assert_eq!(store.next_due().await.unwrap(), None);
}

async fn a_wish_does_not_shorten_a_wait_after_a_failure(opened: Opened) {
    let store = &opened.store;
    store.ask(&item(1), at(0)).await.unwrap();
    let work = claim_one(store, 0, "one").await;
    store.ask(&item(1), at(1)).await.unwrap();
    let later = Disposition::Postpone {
        until: at(30),
        attempts: 3,
    };
    assert!(store.commit(&work.lease, &[], later, at(2)).await.unwrap());

    store.ask(&item(1), at(3)).await.unwrap();

    assert!(
        store
            .claim(at(29), LEASE, "two", 1)
            .await
            .unwrap()
            .works
            .is_empty()
    );
    let work = claim_one(store, 30, "three").await;
    assert_eq!(work.attempts, 3);
}

async fn a_wish_moves_work_to_an_earlier_time_only(opened: Opened) {
    let store = &opened.store;
    for due in [20, 10, 30] {
        store.ask(&item(1), at(due)).await.unwrap();
    }

    assert_eq!(store.next_due().await.unwrap(), Some(at(10)));
}

async fn the_next_due_work_is_the_earliest_free_or_freed(opened: Opened) {
    let store = &opened.store;
    assert_eq!(store.next_due().await.unwrap(), None);
    store.ask(&item(1), at(0)).await.unwrap();
    store.ask(&item(2), at(100)).await.unwrap();

    claim_one(store, 5, "one").await;

    let later = store.claim(at(6), LEASE, "two", 10).await.unwrap();
    assert_eq!(later.next_due, Some(at(65)));
}

async fn commits_that_wish_for_each_others_work_all_go_through(opened: Opened) {
    let lane = |follow: bool| {
        let (account, kind) = (AccountId::new("an account"), PurgeKind::Url);
        if follow {
            WorkKey::Follow { account, kind }
        } else {
            WorkKey::Submit { account, kind }
        }
    };
    let keys = [
        lane(true),
        item(1),
        lane(false),
        item(2),
        WorkKey::Status(run_id(1)),
    ];
    for key in &keys {
        opened.store.ask(key, at(0)).await.unwrap();
    }
    let mut workers = Vec::new();
    for replica in 0..4 {
        let (store, keys) = (opened.another().await, keys.clone());
        workers.push(tokio::spawn(async move {
            for round in 0..40 {
                let token = format!("{replica} {round}");
                for work in store.claim(at(1), LEASE, &token, 2).await.unwrap().works {
                    let mut wishes: Vec<Write> = keys
                        .iter()
                        .map(|key| Write::Enqueue(key.clone(), at(1)))
                        .collect();
                    wishes.rotate_left((replica + round) % 5);
                    wishes.push(Write::Status(
                        run_id(1),
                        StatusState::Pending,
                        token.clone(),
                    ));
                    let again = Disposition::Reschedule { at: at(1) };
                    assert!(
                        store
                            .commit(&work.lease, &wishes, again, at(1))
                            .await
                            .unwrap()
                    );
                }
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn statuses_are_numbered_without_gaps_however_many_want_one(opened: Opened) {
    let mut writers = Vec::new();
    opened.store.start(&run(1), at(500)).await.unwrap();
    for number in 0..8 {
        opened.store.ask(&item(number), at(0)).await.unwrap();
    }
    for work in opened
        .store
        .claim(at(0), LEASE, "one", 8)
        .await
        .unwrap()
        .works
    {
        let store = opened.another().await;
        writers.push(tokio::spawn(async move {
            let status = Write::Status(run_id(1), StatusState::Pending, "so it stands".to_owned());
            store
                .commit(&work.lease, &[status], Disposition::Complete, at(1))
                .await
        }));
    }
    for writer in writers {
        assert!(writer.await.unwrap().unwrap());
    }

    let shown = opened.store.statuses(&run_id(1)).await.unwrap();

    let numbers: Vec<i64> = shown.iter().map(|status| status.seq).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<i64>>());
    let posted = Write::Posted(run_id(1), 8, Posting::Posted(at(7)));
    let refused = Write::Posted(run_id(1), 7, Posting::Refused("no".to_owned()));
    let work = claim_one(&opened.store, 2, "two").await;
    let done = opened
        .store
        .commit(
            &work.lease,
            &[posted, refused],
            Disposition::Complete,
            at(7),
        )
        .await;
    assert!(done.unwrap());
    let shown = opened.store.statuses(&run_id(1)).await.unwrap();
    assert_eq!(
        (shown[7].posted_at, shown[7].error.as_deref()),
        (Some(at(7)), None)
    );
    assert_eq!(
        (shown[6].posted_at, shown[6].error.as_deref()),
        (None, Some("no"))
    );
    assert!(shown[6].refused && !shown[7].refused);
}

async fn a_plan_on_outdated_knowledge_is_not_written(opened: Opened) {
    let (store, other) = (&opened.store, opened.another().await);
    for number in [1, 2, 3] {
        store.ask(&item(number), at(0)).await.unwrap();
    }
    let works = store.claim(at(0), LEASE, "one", 3).await.unwrap().works;
    let known = store.held(&SiteCaches::real("www"), at(0)).await.unwrap();
    let plan = |version, commit| {
        [
            Write::Hold(SiteCaches::real("www"), vec![base(commit)], version + 1),
            Write::ExpectHeldVersion(SiteCaches::real("www"), version),
        ]
    };

    let (one, two) = (plan(known.version, 'a'), plan(known.version, 'b'));
    let (first, second) = tokio::join!(
        store.commit(&works[0].lease, &one, Disposition::Complete, at(1)),
        other.commit(&works[1].lease, &two, Disposition::Complete, at(1)),
    );

    let outdated = [&first, &second]
        .iter()
        .filter(|result| matches!(result, Err(StoreError::Outdated)))
        .count();
    assert_eq!(outdated, 1, "{first:?} {second:?}");
    let held = store.held(&SiteCaches::real("www"), at(2)).await.unwrap();
    assert_eq!((held.version, held.commits.len()), (known.version + 1, 1));
    let before = held.version;
    let anew = plan(before, 'c');
    assert!(
        store
            .commit(&works[2].lease, &anew, Disposition::Complete, at(3))
            .await
            .unwrap()
    );
    let let_go = Write::ReleaseHeld {
        caches: SiteCaches::real("www"),
        commits: held.commits,
        version: before,
        until: at(10),
    };
    store.ask(&item(4), at(0)).await.unwrap();
    let work = store
        .claim(at(3), LEASE, "three", 10)
        .await
        .unwrap()
        .works
        .pop()
        .unwrap();
    assert!(
        store
            .commit(&work.lease, &[let_go], Disposition::Continue, at(3))
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .held(&SiteCaches::real("www"), at(9))
            .await
            .unwrap()
            .commits
            .len(),
        2
    );
    assert_eq!(
        store
            .held(&SiteCaches::real("www"), at(10))
            .await
            .unwrap()
            .commits,
        [base('c')]
    );
}

async fn a_write_that_fails_leaves_nothing_of_its_commit(opened: Opened) {
    let store = &opened.store;
    store.ask(&item(1), at(0)).await.unwrap();
    let work = claim_one(store, 0, "one").await;
    let writes = [Write::NewRun(run(1)), Write::NewRun(run(1))];

    assert!(
        store
            .commit(&work.lease, &writes, Disposition::Complete, at(1))
            .await
            .is_err()
    );

    assert!(store.run(&run_id(1)).await.unwrap().is_none());
    assert!(
        store
            .commit(&work.lease, &writes[..1], Disposition::Complete, at(1))
            .await
            .unwrap()
    );
    assert!(store.run(&run_id(1)).await.unwrap().is_some());
}
