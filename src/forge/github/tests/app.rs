use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rsa::PublicKeyComponents;
use ring::signature::RSA_PKCS1_2048_8192_SHA256;
use serde_json::Value;

use super::*;
use crate::forge::github::app::rsa_key;
use crate::forge::{LastDelivery, Right};

// One key in GitHub's form and in the other; made for these tests.
const PKCS1: &str = include_str!("../../../../tests/data/github-app-pkcs1.pem");
const PKCS8: &str = include_str!("../../../../tests/data/github-app-pkcs8.pem");

fn app(pem: &str) -> App {
    App::new("12345", &pem.to_owned().into()).unwrap()
}

/// An API with the App installed, whose tokens end after `minutes`.
fn installed(minutes: i64) -> Scripted {
    let ends = jiff::Timestamp::from_second(scripted::NOW + minutes * 60).unwrap();
    Scripted::new(move |asked| match asked.target.as_str() {
        "/api/repos/acme/website/installation" => Reply::json(200, json!({"id": 77})),
        "/api/app/installations/77/access_tokens" => Reply::json(
            201,
            json!({"token": "ghs_made-up", "expires_at": ends.to_string()}),
        ),
        _ => Reply::json(
            200,
            json!({"merge_base_commit": {"sha": id('1').as_str()}, "files": []}),
        ),
    })
}

async fn ask(forge: &GitHub) -> Result<ChangeSet, ForgeError> {
    forge
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
}

fn as_app(api: &Scripted) -> GitHub {
    with_access(&api.url, Access::App(Box::new(app(PKCS1))))
}

#[actix_web::test]
async fn an_app_signs_for_itself_and_asks_with_its_installations_token() {
    let api = installed(60);

    ask(&as_app(&api)).await.unwrap();

    let asked = api.asked();
    let compare = format!(
        "GET /api/repos/acme/website/compare/{}...{}",
        id('1'),
        id('2')
    );
    assert_eq!(
        api.lines(),
        [
            "GET /api/repos/acme/website/installation",
            "POST /api/app/installations/77/access_tokens",
            &compare,
        ]
    );
    assert_eq!(asked[2].headers["authorization"], "Bearer ghs_made-up");
    let jwt = asked[0].headers["authorization"]
        .strip_prefix("Bearer ")
        .unwrap();
    assert_eq!(
        asked[1].headers["authorization"],
        asked[0].headers["authorization"]
    );
    check_jwt(jwt);
}

fn check_jwt(jwt: &str) {
    let [header, claims, signature] = jwt.split('.').collect::<Vec<_>>()[..] else {
        panic!("{jwt}");
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    assert_eq!(read(header), json!({"alg": "RS256", "typ": "JWT"}));
    let (issued, ends) = (scripted::NOW - 60, scripted::NOW + 540);
    assert_eq!(
        read(claims),
        json!({"iat": issued, "exp": ends, "iss": "12345"})
    );

    let pair = rsa_key(&PKCS1.to_owned().into()).unwrap();
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    let signed = format!("{header}.{claims}");
    public
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            signed.as_bytes(),
            &decode(signature),
        )
        .unwrap();
}

#[actix_web::test]
async fn a_token_is_kept_until_shortly_before_it_ends() {
    for (minutes, asked) in [(60, 1), (6, 1), (5, 2), (1, 2)] {
        let api = installed(minutes);
        let forge = as_app(&api);

        ask(&forge).await.unwrap();
        ask(&forge).await.unwrap();

        let lines = api.lines();
        let given = lines
            .iter()
            .filter(|l| l.ends_with("access_tokens"))
            .count();
        assert_eq!(given, asked, "{minutes} minutes");
    }
}

/// Two repositories, each with its own installation; one of them is answered with a limit.
fn two_installations(limit: Reply) -> Scripted {
    let ends = jiff::Timestamp::from_second(scripted::NOW + 3_600).unwrap();
    Scripted::new(move |asked| match asked.target.as_str() {
        "/api/repos/acme/website/installation" => Reply::json(200, json!({"id": 77})),
        "/api/repos/other/website/installation" => Reply::json(200, json!({"id": 88})),
        target if target.ends_with("/access_tokens") => Reply::json(
            201,
            json!({"token": "ghs_made-up", "expires_at": ends.to_string()}),
        ),
        target if target.starts_with("/api/repos/acme") => limit.clone(),
        _ => Reply::json(200, json!({"sha": id('2').as_str()})),
    })
}

