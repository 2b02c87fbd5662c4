//! What ended long ago goes, with all that was its own; what is still needed stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use purgehook::account::AccountId;
use purgehook::changes::{ChangeKind, FilePath};
use purgehook::event::GitRef;
use purgehook::purge::{PurgeKind, PurgeState, TaskId};
use purgehook::run::{Base, Run, RunId, RunState, RunStep, StatusState};
use purgehook::store::{
    Accepted, Disposition, NewDelivery, Precondition, PurgeKey, PurgeUpdate, Removed, RetryOutcome,
    RunFilter, SiteCaches, Store, StoredTask, TaskState, WorkKey, Write,
};

use crate::databases::{Opened, at, delivery, on_both, run, run_id, url};

on_both!(
    an_old_run_goes_with_all_that_was_its_own,
    a_run_of_many_purges_vanishes_at_once_and_its_purges_follow_some_at_a_time,
    the_newest_run_of_a_site_and_those_named_stay_with_what_is_theirs,
    nothing_of_a_site_goes_that_came_near_a_run_under_way_or_after_it,
    a_covered_run_goes_before_the_one_that_does_its_work_and_not_before_that_has_ended,
    a_run_with_work_to_do_stays,
    whatever_stays_holds_up_nothing_that_ended_after_it,
    what_counts_against_a_quota_or_tells_a_batch_stays,
    what_a_site_holds_stays,
    a_delivery_that_comes_again_is_known_for_as_long_as_it_is_kept,
    replicas_that_remove_and_try_again_at_once_lose_nothing,
);

/// Purges of each run here, but for those that say otherwise.
const PURGES: usize = 3;

/// A delivery with a run that ended at a second, with purges in a task, statuses and a change set.
async fn ended(store: &Store, number: u32, end: i64, change: impl Fn(&mut Run)) {
    ended_with(store, number, end, PURGES, change).await;
}

async fn ended_with(
    store: &Store,
    number: u32,
    end: i64,
    purges: usize,
    change: impl Fn(&mut Run),
) {
    let mut new = delivery(number, &format!("f-{number}"), &format!("push {number}"));
    new.received_at = at(end - 10);
    new.runs[0].created_at = at(end - 10);
    change(&mut new.runs[0]);
    let run = new.runs[0].clone();
    assert_eq!(accept(store, new).await, Accepted::New);
    let plan = (0..purges)
        .map(|n| url(&format!("/{number}/{n}")))
        .collect();
    let keys = (1..=i64::try_from(purges).unwrap()).map(|seq| PurgeKey {
        run: run.id.clone(),
        seq,
    });
    let task = task(number, end);
    let file = (FilePath::new(format!("{number}.md")), ChangeKind::Modified);
    let done = PurgeUpdate {
        task: Some(task.id.clone()),
        ..PurgeUpdate::new(keys.collect(), PurgeState::Done, Precondition::Open)
    };
    let writes = [
        Write::Changes(run.id.clone(), BTreeMap::from([file]).into()),
        Write::Purges(run.id.clone(), plan),
        Write::Task(task),
        Write::Update(done),
        Write::Status(run.id.clone(), StatusState::Success, "Purged".to_owned()),
        Write::Run(Run {
            state: RunState::Succeeded,
            step: RunStep::Ended,
            ended_at: Some(at(end)),
            ..run.clone()
        }),
    ];
    write(store, &writes).await;
    finish(store, end).await;
}

fn task(number: u32, end: i64) -> StoredTask {
    StoredTask {
        id: format!("T{number:04}"),
        account: AccountId::new("an account"),
        cdn: "tencent".to_owned(),
        kind: PurgeKind::Url,
        mode: None,
        state: TaskState::Ended,
        vendor_id: Some(vendor_id(number).into()),
        error: None,
        size: 3,
        submitted_at: at(end - 5),
        deadline: at(end + 3_600),
        ended_at: Some(at(end)),
    }
}

/// What the CDN calls a task.
fn vendor_id(number: u32) -> TaskId {
    TaskId::Vendor(format!("v-{number}"))
}

async fn known_tasks(store: &Store) -> BTreeSet<TaskId> {
    let account = AccountId::new("an account");
    let known = store.known_tasks(&account, PurgeKind::Url, at(0));
    known.await.unwrap()
}

async fn accept(store: &Store, new: NewDelivery) -> Accepted {
    store.accept(&[new]).await.unwrap().remove(0)
}

