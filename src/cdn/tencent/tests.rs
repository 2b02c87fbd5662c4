//! Tests Tencent Cloud CDN against a server that returns the examples of Tencent's documents.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::cdn::{Options, TencentCdn};
use super::client::Signature;
use super::ecdn::TencentEcdn;
use crate::cdn::credentials::Credentials;
use crate::cdn::fake::{
    Asked, FakeApi, Told, a_closed_port, a_port_that_hangs_up, batch, ids, in_flight, pace,
};
use crate::cdn::sign::v1;
use crate::cdn::{Cdn, ErrorClass, FailureKind, InFlight, Quota, TargetState};
use crate::purge::{Mode, PurgeKind};

const PAGE_A: &str = "https://www.example.com/a.html";
const PAGE_B: &str = "https://www.example.com/b.html";

fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        id: SecretString::from("AKIDEXAMPLE"),
        key: SecretString::from("SecretKeyExample"),
        token: token.map(SecretString::from),
    }
}

fn cdn(url: &Url) -> TencentCdn {
    cdn_with(url, Options::default())
}

fn cdn_with(url: &Url, options: Options) -> TencentCdn {
    TencentCdn::for_test(url.clone(), credentials(None), Signature::Tc3, options)
}

fn accepted() -> Told {
    Told::json(json!({"Response": {"RequestId": "4d5a83f8", "TaskId": "1533045796-i60rfmzm"}}))
}

fn refused(code: &str, message: &str) -> Told {
    Told::json(
        json!({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "4d5a83f8"}}),
    )
}

fn entry(task: &str, url: &str, status: &str) -> Value {
    // 2025-01-01T01:04:06Z, a second after the tests' submissions, in China's time.
    json!({"TaskId": task, "Url": url, "Status": status, "CreateTime": "2025-01-01 09:04:06"})
}

fn purge_log(entries: Value, total: u64) -> Told {
    Told::json(json!({"Response": {"RequestId": "r", "PurgeLogs": entries, "TotalCount": total}}))
}

#[actix_web::test]
async fn urls_are_handed_over_in_one_signed_request() {
    let api = FakeApi::told([accepted()]).await;

    let task = cdn(&api.url)
        .submit(&batch(PurgeKind::Url, &[PAGE_A, PAGE_B]))
        .await
        .unwrap();

    assert_eq!(task, ids("1533045796-i60rfmzm"));
    let asked = &api.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/"));
    assert_eq!(asked.json(), json!({"Urls": [PAGE_A, PAGE_B]}));
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("x-tc-action"), "PurgeUrlsCache");
    assert_eq!(asked.header("x-tc-version"), "2018-06-06");
    assert_eq!(asked.header("x-tc-timestamp"), "1735693445");
    assert_eq!(asked.header("x-tc-token"), "");
    // The signature covers the Host header as it was sent, port included.
    assert_eq!(
        asked.header("authorization"),
        signed_again(asked, "cdn", 1_735_693_445)
    );
}

fn signed_again(asked: &Asked, service: &str, time: i64) -> String {
    use crate::cdn::sign::tc3;
    tc3::authorization(
        "AKIDEXAMPLE",
        &SecretString::from("SecretKeyExample"),
        &tc3::Scope {
            service,
            time: jiff::Timestamp::from_second(time).unwrap(),
        },
        &tc3::Request {
            method: "POST",
            query: "",
            headers: &[
                ("content-type", asked.header("content-type")),
                ("host", asked.header("host")),
            ],
            payload: asked.body.as_bytes(),
        },
    )
}

