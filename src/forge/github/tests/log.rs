use jiff::Timestamp;

use super::*;

const HOOK: &str = "https://purge.example.com/hooks/github";
const PKCS1: &str = include_str!("../../../../tests/data/github-app-pkcs1.pem");

async fn log_of(github: &GitHub) -> Option<DeliveryLog> {
    let hook = Url::parse(HOOK).unwrap();
    github
        .delivery_log(&repo("acme/website"), &hook, at(-100))
        .await
        .unwrap()
}

async fn sent(github: &GitHub, line: &LoggedDelivery) -> Option<SentDelivery> {
    github
        .logged_delivery(&repo("acme/website"), line)
        .await
        .unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(scripted::NOW + seconds).unwrap()
}

/// A row of a log, sent so many seconds ago.
fn row(id: u64, ago: i64, status: u16) -> serde_json::Value {
    json!({
        "id": id,
        "guid": format!("guid-{id}"),
        "delivered_at": at(-ago).to_string(),
        "redelivery": false,
        "duration": 0.27,
        "status": "some words",
        "status_code": status,
        "event": "release",
        "action": "published",
        "installation_id": null,
        "repository_id": 1,
        "throttled_at": null,
    })
}

/// GitHub with three webhooks on the repository, the last of which is ours, and two pages of its log.
fn repository_log(asked: &scripted::Asked) -> Reply {
    match asked.target.as_str() {
        "/api/repos/acme/website/hooks?per_page=100" => Reply::json(
            200,
            json!([
                {"id": 1, "config": {"url": "https://ci.example.com/hooks/github"}},
                {"id": 2, "config": {}},
                {"id": 3, "config": {"url": format!("{HOOK}?note=here")}},
            ]),
        ),
        "/api/repos/acme/website/hooks/3/deliveries?per_page=100" => {
            Reply::json(200, json!([row(14, 10, 202), row(13, 20, 0)])).with(
                "link",
                "<https://evil.example/steal?per_page=100&cursor=v1_13>; rel=\"next\"",
            )
        }
        "/api/repos/acme/website/hooks/3/deliveries?per_page=100&cursor=v1_13" => {
            Reply::json(200, json!([row(12, 30, 502), row(11, 3_000, 0)]))
        }
        "/api/repos/acme/website/hooks/3/deliveries/13" => {
            let mut detail = row(13, 20, 0);
            detail["request"] = json!({
                "headers": {"X-GitHub-Event": "release"},
                "payload": {"action": "published", "release": {"id": 1, "tag_name": "v1"}},
            });
            Reply::json(200, detail)
        }
        other => Reply::json(404, json!({"message": other})),
    }
}

#[actix_web::test]
async fn the_log_of_our_webhook_is_read_page_by_page_as_far_back_as_is_wanted() {
    let api = Scripted::new(repository_log);
    let github = github(&api.url);

    let log = log_of(&github).await.unwrap();

    let lines: Vec<_> = log
        .deliveries
        .iter()
        .map(|line| (line.id.as_str(), line.answered, line.sent_at))
        .collect();
    assert_eq!(
        lines,
        [
            ("guid-14", Some(202), at(-10)),
            ("guid-13", None, at(-20)),
            ("guid-12", Some(502), at(-30)),
        ]
    );
    assert!(!log.of_all);

    let sent = sent(&github, &log.deliveries[1]).await.unwrap();
    assert_eq!(sent.verified.delivery_id.as_deref(), Some("guid-13"));
    assert_eq!(sent.verified.event, "release");
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["release"]["tag_name"], "v1");
}

#[actix_web::test]
async fn a_delivery_that_is_not_the_one_that_was_asked_for_is_not_taken() {
    let api = Scripted::new(repository_log);
    let github = github(&api.url);
    let line = log_of(&github).await.unwrap().deliveries.remove(1);

    for other in [
        LoggedDelivery {
            id: "guid-12".to_owned(),
            ..line.clone()
        },
        LoggedDelivery {
            event: "push".to_owned(),
            ..line.clone()
        },
        LoggedDelivery {
            place: "elsewhere/3/13".to_owned(),
            ..line
        },
    ] {
        assert!(sent(&github, &other).await.is_none(), "{other:?}");
    }
}

#[actix_web::test]
async fn the_log_of_an_apps_webhook_is_read_as_the_app_itself() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/app/hook/config" => Reply::json(200, json!({"url": HOOK})),
        "/api/app/hook/deliveries?per_page=100" => Reply::json(200, json!([row(13, 20, 503)])),
        "/api/app/hook/deliveries/13" => {
            let mut detail = row(13, 20, 503);
            detail["request"] = json!({"payload": {}});
            Reply::json(200, detail)
        }
        other => Reply::json(404, json!({"message": other})),
    });
    let app = App::new("12345", &PKCS1.to_owned().into()).unwrap();
    let github = with_access(&api.url, Access::App(Box::new(app)));

    let log = log_of(&github).await.unwrap();
    let sent = sent(&github, &log.deliveries[0]).await;

    assert!(sent.is_some());
    assert!(log.of_all);
    // With its JWT each time, and no installation's token.
    for asked in api.asked() {
        let token = asked.headers["authorization"].strip_prefix("Bearer ey");
        assert_eq!(token.map(|token| token.matches('.').count()), Some(2));
    }
}

#[actix_web::test]
async fn a_repository_whose_webhooks_all_go_elsewhere_has_no_log_for_us() {
    let api = Scripted::new(|_| {
        Reply::json(
            200,
            json!([{"id": 1, "config": {"url": "https://ci.example.com/"}}]),
        )
    });

    assert!(log_of(&github(&api.url)).await.is_none());
    assert_eq!(api.lines().len(), 1);
}