/// Writes under a lease on nothing in particular.
async fn write(store: &Store, writes: &[Write]) {
    let site = "the tests".to_owned();
    let key = WorkKey::Reconcile { site };
    store.ask(&key, at(-100)).await.unwrap();
    let lease = Duration::from_secs(60);
    let claimed = store
        .claim(at(-100), lease, "writing", 1)
        .await
        .unwrap()
        .works;
    let lease = &claimed.first().unwrap().lease;
    let written = store
        .commit(lease, writes, Disposition::Complete, at(0))
        .await;
    assert!(written.unwrap());
}

/// Takes away the work that is due by a second. A site's runs are claimed one at a time.
async fn finish(store: &Store, second: i64) {
    let lease = Duration::from_secs(60);
    loop {
        let claimed = store.claim(at(second), lease, "ending", 100).await.unwrap();
        if claimed.works.is_empty() {
            return;
        }
        for work in claimed.works {
            let after = Disposition::Complete;
            store
                .commit(&work.lease, &[], after, at(second))
                .await
                .unwrap();
        }
    }
}

/// Removes all that can go, and says how much in all and in how many transactions.
async fn remove(store: &Store, before: i64, keep: &[RunId]) -> (Removed, usize) {
    let (mut all, mut times) = (Removed::default(), 0);
    loop {
        let some = store.remove_ended(at(before), keep).await.unwrap();
        if some.is_nothing() {
            return (all, times);
        }
        all += some;
        times += 1;
    }
}

/// The runs that are there, oldest first.
async fn left(store: &Store) -> Vec<RunId> {
    let all = RunFilter {
        limit: 1_000,
        ..RunFilter::default()
    };
    let mut runs = store.runs(&all).await.unwrap();
    runs.reverse();
    runs.into_iter().map(|run| run.id).collect()
}

async fn an_old_run_goes_with_all_that_was_its_own(opened: Opened) {
    let store = &opened.store;
    ended(store, 1, 100, |_| {}).await;
    ended(store, 2, 200, |_| {}).await;
    ended(store, 3, 300, |_| {}).await;

    let (removed, _) = remove(store, 200, &[]).await;

    let expected = Removed {
        runs: 1,
        deliveries: 1,
        purges: 3,
        tasks: 1,
    };
    assert_eq!(removed, expected);
    assert_eq!(left(store).await, [run_id(2), run_id(3)]);
    let (gone, kept) = (run_id(1), run_id(2));
    assert!(store.delivery("D0001").await.unwrap().is_none());
    assert!(store.runs_of_delivery("f-1").await.unwrap().is_none());
    assert!(store.statuses(&gone).await.unwrap().is_empty());
    assert!(store.changes(&gone).await.unwrap().is_none());
    assert!(store.purges(&gone, 0, 10).await.unwrap().is_empty());
    assert!(!known_tasks(store).await.contains(&vendor_id(1)));
    assert!(store.delivery("D0002").await.unwrap().is_some());
    assert_eq!(store.statuses(&kept).await.unwrap().len(), 2);
    let changes = store.changes(&kept).await.unwrap().unwrap();
    assert_eq!(changes.files().len(), 1);
    let purges = store.purges(&kept, 0, 10).await.unwrap();
    assert_eq!(purges.len(), PURGES);
    assert_eq!(purges[0].task, Some(vendor_id(2).into()));
    assert_eq!(remove(store, 200, &[]).await.1, 0, "nothing more");
}

async fn a_run_of_many_purges_vanishes_at_once_and_its_purges_follow_some_at_a_time(
    opened: Opened,
) {
    let store = &opened.store;
    ended_with(store, 1, 100, 2_000, |_| {}).await;
    ended(store, 2, 100, |_| {}).await;
    ended(store, 3, 300, |_| {}).await;

    let first = store.remove_ended(at(200), &[]).await.unwrap();

    assert_eq!((first.runs, first.purges), (2, 0));
    assert_eq!(left(store).await, [run_id(3)]);
    assert_eq!(
        store.purges(&run_id(1), 0, 5_000).await.unwrap().len(),
        2_000
    );
    let second = store.remove_ended(at(200), &[]).await.unwrap();
    assert!((1..=500).contains(&second.purges), "{second:?}");
    let (rest, times) = remove(store, 200, &[]).await;
    assert_eq!(second.purges + rest.purges, 2_000 + 3);
    assert!((4..=8).contains(&times), "{times}");
    assert_eq!(store.purges(&run_id(3), 0, 10).await.unwrap().len(), PURGES);
}

