//! Deliveries: new, again, and again after a failure.

use bytes::Bytes;
use jiff::Timestamp;
use purgehook::event::{CommitId, CommitRef};
use purgehook::run::{Arrival, Run, RunState, RunStep};
use purgehook::store::{
    Accepted, DeliveryBody, Disposition, NewDelivery, RetryOutcome, RunFilter, SpooledBody, Store,
    StoredBody, WorkKey, Write,
};

use crate::databases::{Opened, at, delivery, on_both, run_id, url};

on_both!(
    a_delivery_comes_back_as_it_was_put_in,
    a_large_body_is_there_with_its_delivery,
    blocks_without_a_delivery_are_removed_and_those_with_one_are_not,
    the_same_forge_id_again_is_a_duplicate,
    the_same_meaning_under_another_id_is_a_duplicate,
    a_meaning_counts_only_against_the_newest_delivery_of_its_stream,
    the_same_bytes_under_another_id_are_a_duplicate_whenever_they_come,
    the_same_bytes_are_news_where_the_newest_delivery_ends_where_they_begin,
    dated_bytes_are_news_within_two_seconds_and_never_later,
    a_push_is_in_order_where_it_begins_at_the_end_of_one_that_was,
    pushes_of_one_commit_are_in_order_after_one_that_is,
    a_push_out_of_order_that_comes_by_two_hooks_makes_one_run,
    deliveries_of_one_commit_are_judged_in_turn,
    a_delivery_whose_run_failed_tries_it_again,
    a_retry_keeps_what_was_confirmed,
    a_run_is_tried_again_only_once_however_many_ask,
    replicas_that_get_the_same_delivery_at_once_make_one_run,
    replicas_that_get_one_meaning_under_two_ids_at_once_make_one_run,
);

async fn accept(store: &Store, new: NewDelivery) -> Accepted {
    store.accept(&[new]).await.unwrap().remove(0)
}

/// Ends a run through its own work item.
async fn end(store: &Store, number: u32, state: RunState) {
    let run = store.run(&run_id(number)).await.unwrap().unwrap();
    let key = WorkKey::Run(run.id.clone());
    let works = store
        .claim(at(1), std::time::Duration::from_secs(60), "ending", 100)
        .await;
    for work in works.unwrap().works {
        let writes = if work.key == key {
            vec![Write::Run(Run {
                state,
                step: RunStep::Ended,
                ended_at: Some(at(1)),
                ..run.clone()
            })]
        } else {
            Vec::new()
        };
        assert!(
            store
                .commit(&work.lease, &writes, Disposition::Complete, at(1))
                .await
                .unwrap()
        );
    }
}

async fn a_delivery_comes_back_as_it_was_put_in(opened: Opened) {
    let store = &opened.store;
    let mut new = delivery(1, "f-1", "A to B");
    let body = Bytes::from_static(&[0, 1, 0xff, b'{']);
    new.body = DeliveryBody::Whole(body.clone());

    assert_eq!(accept(store, new).await, Accepted::New);

    let kept = store.delivery("D0001").await.unwrap().unwrap();
    assert_eq!(kept.body, StoredBody::Whole(body));
    assert_eq!(kept.forge, "github");
    assert_eq!(kept.forge_delivery.as_deref(), Some("f-1"));
    assert_eq!(kept.event, "push");
    assert!(store.delivery("D0002").await.unwrap().is_none());
    let run = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(run, delivery(1, "f-1", "A to B").runs[0]);
}

/// A body of so many bytes, on its way to the store.
fn spooled(store: &Store, size: usize) -> (Vec<u8>, SpooledBody) {
    let mut random = fastrand::Rng::with_seed(1);
    let body: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
    let mut file = store.spool_file().unwrap();
    for block in body.chunks(256 * 1024) {
        file.append(block).unwrap();
    }
    (body, file.finish())
}

