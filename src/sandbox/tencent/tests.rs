//! Tests what the API accepts, what it refuses, and the progress of tasks.

use std::time::Duration;

use super::super::account::{Area, Domain, TargetOutcome, Words};
use super::super::faults::When;
use super::signature::canonical_tc3;
use super::*;

fn noon() -> Timestamp {
    // 12:00 in Beijing.
    "2026-11-22T04:00:00Z".parse().unwrap()
}

fn cdn() -> Tencent {
    let mut api = Tencent::cdn();
    let domain = |area| Domain { area, online: true };
    let domains = &mut api.account.domains;
    domains.insert("www.example.com".into(), domain(Area::Global));
    domains.insert("cn.example.com".into(), domain(Area::Mainland));
    api
}

/// A POST signed with TC3.
fn signed(api: &Tencent, action: &str, body: &Value, now: Timestamp) -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut request = Request {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![
            header("host", "127.0.0.1:4000"),
            header("content-type", "application/json"),
            header("x-tc-action", action),
            header("x-tc-version", api.version()),
            header("x-tc-timestamp", &now.as_second().to_string()),
        ],
        body: body.to_string().into_bytes(),
    };
    sign(&mut request, api.service(), SECRET_ID, SECRET_KEY, now);
    request
}

fn sign(request: &mut Request, service: &str, id: &str, secret: &str, now: Timestamp) {
    let names = "content-type;host";
    let canonical = canonical_tc3(request, names).unwrap();
    let date = now.strftime("%Y-%m-%d").to_string();
    let mac = signature::tc3(secret, &date, service, now.as_second(), &canonical);
    let text = format!(
        "TC3-HMAC-SHA256 Credential={id}/{date}/{service}/tc3_request, SignedHeaders={names}, Signature={mac}"
    );
    request.headers.push(("authorization".into(), text));
}

fn response(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "errors come with 200 as well");
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(body["Response"]["RequestId"].is_string());
    body["Response"].take()
}

fn call(api: &mut Tencent, action: &str, body: Value, now: Timestamp) -> Value {
    let request = signed(api, action, &body, now);
    response(&api.answer(&request, now))
}

fn code(answer: &Value) -> &str {
    answer["Error"]["Code"].as_str().unwrap_or("ok")
}

fn urls(count: usize) -> Value {
    let one = |n| format!("https://www.example.com/{n}");
    json!({"Urls": (0..count).map(one).collect::<Vec<_>>()})
}

// The example of Tencent's page on signature method v3, older edition; the stars are part of its keys.
#[test]
fn the_published_tc3_example_verifies() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![
            header("content-type", "application/json; charset=utf-8"),
            header("host", "cvm.tencentcloudapi.com"),
            header("x-tc-timestamp", "1551113065"),
            header(
                "authorization",
                "TC3-HMAC-SHA256 \
                 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, \
                 SignedHeaders=content-type;host, \
                 Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
            ),
        ],
        body: br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#
            .to_vec(),
    };
    let keys = Keys {
        id: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******",
        secret: "Gu5t9xGARNpq86cd98joQYCN3*******",
        token: None,
    };
    let now = Timestamp::from_second(1_551_113_065).unwrap();

    assert_eq!(verify_tc3(&request, "cvm", &keys, now), Ok(()));
}

