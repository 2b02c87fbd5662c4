//! Purges in line, in batches, and what became of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use purgehook::account::AccountId;
use purgehook::purge::{GivenUp, Mode, PurgeKind, PurgeState, TaskIds};
use purgehook::run::Run;
use purgehook::store::{
    Disposition, Lease, Migration, PassedOver, Precondition, PurgeKey, PurgeUpdate, Store,
    StoredTask, TaskState, WorkKey, Write,
};

use crate::databases::{Opened, at, on_both, planned, run, run_id, url};

on_both!(
    a_batch_takes_from_every_run_in_turn,
    a_batch_holds_only_what_may_go_together,
    a_batch_cap_binds_the_batches_of_those_that_have_it,
    a_target_goes_out_once_for_all_that_have_planned_it,
    a_capped_batch_takes_along_what_no_smaller_cap_binds,
    a_batch_is_bounded_however_many_want_its_targets,
    updates_say_how_purges_stand,
    what_failed_of_a_run_is_known_with_its_most_frequent_reason,
    a_plan_made_anew_stands_in_for_the_one_before,
    purges_that_move_are_planned_on_the_other_account,
    tasks_are_kept_and_found_by_their_state,
    the_quota_counts_what_was_handed_over_and_may_have_been_taken,
    a_batch_has_no_more_of_a_site_than_it_may_have,
    what_a_site_was_sent_and_has_waiting_is_counted_by_its_runs,
    twenty_five_thousand_purges_are_planned_in_seconds,
);

static ACCOUNT: LazyLock<AccountId> = LazyLock::new(|| AccountId::new("an account"));
static ANOTHER: LazyLock<AccountId> = LazyLock::new(|| AccountId::new("another"));
const CDN: &str = "tencent";

/// A lease under which a test writes.
async fn lease(store: &Store) -> Lease {
    let key = WorkKey::Reconcile {
        site: "www".to_owned(),
    };
    store.ask(&key, at(0)).await.unwrap();
    let works = store
        .claim(at(0), Duration::from_secs(60), "test", 1)
        .await
        .unwrap()
        .works;
    works.into_iter().next().unwrap().lease
}

async fn write(store: &Store, lease: &Lease, writes: Vec<Write>) {
    assert!(
        store
            .commit(lease, &writes, Disposition::Continue, at(0))
            .await
            .unwrap()
    );
}

fn key(run: u32, seq: i64) -> PurgeKey {
    PurgeKey {
        run: run_id(run),
        seq,
    }
}

fn update(keys: Vec<PurgeKey>, state: PurgeState) -> PurgeUpdate {
    PurgeUpdate::new(keys, state, Precondition::Open)
}

/// Keys of the next batch of at most `most`.
async fn next(store: &Store, kind: PurgeKind, most: usize) -> Vec<PurgeKey> {
    let next = store.queue_head(&ACCOUNT, kind).await.unwrap().unwrap();
    let batch = store.next_batch(&ACCOUNT, kind, &next, most).await.unwrap();
    batch.purges.into_iter().map(|purge| purge.key).collect()
}

async fn a_batch_takes_from_every_run_in_turn(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let large = (0..50).map(|n| url(&format!("/large/{n}/"))).collect();
    write(
        store,
        &lease,
        vec![
            Write::Purges(run_id(1), large),
            Write::Purges(run_id(2), vec![url("/a/"), url("/b/")]),
            Write::Purges(run_id(3), vec![url("/c/")]),
        ],
    )
    .await;

    let batch = next(store, PurgeKind::Url, 6).await;

    assert_eq!(
        batch,
        [
            key(1, 1),
            key(2, 1),
            key(3, 1),
            key(1, 2),
            key(2, 2),
            key(1, 3)
        ]
    );
    assert_eq!(next(store, PurgeKind::Url, 1_000).await.len(), 53);
    assert!(
        store
            .queue_head(&ANOTHER, PurgeKind::Url)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .queue_head(&ACCOUNT, PurgeKind::Directory)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        store
            .planned_keys(&ACCOUNT, PurgeKind::Url, CDN)
            .await
            .unwrap()
            .len(),
        53
    );
}

