//! Tests that every kind of CDN must pass, against the sandbox, which does not know the clients.
//!
//! A new kind needs a stand-in in the sandbox and then runs all of these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::fake::{batch, now};
use super::tests::read_in;
use super::{Batch, Cdn, ErrorClass, InFlight, KINDS, Pace, TargetState};
use crate::clock::{Clock, TimeSource};
use crate::http::Outbound;
use crate::purge::PurgeKind;
use crate::sandbox::{Area, CdnAccount, Fault, Sandbox, Service, TargetOutcome, When};

/// A clock that moves only when it is told to, or slept on.
struct Hand(Mutex<Timestamp>);

#[async_trait]
impl TimeSource for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

/// One kind of CDN, the sandbox that plays it, and the clock they share.
struct Bench {
    kind: &'static str,
    cdn: Arc<dyn Cdn>,
    service: Service,
    account: CdnAccount,
    sandbox: Sandbox,
    clock: Clock,
}

impl Bench {
    async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for kind in KINDS {
            let hand = Arc::new(Hand(Mutex::new(now())));
            let clock = Clock::new(hand, fastrand::Rng::with_seed(1));
            let sandbox = Sandbox::start(clock.clone()).await.unwrap();
            let account = sandbox
                .cdn(kind.name)
                .unwrap_or_else(|| panic!("no stand-in for {}", kind.name));
            account.add_domain("www.example.com", Area::Mainland);
            let outbound = Outbound::new(clock.clone()).unwrap();
            let (cdn, problems) = read_in(&outbound, kind.name, &account.rules_entry(), &[]);
            let cdn = cdn.unwrap_or_else(|| panic!("{problems}"));
            all.push(Self {
                kind: kind.name,
                cdn,
                service: account.service(),
                account,
                sandbox,
                clock,
            });
        }
        all
    }

    fn pace(&self) -> Pace {
        Pace::new(self.clock.clone(), self.cdn.limits().queries_per_second)
    }

    async fn submit(&self, batch: Batch) -> InFlight {
        let submitted_at = self.clock.now();
        let task = self.cdn.submit(&batch).await;
        InFlight {
            task: task.unwrap_or_else(|error| panic!("{}: {error}", self.kind)),
            submitted_at,
            batch,
        }
    }

    async fn states(&self, tasks: &[InFlight]) -> Vec<TargetState> {
        let reports = self.cdn.follow(tasks, &self.pace()).await;
        let reports = reports.unwrap_or_else(|error| panic!("{}: {error}", self.kind));
        reports
            .into_iter()
            .flat_map(|report| report.targets.into_values())
            .collect()
    }
}

fn url(name: &str) -> String {
    format!("https://www.example.com/{name}")
}

fn one(kind: PurgeKind) -> Batch {
    match kind {
        PurgeKind::Url | PurgeKind::Prefetch => {
            batch(kind, &[&url("a.html"), &url("%E5%9B%BE.png")])
        }
        PurgeKind::Directory => batch(kind, &[&url("d/"), &url("e/")]),
    }
}

#[actix_web::test]
async fn every_kind_of_purge_is_taken_and_confirmed() {
    for bench in Bench::all().await {
        for kind in bench.cdn.limits().kinds.keys() {
            let task = bench.submit(one(*kind)).await;
            let tasks = [task];

            let early = bench.states(&tasks).await;
            bench.clock.sleep(Duration::from_secs(60)).await;
            let late = bench.states(&tasks).await;

            let what = format!("{} {kind:?}", bench.kind);
            assert!(
                early
                    .iter()
                    .all(|state| matches!(state, TargetState::Running(_))),
                "{what}: {early:?}"
            );
            assert_eq!(late, [TargetState::Done, TargetState::Done], "{what}");
            bench.clock.sleep(Duration::from_secs(600)).await;
        }
    }
}