// The example of Tencent's page on signature method v1.
#[test]
fn the_published_v1_example_verifies() {
    let pairs = [
        ("Action", "DescribeInstances"),
        ("InstanceIds.0", "ins-09dx96dg"),
        ("Limit", "20"),
        ("Nonce", "11886"),
        ("Offset", "0"),
        ("Region", "ap-guangzhou"),
        ("SecretId", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******"),
        ("Timestamp", "1465185768"),
        ("Version", "2017-03-12"),
        ("Signature", "zmmjn35mikh6pM3V7sUEuX4wyYM="),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let key = "Gu5t9xGARNpq86cd98joQYCN3*******";

    assert!(verify_v1("GET", "cvm.tencentcloudapi.com/", &pairs, key));
    assert!(!verify_v1("POST", "cvm.tencentcloudapi.com/", &pairs, key));
}

#[test]
fn a_signature_covers_host_body_and_date() {
    let mut api = cdn();
    let good = signed(&api, "PurgeUrlsCache", &urls(1), noon());
    let refused = |api: &mut Tencent, change: &dyn Fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        let answer = api.answer(&request, noon());
        code(&response(&answer)).to_owned()
    };
    let header = |request: &mut Request, name: &str, value: &str| {
        let found = request.headers.iter_mut().find(|(n, _)| n == name).unwrap();
        found.1 = value.to_owned();
    };
    let wrong = "AuthFailure.SignatureFailure";

    assert_eq!(refused(&mut api, &|_| {}), "ok");
    assert_eq!(
        refused(&mut api, &|r| header(r, "host", "cdn.tencentcloudapi.com")),
        wrong
    );
    assert_eq!(refused(&mut api, &|r| r.body.push(b' ')), wrong);
    assert_eq!(
        refused(&mut api, &|r| header(
            r,
            "content-type",
            "application/json; charset=UTF-8"
        )),
        wrong
    );
    let late = (noon().as_second() - 301).to_string();
    assert_eq!(
        refused(&mut api, &|r| header(r, "x-tc-timestamp", &late)),
        "AuthFailure.SignatureExpire"
    );
    assert_eq!(
        refused(&mut api, &|r| header(
            r,
            "authorization",
            "TC3-HMAC-SHA256 nothing"
        )),
        "AuthFailure.InvalidAuthorization"
    );
}

#[test]
fn unknown_actions_versions_and_parameters_are_refused() {
    let mut api = cdn();
    let mut odd = signed(&api, "PurgeUrlsCache", &urls(1), noon());
    odd.headers.retain(|(name, _)| name != "x-tc-version");
    odd.headers
        .push(("x-tc-version".into(), "2019-10-12".into()));

    assert_eq!(code(&response(&api.answer(&odd, noon()))), "NoSuchVersion");
    let table = [
        ("PurgeAll", json!({}), "InvalidAction"),
        ("PurgeUrlsCache", json!({}), "MissingParameter"),
        (
            "PurgeUrlsCache",
            json!({"Urls": "https://www.example.com/"}),
            "InvalidParameter",
        ),
        ("PurgeUrlsCache", json!({"Urls": [1]}), "InvalidParameter"),
        (
            "PurgeUrlsCache",
            json!({"Urls": ["https://www.example.com/"], "UrlEncode": "true"}),
            "InvalidParameter",
        ),
        (
            "PurgeUrlsCache",
            json!({"Urls": ["https://www.example.com/"], "FlushType": "flush"}),
            "UnknownParameter",
        ),
        (
            "PurgeUrlsCache",
            json!({"Urls": ["https://www.example.com/"], "Area": "global"}),
            "InvalidParameterValue",
        ),
        (
            "PurgePathCache",
            json!({"Paths": ["https://www.example.com/"]}),
            "MissingParameter",
        ),
        (
            "DescribePurgeTasks",
            json!({}),
            "InvalidParameter.CdnParamError",
        ),
        (
            "DescribePurgeTasks",
            json!({"StartTime": "2026-11-22"}),
            "InvalidParameter.CdnStatInvalidDate",
        ),
        (
            "DescribePurgeTasks",
            json!({"TaskId": 1}),
            "InvalidParameter",
        ),
    ];
    for (action, body, expected) in table {
        let answer = call(&mut api, action, body.clone(), noon());
        assert_eq!(code(&answer), expected, "{action} {body}");
    }
    assert!(api.account.tasks.is_empty());
}

#[test]
fn a_bad_url_refuses_the_whole_batch() {
    let table = [
        ("www.example.com/a", "InvalidParameter.CdnParamError"),
        (
            "https://www.example.com/a b",
            "InvalidParameter.CdnParamError",
        ),
        (
            "https://www.example.com/é",
            "InvalidParameter.CdnParamError",
        ),
        (
            "https://*.example.com/",
            "InvalidParameter.CdnPurgeWildcardNotAllowed",
        ),
        (
            "https://other.example.com/",
            "ResourceNotFound.CdnHostNotExists",
        ),
    ];
    for (url, expected) in table {
        let mut api = cdn();
        let body = json!({"Urls": ["https://www.example.com/", url]});
        let answer = call(&mut api, "PurgeUrlsCache", body, noon());
        assert_eq!(code(&answer), expected, "{url}");
        assert!(api.account.tasks.is_empty());
    }
}

#[test]
fn a_prefetch_goes_to_the_mainland_where_no_area_is_given() {
    let mut api = cdn();
    api.account.domains.insert(
        "eu.example.com".into(),
        Domain {
            area: Area::Overseas,
            online: true,
        },
    );
    let body = json!({"Urls": ["https://eu.example.com/"]});

    assert_eq!(
        code(&call(&mut api, "PushUrlsCache", body.clone(), noon())),
        "InvalidParameter.CdnParamError"
    );
    assert_eq!(code(&call(&mut api, "PurgeUrlsCache", body, noon())), "ok");
}

#[test]
fn batches_and_days_have_limits_and_the_day_ends_at_midnight_in_beijing() {
    let mut api = cdn();
    let too_many = call(&mut api, "PurgeUrlsCache", urls(1_001), noon());
    assert_eq!(code(&too_many), "LimitExceeded.CdnPurgeUrlExceedBatchLimit");

    for _ in 0..10 {
        assert_eq!(
            code(&call(&mut api, "PurgeUrlsCache", urls(1_000), noon())),
            "ok"
        );
    }
    let over = "LimitExceeded.CdnPurgeUrlExceedDayLimit";
    assert_eq!(
        code(&call(&mut api, "PurgeUrlsCache", urls(1), noon())),
        over
    );
    let quota = call(&mut api, "DescribePurgeQuota", json!({}), noon());
    assert_eq!(
        quota["UrlPurge"][0],
        json!({"Area": "mainland", "Batch": 1000, "Total": 10000, "Available": 0})
    );
    assert_eq!(quota["PathPurge"][1]["Available"], 100);

    let last = "2026-11-22T15:59:59Z".parse().unwrap();
    assert_eq!(code(&call(&mut api, "PurgeUrlsCache", urls(1), last)), over);
    let next = "2026-11-22T16:00:00Z".parse().unwrap();
    assert_eq!(code(&call(&mut api, "PurgeUrlsCache", urls(1), next)), "ok");
}

#[test]
fn an_area_has_a_quota_of_its_own() {
    let mut api = cdn();
    api.account.allowances.insert(
        PurgeKind::Url,
        Allowance {
            per_request: 1_000,
            per_day: 2,
        },
    );
    let mainland = json!({"Urls": ["https://cn.example.com/1", "https://cn.example.com/2"]});
    assert_eq!(
        code(&call(&mut api, "PurgeUrlsCache", mainland, noon())),
        "ok"
    );

    let mut overseas = urls(1);
    overseas["Area"] = json!("overseas");
    assert_eq!(
        code(&call(&mut api, "PurgeUrlsCache", overseas, noon())),
        "ok"
    );
    // A global domain needs both.
    let over = call(&mut api, "PurgeUrlsCache", urls(1), noon());
    assert_eq!(code(&over), "LimitExceeded.CdnPurgeUrlExceedDayLimit");
}

#[test]
fn the_twenty_first_request_in_a_second_is_refused() {
    let mut api = cdn();
    let ask = json!({"TaskId": "1"});
    for _ in 0..20 {
        assert_eq!(
            code(&call(&mut api, "DescribePurgeTasks", ask.clone(), noon())),
            "ok"
        );
    }

    let refused = call(&mut api, "DescribePurgeTasks", ask.clone(), noon());
    assert_eq!(code(&refused), "RequestLimitExceeded");
    assert_eq!(
        code(&call(&mut api, "DescribePurgeQuota", json!({}), noon())),
        "ok"
    );
    let later = noon() + Duration::from_secs(1);
    assert_eq!(
        code(&call(&mut api, "DescribePurgeTasks", ask, later)),
        "ok"
    );
}

#[test]
fn tasks_take_their_time_and_end_as_told() {
    let mut api = cdn();
    api.account.told("/1", When::Times(1), TargetOutcome::Fail);
    api.account.told("/2", When::Always, TargetOutcome::Never);
    let id = call(&mut api, "PurgeUrlsCache", urls(3), noon())["TaskId"].clone();
    assert!(id.as_str().unwrap().parse::<u64>().unwrap() > 1 << 53);

    let ask = json!({"TaskId": id});
    let words = |api: &mut Tencent, now| {
        let answer = call(api, "DescribePurgeTasks", ask.clone(), now);
        let logs = answer["PurgeLogs"].as_array().unwrap().clone();
        let words = logs
            .iter()
            .map(|log| log["Status"].as_str().unwrap().to_owned());
        words.collect::<Vec<_>>()
    };
    assert_eq!(words(&mut api, noon()), ["process", "process", "process"]);
    let later = noon() + Duration::from_secs(2);
    assert_eq!(words(&mut api, later), ["Done", "fail", "process"]);

    api.account.words = Words::Odd("verwerkt".into());
    assert_eq!(words(&mut api, later), ["verwerkt", "verwerkt", "verwerkt"]);
    let done = json!({"TaskId": id, "Status": "done"});
    assert_eq!(
        call(&mut api, "DescribePurgeTasks", done, later)["TotalCount"],
        1
    );
}

#[test]
fn lists_come_in_pages_and_an_empty_list_of_prefetches_is_null() {
    let mut api = cdn();
    let none = call(
        &mut api,
        "DescribePushTasks",
        json!({"TaskId": "1"}),
        noon(),
    );
    assert!(none["PushLogs"].is_null() && none["TotalCount"].is_null());

    call(&mut api, "PushUrlsCache", urls(250), noon());
    let start = "2026-11-22 12:00:00";
    let ask = |offset: usize| json!({"StartTime": start, "Offset": offset, "Limit": 500});
    let lengths = [0, 100, 200, 250].map(|offset| {
        let page = call(&mut api, "DescribePushTasks", ask(offset), noon());
        assert_eq!(page["TotalCount"], 250);
        page["PushLogs"].as_array().unwrap().len()
    });
    assert_eq!(lengths, [100, 100, 50, 0], "a page holds 100 at most");

    let keyword = json!({"StartTime": start, "Keyword": "https://www.example.com/7"});
    let found = call(&mut api, "DescribePushTasks", keyword, noon());
    assert_eq!(found["PushLogs"][0]["Url"], "https://www.example.com/7");
    assert_eq!(found["PushLogs"][0]["Area"], "mainland");
    let before = json!({"StartTime": start, "EndTime": start, "Limit": 1});
    assert_eq!(
        call(&mut api, "DescribePushTasks", before, noon())["TotalCount"],
        250
    );
}

#[test]
fn ecdn_has_objects_for_quotas_and_says_when_it_has_moved() {
    let mut api = Tencent::ecdn();
    let quota = call(&mut api, "DescribePurgeQuota", json!({}), noon());
    assert_eq!(
        quota["PathPurge"],
        json!({"Batch": 20, "Total": 100, "Available": 100})
    );

    let unknown = call(&mut api, "PurgeUrlsCache", urls(1), noon());
    assert_eq!(code(&unknown), "ResourceNotFound.EcdnDomainNotExists");
    let push = call(&mut api, "PushUrlsCache", urls(1), noon());
    assert_eq!(code(&push), "InvalidAction");
    api.account.migrated = true;
    let moved = call(&mut api, "PurgeUrlsCache", urls(1), noon());
    assert_eq!(code(&moved), "UnauthorizedOperation.EcdnMigratedCdn");
}

#[test]
fn flattened_parameters_are_read_like_json() {
    let pairs = [
        ("Urls.0", "a"),
        ("Urls.10", "k"),
        ("Urls.1", "b"),
        ("Headers.0.Name", "n"),
        ("Headers.0.Value", "v"),
        ("Limit", "3"),
        ("UrlEncode", "True"),
    ];
    let owned = |skip: &str| {
        let kept = pairs.iter().filter(|(name, _)| *name != skip);
        kept.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
    };
    let mut whole = Parameters::from_pairs(&owned("Urls.10")).unwrap();
    assert_eq!(whole.texts("Urls").unwrap().unwrap(), ["a", "b"]);
    assert_eq!(whole.number("Limit").unwrap(), Some(3));
    assert_eq!(whole.flag("UrlEncode").unwrap(), Some(true));
    assert_eq!(whole.names_and_values("Headers").unwrap().len(), 1);

    // 0, 1, 10 is no array.
    assert!(
        Parameters::from_pairs(&owned(""))
            .unwrap()
            .texts("Urls")
            .is_err()
    );
}