async fn a_batch_holds_only_what_may_go_together(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let directory = |path: &str, mode| planned(PurgeKind::Directory, path, mode);
    let elsewhere = {
        let mut purge = directory("/d/", None);
        purge.planned.cdn = "the twin".to_owned();
        purge
    };
    write(
        store,
        &lease,
        vec![Write::Purges(
            run_id(1),
            vec![
                directory("/a/", None),
                directory("/b/", Some(Mode::Delete)),
                directory("/c/", Some(Mode::Flush)),
                elsewhere,
                directory("/e/", None),
            ],
        )],
    )
    .await;

    assert_eq!(
        next(store, PurgeKind::Directory, 10).await,
        [key(1, 1), key(1, 5)]
    );
    let done = update(vec![key(1, 1), key(1, 5)], PurgeState::Done);
    write(store, &lease, vec![Write::Update(done)]).await;
    let line = store
        .queue_head(&ACCOUNT, PurgeKind::Directory)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (line.cdn.as_str(), line.mode),
        ("tencent", Some(Mode::Delete))
    );
    assert_eq!(next(store, PurgeKind::Directory, 10).await, [key(1, 2)]);
}

async fn a_batch_cap_binds_the_batches_of_those_that_have_it(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let purges = (0..10).map(|n| url(&format!("/{n}/"))).collect();
    let capped = PurgeUpdate {
        batch_cap: Some(2),
        error: Some("one of them is bad".to_owned()),
        ..update(
            (1..=4).map(|seq| key(1, seq)).collect(),
            PurgeState::Planned,
        )
    };
    write(
        store,
        &lease,
        vec![Write::Purges(run_id(1), purges), Write::Update(capped)],
    )
    .await;

    assert_eq!(
        next(store, PurgeKind::Url, 100).await,
        [key(1, 1), key(1, 2)]
    );
    let done = update((1..=4).map(|seq| key(1, seq)).collect(), PurgeState::Done);
    write(store, &lease, vec![Write::Update(done)]).await;
    assert_eq!(next(store, PurgeKind::Url, 100).await.len(), 6);
}

async fn a_target_goes_out_once_for_all_that_have_planned_it(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let elsewhere = {
        let mut purge = url("/a/");
        purge.planned.cdn = "the twin".to_owned();
        purge
    };
    write(
        store,
        &lease,
        vec![
            Write::Purges(run_id(1), vec![url("/a/"), url("/b/"), url("/c/")]),
            Write::Purges(run_id(2), vec![url("/b/"), url("/d/")]),
            Write::Purges(run_id(3), vec![url("/a/"), url("/d/"), elsewhere]),
        ],
    )
    .await;

    let batch = next(store, PurgeKind::Url, 2).await;
    assert_eq!(batch, [key(1, 1), key(3, 1), key(1, 2), key(2, 1)]);
    let done = update(batch, PurgeState::Done);
    write(store, &lease, vec![Write::Update(done)]).await;
    assert_eq!(
        next(store, PurgeKind::Url, 2).await,
        [key(1, 3), key(2, 2), key(3, 2)]
    );
}

async fn a_capped_batch_takes_along_what_no_smaller_cap_binds(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let purges = || vec![url("/a/"), url("/b/"), url("/c/")];
    let capped = |run, batch_cap| {
        let keys = (1..=3).map(|seq| key(run, seq)).collect();
        Write::Update(PurgeUpdate {
            batch_cap: Some(batch_cap),
            ..update(keys, PurgeState::Planned)
        })
    };
    let mut writes: Vec<_> = (1..=4)
        .map(|n| Write::Purges(run_id(n), purges()))
        .collect();
    writes.extend([capped(1, 2), capped(2, 1), capped(3, 4)]);
    write(store, &lease, writes).await;

    let batch = next(store, PurgeKind::Url, 100).await;

    assert_eq!(
        batch,
        [
            key(1, 1),
            key(3, 1),
            key(4, 1),
            key(1, 2),
            key(3, 2),
            key(4, 2)
        ]
    );
    let rest = [batch, vec![key(1, 3)]].concat();
    let done = update(rest, PurgeState::Done);
    write(store, &lease, vec![Write::Update(done)]).await;
    assert_eq!(
        next(store, PurgeKind::Url, 100).await,
        [key(2, 1)],
        "what is gone comes along no more"
    );
}

async fn a_batch_is_bounded_however_many_want_its_targets(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let purges = || (0..1_000).map(|n| url(&format!("/{n}/"))).collect();
    let runs = (1..=25).map(|n| Write::Purges(run_id(n), purges()));
    write(store, &lease, runs.collect()).await;

    let line = store.queue_head(&ACCOUNT, PurgeKind::Url).await.unwrap();
    let batch = store
        .next_batch(&ACCOUNT, PurgeKind::Url, &line.unwrap(), 1_000)
        .await
        .unwrap();

    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for purge in &batch.purges {
        *wanted.entry(&purge.target).or_default() += 1;
    }
    assert_eq!(wanted.len(), 800);
    assert!(wanted.values().all(|runs| *runs == 25));
}