#[actix_web::test]
async fn options_are_sent_only_where_they_are_set() {
    let api = FakeApi::told(vec![accepted(); 5]).await;
    let options = Options {
        area: Some("overseas".to_owned()),
        prefetch_area: Some("global".to_owned()),
        url_encode: Some(true),
        user_agent: Some("fill".to_owned()),
    };
    let cdn = cdn_with(&api.url, options);
    let mut directory = batch(PurgeKind::Directory, &["https://www.example.com/d/"]);

    cdn.submit(&batch(PurgeKind::Url, &[PAGE_A])).await.unwrap();
    cdn.submit(&directory).await.unwrap();
    directory.mode = Some(Mode::Delete);
    cdn.submit(&directory).await.unwrap();
    cdn.submit(&batch(PurgeKind::Prefetch, &[PAGE_A]))
        .await
        .unwrap();
    cdn_with(&api.url, Options::default())
        .submit(&batch(PurgeKind::Prefetch, &[PAGE_A]))
        .await
        .unwrap();

    let asked: Vec<Value> = api.asked().iter().map(Asked::json).collect();
    let path = |flush| json!({"Paths": ["https://www.example.com/d/"], "FlushType": flush, "Area": "overseas", "UrlEncode": true});
    assert_eq!(
        asked,
        [
            json!({"Urls": [PAGE_A], "Area": "overseas", "UrlEncode": true}),
            path("flush"),
            path("delete"),
            json!({"Urls": [PAGE_A], "Area": "global", "UserAgent": "fill", "UrlEncode": true}),
            json!({"Urls": [PAGE_A]}),
        ]
    );
}

#[actix_web::test]
async fn temporary_credentials_send_their_token() {
    let api = FakeApi::told([accepted()]).await;
    let cdn = TencentCdn::for_test(
        api.url.clone(),
        credentials(Some("token/x==")),
        Signature::Tc3,
        Options::default(),
    );

    cdn.submit(&batch(PurgeKind::Url, &[PAGE_A])).await.unwrap();

    assert_eq!(api.asked()[0].header("x-tc-token"), "token/x==");
}

#[actix_web::test]
async fn a_refusal_says_what_was_refused_and_why() {
    let code = "LimitExceeded.CdnPurgeUrlExceedDayLimit";
    let api = FakeApi::told([refused(code, "daily quota exceeded")]).await;

    let error = cdn(&api.url)
        .submit(&batch(PurgeKind::Url, &[PAGE_A, PAGE_B]))
        .await
        .unwrap_err();

    assert_eq!(error.class, ErrorClass::QuotaDay);
    assert!(!error.maybe_done);
    assert_eq!(
        error.message,
        "Tencent CDN refused PurgeUrlsCache (2 URLs): \
         LimitExceeded.CdnPurgeUrlExceedDayLimit: daily quota exceeded (request id 4d5a83f8)"
    );
}

#[actix_web::test]
async fn an_expired_timestamp_is_corrected_by_the_servers_clock_once() {
    let expired = || {
        refused("AuthFailure.SignatureExpire", "expired")
            .and_header("Date", "Wed, 01 Jan 2025 01:14:05 GMT")
    };
    let api = FakeApi::told([expired(), accepted(), expired(), expired()]).await;
    let cdn = cdn(&api.url);
    let one = batch(PurgeKind::Url, &[PAGE_A]);

    cdn.submit(&one).await.unwrap();
    let error = cdn.submit(&one).await.unwrap_err();

    let times: Vec<String> = api
        .asked()
        .iter()
        .map(|asked| asked.header("x-tc-timestamp").to_owned())
        .collect();
    assert_eq!(
        times,
        ["1735693445", "1735694045", "1735694045", "1735694045"]
    );
    assert_eq!(error.class, ErrorClass::Operator);
}

