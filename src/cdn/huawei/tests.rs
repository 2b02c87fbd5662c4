//! Tests Huawei Cloud CDN against a server that returns the examples of Huawei's documents.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::HuaweiCdn;
use super::client::Auth;
use crate::cdn::credentials::Credentials;
use crate::cdn::fake::{Asked, FakeApi, Told, batch, ids, in_flight, now, pace};
use crate::cdn::sign::huawei;
use crate::cdn::{Cdn, ErrorClass, InFlight, TargetState};
use crate::purge::{Mode, PurgeKind, TaskIds};

const PAGE_A: &str = "https://www.example.com/a.html";
const PAGE_B: &str = "https://www.example.com/b.html";
const DIRECTORY: &str = "https://www.example.com/d/";

fn keys(token: Option<&str>) -> Auth {
    Auth::Keys(Credentials {
        id: "HWAKEXAMPLE".into(),
        key: "HwSkExample".into(),
        token: token.map(SecretString::from),
    })
}

fn cdn(api: &FakeApi) -> HuaweiCdn {
    HuaweiCdn::for_test(api.url.clone(), keys(None), None, true)
}

fn refused(status: u16, code: &str, message: &str) -> Told {
    Told::with(
        status,
        json!({"error": {"error_code": code, "error_msg": message}}),
    )
}

fn detail(urls: &[(&str, &str)]) -> Told {
    let list: Vec<Value> = urls
        .iter()
        .map(|(url, status)| json!({"id": 1, "url": url, "status": status, "task_id": 407_352}))
        .collect();
    Told::json(json!({
        "id": 407_352, "task_type": "refresh", "status": "task_done", "urls": list,
        "total": urls.len(), "processing": 0, "succeed": 0, "failed": 1,
    }))
}

/// An entry of the log by time, made a second after the tests' submissions.
fn entry(task: u64, url: &str, status: &str) -> Value {
    json!({
        "id": 8_992_616, "url": url, "status": status, "type": "REFRESH", "task_id": task,
        "create_time": now().as_millisecond() + 1_000, "file_type": "file",
    })
}

fn window(entries: &[Value], total: usize) -> Told {
    Told::json(json!({"total": total, "count": entries.len(), "result": entries}))
}

#[actix_web::test]
async fn urls_are_handed_over_in_one_signed_request() {
    let api = FakeApi::told([Told::json(json!({"refresh_task": "7620242"}))]).await;
    let cdn = HuaweiCdn::for_test(api.url.clone(), keys(Some("token/x==")), Some("all"), true);

    let task = cdn.submit(&batch(PurgeKind::Url, &[PAGE_A, PAGE_B])).await;

    assert_eq!(task.unwrap(), ids("7620242"));
    let asked = &api.asked()[0];
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.path, "/v1.0/cdn/content/refresh-tasks");
    assert_eq!(asked.query, "enterprise_project_id=all");
    assert_eq!(
        asked.json(),
        json!({"refresh_task": {"type": "file", "urls": [PAGE_A, PAGE_B]}})
    );
    assert_eq!(asked.header("x-sdk-date"), "20250101T010405Z");
    assert_eq!(asked.header("x-security-token"), "token/x==");
    let signed = ["content-type", "host", "x-sdk-date", "x-security-token"];
    assert_eq!(asked.header("authorization"), signed_again(asked, &signed));
}

fn signed_again(asked: &Asked, headers: &[&str]) -> String {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|name| (*name, asked.header(name)))
        .collect();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(asked.query.as_bytes())
        .into_owned()
        .collect();
    huawei::authorization(
        "HWAKEXAMPLE",
        &SecretString::from("HwSkExample"),
        asked.header("x-sdk-date"),
        &huawei::Request {
            method: &asked.method,
            path: &asked.path,
            query: &query,
            headers: &headers,
            payload_hash: &huawei::payload_hash(asked.body.as_bytes()),
        },
    )
}

