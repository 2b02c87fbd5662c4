//! Tests API 2.0 against a server that returns the examples of the documents.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::QCloud;
use crate::cdn::fake::{Asked, FakeApi, Told, batch, ids, in_flight, pace};
use crate::cdn::sign::v1;
use crate::cdn::{Cdn, ErrorClass, FailureKind, InFlight, TargetState};
use crate::purge::{PurgeKind, TaskId};

const PAGE_A: &str = "http://www.test.com/a.html";
const PAGE_B: &str = "http://www.test.com/b.html";
const DIRECTORY: &str = "http://www.test.com/d/";

fn cdn(api: &FakeApi) -> QCloud {
    QCloud::for_test(api.url.clone(), v1::Method::HmacSha256)
}

fn told(data: &Value) -> Told {
    Told::json(json!({"code": 0, "message": "", "codeDesc": "Success", "data": data}))
}

fn refused(code: i64, code_desc: impl Into<Value>, message: &str) -> Told {
    Told::json(json!({"code": code, "message": message, "codeDesc": code_desc.into()}))
}

/// An entry of a second after the tests' submissions, in China's time.
fn entry(id: u64, urls: &[&str], kind: u8, status: i64) -> Value {
    json!({
        "id": id, "app_id": 123_456, "project_id": 0, "host": "www.test.com", "type": kind,
        "status": status, "url_list": urls, "datetime": "2025-01-01 09:04:06",
    })
}

fn logs(entries: &[Value]) -> Told {
    told(&json!({"logs": entries, "total": entries.len()}))
}

#[actix_web::test]
async fn urls_are_handed_over_in_a_signed_form() {
    let api = FakeApi::told([
        told(&json!({"count": 2, "task_id": "1480069888795584532"})),
        told(&json!({"count": 2, "log_id": 77})),
        told(&json!({"count": 2, "task_id": 1_480_069_888_795_584_532_u64})),
    ])
    .await;
    let cdn = cdn(&api);
    let urls = batch(PurgeKind::Url, &[PAGE_A, PAGE_B]);

    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(cdn.submit(&urls).await.unwrap().unwrap().to_string());
    }

    assert_eq!(
        tasks,
        ["1480069888795584532", "log:77", "1480069888795584532"]
    );
    let asked = &api.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v2/index.php")
    );
    assert_eq!(asked.query, "");
    let mut form = asked.form();
    assert_eq!(form["Action"], "RefreshCdnUrl");
    assert_eq!(form["Timestamp"], "1735693445");
    assert_eq!(
        (form["urls.0"].as_str(), form["urls.1"].as_str()),
        (PAGE_A, PAGE_B)
    );
    let signature = form.remove("Signature").unwrap();
    let to_sign = v1::string_to_sign("POST", asked.header("host"), "/v2/index.php", &form);
    let key = SecretString::from("SecretKeyExample");
    assert_eq!(
        signature,
        v1::signature(&key, v1::Method::HmacSha256, &to_sign)
    );
}

#[actix_web::test]
async fn a_directory_gets_no_id_and_is_followed_by_its_url_and_its_time() {
    let earlier = json!({
        "id": 1, "type": 1, "status": 1, "url_list": [DIRECTORY], "datetime": "2025-01-01 08:58:06",
    });
    let same_url = entry(2, &[DIRECTORY], 0, 1);
    let mine = entry(3, &[DIRECTORY], 1, 0);
    let api = FakeApi::told([
        Told::json(json!({"code": 0, "message": "", "codeDesc": "Success"})),
        logs(&[earlier, same_url, mine]),
    ])
    .await;
    let cdn = cdn(&api);

    let task = cdn.submit(&batch(PurgeKind::Directory, &[DIRECTORY])).await;
    let flying = in_flight(None, PurgeKind::Directory, &[DIRECTORY]);
    let reports = cdn.follow(&[flying], &pace()).await.unwrap();

    assert_eq!(task.unwrap(), None);
    assert_eq!(reports[0].targets[DIRECTORY], TargetState::Running(None));
    let forms: Vec<_> = api.asked().iter().map(Asked::form).collect();
    assert_eq!(forms[0]["Action"], "RefreshCdnDir");
    assert_eq!(forms[0]["dirs.0"], DIRECTORY);
    assert_eq!(forms[1]["Action"], "GetCdnRefreshLog");
    assert_eq!(forms[1]["startDate"], "2025-01-01 08:54:05");
    assert_eq!(forms[1]["endDate"], "2025-01-01 09:14:05");
}