async fn updates_say_how_purges_stand(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let (mine, others) = (vec![url("/a/"), url("/b/"), url("/c/")], vec![url("/a/")]);
    let running = PurgeUpdate {
        task: Some("t-1".to_owned()),
        tried: true,
        ..update(vec![key(1, 1), key(1, 2), key(2, 1)], PurgeState::Running)
    };
    write(
        store,
        &lease,
        vec![
            Write::Purges(run_id(1), mine),
            Write::Purges(run_id(2), others),
            Write::Update(running),
        ],
    )
    .await;
    let of_task = store.purges_of_task("t-1").await.unwrap();
    assert_eq!(of_task.len(), 3);
    assert!(of_task.iter().all(|purge| purge.attempts == 1));

    let again = PurgeUpdate {
        error: Some("once more".to_owned()),
        ..update(vec![key(1, 1)], PurgeState::Planned)
    };
    let over = update(vec![key(1, 2), key(2, 1)], PurgeState::Done);
    write(
        store,
        &lease,
        vec![Write::Update(again), Write::Update(over)],
    )
    .await;

    assert!(store.purges_of_task("t-1").await.unwrap().is_empty());
    let shown = store.purges(&run_id(1), 0, 10).await.unwrap();
    let states: Vec<_> = shown
        .iter()
        .map(|purge| (purge.state, purge.error.as_deref()))
        .collect();
    assert_eq!(
        states,
        [
            (PurgeState::Planned, Some("once more")),
            (PurgeState::Done, None),
            (PurgeState::Planned, None),
        ]
    );
    assert_eq!(store.purges(&run_id(1), 1, 1).await.unwrap()[0].id, 2);
    let counts = store.purge_counts(&run_id(1)).await.unwrap();
    assert_eq!(counts.count(|_, state| state == PurgeState::Planned), 2);
    let failed = store
        .purges_in_state(&run_id(1), PurgeState::Failed)
        .await
        .unwrap();
    assert!(failed.is_empty());
    assert_eq!(
        store.purge_counts_by_cdn(&run_id(1)).await.unwrap().len(),
        2
    );
    assert_eq!(store.purges_to_show(&run_id(1), 10).await.unwrap()[2].id, 2);
}

async fn what_failed_of_a_run_is_known_with_its_most_frequent_reason(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let plan = (0..5).map(|n| url(&format!("/{n}"))).collect();
    write(store, &lease, vec![Write::Purges(run_id(1), plan)]).await;
    assert_eq!(store.failures(&run_id(1)).await.unwrap(), None);
    let failed = |seq, why: &str, given_up| {
        Write::Update(PurgeUpdate {
            error: Some(why.to_owned()),
            given_up,
            ..PurgeUpdate::new(vec![key(1, seq)], PurgeState::Failed, Precondition::Open)
        })
    };
    let updates = vec![
        failed(1, "skipped", Some(GivenUp::Skipped)),
        failed(2, "once", None),
        failed(3, "twice", None),
        failed(4, "twice", Some(GivenUp::Refused)),
    ];

    write(store, &lease, updates).await;

    let failures = store.failures(&run_id(1)).await.unwrap().unwrap();
    assert_eq!((failures.count, failures.why.as_str()), (3, "twice"));
    assert!(failures.first.target.ends_with("/2"), "{failures:?}");
}

async fn a_plan_made_anew_stands_in_for_the_one_before(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    write(
        store,
        &lease,
        vec![Write::Purges(run_id(1), vec![url("/a/"), url("/b/")])],
    )
    .await;

    write(
        store,
        &lease,
        vec![Write::Purges(run_id(1), vec![url("/c/")])],
    )
    .await;

    let shown = store.purges(&run_id(1), 0, 10).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].planned.target, "https://www.example.com/c/");
}

async fn purges_that_move_are_planned_on_the_other_account(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    write(
        store,
        &lease,
        vec![
            Write::Purges(run_id(1), vec![url("/a/"), url("/b/")]),
            Write::Migrate(Migration {
                keys: vec![key(1, 2)],
                from: CDN.to_owned(),
                to: "edgeone".to_owned(),
                account: AccountId::new("another"),
            }),
        ],
    )
    .await;

    let line = store
        .queue_head(&ANOTHER, PurgeKind::Url)
        .await
        .unwrap()
        .unwrap();

    assert_eq!(line.cdn, "edgeone");
    assert_eq!(next(store, PurgeKind::Url, 10).await, [key(1, 1)]);
}