/// Stores all blocks of a body.
async fn put_blocks(store: &Store, delivery: &str, body: &SpooledBody) {
    let mut next = 0;
    loop {
        let blocks = body.some_blocks(next).unwrap();
        if blocks.is_empty() {
            return;
        }
        store.put_blocks(delivery, next, &blocks).await.unwrap();
        next += blocks.len();
    }
}

async fn a_large_body_is_there_with_its_delivery(opened: Opened) {
    let store = &opened.store;
    let (body, spooled) = spooled(store, 3_000_000);
    put_blocks(store, "D0001", &spooled).await;
    assert!(store.delivery("D0001").await.unwrap().is_none());

    let mut new = delivery(1, "f-1", "A to B");
    new.body = spooled.in_blocks();
    assert_eq!(accept(store, new).await, Accepted::New);

    let kept = store.delivery("D0001").await.unwrap().unwrap().body;
    assert_eq!(kept.size(), body.len());
    let mut read = Vec::new();
    store.read_body(&kept, &mut read).await.unwrap();
    assert!(read == body);
}

async fn blocks_without_a_delivery_are_removed_and_those_with_one_are_not(opened: Opened) {
    let store = &opened.store;
    let (body, spooled) = spooled(store, 600_000);
    // As ids are, which begin with their time.
    for id in ["D0001", "0D0002"] {
        put_blocks(store, id, &spooled).await;
    }
    let mut new = delivery(1, "f-1", "A to B");
    new.body = spooled.in_blocks();
    accept(store, new).await;

    // As an answer that came too late has it.
    store.remove_blocks("D0001").await.unwrap();
    store
        .remove_unfinished_bodies(Timestamp::MAX)
        .await
        .unwrap();

    let kept = store.delivery("D0001").await.unwrap().unwrap().body;
    let mut read = Vec::new();
    store.read_body(&kept, &mut read).await.unwrap();
    assert!(read == body);
    // Its blocks are gone, and it is not stored without them.
    let mut late = delivery(2, "f-2", "B to C");
    late.id = "0D0002".to_owned();
    late.body = spooled.in_blocks();
    assert!(store.accept(&[late]).await.is_err());
    assert!(store.delivery("0D0002").await.unwrap().is_none());
    let gone = StoredBody::InBlocks {
        delivery: "0D0002".to_owned(),
        size: body.len(),
    };
    assert!(store.read_body(&gone, &mut read).await.is_err());
}

async fn the_same_forge_id_again_is_a_duplicate(opened: Opened) {
    let store = &opened.store;
    accept(store, delivery(1, "f-1", "A to B")).await;

    let again = accept(store, delivery(2, "f-1", "A to B")).await;

    let first = Accepted::Duplicate {
        delivery: "D0001".to_owned(),
        runs: vec![run_id(1)],
    };
    assert_eq!(again, first);
    assert!(store.run(&run_id(2)).await.unwrap().is_none());
}

async fn the_same_meaning_under_another_id_is_a_duplicate(opened: Opened) {
    let store = &opened.store;
    accept(store, delivery(1, "f-1", "A to B")).await;

    let again = accept(store, delivery(2, "f-2", "A to B")).await;

    assert!(matches!(again, Accepted::Duplicate { delivery, .. } if delivery == "D0001"));
}

async fn a_meaning_counts_only_against_the_newest_delivery_of_its_stream(opened: Opened) {
    let store = &opened.store;
    accept(store, delivery(1, "f-1", "A to B")).await;
    accept(store, delivery(2, "f-2", "B to A")).await;

    assert_eq!(
        accept(store, delivery(3, "f-3", "A to B")).await,
        Accepted::New
    );
    let redelivered = accept(store, delivery(4, "f-1", "A to B")).await;
    assert!(matches!(redelivered, Accepted::Duplicate { delivery, .. } if delivery == "D0001"));
    let elsewhere = NewDelivery {
        ordering_key: "acme/other".to_owned(),
        ..delivery(5, "f-5", "A to B")
    };
    assert_eq!(accept(store, elsewhere).await, Accepted::New);
}