#[actix_web::test]
async fn kinds_of_purges_share_an_action_where_the_api_has_one_for_both() {
    for bench in Bench::all().await {
        let mut called: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for kind in bench.cdn.limits().kinds.keys() {
            bench.submit(one(*kind)).await;
            let call = bench.sandbox.log().pop().unwrap();
            let calls = called.entry(bench.cdn.action(*kind)).or_default();
            calls.insert(call.action);
        }

        let distinct: BTreeSet<&String> = called.values().flatten().collect();
        assert!(
            called.values().all(|calls| calls.len() == 1) && distinct.len() == called.len(),
            "{}: {called:?}",
            bench.kind
        );
    }
}

#[actix_web::test]
async fn a_target_that_failed_is_never_done() {
    for bench in Bench::all().await {
        bench
            .account
            .set_outcome("a.html", When::Always, TargetOutcome::Fail);
        let task = bench.submit(one(PurgeKind::Url)).await;

        bench.clock.sleep(Duration::from_secs(60)).await;
        let states = bench.cdn.follow(&[task], &bench.pace()).await.unwrap();

        let state = &states[0].targets[&url("a.html")];
        assert!(
            matches!(state, TargetState::Failed(_)),
            "{}: {state:?}",
            bench.kind
        );
    }
}

#[actix_web::test]
async fn many_tasks_are_followed_in_few_requests() {
    for bench in Bench::all().await {
        let mut tasks = Vec::new();
        for n in 0..30 {
            let task = batch(PurgeKind::Url, &[&url(&n.to_string())]);
            tasks.push(bench.submit(task).await);
            bench.clock.sleep(Duration::from_secs(1)).await;
        }
        bench.clock.sleep(Duration::from_secs(60)).await;
        let before = bench.sandbox.log().len();

        let states = bench.states(&tasks).await;

        assert_eq!(states, vec![TargetState::Done; 30], "{}", bench.kind);
        let asked = bench.sandbox.log().len() - before;
        assert_eq!(asked, 1, "{}", bench.kind);
    }
}

#[actix_web::test]
async fn a_cdn_that_has_had_too_many_requests_is_asked_again_after_a_rest() {
    for bench in Bench::all().await {
        let task = bench.submit(one(PurgeKind::Url)).await;
        bench.clock.sleep(Duration::from_secs(60)).await;
        let faults = bench.sandbox.faults();
        faults.add(bench.service, "*", When::Times(2), Fault::Throttle);
        let asked = bench.clock.now();

        let states = bench.states(&[task]).await;

        assert_eq!(
            states,
            [TargetState::Done, TargetState::Done],
            "{}",
            bench.kind
        );
        let took = bench.clock.now().duration_since(asked);
        assert!(took.as_secs() >= 3, "{}: {took:?}", bench.kind);
    }
}

#[actix_web::test]
async fn a_question_whose_connection_ended_is_asked_once_more() {
    for bench in Bench::all().await {
        let task = bench.submit(one(PurgeKind::Url)).await;
        bench.clock.sleep(Duration::from_secs(60)).await;
        let faults = bench.sandbox.faults();

        faults.add(bench.service, "*", When::Times(1), Fault::DropBefore);
        let states = bench.states(std::slice::from_ref(&task)).await;

        assert_eq!(states, vec![TargetState::Done; 2], "{}", bench.kind);
        // A CDN that hangs up each time is no good connection gone bad.
        faults.add(bench.service, "*", When::Always, Fault::DropBefore);
        let before = bench.sandbox.log().len();
        let failed = bench.cdn.follow(&[task], &bench.pace()).await;
        assert!(failed.unwrap_err().is_outage(), "{}", bench.kind);
        assert_eq!(bench.sandbox.log().len() - before, 2, "{}", bench.kind);
    }
}