#[actix_web::test]
async fn a_lost_answer_may_have_been_done_and_a_lost_request_not() {
    let one = batch(PurgeKind::Url, &[PAGE_A]);
    let told = |told| async { FakeApi::told([told]).await };
    let broken = told(Told::json("{\"Response\": {\"TaskId\": \"15")).await;
    let no_task = told(Told::json(json!({"Response": {"RequestId": "r"}}))).await;
    let trouble = told(Told::with(502, "<html>Bad Gateway</html>")).await;
    let missing = told(Told::with(404, "not here")).await;

    for (url, kind, maybe_done) in [
        (a_port_that_hangs_up(), FailureKind::Connection, true),
        (a_closed_port(), FailureKind::Connection, false),
        (broken.url.clone(), FailureKind::MalformedAnswer, true),
        (no_task.url.clone(), FailureKind::MalformedAnswer, true),
        (trouble.url.clone(), FailureKind::HttpStatus(502), true),
        (missing.url.clone(), FailureKind::HttpStatus(404), false),
    ] {
        let error = cdn(&url).submit(&one).await.unwrap_err();

        assert_eq!(error.class, ErrorClass::Retry, "{error}");
        assert_eq!(
            (error.kind.clone(), error.maybe_done),
            (kind, maybe_done),
            "{error}"
        );
        assert!(error.message.contains("PurgeUrlsCache (1 URL)"), "{error}");
    }
}

#[actix_web::test]
async fn too_many_requests_waits_as_long_as_it_was_told() {
    let slow = Told::with(429, "").and_header("Retry-After", "7");
    let api = FakeApi::told([slow]).await;

    let error = cdn(&api.url)
        .submit(&batch(PurgeKind::Url, &[PAGE_A]))
        .await
        .unwrap_err();

    assert_eq!(error.class, ErrorClass::RateLimited);
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
    assert!(!error.maybe_done);
}

#[actix_web::test]
async fn the_documents_example_is_read_though_its_word_and_its_count_are_odd() {
    // One entry beside a TotalCount of 20, "Done" with a capital.
    let example = json!({"Response": {
        "RequestId": "4d5a83f8-a61f-445b-8036-5636be640bef",
        "PushLogs": [{
            "TaskId": "1533031853231313311", "Url": "http://www.test.com/", "Status": "Done",
            "Percent": 100, "CreateTime": "2018-07-30 18:10:53", "Area": "mainland",
        }],
        "TotalCount": 20,
    }});
    let api = FakeApi::answering(move |_| Told::json(&example)).await;
    let task = in_flight(
        Some("1533031853231313311"),
        PurgeKind::Prefetch,
        &["http://www.test.com/"],
    );

    let reports = cdn(&api.url).follow(&[task], &pace()).await.unwrap();

    assert_eq!(
        reports[0].targets["http://www.test.com/"],
        TargetState::Done
    );
    assert_eq!(api.asked()[0].header("x-tc-action"), "DescribePushTasks");
    assert_eq!(
        api.asked()[0].json(),
        json!({"TaskId": "1533031853231313311", "Offset": 0, "Limit": 100})
    );
    assert_eq!(api.asked().len(), 2, "the same page again is the end");
}

#[actix_web::test]
async fn every_word_is_understood_and_an_unknown_one_is_never_success() {
    let urls = ["done", "PROCESS", "fail", "Invalid", "success"]
        .map(|word| (format!("https://www.example.com/{word}"), word));
    let logs: Vec<Value> = urls
        .iter()
        .map(|(url, word)| json!({"TaskId": 17, "Url": url, "Status": word, "Percent": 40}))
        .collect();
    let api = FakeApi::told([Told::json(
        json!({"Response": {"PushLogs": logs, "TotalCount": 5, "RequestId": "r"}}),
    )])
    .await;
    let targets: Vec<&str> = urls.iter().map(|(url, _)| url.as_str()).collect();
    let task = in_flight(Some("17"), PurgeKind::Prefetch, &targets);

    let report = &cdn(&api.url).follow(&[task], &pace()).await.unwrap()[0];

    let state = |word: &str| &report.targets[&format!("https://www.example.com/{word}")];
    assert_eq!(state("done"), &TargetState::Done);
    assert_eq!(state("PROCESS"), &TargetState::Running(Some(40)));
    assert!(matches!(state("fail"), TargetState::Failed(_)));
    assert!(matches!(state("Invalid"), TargetState::Invalid(_)));
    assert_eq!(
        state("success"),
        &TargetState::Unknown("success".to_owned())
    );
}