/// A push from one commit to another, each named by a digit, as a forge has it that says no time.
fn push(number: u32, before: char, after: char) -> NewDelivery {
    let id = |digit: char| digit.to_string().repeat(40);
    let mut new = delivery(
        number,
        &format!("f-{number}"),
        &format!("{before} to {after}"),
    );
    new.body = DeliveryBody::Whole(Bytes::from(new.dedup_key.clone()));
    new.received_at = at(i64::from(number) * 86_400);
    new.runs[0].before = Some(CommitId::parse(&id(before)).unwrap());
    new.runs[0].commit = CommitRef::parse(&id(after));
    new
}

async fn the_same_bytes_under_another_id_are_a_duplicate_whenever_they_come(opened: Opened) {
    let store = &opened.store;
    accept(store, push(1, 'a', 'b')).await;
    accept(store, push(2, 'b', 'c')).await;

    let captured = accept(store, push(3, 'a', 'b')).await;

    assert!(matches!(captured, Accepted::Duplicate { delivery, .. } if delivery == "D0001"));
    // It changed nothing about which delivery is the newest.
    let next = accept(store, push(4, 'c', 'd')).await;
    assert_eq!(next, Accepted::New);
    let group = [push(5, 'b', 'c'), push(6, 'd', 'e'), push(7, 'c', 'd')];
    let outcomes = store.accept(&group).await.unwrap();
    assert!(matches!(outcomes[0], Accepted::Duplicate { .. }));
    assert_eq!(outcomes[1], Accepted::New);
    assert!(matches!(outcomes[2], Accepted::Duplicate { .. }));
}

async fn dated_bytes_are_news_within_two_seconds_and_never_later(opened: Opened) {
    let store = &opened.store;
    let dated = |number, before, after, seconds| NewDelivery {
        is_dated: true,
        received_at: at(seconds),
        start_at: at(seconds),
        ..push(number, before, after)
    };
    accept(store, dated(1, 'a', 'b', 0)).await;
    accept(store, dated(2, 'b', 'a', 0)).await;
    assert_eq!(accept(store, dated(3, 'a', 'b', 1)).await, Accepted::New);

    accept(store, dated(4, 'b', 'a', 2)).await;
    // The first move, and then the second, each long after it was made.
    for (number, before, after) in [(5, 'a', 'b'), (6, 'b', 'a')] {
        let replayed = accept(store, dated(number, before, after, 86_400)).await;
        assert!(
            matches!(replayed, Accepted::Duplicate { .. }),
            "{replayed:?}"
        );
    }
}

async fn the_same_bytes_are_news_where_the_newest_delivery_ends_where_they_begin(opened: Opened) {
    let store = &opened.store;
    accept(store, push(1, 'a', 'b')).await;
    accept(store, push(2, 'b', 'a')).await;

    assert_eq!(accept(store, push(3, 'a', 'b')).await, Accepted::New);
    assert_eq!(arrival(store, 3).await, Arrival::Repeated);
}

/// How the run of a delivery came.
async fn arrival(store: &Store, number: u32) -> Arrival {
    let runs = store
        .runs(&RunFilter {
            limit: 100,
            ..RunFilter::default()
        })
        .await
        .unwrap();
    let delivery = format!("D{number:04}");
    let run = runs
        .into_iter()
        .find(|run| run.delivery.as_ref() == Some(&delivery));
    run.unwrap().arrival
}

/// Notes, by a step of any work, that a delivery came in order.
async fn confirm(store: &Store, number: u32) {
    let now = at(1_000_000);
    let claimed = store
        .claim(now, std::time::Duration::from_secs(60), "confirming", 1)
        .await;
    let work = claimed.unwrap().works.remove(0);
    let writes = [Write::ConfirmDelivery(format!("D{number:04}"))];
    let committed = store.commit(&work.lease, &writes, Disposition::Complete, now);
    assert!(committed.await.unwrap());
}