#[actix_web::test]
async fn a_lost_answer_is_found_in_the_history_if_the_work_was_done() {
    for bench in Bench::all().await {
        for kind in bench.cdn.limits().kinds.keys() {
            for (fault, was_done) in [(Fault::DropAfter, true), (Fault::DropBefore, false)] {
                let what = format!("{} {kind:?} {fault:?}", bench.kind);
                bench.clock.sleep(Duration::from_secs(600)).await;
                bench
                    .sandbox
                    .faults()
                    .add(bench.service, "*", When::Times(1), fault);
                let mut lost = InFlight {
                    task: None,
                    submitted_at: bench.clock.now(),
                    batch: one(*kind),
                };

                let error = bench.cdn.submit(&lost.batch).await.unwrap_err();
                let found = bench
                    .cdn
                    .find(&lost, &BTreeSet::new(), &bench.pace())
                    .await
                    .unwrap();

                assert!(error.maybe_done, "{what}: {error}");
                assert_eq!(found.is_some(), was_done, "{what}");
                if let Some(id) = found {
                    let others = id.iter().cloned().collect();
                    let again = bench.cdn.find(&lost, &others, &bench.pace()).await;
                    assert_eq!(again.unwrap(), None, "{what}: it is another's");
                    lost.task = Some(id);
                    bench.clock.sleep(Duration::from_secs(60)).await;
                    let states = bench.states(&[lost]).await;
                    assert_eq!(states, [TargetState::Done, TargetState::Done], "{what}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn a_clock_that_is_off_is_set_right_by_the_servers() {
    for bench in Bench::all().await {
        bench.account.set_clock_ahead(3 * 60 * 60);
        let mut lost = bench.submit(one(PurgeKind::Url)).await;
        lost.task = None;

        let found = bench
            .cdn
            .find(&lost, &BTreeSet::new(), &bench.pace())
            .await
            .unwrap();

        assert!(found.is_some(), "{}", bench.kind);
    }
}

#[actix_web::test]
async fn limits_are_told_apart() {
    for bench in Bench::all().await {
        let faults = bench.sandbox.faults();
        let two = one(PurgeKind::Url);
        faults.add(bench.service, "*", When::Times(1), Fault::Throttle);

        let throttled = bench.cdn.submit(&two).await.unwrap_err();
        bench.account.set_allowance(PurgeKind::Url, 1_000, 0);
        let day = bench.cdn.submit(&two).await.unwrap_err();
        bench.account.set_allowance(PurgeKind::Url, 1, 1_000);
        let request = bench.cdn.submit(&two).await.unwrap_err();

        let classes = [throttled.class, day.class, request.class];
        let expected = match bench.kind {
            // API 2.0 has one code for both of the first, and none of its own for the last.
            "qcloud" => [
                ErrorClass::RateLimited,
                ErrorClass::RateLimited,
                ErrorClass::BadInput,
            ],
            _ => [
                ErrorClass::RateLimited,
                ErrorClass::QuotaDay,
                ErrorClass::Split,
            ],
        };
        assert_eq!(classes, expected, "{}", bench.kind);
    }
}

#[actix_web::test]
async fn what_is_left_of_the_day_is_told() {
    for bench in Bench::all().await {
        bench.submit(one(PurgeKind::Url)).await;
        let quotas = bench.cdn.quota().await.unwrap();

        match quotas.get(&PurgeKind::Url) {
            Some(quota) => assert!(quota.left < quota.total, "{}", bench.kind),
            None => assert_eq!(bench.kind, "qcloud", "API 2.0 has no quotas to ask for"),
        }
    }
}

#[actix_web::test]
async fn an_account_that_moved_says_so() {
    for bench in Bench::all().await {
        // Nothing moves away from Huawei, and API 2.0 is not known to say it.
        if !bench.kind.starts_with("tencent") {
            continue;
        }
        bench.account.set_migrated(true);

        let error = bench.cdn.submit(&one(PurgeKind::Url)).await.unwrap_err();

        assert_eq!(error.class, ErrorClass::Migrated, "{}: {error}", bench.kind);
    }
}

#[actix_web::test]
async fn a_host_that_is_not_the_accounts_is_the_targets_fault() {
    for bench in Bench::all().await {
        let error = bench
            .cdn
            .submit(&batch(PurgeKind::Url, &["https://other.example.net/"]))
            .await
            .unwrap_err();

        assert_eq!(error.class, ErrorClass::BadInput, "{}: {error}", bench.kind);
    }
}