#[actix_web::test]
async fn directories_and_prefetches_have_their_own_bodies() {
    let refreshed = || Told::json(json!({"refresh_task": 7}));
    let preheated = Told::json(json!({"preheating_task": "8"}));
    let api = FakeApi::told([refreshed(), refreshed(), refreshed(), preheated]).await;
    let cdn = HuaweiCdn::for_test(api.url.clone(), Auth::Token("iam".into()), None, true);
    let mut directory = batch(PurgeKind::Directory, &[DIRECTORY]);

    let mut tasks = vec![cdn.submit(&directory).await.unwrap()];
    for mode in [Mode::Flush, Mode::Delete] {
        directory.mode = Some(mode);
        tasks.push(cdn.submit(&directory).await.unwrap());
    }
    tasks.push(
        cdn.submit(&batch(PurgeKind::Prefetch, &[PAGE_A]))
            .await
            .unwrap(),
    );

    let tasks: Vec<String> = tasks.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(tasks, ["7", "7", "7", "8"]);
    let asked = api.asked();
    let bodies: Vec<Value> = asked.iter().map(Asked::json).collect();
    let task =
        |mode| json!({"refresh_task": {"type": "directory", "mode": mode, "urls": [DIRECTORY]}});
    assert_eq!(
        bodies,
        [
            json!({"refresh_task": {"type": "directory", "urls": [DIRECTORY]}}),
            task("detect_modify_refresh"),
            task("all"),
            json!({"preheating_task": {"urls": [PAGE_A]}}),
        ]
    );
    assert_eq!(asked[3].path, "/v1.0/cdn/content/preheating-tasks");
    assert_eq!(asked[0].header("x-auth-token"), "iam");
    assert_eq!(asked[0].header("authorization"), "");
}

#[actix_web::test]
async fn a_url_with_chinese_characters_is_purged_in_both_forms() {
    let encoded = "https://www.example.com/%E5%9B%BE%20x.png";
    let raw = "https://www.example.com/图%20x.png";
    let accepted = || Told::json(json!({"refresh_task": "1"}));
    let half = detail(&[(encoded, "succeed"), (raw, "refreshing")]);
    let api = FakeApi::told([accepted(), accepted(), half]).await;
    let urls = batch(PurgeKind::Url, &[encoded, PAGE_A]);
    let only_encoded = HuaweiCdn::for_test(api.url.clone(), keys(None), None, false);

    cdn(&api).submit(&urls).await.unwrap();
    only_encoded.submit(&urls).await.unwrap();
    let flying = in_flight(Some("1"), PurgeKind::Url, &[encoded]);
    let reports = cdn(&api).follow(&[flying], &pace()).await.unwrap();

    let asked = api.asked();
    let handed_over = |asked: &Asked| asked.json()["refresh_task"]["urls"].clone();
    assert_eq!(handed_over(&asked[0]), json!([encoded, PAGE_A, raw]));
    assert_eq!(handed_over(&asked[1]), json!([encoded, PAGE_A]));
    assert_eq!(reports[0].targets[encoded], TargetState::Running(None));
}

#[actix_web::test]
async fn an_error_is_recognised_in_every_shape_and_at_every_status() {
    let flat = json!({"error_code": "CDN.0105", "error_msg": "no such domain"});
    let camel = json!({"errorCode": "CDN.0105", "errorMsg": "no such domain"});
    let short = json!({"code": "CDN.0105", "message": "no such domain"});
    for answer in [
        refused(200, "CDN.0105", "no such domain"),
        Told::with(200, &flat),
        Told::with(400, flat),
        Told::with(404, camel),
        Told::with(500, short).and_header("X-Request-Id", "r1"),
    ] {
        let api = FakeApi::told([answer]).await;

        let error = cdn(&api)
            .submit(&batch(PurgeKind::Url, &[PAGE_A]))
            .await
            .unwrap_err();

        assert_eq!(error.class, ErrorClass::BadInput, "{error}");
        assert!(!error.maybe_done);
        assert!(
            error
                .message
                .starts_with("Huawei CDN refused refresh-tasks (1 URL): CDN.0105: no such domain"),
            "{error}"
        );
    }
}

#[actix_web::test]
async fn the_gateways_words_are_understood() {
    for (answer, class, maybe_done) in [
        (
            refused(429, "APIG.0308", ""),
            ErrorClass::RateLimited,
            false,
        ),
        (refused(413, "APIGW.0201", ""), ErrorClass::Split, false),
        (refused(504, "APIGW.0201", ""), ErrorClass::Retry, true),
        (refused(400, "APIGW.0201", ""), ErrorClass::Operator, false),
        (refused(500, "APIGW.0609", ""), ErrorClass::Retry, true),
        (
            refused(401, "APIGW.0301", "verify aksk fail"),
            ErrorClass::Operator,
            false,
        ),
        (Told::with(503, "busy"), ErrorClass::Retry, true),
        (
            Told::json(json!({"refresh_task": null})),
            ErrorClass::Retry,
            true,
        ),
    ] {
        let api = FakeApi::told([answer]).await;

        let error = cdn(&api)
            .submit(&batch(PurgeKind::Url, &[PAGE_A]))
            .await
            .unwrap_err();

        assert_eq!(
            (error.class, error.maybe_done),
            (class, maybe_done),
            "{error}"
        );
        assert_eq!(api.asked().len(), 1, "{error}");
    }
}

