//! Tests what the old API accepts, and how its tasks can be found again.

use std::time::Duration;

use super::super::account::{Area, Domain};
use super::super::tencent::signature::{sign_v1, string_to_sign_v1};
use super::*;

fn noon() -> Timestamp {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn qcloud() -> QCloud {
    let mut api = QCloud::new();
    let domain = Domain {
        area: Area::Mainland,
        online: true,
    };
    api.account.domains.insert("www.example.com".into(), domain);
    api
}

fn request(action: &str, own: &[(&str, &str)], nonce: u64, now: Timestamp) -> Request {
    let seconds = now.as_second().to_string();
    let nonce = nonce.to_string();
    let common = [
        ("Action", action),
        ("SecretId", SECRET_ID),
        ("Timestamp", &seconds),
        ("Nonce", &nonce),
        ("SignatureMethod", "HmacSHA256"),
    ];
    let all = common.iter().chain(own);
    let mut pairs: Vec<(String, String)> = all
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    let text = string_to_sign_v1("GET", "cdn.test/v2/index.php", &pairs);
    pairs.push((
        "Signature".into(),
        sign_v1(Some("HmacSHA256"), SECRET_KEY, &text),
    ));
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    Request {
        method: "GET".into(),
        path: "/v2/index.php".into(),
        query,
        headers: vec![("host".into(), "cdn.test".into())],
        body: Vec::new(),
    }
}

fn call(api: &mut QCloud, action: &str, own: &[(&str, &str)], nonce: u64) -> Value {
    let answer = api.answer(&request(action, own, nonce, noon()), noon());
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn anything_but_hmacsha256_means_sha1() {
    let text = "GETcvm.api.qcloud.com/v2/index.php?Action=DescribeInstances";

    assert_eq!(
        sign_v1(None, "k", text),
        sign_v1(Some("HmacSHA1"), "k", text)
    );
    assert_eq!(
        sign_v1(None, "k", text),
        sign_v1(Some("hmacsha256"), "k", text)
    );
    assert_ne!(
        sign_v1(None, "k", text),
        sign_v1(Some("HmacSHA256"), "k", text)
    );
}

#[test]
fn a_nonce_serves_once_and_a_timestamp_for_two_hours() {
    let mut api = qcloud();
    let own = [("urls.0", "https://www.example.com/")];
    assert_eq!(call(&mut api, "RefreshCdnUrl", &own, 1)["code"], 0);
    assert_eq!(call(&mut api, "RefreshCdnUrl", &own, 1)["code"], 4500);

    let old = request("RefreshCdnUrl", &own, 2, noon());
    let answer = api.answer(&old, noon() + Duration::from_secs(7_201));
    assert!(answer.outcome.starts_with("4500"));
}

#[test]
fn a_foreign_host_is_refused_in_the_modules_own_code() {
    let mut api = qcloud();
    let own = [("urls.0", "https://other.example.com/")];

    let text = call(&mut api, "RefreshCdnUrl", &own, 1);
    assert_eq!(
        text,
        json!({"code": 4000, "message": "(9110)cdn no such host", "codeDesc": "9110"})
    );
    api.numbers = true;
    assert_eq!(call(&mut api, "RefreshCdnUrl", &own, 2)["codeDesc"], 9110);
}

#[test]
fn a_directory_can_be_found_by_time_and_url_only() {
    let mut api = qcloud();
    let submitted = call(
        &mut api,
        "RefreshCdnDir",
        &[("dirs.0", "https://www.example.com/a/")],
        1,
    );
    assert!(submitted.get("data").is_none());

    let span = [
        ("startDate", "2026-11-22 12:00:00"),
        ("endDate", "2026-11-22 12:00:00"),
    ];
    let found = call(&mut api, "GetCdnRefreshLog", &span, 2);
    assert_eq!(found["data"]["total"], 1);
    let log = &found["data"]["logs"][0];
    assert_eq!((&log["type"], &log["status"]), (&json!(1), &json!(0)));
    assert_eq!(log["url_list"], json!(["https://www.example.com/a/"]));
    assert_eq!(call(&mut api, "GetCdnRefreshLog", &[], 3)["code"], 4000);
}

#[test]
fn a_task_outside_the_dates_makes_the_date_invalid() {
    let mut api = qcloud();
    let own = [("urls.0", "https://www.example.com/")];
    let id = call(&mut api, "RefreshCdnUrl", &own, 1)["data"]["task_id"].clone();
    let id = id.as_str().unwrap();
    assert!(id.parse::<u64>().unwrap() > 1 << 53);

    let ask = [
        ("taskId", id),
        ("startDate", "2017-02-09 00:00:00"),
        ("endDate", "2017-02-10 00:00:00"),
    ];
    assert_eq!(
        call(&mut api, "GetCdnRefreshLog", &ask, 2)["message"],
        "(9003)The date is invalid"
    );
    let alone = call(&mut api, "GetCdnRefreshLog", &[("taskId", id)], 3);
    assert_eq!(alone["data"]["total"], 1);
}

#[test]
fn a_long_query_is_not_implemented() {
    let mut api = qcloud();
    let mut long = request("GetCdnRefreshLog", &[], 1, noon());
    long.query = "x".repeat(32 * 1024 + 1);

    assert_eq!(api.answer(&long, noon()).status, 501);
}