fn task(id: &str, size: i64, submitted_at: i64) -> StoredTask {
    StoredTask {
        id: id.to_owned(),
        account: ACCOUNT.clone(),
        cdn: "tencent".to_owned(),
        kind: PurgeKind::Url,
        mode: None,
        state: TaskState::Submitting,
        vendor_id: None,
        error: None,
        size,
        submitted_at: at(submitted_at),
        deadline: at(submitted_at + 1_800),
        ended_at: None,
    }
}

async fn tasks_are_kept_and_found_by_their_state(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    write(
        store,
        &lease,
        vec![
            Write::Task(task("t-1", 5, 0)),
            Write::Task(task("t-2", 5, 1)),
        ],
    )
    .await;

    let running = StoredTask {
        state: TaskState::Running,
        vendor_id: TaskIds::parse("v-1"),
        ..task("t-1", 5, 0)
    };
    write(store, &lease, vec![Write::Task(running)]).await;

    let of = |state| store.tasks(&ACCOUNT, PurgeKind::Url, state);
    assert_eq!(of(TaskState::Submitting).await.unwrap()[0].id, "t-2");
    let found = of(TaskState::Running).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].vendor_id, TaskIds::parse("v-1"));
    assert_eq!(
        (found[0].submitted_at, found[0].deadline),
        (at(0), at(1_800))
    );
    assert!(of(TaskState::Ended).await.unwrap().is_empty());
    for (account, kind, since, known) in [
        (&*ACCOUNT, PurgeKind::Url, 0, Some("v-1")),
        (&ACCOUNT, PurgeKind::Url, 1, None),
        (&ACCOUNT, PurgeKind::Directory, 0, None),
        (&ANOTHER, PurgeKind::Url, 0, None),
    ] {
        let found = store.known_tasks(account, kind, at(since)).await.unwrap();
        assert!(
            found.iter().map(ToString::to_string).eq(known),
            "{account} {kind:?} {since}: {found:?}"
        );
    }
    assert!(
        !store
            .has_unidentified(&ACCOUNT, PurgeKind::Url)
            .await
            .unwrap()
    );
    let nameless = StoredTask {
        state: TaskState::Running,
        ..task("t-2", 5, 1)
    };
    write(store, &lease, vec![Write::Task(nameless)]).await;
    assert!(
        store
            .has_unidentified(&ACCOUNT, PurgeKind::Url)
            .await
            .unwrap()
    );
    assert!(
        !store
            .has_unidentified(&ANOTHER, PurgeKind::Url)
            .await
            .unwrap()
    );
}

async fn the_quota_counts_what_was_handed_over_and_may_have_been_taken(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let refused = StoredTask {
        state: TaskState::Ended,
        error: Some("refused".to_owned()),
        ..task("t-4", 1_000, 30)
    };
    let taken = StoredTask {
        state: TaskState::Ended,
        vendor_id: TaskIds::parse("v"),
        error: Some("some failed".to_owned()),
        ..task("t-3", 100, 20)
    };
    let writes = [task("t-1", 1, 0), task("t-2", 10, 10), taken, refused];
    write(store, &lease, writes.into_iter().map(Write::Task).collect()).await;

    let since = |second| store.submitted_since(&ACCOUNT, PurgeKind::Url, at(second));
    assert_eq!(since(0).await.unwrap(), 111);
    assert_eq!(since(10).await.unwrap(), 110);
    assert_eq!(since(21).await.unwrap(), 0);
    let prefetches = store
        .submitted_since(&ACCOUNT, PurgeKind::Prefetch, at(0))
        .await;
    assert_eq!(prefetches.unwrap(), 0);
}

fn of_site(site: &str, number: u32) -> Write {
    Write::NewRun(Run {
        site: site.to_owned(),
        ..run(number)
    })
}