#[actix_web::test]
async fn a_log_of_nothing_says_nothing() {
    let null = json!({"Response": {"PushLogs": null, "TotalCount": null, "RequestId": "r"}});
    let api = FakeApi::told([Told::json(null)]).await;
    let task = in_flight(Some("1"), PurgeKind::Prefetch, &[PAGE_A]);

    let reports = cdn(&api.url).follow(&[task], &pace()).await.unwrap();

    assert!(reports[0].targets.is_empty());
}

/// A log that gives at most 40 entries a page, whatever Limit says.
async fn a_log(entries: Vec<Value>) -> FakeApi {
    FakeApi::answering(move |asked| {
        let query = asked.json();
        let fits = |entry: &&Value| query["TaskId"].is_null() || entry["TaskId"] == query["TaskId"];
        let all: Vec<&Value> = entries.iter().filter(fits).collect();
        let offset = usize::try_from(query["Offset"].as_u64().unwrap()).unwrap();
        let page: Vec<&&Value> = all.iter().skip(offset).take(40).collect();
        purge_log(json!(page), all.len() as u64)
    })
    .await
}

#[actix_web::test]
async fn many_tasks_cost_requests_by_their_pages_not_by_their_number() {
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let url = |name: &str| format!("https://www.example.com/{name}");
    let api = a_log(names.iter().map(|n| entry(n, &url(n), "done")).collect()).await;
    let tasks: Vec<InFlight> = names
        .iter()
        .map(|n| in_flight(Some(n), PurgeKind::Url, &[&url(n)]))
        .collect();

    let reports = cdn(&api.url).follow(&tasks, &pace()).await.unwrap();

    for (name, report) in names.iter().zip(&reports) {
        assert_eq!(report.targets[&url(name)], TargetState::Done);
    }
    let asked: Vec<Value> = api.asked().iter().map(Asked::json).collect();
    assert_eq!(asked.len(), 3);
    assert_eq!(
        asked[1],
        json!({
            "PurgeType": "url", "Offset": 40, "Limit": 100,
            "StartTime": "2025-01-01 08:54:05", "EndTime": "2025-01-01 09:14:05",
        })
    );
}

#[actix_web::test]
async fn a_busy_account_is_asked_for_each_task() {
    let mut entries: Vec<Value> = (0..1_000)
        .map(|n| entry("other", &format!("https://www.example.com/{n}"), "done"))
        .collect();
    entries.extend(["1", "2", "3"].map(|task| entry(task, PAGE_A, "process")));
    let api = a_log(entries).await;
    let tasks = ["1", "2", "3"].map(|id| in_flight(Some(id), PurgeKind::Url, &[PAGE_A]));

    let reports = cdn(&api.url).follow(&tasks, &pace()).await.unwrap();

    assert!(
        reports
            .iter()
            .all(|report| report.targets[PAGE_A] == TargetState::Running(None))
    );
    assert_eq!(api.asked().len(), 4);
}

#[actix_web::test]
async fn a_window_that_holds_nothing_is_checked_by_one_task() {
    let nothing_yet = a_log(Vec::new()).await;
    let mut wrong_zone = vec![Told::json(json!({"Response": {"PurgeLogs": []}}))];
    wrong_zone.extend(["1", "2", "3"].map(|id| purge_log(json!([entry(id, PAGE_A, "done")]), 1)));
    let wrong_zone = FakeApi::told(wrong_zone).await;
    let tasks = ["1", "2", "3"].map(|id| in_flight(Some(id), PurgeKind::Url, &[PAGE_A]));

    let none = cdn(&nothing_yet.url).follow(&tasks, &pace()).await.unwrap();
    let all = cdn(&wrong_zone.url).follow(&tasks, &pace()).await.unwrap();

    assert!(none.iter().all(|report| report.targets.is_empty()));
    assert_eq!(nothing_yet.asked().len(), 2);
    assert!(
        all.iter()
            .all(|report| report.targets[PAGE_A] == TargetState::Done)
    );
}