async fn the_newest_run_of_a_site_and_those_named_stay_with_what_is_theirs(opened: Opened) {
    let store = &opened.store;
    ended(store, 1, 100, |run| {
        run.git_ref = Some(GitRef::Branch("old".to_owned()))
    })
    .await;
    ended(store, 2, 110, |_| {}).await;
    ended(store, 3, 120, |_| {}).await;
    ended(store, 4, 130, |run| run.site = "docs".to_owned()).await;

    let (removed, _) = remove(store, 10_000_000, &[run_id(1)]).await;

    assert_eq!(removed.runs, 1);
    assert_eq!(left(store).await, [run_id(1), run_id(3), run_id(4)]);
    for (run, delivery) in [(1, "D0001"), (3, "D0003"), (4, "D0004")] {
        assert!(store.delivery(delivery).await.unwrap().is_some());
        let purges = store.purges(&run_id(run), 0, 10).await.unwrap();
        assert!(purges.iter().all(|purge| purge.task.is_some()));
        assert_eq!(purges.len(), PURGES);
    }
}

async fn nothing_of_a_site_goes_that_came_near_a_run_under_way_or_after_it(opened: Opened) {
    let store = &opened.store;
    const DAY: i64 = 24 * 60 * 60;
    ended(store, 1, 100, |_| {}).await;
    ended(store, 2, 2 * DAY, |_| {}).await;
    let mut open = delivery(3, "f-3", "push 3");
    open.runs[0].created_at = at(2 * DAY + 100);
    accept(store, open).await;
    finish(store, 3 * DAY).await;
    ended(store, 4, 4 * DAY, |_| {}).await;
    ended(store, 5, 5 * DAY, |_| {}).await;
    // Another site is not held up.
    let elsewhere = |run: &mut Run| run.site = "docs".to_owned();
    ended(store, 6, 4 * DAY, elsewhere).await;
    ended(store, 7, 5 * DAY, elsewhere).await;

    remove(store, 100 * DAY, &[]).await;

    let kept = [2, 3, 4, 5, 7].map(run_id);
    assert_eq!(left(store).await, kept);
}

async fn a_covered_run_goes_before_the_one_that_does_its_work_and_not_before_that_has_ended(
    opened: Opened,
) {
    let store = &opened.store;
    let by = |by: u32| {
        move |run: &mut Run| {
            run.covered_by = Some(run_id(by));
        }
    };
    // Far from what is under way, or that alone would keep it.
    ended(store, 1, -1_000_000, by(9)).await;
    ended(store, 2, -999_000, by(3)).await;
    ended(store, 3, -999_000, |_| {}).await;
    accept(store, delivery(9, "f-9", "push 9")).await;
    finish(store, 0).await;

    let (removed, _) = remove(store, -500_000, &[run_id(2)]).await;
    assert_eq!(
        removed.runs, 0,
        "one is covered by a run under way, one covers a run that stays"
    );

    let (removed, _) = remove(store, -500_000, &[]).await;
    assert_eq!(removed.runs, 2);
    assert_eq!(left(store).await, [run_id(1), run_id(9)]);
}

async fn a_run_with_work_to_do_stays(opened: Opened) {
    let store = &opened.store;
    ended(store, 1, 100, |_| {}).await;
    ended(store, 2, 100, |_| {}).await;
    ended(store, 3, 100, |_| {}).await;
    let key = WorkKey::Status(run_id(1));
    store.ask(&key, at(5_000)).await.unwrap();

    remove(store, 1_000, &[]).await;

    assert_eq!(left(store).await, [run_id(1), run_id(3)]);
    assert_eq!(store.statuses(&run_id(1)).await.unwrap().len(), 2);
}

async fn whatever_stays_holds_up_nothing_that_ended_after_it(opened: Opened) {
    let store = &opened.store;
    // More sites whose only run is old than are looked at together.
    let sites = 450;
    for number in 1..=sites {
        ended_with(store, number, i64::from(number), 1, |run| {
            run.site = format!("site {number}");
        })
        .await;
    }
    for number in sites + 1..=sites + 3 {
        ended(store, number, 1_000, |_| {}).await;
    }

    let (removed, _) = remove(store, 2_000, &[]).await;

    assert_eq!((removed.runs, removed.tasks), (2, 2));
    let newest = run_id(sites + 3);
    assert_eq!(left(store).await.last(), Some(&newest));
}