#[actix_web::test]
async fn a_task_with_an_id_is_asked_for_by_it_alone() {
    let api = FakeApi::told([logs(&[
        entry(9, &[PAGE_A], 0, 1),
        entry(10, &[PAGE_B], 0, -3),
    ])])
    .await;
    let task = in_flight(
        Some("1480069888795584532"),
        PurgeKind::Url,
        &[PAGE_A, PAGE_B],
    );

    let reports = cdn(&api).follow(&[task], &pace()).await.unwrap();

    assert_eq!(reports[0].targets[PAGE_A], TargetState::Done);
    assert!(matches!(reports[0].targets[PAGE_B], TargetState::Failed(_)));
    let form = api.asked()[0].form();
    assert_eq!(form["taskId"], "1480069888795584532");
    assert!(!form.contains_key("startDate"));
}

#[actix_web::test]
async fn many_tasks_are_followed_in_one_request() {
    let urls: Vec<String> = (0..8).map(|n| format!("http://www.test.com/{n}")).collect();
    let entries: Vec<Value> = (0_u64..)
        .zip(&urls)
        .map(|(id, url)| entry(id, &[url.as_str()], 0, 1))
        .collect();
    let api = FakeApi::told([logs(&entries)]).await;
    let tasks: Vec<InFlight> = urls
        .iter()
        .map(|url| in_flight(Some("1480069888795584532"), PurgeKind::Url, &[url]))
        .collect();

    let reports = cdn(&api).follow(&tasks, &pace()).await.unwrap();

    for (url, report) in urls.iter().zip(&reports) {
        assert_eq!(report.targets[url], TargetState::Done);
    }
    assert_eq!(api.asked().len(), 1);
}

#[actix_web::test]
async fn a_prefetch_is_a_task_for_each_host_and_asked_for_with_its_dates() {
    let other = "http://cdn.test.com/c.html";
    let push = |task: u64, url: &str, status: &str| {
        told(&json!({"total": 1, "logs": [
            {"log_id": 5, "task_id": task, "host": "h", "url": url, "status": status},
        ]}))
    };
    let api = FakeApi::told([
        told(&json!({"task_ids": [
            {"task_id": 20_860, "date": "20161013"}, {"task_id": 20_861, "date": "20161013"},
        ]})),
        refused(4000, "4000", "The date is invalid"),
        push(20_860, PAGE_A, "done"),
        push(20_861, other, "queue"),
    ])
    .await;
    let cdn = cdn(&api);

    let task = cdn
        .submit(&batch(PurgeKind::Prefetch, &[PAGE_A, other]))
        .await
        .unwrap();
    let flying = in_flight(Some("20860,20861"), PurgeKind::Prefetch, &[PAGE_A, other]);
    let reports = cdn.follow(&[flying], &pace()).await.unwrap();

    assert_eq!(task, ids("20860,20861"));
    assert_eq!(reports[0].targets[PAGE_A], TargetState::Done);
    assert_eq!(reports[0].targets[other], TargetState::Running(None));
    let forms: Vec<_> = api.asked().iter().map(Asked::form).collect();
    assert_eq!(forms[1]["taskId"], "20860");
    assert_eq!(forms[1]["startDate"], "2025-01-01 08:54:05");
    assert_eq!(forms[2]["taskId"], "20860");
    assert_eq!(forms[2]["startDate"], "2024-12-31 08:54:05");
    assert_eq!(forms[2]["endDate"], "2025-01-02 09:14:05");
}

#[actix_web::test]
async fn a_lost_batch_is_found_by_its_urls_and_its_time() {
    let mine = [entry(41, &[PAGE_A], 0, 0), entry(42, &[PAGE_B], 0, 0)];
    let api = FakeApi::told([logs(&mine), logs(&mine[..1]), told(&json!([]))]).await;
    let cdn = cdn(&api);
    let lost = in_flight(None, PurgeKind::Url, &[PAGE_A, PAGE_B]);

    let whole = cdn.find(&lost, &BTreeSet::new(), &pace()).await.unwrap();
    let half = cdn.find(&lost, &BTreeSet::new(), &pace()).await.unwrap();
    let none = cdn.find(&lost, &BTreeSet::new(), &pace()).await.unwrap();

    assert_eq!(whole, ids("log:41,log:42"));
    assert_eq!((half, none), (None, None));
}