#[actix_web::test]
async fn a_batch_whose_answer_was_lost_is_found_by_its_targets_and_its_time() {
    let earlier = json!({"TaskId": "earlier", "Url": PAGE_A, "Status": "done", "CreateTime": "2025-01-01 09:03:05"});
    let mine = [
        entry("mine", PAGE_A, "process"),
        entry("mine", PAGE_B, "process"),
    ];
    let half = [entry("half", PAGE_A, "process")];
    let log = [vec![earlier], half.to_vec(), mine.to_vec()].concat();
    let api = a_log(log.clone()).await;
    let lost = in_flight(None, PurgeKind::Url, &[PAGE_A, PAGE_B]);

    let found = cdn(&api.url)
        .find(&lost, &BTreeSet::new(), &pace())
        .await
        .unwrap();

    assert_eq!(found, ids("mine"));
    let query = api.asked()[0].json();
    assert_eq!(query["Keyword"], PAGE_A);
    assert_eq!(query["StartTime"], "2025-01-01 00:54:05");
    assert_eq!(query["EndTime"], "2025-01-01 09:14:05");
}

#[actix_web::test]
async fn an_earlier_purge_of_the_same_urls_is_not_taken_for_a_lost_one() {
    let earlier = json!({"TaskId": "earlier", "Url": PAGE_A, "Status": "done", "CreateTime": "2025-01-01 09:03:05"});
    let api = a_log(vec![earlier]).await;
    let lost = in_flight(None, PurgeKind::Url, &[PAGE_A]);

    assert_eq!(
        cdn(&api.url)
            .find(&lost, &BTreeSet::new(), &pace())
            .await
            .unwrap(),
        None
    );
}

#[actix_web::test]
async fn the_quota_is_that_of_the_configured_area_or_the_smallest() {
    let area = |area: &str, available: u64| json!({"Area": area, "Batch": 1000, "Total": 10_000, "Available": available});
    let purge = json!({"Response": {
        "UrlPurge": [area("mainland", 9_000), area("overseas", 10)],
        "PathPurge": [area("mainland", 5), area("overseas", 100)],
    }});
    let push = json!({"Response": {"UrlPush": [area("mainland", 700), area("overseas", 1)]}});
    let api = FakeApi::answering(move |asked| match asked.header("x-tc-action") {
        "DescribePurgeQuota" => Told::json(&purge),
        _ => Told::json(&push),
    })
    .await;
    let overseas = Options {
        area: Some("overseas".to_owned()),
        ..Options::default()
    };

    let any = cdn(&api.url).quota().await.unwrap();
    let overseas = cdn_with(&api.url, overseas).quota().await.unwrap();

    let left = |quota: &Quota| quota.left;
    assert_eq!(any.values().map(left).collect::<Vec<_>>(), [10, 5, 700]);
    assert_eq!(
        overseas.values().map(left).collect::<Vec<_>>(),
        [10, 100, 1]
    );
    assert_eq!(any[&PurgeKind::Url].per_request, Some(1000));
    assert_eq!(api.asked()[0].body, "{}");
}

#[actix_web::test]
async fn the_account_is_named_without_its_secrets() {
    let cdn = cdn(&Url::parse("https://cdn.tencentcloudapi.com").unwrap());

    let account = cdn.account();

    let account = account.as_str();
    assert!(account.starts_with("tencent-cdn cdn.tencentcloudapi.com/"));
    assert!(!account.contains("AKID"));
}