#[actix_web::test]
async fn each_installation_has_its_own_hours_requests_and_all_share_the_secondary_limit() {
    let words = json!({"message": "You have exceeded a secondary rate limit."});
    let spent = Reply::json(403, json!({"message": "API rate limit exceeded"}))
        .with("x-ratelimit-remaining", 0)
        .with("x-ratelimit-reset", scripted::NOW + 900);
    let too_fast = Reply::json(403, words)
        .with("x-ratelimit-remaining", 4_000)
        .with("x-ratelimit-reset", scripted::NOW + 900)
        .with("retry-after", 30);
    for (limit, seconds, other_may_ask) in [(spent, 900, true), (too_fast, 30, false)] {
        let api = two_installations(limit);
        let forge = as_app(&api);
        // Both have their tokens.
        let other = forge.branch_head(&repo("other/website"), "main").await;
        assert_eq!(other.unwrap(), id('2'));

        for _ in 0..3 {
            let error = forge.branch_head(&repo("acme/website"), "main").await;
            let Err(ForgeError::Later { retry_after, .. }) = error else {
                panic!("{error:?}");
            };
            assert_eq!(retry_after.unwrap().as_secs(), seconds);
        }

        let asked = api.lines();
        let of_acme = asked.iter().filter(|l| l.contains("acme/website/commits"));
        assert_eq!(of_acme.count(), 1, "{asked:?}");
        let other = forge.branch_head(&repo("other/website"), "main").await;
        assert_eq!(other.is_ok(), other_may_ask, "{other:?}");
    }
}

#[actix_web::test]
async fn an_app_that_is_not_installed_says_so() {
    let api = Scripted::new(|_| Reply::json(404, json!({"message": "Not Found"})));

    let error = ask(&as_app(&api)).await.unwrap_err();

    assert!(
        matches!(&error, ForgeError::Denied { denial: Denial::Permission, message: m } if m.contains("install the App")),
        "{error}"
    );
}

#[test]
fn a_private_key_is_read_in_both_forms_and_nothing_else() {
    app(PKCS1);
    app(PKCS8);
    let half = &PKCS1[..PKCS1.len() / 2];
    for bad in [
        "",
        "a key",
        half,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ] {
        assert!(App::new("12345", &bad.to_owned().into()).is_err());
    }
    for bad in ["", "12 345", "a/b"] {
        assert!(App::new(bad, &PKCS1.to_owned().into()).is_err());
    }
}

/// An API that shows what an installation was granted, and where the App's webhook goes.
fn granting(permissions: serde_json::Value, suspended_at: Option<&'static str>) -> Scripted {
    Scripted::new(move |asked| match asked.target.as_str() {
        "/api/repos/acme/website/installation" => Reply::json(
            200,
            json!({"id": 77, "permissions": permissions, "suspended_at": suspended_at}),
        ),
        "/api/app/installations/77/access_tokens" => Reply::json(
            201,
            json!({"token": "ghs_made-up", "expires_at": "2099-01-01T00:00:00Z"}),
        ),
        "/api/app/hook/config" => Reply::json(
            200,
            json!({"url": "https://p.example/hooks/github", "secret": "********"}),
        ),
        "/api/app" => Reply::json(200, json!({"id": 1, "events": ["push", "release"]})),
        "/api/app/hook/deliveries?per_page=1" => Reply::json(
            200,
            json!([{"id": 1, "status": "failed to connect to host", "status_code": 0}]),
        ),
        _ => Reply::json(
            403,
            json!({"message": "Resource not accessible by integration"}),
        ),
    })
}

#[actix_web::test]
async fn an_installation_shows_what_the_app_may_do() {
    let of = async |permissions, suspended_at| {
        let api = granting(permissions, suspended_at);
        let access = as_app(&api).repo_access(&repo("acme/website"), &[]).await;
        assert_eq!(api.lines(), ["GET /api/repos/acme/website/installation"]);
        access.unwrap()
    };
    let full = json!({"contents": "read", "statuses": "write", "metadata": "read"});

    let access = of(full.clone(), None).await;
    assert_eq!(
        (access.read, access.post_statuses),
        (Right::Granted, Right::Granted)
    );
    let access = of(json!({"contents": "read", "statuses": "read"}), None).await;
    assert!(
        matches!(&access.post_statuses, Right::Missing { why, .. } if why.contains("Commit statuses: write"))
    );
    let access = of(full, Some("2026-11-01T00:00:00Z")).await;
    assert!(matches!(&access.read, Right::Missing { why, .. } if why.contains("suspended")));
}

#[actix_web::test]
async fn an_apps_webhook_is_shown_though_the_repositorys_own_may_not_be_seen() {
    let api = granting(json!({}), None);
    let address = url::Url::parse("https://p.example/hooks/github").unwrap();

    let found = as_app(&api)
        .webhooks(&repo("acme/website"), &address)
        .await
        .unwrap();

    let [hook] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(hook.calls(&address) && hook.is_active);
    assert_eq!(
        hook.events,
        [EventKind::Push, EventKind::Signal(SignalKind::Release)]
    );
    assert_eq!(hook.has_secret, Some(true));
    assert_eq!(
        hook.last_delivery,
        LastDelivery::Unanswered("failed to connect to host".to_owned())
    );
}