async fn a_push_is_in_order_where_it_begins_at_the_end_of_one_that_was(opened: Opened) {
    let store = &opened.store;
    accept(store, push(1, 'a', 'b')).await;
    accept(store, push(2, 'b', 'c')).await;
    assert_eq!(arrival(store, 1).await, Arrival::InOrder);
    assert_eq!(arrival(store, 2).await, Arrival::InOrder);

    // Two old ones that nobody remembers: the second one follows on from the first.
    accept(store, push(3, '7', '8')).await;
    accept(store, push(4, '8', '9')).await;
    assert_eq!(arrival(store, 3).await, Arrival::OutOfOrder);
    assert_eq!(arrival(store, 4).await, Arrival::OutOfOrder);
    // Nothing is known of the branch but from them until the forge says where it stands.
    accept(store, push(5, 'c', 'd')).await;
    assert_eq!(arrival(store, 5).await, Arrival::OutOfOrder);

    confirm(store, 5).await;
    accept(store, push(6, 'd', 'e')).await;
    assert_eq!(arrival(store, 6).await, Arrival::InOrder);
    // What is said of an earlier one says nothing of the newest.
    accept(store, push(7, '1', '2')).await;
    confirm(store, 6).await;
    accept(store, push(8, '2', '3')).await;
    assert_eq!(arrival(store, 8).await, Arrival::OutOfOrder);
}

async fn pushes_of_one_commit_are_in_order_after_one_that_is(opened: Opened) {
    let store = &opened.store;
    accept(store, push(1, 'a', 'b')).await;
    let group = [push(2, 'b', 'c'), push(3, '7', '8'), push(4, '8', '9')];
    store.accept(&group).await.unwrap();

    assert_eq!(arrival(store, 2).await, Arrival::InOrder);
    assert_eq!(arrival(store, 3).await, Arrival::OutOfOrder);
    assert_eq!(arrival(store, 4).await, Arrival::OutOfOrder);
}

async fn a_push_out_of_order_that_comes_by_two_hooks_makes_one_run(opened: Opened) {
    let store = &opened.store;
    accept(store, push(1, 'a', 'b')).await;
    let by_one = push(2, 'c', 'd');
    let mut by_another = push(3, 'c', 'd');
    by_another.received_at = by_one.received_at;
    by_another.body = DeliveryBody::Whole(Bytes::from_static(b"other bytes"));

    assert_eq!(accept(store, by_one).await, Accepted::New);
    let second = accept(store, by_another).await;
    assert!(matches!(second, Accepted::Duplicate { delivery, .. } if delivery == "D0002"));
}

async fn deliveries_of_one_commit_are_judged_in_turn(opened: Opened) {
    let group = [
        delivery(1, "f-1", "A to B"),
        delivery(2, "f-2", "A to B"),
        delivery(3, "f-3", "B to A"),
    ];

    let outcomes = opened.store.accept(&group).await.unwrap();

    assert_eq!(outcomes[0], Accepted::New);
    assert!(matches!(outcomes[1], Accepted::Duplicate { .. }));
    assert_eq!(outcomes[2], Accepted::New);
}

async fn a_delivery_whose_run_failed_tries_it_again(opened: Opened) {
    let store = &opened.store;
    accept(store, delivery(1, "f-1", "A to B")).await;
    end(store, 1, RunState::Errored).await;

    let again = accept(store, delivery(2, "f-1", "A to B")).await;

    let first = Accepted::Retried {
        delivery: "D0001".to_owned(),
        runs: vec![run_id(1)],
    };
    assert_eq!(again, first);
    let run = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(
        (run.state, run.step, run.ended_at),
        (RunState::Pending, RunStep::Changes, None)
    );
    assert!(store.next_due().await.unwrap().is_some());
}