#[actix_web::test]
async fn the_older_signature_sends_a_signed_form() {
    let api = FakeApi::told([accepted()]).await;
    let method = v1::Method::HmacSha256;
    let cdn = TencentCdn::for_test(
        api.url.clone(),
        credentials(Some("token/x==")),
        Signature::V1(method),
        Options::default(),
    );

    let task = cdn.submit(&batch(PurgeKind::Url, &[PAGE_A])).await.unwrap();

    assert_eq!(task, ids("1533045796-i60rfmzm"));
    let asked = &api.asked()[0];
    assert_eq!(
        asked.header("content-type"),
        "application/x-www-form-urlencoded"
    );
    let mut form = asked.form();
    assert_eq!(form["Urls.0"], PAGE_A);
    assert_eq!(form["Action"], "PurgeUrlsCache");
    assert_eq!(form["Version"], "2018-06-06");
    assert_eq!(form["SignatureMethod"], "HmacSHA256");
    assert_eq!(form["Token"], "token/x==");
    let signature = form.remove("Signature").unwrap();
    let to_sign = v1::string_to_sign("POST", asked.header("host"), "/", &form);
    let key = SecretString::from("SecretKeyExample");
    assert_eq!(signature, v1::signature(&key, method, &to_sign));
}

fn ecdn(url: &Url) -> TencentEcdn {
    TencentEcdn::for_test(
        url.clone(),
        credentials(None),
        Signature::Tc3,
        Some("tencent"),
    )
}

#[actix_web::test]
async fn ecdn_purges_urls_and_directories_without_areas() {
    let api = FakeApi::told(vec![accepted(); 2]).await;
    let ecdn = ecdn(&api.url);

    ecdn.submit(&batch(PurgeKind::Url, &[PAGE_A]))
        .await
        .unwrap();
    ecdn.submit(&batch(
        PurgeKind::Directory,
        &["https://www.example.com/d/"],
    ))
    .await
    .unwrap();
    let prefetch = ecdn.submit(&batch(PurgeKind::Prefetch, &[PAGE_A])).await;

    let asked = api.asked();
    assert_eq!(asked[0].json(), json!({"Urls": [PAGE_A]}));
    assert_eq!(asked[0].header("x-tc-version"), "2019-10-12");
    assert_eq!(
        asked[0].header("authorization"),
        signed_again(&asked[0], "ecdn", 1_735_693_445)
    );
    assert_eq!(
        asked[1].json(),
        json!({"Paths": ["https://www.example.com/d/"], "FlushType": "flush"})
    );
    assert_eq!(prefetch.unwrap_err().class, ErrorClass::Operator);
    assert_eq!(asked.len(), 2);
}

#[actix_web::test]
async fn ecdn_says_when_it_has_moved_and_where_its_purges_go() {
    for code in [
        "UnauthorizedOperation.EcdnMigratedCdn",
        "ActionOffline",
        "InvalidAction",
    ] {
        let api = FakeApi::told([refused(code, "Please go to the CDN console.")]).await;
        let ecdn = ecdn(&api.url);

        let error = ecdn
            .submit(&batch(PurgeKind::Url, &[PAGE_A]))
            .await
            .unwrap_err();

        assert_eq!(error.class, ErrorClass::Migrated, "{code}");
        assert_eq!(ecdn.migrated_to(), Some("tencent"));
    }
}

#[actix_web::test]
async fn ecdn_tells_its_quota_without_areas() {
    let quota = |batch, available| json!({"Batch": batch, "Total": 10_000, "Available": available});
    let api = FakeApi::told([Told::json(
        json!({"Response": {"UrlPurge": quota(1000, 9_000), "PathPurge": quota(20, 7)}}),
    )])
    .await;

    let quotas = ecdn(&api.url).quota().await.unwrap();

    assert_eq!(quotas[&PurgeKind::Url].left, 9_000);
    assert_eq!(quotas[&PurgeKind::Directory].per_request, Some(20));
    assert_eq!(quotas.len(), 2);
    assert_eq!(api.asked().len(), 1);
}