#[actix_web::test]
async fn another_batch_of_the_same_urls_is_asked_which_entries_are_its_own() {
    let [others, mine] = [41, 42].map(|id| entry(id, &[PAGE_A], 0, 1));
    let both = logs(&[others.clone(), mine]);
    let only = logs(std::slice::from_ref(&others));
    let api = FakeApi::told([
        both.clone(),
        only.clone(),
        only.clone(),
        only.clone(),
        both,
        logs(&[]),
    ])
    .await;
    let cdn = cdn(&api);
    let lost = in_flight(None, PurgeKind::Url, &[PAGE_A]);
    let known = BTreeSet::from([TaskId::Vendor("1480069888795584532".to_owned())]);

    let taken = cdn.find(&lost, &known, &pace()).await.unwrap();
    let not_taken = cdn.find(&lost, &known, &pace()).await.unwrap();
    let in_doubt = cdn.find(&lost, &known, &pace()).await.unwrap();

    assert_eq!(taken, ids("log:42"));
    assert_eq!(not_taken, None);
    assert_eq!(in_doubt, None);
    assert_eq!(api.asked()[1].form()["taskId"], "1480069888795584532");
}

#[actix_web::test]
async fn the_modules_code_says_more_than_the_common_one() {
    let host = "(9110)add_push cdn no such host";
    for (answer, class, code) in [
        (refused(4000, "9110", host), ErrorClass::BadInput, "9110"),
        (refused(4000, 9110, host), ErrorClass::BadInput, "9110"),
        (refused(4000, "", "(9000)system"), ErrorClass::Retry, "9000"),
        (
            refused(4400, "LimitExceeded", ""),
            ErrorClass::RateLimited,
            "4400",
        ),
        (
            refused(4100, "SignatureFailure", ""),
            ErrorClass::Operator,
            "4100",
        ),
        (refused(6200, "", ""), ErrorClass::Migrated, "6200"),
        (Told::with(501, "too long"), ErrorClass::Split, "http 501"),
    ] {
        let api = FakeApi::told([answer]).await;

        let error = cdn(&api)
            .submit(&batch(PurgeKind::Url, &[PAGE_A]))
            .await
            .unwrap_err();

        assert_eq!(
            (error.class, error.kind.to_string()),
            (class, code.to_owned()),
            "{error}"
        );
        assert!(!error.maybe_done, "{error}");
    }
}

#[actix_web::test]
async fn a_replayed_or_expired_request_is_sent_once_more() {
    let date = "Wed, 01 Jan 2025 03:04:05 GMT";
    let api = FakeApi::told([
        refused(4500, "ReplayAttack", ""),
        told(&json!({"task_id": "1"})),
        refused(4200, "Expired", "").and_header("Date", date),
        refused(4200, "Expired", "").and_header("Date", date),
    ])
    .await;
    let cdn = cdn(&api);
    let one = batch(PurgeKind::Url, &[PAGE_A]);

    let replayed = cdn.submit(&one).await.unwrap();
    let expired = cdn.submit(&one).await.unwrap_err();

    assert_eq!(replayed, ids("1"));
    assert_eq!(expired.class, ErrorClass::Operator);
    let forms: Vec<_> = api.asked().iter().map(Asked::form).collect();
    assert_ne!(forms[0]["Nonce"], forms[1]["Nonce"]);
    assert_eq!(forms[3]["Timestamp"], "1735700645");
    assert_eq!(forms.len(), 4);
}

#[actix_web::test]
async fn the_documents_broken_example_is_no_answer() {
    // The array of the documentation's own example is never closed.
    let api = FakeApi::told([Told::json(
        r#"{"code": 0, "data": {"logs": [{"id": 6182538, "status": 1} "total": 1}}"#,
    )])
    .await;
    let task = in_flight(Some("1"), PurgeKind::Url, &[PAGE_A]);

    let error = cdn(&api).follow(&[task], &pace()).await.unwrap_err();

    assert_eq!(
        (error.class, error.kind),
        (ErrorClass::Retry, FailureKind::MalformedAnswer)
    );
}
