use serde_json::json;

use super::*;
use crate::forge::scripted::{self, Reply, Scripted, id, repo};

mod app;
mod changes;
mod deployed;
mod log;
mod payloads;
mod resolve;
mod settings;
mod signatures;
mod statuses;

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().map(|s| (*s).to_owned().into()).collect()
}

/// A GitHub with a token, whose API is elsewhere.
fn github(api_url: &Url) -> GitHub {
    with_access(api_url, Access::Token("ghp_made-up".to_owned().into()))
}

fn with_access(api_url: &Url, access: Access) -> GitHub {
    let settings = Settings {
        secrets: secrets(&["a secret"]),
        access,
        api_url: api_url.clone(),
    };
    GitHub::new(settings, &scripted::outbound())
}

/// A GitHub that nothing will be asked of.
fn offline(secrets: Vec<SecretString>) -> GitHub {
    let settings = Settings {
        secrets,
        access: Access::Anonymous,
        api_url: Url::parse("https://api.github.com").unwrap(),
    };
    GitHub::new(settings, scripted::unplugged())
}

async fn error_of(reply: Reply) -> ForgeError {
    let api = Scripted::new(move |_| reply.clone());
    let changes = github(&api.url)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await;
    changes.unwrap_err()
}

#[actix_web::test]
async fn errors_say_what_to_do_about_them() {
    let said = json!({"message": "Some words"});
    let reply = |status| Reply::json(status, said.clone());

    for status in [500, 502, 503] {
        let error = error_of(reply(status)).await;
        assert!(
            matches!(
                error,
                ForgeError::Later {
                    retry_after: None,
                    ..
                }
            ),
            "{error}"
        );
    }
    let moved = error_of(reply(301).with("location", "http://elsewhere.example")).await;
    assert!(
        matches!(&moved, ForgeError::Denied { denial: Denial::Repository, message } if message.contains("to http://elsewhere.example: update `repo:`")),
        "{moved}"
    );
    let unauthorised = error_of(reply(401)).await;
    assert!(
        matches!(&unauthorised, ForgeError::Denied { denial: Denial::Token, message } if message.contains("Some words"))
    );
    let forbidden = reply(403).with("x-accepted-github-permissions", "contents=read");
    let forbidden = error_of(forbidden).await;
    assert!(
        matches!(&forbidden, ForgeError::Denied { denial: Denial::Permission, message } if message.contains("contents=read"))
    );
    let missing = error_of(reply(404)).await;
    assert!(matches!(missing, ForgeError::Gone(_)));
    let nonsense = error_of(Reply::text(200, "<html>")).await;
    assert!(matches!(nonsense, ForgeError::Later { .. }));
}

#[actix_web::test]
async fn a_rate_limit_says_how_long_to_wait() {
    let limited = |status| Reply::json(status, json!({"message": "API rate limit exceeded"}));
    let reset = scripted::NOW + 90;
    let cases = [
        (limited(429), 60),
        (limited(403), 60),
        (limited(403).with("retry-after", 7), 7),
        (
            limited(429)
                .with("x-ratelimit-remaining", 0)
                .with("x-ratelimit-reset", reset),
            90,
        ),
        (
            limited(403)
                .with("x-ratelimit-remaining", 0)
                .with("x-ratelimit-reset", 5),
            1,
        ),
        (
            limited(429)
                .with("x-ratelimit-remaining", 3)
                .with("x-ratelimit-reset", reset),
            60,
        ),
        (limited(429).with("retry-after", u64::MAX), 60 * 60),
        (limited(429).with("retry-after", "soon"), 60),
    ];
    for (reply, seconds) in cases {
        let error = error_of(reply.clone()).await;
        let ForgeError::Later { retry_after, .. } = error else {
            panic!("{error} for {reply:?}");
        };
        assert_eq!(retry_after.unwrap().as_secs(), seconds, "{reply:?}");
    }
}

#[actix_web::test]
async fn a_forge_that_hangs_up_is_asked_again_later() {
    let api = Url::parse("http://127.0.0.1:1/").unwrap();

    let error = github(&api)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
        .unwrap_err();

    assert!(
        matches!(
            error,
            ForgeError::Later {
                retry_after: None,
                ..
            }
        ),
        "{error}"
    );
}

#[actix_web::test]
async fn requests_carry_what_github_asks_for_under_the_configured_base() {
    let api = Scripted::new(|_| Reply::text(500, ""));
    let base = Url::parse(&format!("{}/v3/", api.url)).unwrap();

    let _ = github(&base)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await;

    let asked = &api.asked()[0];
    assert_eq!(
        asked.target,
        format!(
            "/api/v3/repos/acme/website/compare/{}...{}",
            id('1'),
            id('2')
        )
    );
    assert_eq!(asked.headers["authorization"], "Bearer ghp_made-up");
    assert_eq!(asked.headers["accept"], "application/vnd.github+json");
    assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
    assert!(asked.headers["user-agent"].starts_with("purgehook/"));
}
