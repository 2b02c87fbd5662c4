//! Tests the formats of errors, the lock, and the progress of tasks.

use std::time::Duration;

use super::super::account::{Area, Domain, TargetOutcome};
use super::super::faults::When;
use super::*;

fn noon() -> Timestamp {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn huawei() -> Huawei {
    let mut api = Huawei::new();
    let domain = Domain {
        area: Area::Global,
        online: true,
    };
    api.account.domains.insert("www.example.com".into(), domain);
    api
}

fn call(api: &mut Huawei, method: &str, path: &str, body: &str, now: Timestamp) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method: method.into(),
        path: format!("/v1.0/cdn/{path}"),
        query: query.into(),
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("x-auth-token".into(), IAM_TOKEN.into()),
        ],
        body: body.as_bytes().to_vec(),
    };
    let answer = api.answer(&request, now);
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn refresh(api: &mut Huawei, urls: &[&str]) -> (u16, Value) {
    let body = json!({"refresh_task": {"type": "file", "urls": urls}}).to_string();
    call(api, "POST", "content/refresh-tasks", &body, noon())
}

#[test]
fn business_errors_come_with_200_and_nested_parameters_with_400_and_flat() {
    let mut api = huawei();

    let (status, body) = refresh(&mut api, &["https://other.example.com/"]);
    assert_eq!(
        (status, &body["error"]["error_code"]),
        (200, &json!("CDN.0108"))
    );
    let (status, body) = refresh(&mut api, &["www.example.com/"]);
    assert_eq!((status, &body["error_code"]), (400, &json!("CDN.0001")));
    let (status, body) = call(&mut api, "GET", "historytasks/1/detail", "", noon());
    assert_eq!(
        (status, &body["error"]["error_code"]),
        (200, &json!("CDN.0108"))
    );
    let (status, body) = call(&mut api, "GET", "nothing", "", noon());
    assert_eq!((status, &body["error_code"]), (404, &json!("APIGW.0101")));
    let urls: Vec<String> = (0..1_001)
        .map(|n| format!("https://www.example.com/{n}"))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (status, body) = refresh(&mut api, &urls);
    assert_eq!(
        (status, &body["error"]["error_code"]),
        (200, &json!("CDN.0110"))
    );
}

#[test]
fn a_task_goes_on_through_every_documented_word() {
    let mut api = huawei();
    api.account.told("/bad", When::Always, TargetOutcome::Fail);
    let urls = [
        "https://www.example.com/good",
        "https://www.example.com/bad",
    ];
    let (_, body) = refresh(&mut api, &urls);
    let id = body["refresh_task"].as_str().unwrap().to_owned();
    let at = |api: &mut Huawei, ms| {
        let path = format!("historytasks/{id}/detail");
        let (_, body) = call(api, "GET", &path, "", noon() + Duration::from_millis(ms));
        let words: Vec<String> = body["urls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|url| url["status"].as_str().unwrap().to_owned())
            .collect();
        (body["status"].as_str().unwrap().to_owned(), words.join(" "))
    };

    assert_eq!(
        at(&mut api, 0),
        ("task_inprocess".into(), "waiting waiting".into())
    );
    assert_eq!(
        at(&mut api, 1_500),
        ("task_inprocess".into(), "processing processing".into())
    );
    assert_eq!(
        at(&mut api, 2_000),
        ("task_done".into(), "succeed failed".into())
    );

    let (_, list) = call(
        &mut api,
        "GET",
        "contentgateway/url-tasks?limit=1",
        "",
        noon(),
    );
    assert_eq!((&list["total"], &list["count"]), (&json!(2), &json!(1)));
    assert_eq!(list["result"][0]["status"], "WAITING");
    assert!(list["result"][0]["task_id"].is_number());
}

#[test]
fn pages_need_both_of_their_parameters_and_times_too() {
    let mut api = huawei();
    let (_, body) = refresh(
        &mut api,
        &["https://www.example.com/1", "https://www.example.com/2"],
    );
    let id = body["refresh_task"].as_str().unwrap().to_owned();

    let half = format!("historytasks/{id}/detail?page_size=1");
    assert_eq!(call(&mut api, "GET", &half, "", noon()).0, 400);
    let second = format!("historytasks/{id}/detail?page_size=1&page_number=2");
    let (_, body) = call(&mut api, "GET", &second, "", noon());
    assert_eq!(body["urls"][0]["url"], "https://www.example.com/2");
    let one = "contentgateway/url-tasks?start_time=1";
    assert_eq!(call(&mut api, "GET", one, "", noon()).0, 400);
    let week = noon() + Duration::from_secs(8 * 24 * 3_600);
    let (_, gone) = call(
        &mut api,
        "GET",
        &format!("historytasks/{id}/detail"),
        "",
        week,
    );
    assert_eq!(gone["error"]["error_code"], "CDN.0108");
}

#[test]
fn the_sixth_bad_signature_in_a_row_locks_the_key() {
    let mut api = huawei();
    let request = Request {
        method: "GET".into(),
        path: "/v1.0/cdn/quota".into(),
        headers: vec![
            ("x-sdk-date".into(), "20261122T040000Z".into()),
            (
                "authorization".into(),
                format!(
                    "SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders=x-sdk-date, Signature=00"
                ),
            ),
        ],
        ..Request::default()
    };
    for _ in 0..6 {
        assert_eq!(api.answer(&request, noon()).status, 401);
    }

    let locked = api.answer(&request, noon());
    assert!(String::from_utf8_lossy(&locked.body).contains("locked"));
    let later = api.answer(&request, noon() + Duration::from_secs(900));
    assert!(!String::from_utf8_lossy(&later.body).contains("locked"));
}

#[test]
fn a_task_can_be_asked_for_thirty_times_a_second() {
    let mut api = huawei();
    for _ in 0..30 {
        assert_eq!(
            call(&mut api, "GET", "historytasks/1/detail", "", noon()).0,
            200
        );
    }

    let (status, body) = call(&mut api, "GET", "historytasks/1/detail", "", noon());
    assert_eq!((status, &body["error_code"]), (429, &json!("APIGW.0308")));
}

#[test]
fn quotas_say_what_is_used() {
    let mut api = huawei();
    refresh(&mut api, &["https://www.example.com/1"]);

    let (_, body) = call(&mut api, "GET", "quota", "", noon());

    assert_eq!(body["quotas"][0]["type"], "file_refresh");
    assert_eq!(
        (
            &body["quotas"][0]["quota_limit"],
            &body["quotas"][0]["used"]
        ),
        (&json!(2000), &json!(1))
    );
}