async fn what_counts_against_a_quota_or_tells_a_batch_stays(opened: Opened) {
    let store = &opened.store;
    let (mut under_way, mut young) = (task(1, 100), task(2, 1_000));
    under_way.state = TaskState::Running;
    under_way.ended_at = None;
    young.ended_at = Some(at(1_000));
    let old = task(3, 100);
    write(store, &[under_way, young, old].map(Write::Task)).await;

    let (removed, _) = remove(store, 500, &[]).await;

    assert_eq!(removed.tasks, 1);
    let known = known_tasks(store).await;
    assert!(
        known.contains(&vendor_id(1)) && known.contains(&vendor_id(2)),
        "{known:?}"
    );
    let account = AccountId::new("an account");
    let counted = store.submitted_since(&account, PurgeKind::Url, at(500));
    assert_eq!(counted.await.unwrap(), 3);
}

async fn what_a_site_holds_stays(opened: Opened) {
    let store = &opened.store;
    ended(store, 1, 100, |_| {}).await;
    ended(store, 2, 200, |_| {}).await;
    let site = || "www".to_owned();
    let base = |run: Run| Base::Commit(run.commit.id().unwrap().clone());
    let commits = vec![base(run(1)), base(run(2))];
    let writes = [
        Write::ExpectHeldVersion(SiteCaches::real(site()), 0),
        Write::Hold(SiteCaches::real(site()), commits, 1),
    ];
    write(store, &writes).await;
    let before = store.held(&SiteCaches::real("www"), at(200)).await.unwrap();

    remove(store, 10_000_000, &[]).await;

    let after = store
        .held(&SiteCaches::real("www"), at(10_000_000))
        .await
        .unwrap();
    assert_eq!(after, before);
    assert_eq!((after.version, after.commits.len()), (1, 2));
}

async fn a_delivery_that_comes_again_is_known_for_as_long_as_it_is_kept(opened: Opened) {
    let store = &opened.store;
    for number in 1..=3 {
        ended(store, number, i64::from(number) * 100, |_| {}).await;
    }
    let again = |number: u32| NewDelivery {
        id: "DAGAIN".to_owned(),
        received_at: at(5_000),
        start_at: at(5_000),
        runs: vec![run(77)],
        ..delivery(number, &format!("f-{number}"), &format!("push {number}"))
    };

    remove(store, 200, &[]).await;

    let known = Accepted::Duplicate {
        delivery: "D0002".to_owned(),
        runs: vec![run_id(2)],
    };
    assert_eq!(accept(store, again(2)).await, known);
    assert_eq!(accept(store, again(1)).await, Accepted::New);
}

async fn replicas_that_remove_and_try_again_at_once_lose_nothing(opened: Opened) {
    const RUNS: u32 = 120;
    let store = &opened.store;
    // Days apart, so that one that is tried again keeps only those after it.
    let end = |number: u32| i64::from(number) * 2 * 24 * 60 * 60;
    for number in 1..=RUNS {
        ended(store, number, end(number), |_| {}).await;
        // It ended, as `ended` has it, in success; only a failed one can be tried again.
        let failed = Run {
            state: RunState::Failed,
            step: RunStep::Ended,
            ended_at: Some(at(end(number))),
            ..store.run(&run_id(number)).await.unwrap().unwrap()
        };
        write(store, &[Write::Run(failed)]).await;
    }
    let (one, two) = (opened.another().await, opened.another().await);

    let before = at(end(RUNS + 1));
    let remover = move |store: Store| async move {
        let mut all = Removed::default();
        while let Ok(some) = store.remove_ended(before, &[]).await {
            if some.is_nothing() {
                break;
            }
            all += some;
        }
        all
    };
    let retry = async {
        let mut again = Vec::new();
        for number in (1..=RUNS).rev().step_by(7) {
            let id = run_id(number);
            if store.retry(&id, before, before).await.unwrap() == RetryOutcome::Retried {
                again.push(id);
            }
        }
        again
    };
    let (first, second, again) = tokio::join!(
        tokio::spawn(remover(one)),
        tokio::spawn(remover(two)),
        retry
    );

    let (first, second) = (first.unwrap(), second.unwrap());
    let left = left(store).await;
    for id in &again {
        assert!(left.contains(id), "{id} was to be tried again and is gone");
        assert_eq!(store.purges(id, 0, 10).await.unwrap().len(), PURGES);
        assert_eq!(store.statuses(id).await.unwrap().len(), 3);
    }
    let runs = u64::from(RUNS);
    assert_eq!(first.runs + second.runs, runs - left.len() as u64);
    assert_eq!(first.purges + second.purges, 3 * (first.runs + second.runs));
    assert_eq!(
        first.deliveries + second.deliveries,
        first.runs + second.runs
    );
}
