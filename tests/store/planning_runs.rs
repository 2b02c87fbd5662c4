//! Which of a site's runs plans next.

use std::time::Duration;

use purgehook::event::{CommitId, CommitRef};
use purgehook::run::{Origin, RunId};
use purgehook::store::{NewDelivery, Store, WorkKey};

use crate::databases::{Opened, at, delivery, on_both, run_id};

const LEASE: Duration = Duration::from_secs(60);

on_both!(
    the_newest_of_a_sites_runs_plans_and_no_other_meanwhile,
    a_run_whose_work_no_newer_one_does_is_not_passed_over,
    a_push_that_is_to_be_planned_later_is_not_due_before,
    the_newest_run_finds_out_its_commit_first,
);

/// Pushes to one site, each of which begins where the one before it ended.
fn pushes_in_a_row(count: u32) -> Vec<NewDelivery> {
    let push = |number: u32| {
        let mut push = delivery(number, &format!("f-{number}"), &format!("push {number}"));
        push.runs[0].before = CommitId::parse(&format!("{:040x}", number + 1_000));
        push
    };
    (1..=count).map(push).collect()
}

/// The runs that are claimed then.
async fn claimed_runs(store: &Store, second: i64) -> Vec<RunId> {
    let token = format!("at {second}");
    let claimed = store.claim(at(second), LEASE, &token, 100).await.unwrap();
    let runs = claimed.works.into_iter().filter_map(|work| match work.key {
        WorkKey::Run(run) => Some(run),
        _ => None,
    });
    runs.collect()
}

async fn the_newest_of_a_sites_runs_plans_and_no_other_meanwhile(opened: Opened) {
    let store = &opened.store;
    store.accept(&pushes_in_a_row(5)).await.unwrap();

    assert_eq!(claimed_runs(store, 30).await, [run_id(5)]);
    assert_eq!(claimed_runs(store, 31).await, []);
    // Its process is lost.
    assert_eq!(claimed_runs(store, 91).await, [run_id(5)]);
}

async fn a_run_whose_work_no_newer_one_does_is_not_passed_over(opened: Opened) {
    let store = &opened.store;
    let mut pushes = pushes_in_a_row(3);
    pushes[0].runs[0].origin = Origin::ManualEverything;
    store.accept(&pushes).await.unwrap();

    let claimed = store.claim(at(30), LEASE, "one", 100).await.unwrap();
    let work = claimed.works.iter();
    let work = work.filter(|work| matches!(work.key, WorkKey::Run(_)));
    let first: Vec<_> = work
        .map(|work| (work.key.clone(), work.passed_over_newer))
        .collect();
    assert_eq!(first, [(WorkKey::Run(run_id(1)), true)]);
}

async fn the_newest_run_finds_out_its_commit_first(opened: Opened) {
    let store = &opened.store;
    let mut releases = pushes_in_a_row(3);
    for release in &mut releases {
        release.runs[0].commit = CommitRef::parse("v1");
    }
    store.accept(&releases).await.unwrap();

    assert_eq!(claimed_runs(store, 30).await, [run_id(3)]);
}

async fn a_push_that_is_to_be_planned_later_is_not_due_before(opened: Opened) {
    let store = &opened.store;
    let mut pushes = pushes_in_a_row(2);
    pushes[1].start_at = at(10);
    store.accept(&pushes).await.unwrap();

    assert_eq!(claimed_runs(store, 9).await, [run_id(1)]);
    // The first one has lost its process by now; the newer one does its work.
    assert_eq!(claimed_runs(store, 70).await, [run_id(2)]);
}
