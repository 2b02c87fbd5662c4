//! Runs: found by what one asks for, page by page, with what they found changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use purgehook::account::AccountId;
use purgehook::changes::{ChangeKind, Completeness, FilePath, Proof};
use purgehook::clock::first_id_of;
use purgehook::event::{CommitId, GitRef};
use purgehook::purge::PurgeKind;
use purgehook::run::{Base, Link, Run, RunChanges, RunId, RunState, RunStep, WaitReason};
use purgehook::store::{Disposition, RunFilter, SiteCaches, Store, StoreError, WorkKey, Write};

use crate::databases::{Opened, at, base, main_branch, on_both, run, run_id, url};

on_both!(
    runs_are_listed_newest_first_page_by_page,
    runs_are_found_by_site_state_and_commit,
    the_newest_run_of_a_site_or_ref_is_found,
    what_came_after_a_run_or_a_moment_is_found,
    every_field_of_a_run_comes_back,
    a_run_that_changed_since_it_was_read_is_not_overwritten,
    a_run_shows_once_what_it_waits_for,
    changes_keep_paths_that_are_no_text,
    changes_keep_which_commit_brought_them,
    runs_are_counted_by_state,
    a_run_covers_what_left_its_work_to_a_run_that_left_it_to_this_one,
    one_run_of_a_site_at_a_time_finds_out_what_changed,
);

async fn write(store: &Store, writes: Vec<Write>) {
    let key = WorkKey::Reconcile {
        site: "tests".to_owned(),
    };
    store.ask(&key, at(0)).await.unwrap();
    let works = store
        .claim(at(0), Duration::from_secs(60), "test", 100)
        .await
        .unwrap()
        .works;
    let work = works.into_iter().find(|work| work.key == key).unwrap();
    assert!(
        store
            .commit(&work.lease, &writes, Disposition::Complete, at(0))
            .await
            .unwrap()
    );
}

async fn ids(store: &Store, filter: RunFilter) -> Vec<RunId> {
    let runs = store.runs(&filter).await.unwrap();
    runs.into_iter().map(|run| run.id).collect()
}

async fn runs_are_listed_newest_first_page_by_page(opened: Opened) {
    let store = &opened.store;
    write(store, (1..=5).map(|n| Write::NewRun(run(n))).collect()).await;
    let page = |before| RunFilter {
        before,
        limit: 2,
        ..RunFilter::default()
    };

    assert_eq!(ids(store, page(None)).await, [run_id(5), run_id(4)]);
    assert_eq!(
        ids(store, page(Some(run_id(4)))).await,
        [run_id(3), run_id(2)]
    );
    assert_eq!(ids(store, page(Some(run_id(2)))).await, [run_id(1)]);
    assert!(ids(store, page(Some(run_id(1)))).await.is_empty());
}

async fn runs_are_found_by_site_state_and_commit(opened: Opened) {
    let store = &opened.store;
    let other = Run {
        site: "docs".to_owned(),
        ..run(2)
    };
    let failed = Run {
        state: RunState::Failed,
        ..run(3)
    };
    let runs = [run(1), other, failed.clone(), run(4)];
    write(store, runs.into_iter().map(Write::NewRun).collect()).await;
    let filter = RunFilter {
        limit: 10,
        ..RunFilter::default()
    };

    let docs = RunFilter {
        site: Some("docs".to_owned()),
        ..filter.clone()
    };
    assert_eq!(ids(store, docs).await, [run_id(2)]);
    let pending = RunFilter {
        site: Some("www".to_owned()),
        state: Some(RunState::Pending),
        ..filter.clone()
    };
    assert_eq!(ids(store, pending.clone()).await, [run_id(4), run_id(1)]);
    let paged = RunFilter {
        before: Some(run_id(4)),
        ..pending
    };
    assert_eq!(ids(store, paged).await, [run_id(1)]);
    let commit = RunFilter {
        commit: failed.commit.id().cloned(),
        ..filter
    };
    assert_eq!(ids(store, commit).await, [run_id(3)]);
}