async fn a_batch_has_no_more_of_a_site_than_it_may_have(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let paths = |paths: &[&str]| paths.iter().map(|path| url(path)).collect();
    write(
        store,
        &lease,
        vec![
            of_site("www", 1),
            of_site("www", 2),
            of_site("docs", 3),
            of_site("shop", 4),
            Write::Purges(run_id(1), paths(&["/a/", "/b/", "/c/"])),
            Write::Purges(run_id(2), paths(&["/d/", "/e/"])),
            Write::Purges(run_id(3), paths(&["/f/", "/g/"])),
            Write::Purges(run_id(4), paths(&["/f/", "/h/"])),
        ],
    )
    .await;
    let head = store.queue_head(&ACCOUNT, PurgeKind::Url);
    let head = head.await.unwrap().unwrap();
    let within = async |sites: &[(&str, u64)], most| {
        let sites = sites.iter().map(|(site, most)| ((*site).to_owned(), *most));
        let sites: BTreeMap<String, u64> = sites.collect();
        let batch = store.next_batch_within(&ACCOUNT, PurgeKind::Url, &head, most, &sites);
        let purges = batch.await.unwrap().purges.into_iter();
        purges.map(|purge| purge.key).collect::<Vec<_>>()
    };

    // What the shop has planned of the same target comes along.
    assert_eq!(
        within(&[("www", 3), ("docs", 1)], 100).await,
        [key(1, 1), key(2, 1), key(3, 1), key(4, 1), key(1, 2)]
    );
    assert_eq!(within(&[("docs", 5)], 100).await.len(), 3);
    assert_eq!(within(&[("www", 9), ("docs", 9)], 2).await.len(), 2);
    assert_eq!(within(&[("gone", 9)], 100).await, []);
    assert_eq!(within(&[], 100).await, []);
}

async fn what_a_site_was_sent_and_has_waiting_is_counted_by_its_runs(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let paths = |paths: &[&str]| paths.iter().map(|path| url(path)).collect();
    let sent = |keys: &[PurgeKey], task: &str| {
        Write::Update(PurgeUpdate {
            task: Some(task.to_owned()),
            ..update(keys.to_vec(), PurgeState::Running)
        })
    };
    let refused = StoredTask {
        state: TaskState::Ended,
        error: Some("refused".to_owned()),
        ..task("t-3", 1, 30)
    };
    write(
        store,
        &lease,
        vec![
            of_site("www", 1),
            of_site("www", 2),
            of_site("docs", 3),
            Write::Purges(run_id(1), paths(&["/a/", "/b/", "/c/"])),
            Write::Purges(run_id(2), paths(&["/a/", "/c/", "/d/"])),
            Write::Purges(run_id(3), paths(&["/a/", "/e/"])),
            Write::Task(task("t-1", 1, 10)),
            Write::Task(task("t-2", 1, 20)),
            Write::Task(refused),
            // One target for both runs and the other site.
            sent(&[key(1, 1), key(2, 1), key(3, 1)], "t-1"),
            sent(&[key(1, 2)], "t-2"),
            sent(&[key(2, 3)], "t-3"),
        ],
    )
    .await;

    let counted = |counts: &[(&str, u64)]| {
        let counts = counts.iter().map(|(site, n)| ((*site).to_owned(), *n));
        counts.collect::<BTreeMap<_, _>>()
    };
    let submitted = |second| store.submitted_by_site(&ACCOUNT, PurgeKind::Url, at(second));
    assert_eq!(
        submitted(0).await.unwrap(),
        counted(&[("docs", 1), ("www", 2)])
    );
    assert_eq!(submitted(20).await.unwrap(), counted(&[("www", 1)]));
    let planned = store.planned_by_site(&ACCOUNT, PurgeKind::Url, CDN);
    assert_eq!(planned.await.unwrap(), counted(&[("docs", 1), ("www", 1)]));
    let passed_over = |site: Option<&str>| PassedOver {
        cdn: CDN.to_owned(),
        site: site.map(str::to_owned),
    };
    let head = async |passed_over: &[PassedOver]| {
        let head = store.queue_head_besides(&ACCOUNT, PurgeKind::Url, passed_over);
        head.await.unwrap().is_some()
    };
    assert!(head(&[passed_over(Some("www"))]).await);
    assert!(!head(&[passed_over(Some("www")), passed_over(Some("docs"))]).await);
    assert!(!head(&[passed_over(None)]).await);
}

async fn twenty_five_thousand_purges_are_planned_in_seconds(opened: Opened) {
    let store = &opened.store;
    let lease = lease(store).await;
    let purges = (0..25_000).map(|n| url(&format!("/{n}/"))).collect();
    let started = Instant::now();

    write(store, &lease, vec![Write::Purges(run_id(1), purges)]).await;
    let batch = next(store, PurgeKind::Url, 1_000).await;
    let keys = store
        .planned_keys(&ACCOUNT, PurgeKind::Url, CDN)
        .await
        .unwrap();
    write(
        store,
        &lease,
        vec![Write::Update(update(keys, PurgeState::Done))],
    )
    .await;

    assert_eq!(batch.len(), 1_000);
    let counts = store.purge_counts(&run_id(1)).await.unwrap();
    assert_eq!(counts.count(|_, state| state == PurgeState::Done), 25_000);
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}