#[actix_web::test]
async fn an_expired_signature_is_tried_once_more_by_the_servers_clock() {
    let expired = || {
        refused(
            401,
            "APIGW.0301",
            "Incorrect IAM authentication information: signature expired",
        )
        .and_header("Date", "Wed, 01 Jan 2025 01:34:05 GMT")
    };
    let api = FakeApi::told([
        expired(),
        Told::json(json!({"refresh_task": "1"})),
        expired(),
        expired(),
    ])
    .await;
    let cdn = cdn(&api);
    let one = batch(PurgeKind::Url, &[PAGE_A]);

    cdn.submit(&one).await.unwrap();
    let error = cdn.submit(&one).await.unwrap_err();

    assert_eq!(error.class, ErrorClass::Operator);
    assert_eq!(api.asked().len(), 4);
    assert_eq!(api.asked()[1].header("x-sdk-date"), "20250101T013405Z");
}

#[actix_web::test]
async fn the_quota_tells_a_days_limit_from_a_requests() {
    let quota = |used: u64| {
        let quota = |kind: &str| json!({"type": kind, "quota_limit": 2000, "used": used, "user_domain_id": "x"});
        Told::json(json!({"quotas": [quota("file_refresh"), quota("dir_refresh"), quota("other")]}))
    };
    let over = || refused(200, "CDN.0110", "too many");
    let api = FakeApi::told([over(), quota(2000), over(), quota(1500)]).await;
    let cdn = cdn(&api);
    let two = batch(PurgeKind::Url, &[PAGE_A, PAGE_B]);

    let day = cdn.submit(&two).await.unwrap_err();
    let request = cdn.submit(&two).await.unwrap_err();

    assert_eq!(day.class, ErrorClass::QuotaDay);
    assert_eq!(request.class, ErrorClass::Split);
    assert_eq!(api.asked()[1].path, "/v1.0/cdn/quota");
}

#[actix_web::test]
async fn a_task_that_is_done_has_not_always_succeeded() {
    let urls = ["succeed", "FAILED", "waiting", "Preheating", "task_done"]
        .map(|word| (format!("https://www.example.com/{word}"), word));
    let list: Vec<(&str, &str)> = urls
        .iter()
        .map(|(url, word)| (url.as_str(), *word))
        .collect();
    let api = FakeApi::told([detail(&list)]).await;
    let targets: Vec<&str> = list.iter().map(|(url, _)| *url).collect();
    let task = in_flight(Some("407352"), PurgeKind::Url, &targets);

    let report = &cdn(&api).follow(&[task], &pace()).await.unwrap()[0];

    let state = |word: &str| &report.targets[&format!("https://www.example.com/{word}")];
    assert_eq!(state("succeed"), &TargetState::Done);
    assert!(matches!(state("FAILED"), TargetState::Failed(_)));
    assert_eq!(state("waiting"), &TargetState::Running(None));
    assert_eq!(state("Preheating"), &TargetState::Running(None));
    assert_eq!(
        state("task_done"),
        &TargetState::Unknown("task_done".to_owned())
    );
    let asked = &api.asked()[0];
    assert_eq!(asked.path, "/v1.0/cdn/historytasks/407352/detail");
    assert_eq!(asked.query, "page_number=1&page_size=1000");
    let signed = ["content-type", "host", "x-sdk-date"];
    assert_eq!(asked.header("authorization"), signed_again(asked, &signed));
}

#[actix_web::test]
async fn a_task_that_is_not_known_yet_says_nothing() {
    let api = FakeApi::told([refused(200, "CDN.0108", "no permission")]).await;
    let task = in_flight(Some("1"), PurgeKind::Url, &[PAGE_A]);

    let reports = cdn(&api).follow(&[task], &pace()).await.unwrap();

    assert!(reports[0].targets.is_empty());
}

fn three_hundred() -> (Vec<InFlight>, Vec<Value>) {
    let url = |n: u64| format!("https://www.example.com/{n}");
    let tasks = (0..300_u64)
        .map(|n| in_flight(Some(&n.to_string()), PurgeKind::Url, &[&url(n)]))
        .collect();
    let entries = (0..300).map(|n| entry(n, &url(n), "SUCCEED")).collect();
    (tasks, entries)
}