async fn the_newest_run_of_a_site_or_ref_is_found(opened: Opened) {
    let store = &opened.store;
    let release = Run {
        git_ref: Some(GitRef::Tag("v1".to_owned())),
        step: RunStep::Purging,
        ..run(3)
    };
    let runs = [run(1), run(2), release];
    write(store, runs.into_iter().map(Write::NewRun).collect()).await;

    let newest = store.newest_run("www", None).await.unwrap().unwrap();
    assert_eq!(newest.id, run_id(3));
    let of_main = store
        .newest_run("www", Some(&main_branch()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(of_main.id, run_id(2));
    assert!(store.newest_run("docs", None).await.unwrap().is_none());
    let unplanned = async |id, now| {
        let runs = store.unplanned("www", &run_id(id), at(now), 10).await;
        runs.unwrap()
            .into_iter()
            .map(|other| other.run.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(unplanned(1, 9).await, [run_id(2)]);
    assert_eq!(unplanned(2, 9).await, [run_id(1)]);
    assert_eq!(unplanned(3, 9).await, [run_id(2), run_id(1)]);
    // One that a process is running is left to it, until its lease is over: then the process is dead.
    let claimed = store
        .claim(at(10), Duration::from_secs(60), "test", 2)
        .await;
    let claimed = claimed.unwrap().works;
    let keys = claimed.iter().map(|work| work.key.clone());
    assert_eq!(
        keys.collect::<Vec<_>>(),
        [run_id(1), run_id(3)].map(WorkKey::Run)
    );
    assert_eq!(unplanned(2, 69).await, []);
    assert_eq!(unplanned(2, 70).await, [run_id(1)]);
    for (now, state) in [(69, RunState::Pending), (70, RunState::Superseded)] {
        let writes = [Write::Supersede {
            runs: vec![run_id(1)],
            by: run_id(2),
            summary: "Covered".to_owned(),
        }];
        let lease = &claimed[1].lease;
        let committed = store.commit(lease, &writes, Disposition::Continue, at(now));
        assert!(committed.await.unwrap());
        assert_eq!(store.run(&run_id(1)).await.unwrap().unwrap().state, state);
    }
}

async fn what_came_after_a_run_or_a_moment_is_found(opened: Opened) {
    let store = &opened.store;
    let id_of = |second| RunId(first_id_of(at(second)));
    let mut runs = Vec::new();
    for (number, second) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
        runs.push(Run {
            id: id_of(second),
            created_at: at(second),
            ..run(number)
        });
    }
    write(store, runs.iter().cloned().map(Write::NewRun).collect()).await;
    let commits = async |second, since| {
        let id = id_of(second);
        let commits = store.commits_since("www", &id, at(since));
        commits.await.unwrap()
    };
    let of = |range: std::ops::Range<usize>| {
        let runs = runs[range].iter();
        runs.filter_map(|run| run.commit.id().cloned())
            .collect::<BTreeSet<_>>()
    };

    assert_eq!(commits(30, 30).await, of(3..4));
    assert_eq!(commits(30, 15).await, of(1..4), "by the moment");
    assert_eq!(commits(20, 40).await, of(2..4), "by the run");
    assert_eq!(commits(40, 40).await, of(0..0));
    assert!(
        store
            .commits_since("docs", &id_of(10), at(0))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn every_field_of_a_run_comes_back(opened: Opened) {
    let store = &opened.store;
    write(store, vec![Write::NewRun(run(1))]).await;
    let full = Run {
        covered_by: Some(run_id(2)),
        bases: vec![base('a'), Base::Unknown],
        held_version: Some(5),
        state: RunState::Failed,
        step: RunStep::Ended,
        summary: "It's \"over\" – 終わり 🧹".to_owned(),
        proof: Some(Completeness::Proven(Proof::Trees)),
        problems: vec!["one, too long".to_owned(), "two\nlines".to_owned()],
        notes: vec!["deleting / covers 1 more purge".to_owned()],
        dry_run: true,
        waits_for: Some(waits_for_cdn()),
        deadline: at(7),
        ended_at: Some(at(8)),
        ..run(1)
    };

    write(store, vec![Write::Run(full.clone())]).await;

    let full = Run {
        revision: 1,
        ..full
    };
    assert_eq!(store.run(&run_id(1)).await.unwrap().unwrap(), full);
    assert_eq!(store.covered_by([&run_id(2)]).await.unwrap(), [full]);
}

fn waits_for_cdn() -> WaitReason {
    WaitReason::CircuitOpen {
        account: AccountId::new("an account"),
        since: at(3),
    }
}

/// A run waits for a CDN, with a day more to do so.
fn waiting(reason: WaitReason) -> Write {
    Write::Waiting {
        run: run_id(1),
        reason,
        summary: "Waiting".to_owned(),
        deadline: at(86_400),
    }
}

async fn a_run_that_changed_since_it_was_read_is_not_overwritten(opened: Opened) {
    let store = &opened.store;
    write(store, vec![Write::NewRun(run(1))]).await;
    let key = WorkKey::Run(run_id(1));
    let works = store.claim(at(0), Duration::from_secs(60), "step", 100);
    let works = works.await.unwrap().works;
    let step = works.into_iter().find(|work| work.key == key).unwrap();
    let read = store.run(&run_id(1)).await.unwrap().unwrap();

    // Meanwhile another step, of the account's queue, has it wait.
    write(store, vec![waiting(waits_for_cdn())]).await;
    let outdated = Run {
        deadline: at(7_200),
        ..read
    };
    let outdated = [Write::Run(outdated)];
    let commit = store.commit(&step.lease, &outdated, Disposition::Continue, at(1));

    assert!(matches!(commit.await, Err(StoreError::Outdated)));
    let kept = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(
        (kept.summary.as_str(), kept.deadline),
        ("Waiting", at(86_400))
    );
    // What is read anew can be written.
    let writes = [Write::Run(kept)];
    let commit = store.commit(&step.lease, &writes, Disposition::Continue, at(1));
    assert!(commit.await.unwrap());
}

async fn a_run_shows_once_what_it_waits_for(opened: Opened) {
    let store = &opened.store;
    let purges = Write::Purges(run_id(1), vec![url("/a/")]);
    write(store, vec![Write::NewRun(run(1)), purges]).await;
    let quota = WaitReason::Quota {
        renewed_at: at(50_000),
    };
    let account = AccountId::new("an account");
    let queued = async |shown: &[WaitReason]| {
        let runs = store.queued_runs(&account, PurgeKind::Url, "tencent", shown);
        runs.await.unwrap().len()
    };

    assert_eq!(queued(&[waits_for_cdn(), quota.clone()]).await, 1);
    write(store, vec![waiting(waits_for_cdn())]).await;
    assert_eq!(queued(&[waits_for_cdn(), quota.clone()]).await, 0);
    assert_eq!(queued(&[quota]).await, 1, "it waits for something else");
    let share = WaitReason::QuotaShare {
        renewed_at: at(50_000),
    };
    write(store, vec![waiting(share.clone())]).await;
    let kept = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(kept.waits_for, Some(share));
    assert_eq!(queued(&[]).await, 1);
}

async fn changes_keep_paths_that_are_no_text(opened: Opened) {
    let store = &opened.store;
    let files = BTreeMap::from([
        (FilePath::new(b"caf\xe9.md".to_vec()), ChangeKind::Removed),
        (FilePath::new("caf\u{e9} 🧹.md"), ChangeKind::Added),
        (
            FilePath::new("100%25 \"quoted\"\n\t\u{7f}"),
            ChangeKind::Modified,
        ),
    ]);
    assert!(store.changes(&run_id(1)).await.unwrap().is_none());

    write(
        store,
        vec![Write::Changes(run_id(1), RunChanges::default())],
    )
    .await;
    write(store, vec![Write::Changes(run_id(1), files.clone().into())]).await;

    assert_eq!(store.changes(&run_id(1)).await.unwrap(), Some(files.into()));
}

async fn changes_keep_which_commit_brought_them(opened: Opened) {
    let store = &opened.store;
    let commit = |digit: char| CommitId::parse(&digit.to_string().repeat(40)).unwrap();
    let link = |from, to, proof| Link {
        from: commit(from),
        to: commit(to),
        proof,
        files: 0,
    };
    let links = vec![
        link('b', 'c', Proof::Payload),
        link('d', 'b', Proof::Compare),
        link('a', 'd', Proof::Trees),
    ];
    let file = |name, by| (FilePath::new(name), (ChangeKind::Modified, by));
    let files = [file("a.md", 2), file("b.md", 0), file("c.md", 2)];
    let changes = RunChanges::new(links, files.into());

    write(store, vec![Write::Changes(run_id(1), changes.clone())]).await;

    assert_eq!(store.changes(&run_id(1)).await.unwrap(), Some(changes));
    let mut names = Vec::new();
    let take = |path: FilePath, _| names.push(path.to_string());
    let links = store.each_change(&run_id(1), take).await.unwrap().unwrap();
    assert_eq!(names, ["b.md", "a.md", "c.md"]);
    let counts: Vec<usize> = links.iter().map(|link| link.files).collect();
    assert_eq!(counts, [1, 0, 2]);
}

async fn runs_are_counted_by_state(opened: Opened) {
    let store = &opened.store;
    let failed = Run {
        state: RunState::Failed,
        ..run(3)
    };
    let runs = [run(1), run(2), failed];
    write(store, runs.into_iter().map(Write::NewRun).collect()).await;
    let purges = vec![crate::databases::url("/a/")];
    write(store, vec![Write::Purges(run_id(1), purges)]).await;

    let mut counts = store.run_counts().await.unwrap();

    counts.sort_by_key(|(_, count)| *count);
    assert_eq!(counts, [(RunState::Failed, 1), (RunState::Pending, 2)]);
    let pending = store.pending_purges().await.unwrap();
    assert_eq!((pending.len(), pending[0].count), (1, 1));
}

async fn a_run_covers_what_left_its_work_to_a_run_that_left_it_to_this_one(opened: Opened) {
    let store = &opened.store;
    let left_to = |n, by: Option<u32>| Run {
        covered_by: by.map(run_id),
        ..run(n)
    };
    let runs = [
        left_to(1, Some(2)),
        left_to(2, Some(4)),
        left_to(3, Some(4)),
        left_to(4, None),
        left_to(5, None),
    ];
    write(store, runs.into_iter().map(Write::NewRun).collect()).await;
    let covered = async |by| -> Vec<RunId> {
        let runs = store.covered_by([&run_id(by)]).await.unwrap();
        runs.into_iter().map(|run| run.id).collect()
    };
    assert_eq!(covered(4).await, [run_id(1), run_id(2), run_id(3)]);
    assert!(store.covers_others(&run_id(4)).await.unwrap());
    assert!(!store.covers_others(&run_id(5)).await.unwrap());
    assert!(store.is_first(&run(1)).await.unwrap());
    assert!(!store.is_first(&run(2)).await.unwrap());

    write(store, vec![Write::AdoptSuperseded(run_id(4))]).await;

    assert_eq!(covered(4).await, [run_id(1), run_id(2), run_id(3)]);
    assert_eq!(covered(2).await, []);
    assert_eq!(covered(5).await, []);
}

async fn one_run_of_a_site_at_a_time_finds_out_what_changed(opened: Opened) {
    let store = &opened.store;
    let [one, two] = [run(1), run(2)];
    let site = one.site.clone();
    assert_eq!(site, two.site);
    write(store, vec![Write::NewRun(one), Write::NewRun(two)]).await;
    let lease = Duration::from_secs(60);
    store.claim(at(1), lease, "planner", 100).await.unwrap();
    let begins = async |run, time| {
        let run = run_id(run);
        store.begin_planning(&site, &run, at(time)).await.unwrap()
    };
    let planner = async |time| {
        store
            .held(&SiteCaches::real(&site), at(time))
            .await
            .unwrap()
            .planner
    };
    assert_eq!(planner(1).await, None);

    assert!(begins(1, 1).await);
    assert!(!begins(2, 2).await);
    assert!(begins(1, 3).await);
    assert_eq!(planner(3).await, Some(run_id(1)));

    // Whoever had the turn has died.
    assert_eq!(planner(62).await, None);
    assert!(begins(2, 62).await);
    // Nothing of this is a change of what is held.
    let hold = |version| {
        let commits = vec![base('a')];
        vec![
            Write::ExpectHeldVersion(SiteCaches::real(&site), version),
            Write::Hold(SiteCaches::real(&site), commits, version + 1),
        ]
    };
    write(store, hold(0)).await;
    write(store, hold(1)).await;
    assert_eq!(
        store
            .held(&SiteCaches::real(&site), at(63))
            .await
            .unwrap()
            .version,
        2
    );
}
