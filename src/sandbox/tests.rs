//! Tests the sandbox over HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::clock::TimeSource;

/// A clock that moves only when it is told to, or slept on.
pub(super) struct Hand(Mutex<Timestamp>);

impl Hand {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(
            Timestamp::from_second(1_700_000_000).unwrap(),
        )))
    }
}

#[async_trait]
impl TimeSource for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

async fn start() -> (Sandbox, Arc<Hand>) {
    let hand = Hand::new();
    let clock = Clock::new(hand.clone(), fastrand::Rng::with_seed(1));
    (Sandbox::start(clock).await.unwrap(), hand)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent("test")
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

async fn branch(sandbox: &Sandbox) -> Result<(u16, Value), reqwest::Error> {
    let url = format!("{}/repos/acme/www/branches/main", sandbox.github().url());
    let answer = client()
        .get(url)
        .bearer_auth(sandbox.github().token())
        .send()
        .await?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await?))
}

fn with_a_commit(sandbox: &Sandbox) -> String {
    let repo = sandbox.github().create_repo("acme/www", "main");
    let id = repo.commit("main", &[Change::write("a", "1")]);
    repo.push("main").unwrap();
    id
}

#[tokio::test]
async fn it_answers_on_a_tokio_runtime_and_records_the_call() {
    let (sandbox, _) = start().await;
    let id = with_a_commit(&sandbox);

    let (status, body) = branch(&sandbox).await.unwrap();

    assert_eq!((status, body["commit"]["sha"].as_str()), (200, Some(&*id)));
    let log = sandbox.log();
    assert_eq!((log.len(), log[0].action.as_str()), (1, "GET branches"));
    assert_eq!((log[0].status, log[0].outcome.as_str()), (200, "ok"));
    assert!(!log[0].summary.contains(sandbox.github().token()));
    sandbox.stop().await;
}

#[actix_web::test]
async fn it_answers_on_an_actix_runtime() {
    let (sandbox, _) = start().await;
    with_a_commit(&sandbox);

    assert_eq!(branch(&sandbox).await.unwrap().0, 200);
    sandbox.stop().await;
}

#[tokio::test]
async fn answers_carry_the_sandboxs_own_time() {
    let (sandbox, _) = start().await;

    let answer = client().get(sandbox.github().url()).send().await.unwrap();

    let date = answer.headers()["date"].to_str().unwrap();
    assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 GMT");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_dropped_connection_looks_like_a_reset_whether_the_work_was_done_or_not() {
    for (fault, done) in [(Fault::DropBefore, 0), (Fault::DropAfter, 1)] {
        let (sandbox, _) = start().await;
        let id = with_a_commit(&sandbox);
        sandbox
            .faults()
            .add(Service::GITHUB, "POST statuses", When::Times(1), fault);

        let url = format!("{}/repos/acme/www/statuses/{id}", sandbox.github().url());
        let error = client()
            .post(url)
            .bearer_auth(sandbox.github().token())
            .json(&serde_json::json!({"state": "success"}))
            .send()
            .await
            .unwrap_err();

        assert!(error.is_request() && !error.is_timeout(), "{error:?}");
        let statuses = sandbox.github().repo("acme/www").statuses(&id);
        assert_eq!(statuses.len(), done);
        assert_eq!(sandbox.log()[0].status, 0);
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn an_answer_can_break_off_or_be_no_json() {
    let (sandbox, _) = start().await;
    with_a_commit(&sandbox);
    let faults = sandbox.faults();
    faults.add(Service::GITHUB, "*", When::Times(1), Fault::Truncate);
    faults.add(Service::GITHUB, "*", When::Times(1), Fault::WrongJson);

    let cut = branch(&sandbox).await.unwrap_err();
    assert!(cut.is_body() || cut.is_decode(), "{cut:?}");
    let wrong = branch(&sandbox).await.unwrap_err();
    assert!(wrong.is_decode(), "{wrong:?}");
    assert_eq!(faults.pending(), 0);
    assert_eq!(branch(&sandbox).await.unwrap().0, 200);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_hang_never_answers_and_does_not_keep_the_sandbox_from_stopping() {
    let (sandbox, _) = start().await;
    sandbox
        .faults()
        .add(Service::GITHUB, "*", When::Always, Fault::Hang);

    let call = client()
        .get(sandbox.github().url())
        .timeout(Duration::from_millis(100))
        .send();

    assert!(call.await.unwrap_err().is_timeout());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_slow_answer_takes_its_time_on_the_sandboxs_clock() {
    let (sandbox, hand) = start().await;
    with_a_commit(&sandbox);
    let before = hand.now();
    let slow = Fault::Slow(Duration::from_secs(40));
    sandbox
        .faults()
        .add(Service::GITHUB, "*", When::Times(1), slow);

    assert_eq!(branch(&sandbox).await.unwrap().0, 200);

    assert_eq!(
        (hand.now() - before).total(jiff::Unit::Second).unwrap(),
        40.0
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn an_http_error_in_front_of_a_service_may_say_when_to_come_back() {
    let (sandbox, _) = start().await;
    let fault = Fault::Http(503, Some(7));
    sandbox
        .faults()
        .add(Service::TENCENT_CDN, "*", When::Times(1), fault);

    let answer = client().get(sandbox.tencent_cdn().url()).send().await;
    let answer = answer.unwrap();

    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "7");
    sandbox.stop().await;
}