async fn a_retry_keeps_what_was_confirmed(opened: Opened) {
    let store = &opened.store;
    accept(store, delivery(1, "f-1", "A to B")).await;
    fail_half(store).await;

    let again = store.retry(&run_id(1), at(2), at(9_999)).await.unwrap();

    assert_eq!(again, RetryOutcome::Retried);
    let run = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!((run.step, run.deadline), (RunStep::Purging, at(9_999)));
    let states: Vec<&str> = store
        .purges(&run_id(1), 0, 10)
        .await
        .unwrap()
        .iter()
        .map(|purge| purge.state.as_str())
        .collect();
    assert_eq!(states, ["done", "planned"]);
    assert_eq!(
        store.retry(&run_id(1), at(2), at(9_999)).await.unwrap(),
        RetryOutcome::NotRetriable
    );
    assert_eq!(
        store.retry(&run_id(9), at(2), at(9_999)).await.unwrap(),
        RetryOutcome::NotFound
    );
}

/// A run with two purges, one done and one failed.
async fn fail_half(store: &Store) {
    use purgehook::purge::PurgeState;
    let key = WorkKey::Run(run_id(1));
    let works = store
        .claim(at(1), std::time::Duration::from_secs(60), "half", 100)
        .await
        .unwrap()
        .works;
    let run = store.run(&run_id(1)).await.unwrap().unwrap();
    let mut purges = vec![url("/a/"), url("/b/")];
    purges[0].state = PurgeState::Done;
    purges[1].state = PurgeState::Failed;
    for work in works {
        let writes = if work.key == key {
            let ended = Run {
                state: RunState::Failed,
                step: RunStep::Ended,
                ended_at: Some(at(1)),
                ..run.clone()
            };
            vec![Write::Purges(run_id(1), purges.clone()), Write::Run(ended)]
        } else {
            Vec::new()
        };
        assert!(
            store
                .commit(&work.lease, &writes, Disposition::Complete, at(1))
                .await
                .unwrap()
        );
    }
}

async fn a_run_is_tried_again_only_once_however_many_ask(opened: Opened) {
    let (one, two) = (opened.another().await, opened.another().await);
    accept(&one, delivery(1, "f-1", "A to B")).await;
    fail_half(&one).await;

    let id = run_id(1);
    let (first, second) = tokio::join!(
        one.retry(&id, at(2), at(9_999)),
        two.retry(&id, at(2), at(9_999)),
    );

    let outcomes = [first.unwrap(), second.unwrap()];
    let retried = outcomes.map(|outcome| outcome == RetryOutcome::Retried);
    assert_ne!(retried[0], retried[1], "{outcomes:?}");
    assert_eq!(one.run(&id).await.unwrap().unwrap().step, RunStep::Purging);
}

async fn replicas_that_get_the_same_delivery_at_once_make_one_run(opened: Opened) {
    at_once(&opened, |round, replica| {
        delivery(
            round * 10 + replica,
            &format!("f-{round}"),
            &format!("to {round}"),
        )
    })
    .await;
}

async fn replicas_that_get_one_meaning_under_two_ids_at_once_make_one_run(opened: Opened) {
    at_once(&opened, |round, replica| {
        delivery(
            round * 10 + replica,
            &format!("f-{round}-{replica}"),
            &format!("to {round}"),
        )
    })
    .await;
}

/// Two replicas are given deliveries of one meaning at once, in 30 rounds: one is new, the other a duplicate.
async fn at_once(opened: &Opened, make: impl Fn(u32, u32) -> NewDelivery) {
    let (one, two) = (opened.another().await, opened.another().await);
    for round in 1..=30 {
        let (first, second) = ([make(round, 1)], [make(round, 2)]);

        let (first, second) = tokio::join!(one.accept(&first), two.accept(&second));

        let outcomes = [first.unwrap().remove(0), second.unwrap().remove(0)];
        let new = outcomes
            .iter()
            .filter(|outcome| **outcome == Accepted::New)
            .count();
        assert_eq!(new, 1, "{outcomes:?}");
    }
    let all = purgehook::store::RunFilter {
        limit: 100,
        ..Default::default()
    };
    assert_eq!(one.runs(&all).await.unwrap().len(), 30);
}