#[actix_web::test]
async fn many_tasks_cost_requests_by_their_pages_not_by_their_number() {
    let (tasks, entries) = three_hundred();
    let api = FakeApi::answering(move |asked| {
        let offset: usize = asked.form()["offset"].parse().unwrap();
        let page: Vec<Value> = entries.iter().skip(offset).take(100).cloned().collect();
        window(&page, entries.len())
    })
    .await;

    let reports = cdn(&api).follow(&tasks, &pace()).await.unwrap();

    assert!(
        reports
            .iter()
            .all(|report| report.targets.values().eq([&TargetState::Done]))
    );
    let asked = api.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].path, "/v1.0/cdn/contentgateway/url-tasks");
    assert_eq!(
        asked[1].query,
        "end_time=1735694045000&limit=100&offset=100&start_time=1735692845000&task_type=REFRESH"
    );
}

#[actix_web::test]
async fn an_account_without_the_log_by_time_is_asked_for_each_task() {
    let api = FakeApi::answering(|asked| {
        if asked.path.contains("url-tasks") {
            refused(403, "CDN.0021", "not allowed")
        } else {
            detail(&[(PAGE_A, "succeed")])
        }
    })
    .await;
    let cdn = cdn(&api);
    let tasks = ["1", "2", "3"].map(|id| in_flight(Some(id), PurgeKind::Url, &[PAGE_A]));

    for _ in 0..2 {
        let reports = cdn.follow(&tasks, &pace()).await.unwrap();
        assert!(
            reports
                .iter()
                .all(|report| report.targets[PAGE_A] == TargetState::Done)
        );
    }

    assert_eq!(
        api.asked().len(),
        1 + 3 + 3,
        "refused once, not asked again"
    );
}

#[actix_web::test]
async fn a_lost_batch_is_found_by_its_targets_and_its_time() {
    let earlier =
        json!({"task_id": 1, "url": PAGE_A, "create_time": now().as_millisecond() - 60_000});
    let api = FakeApi::answering(move |asked| match asked.path.as_str() {
        "/v1.0/cdn/contentgateway/url-tasks" => window(
            &[
                entry(3, PAGE_A, "PROCESSING"),
                entry(2, PAGE_A, "PROCESSING"),
                earlier.clone(),
            ],
            3,
        ),
        "/v1.0/cdn/historytasks/2/detail" => detail(&[(PAGE_A, "refreshing")]),
        "/v1.0/cdn/historytasks/3/detail" => detail(&[(PAGE_A, "refreshing"), (PAGE_B, "waiting")]),
        other => Told::with(404, other),
    })
    .await;
    let lost = |targets: &[&str]| in_flight(None, PurgeKind::Url, targets);
    let cdn = cdn(&api);

    let both = cdn
        .find(&lost(&[PAGE_A, PAGE_B]), &BTreeSet::new(), &pace())
        .await
        .unwrap();
    let other = cdn
        .find(&lost(&[PAGE_A, DIRECTORY]), &BTreeSet::new(), &pace())
        .await
        .unwrap();

    // Both forms of many URLs are two tasks.
    let anothers = ids("1,3").iter().flat_map(TaskIds::iter).cloned().collect();
    let none = cdn
        .find(&lost(&[PAGE_A, PAGE_B]), &anothers, &pace())
        .await
        .unwrap();

    assert_eq!(both, ids("3"));
    assert_eq!((other, none), (None, None));
    assert_eq!(api.asked()[0].form()["url"], PAGE_A);
}

#[actix_web::test]
async fn a_lost_batch_is_found_without_the_log_by_time_too() {
    let made = now().as_millisecond() + 900;
    let api = FakeApi::answering(move |asked| match asked.path.as_str() {
        "/v1.0/cdn/historytasks" => {
            Told::json(json!({"total": 1, "tasks": [{"id": "9", "create_time": made}]}))
        }
        "/v1.0/cdn/historytasks/9/detail" => detail(&[(DIRECTORY, "refreshing")]),
        _ => refused(403, "CDN.0021", "not allowed"),
    })
    .await;
    let lost = in_flight(None, PurgeKind::Directory, &[DIRECTORY]);

    let found = cdn(&api)
        .find(&lost, &BTreeSet::new(), &pace())
        .await
        .unwrap();

    assert_eq!(found, ids("9"));
    let form = api.asked()[1].form();
    assert_eq!(form["file_type"], "directory");
    assert_eq!(form["task_type"], "refresh");
}
