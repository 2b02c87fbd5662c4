//! Tests read access with a read token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const READ_TOKEN: &str = "a token for who reads";

/// A server that asks for the read token.
async fn closed() -> Server {
    Server::start_as(Setup {
        rules: RULES.replace(
            "  admin_token:",
            &format!("  read_token: {READ_TOKEN}\n  admin_token:"),
        ),
        ..Setup::default()
    })
    .await
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("anybody:{password}")))
}

#[tokio::test]
async fn with_a_read_token_pages_api_and_metrics_ask_for_it() {
    let server = closed().await;
    let run = server.run("main").await;
    let page = format!("/runs/{}", run.id);
    let api = format!("/api/v1/runs/{}", run.id);

    for path in ["/", &page, "/api/v1/runs", &api, "/metrics"] {
        for (authorization, expected) in [
            (None, 401),
            (Some("Bearer".to_owned()), 401),
            (Some(format!("Bearer {READ_TOKEN}")), 200),
            (Some(format!("Bearer {ADMIN_TOKEN}")), 200),
            (Some(basic(READ_TOKEN)), 200),
        ] {
            let mut request = server.get(path);
            if let Some(value) = &authorization {
                request = request.header("authorization", value);
            }
            let answer = request.send().await.unwrap();

            assert_eq!(answer.status(), expected, "{path} {authorization:?}");
            let asks: Vec<_> = answer
                .headers()
                .get_all("www-authenticate")
                .iter()
                .collect();
            assert_eq!(asks.len(), if expected == 401 { 2 } else { 0 }, "{path}");
            let text = answer.text().await.unwrap();
            assert!(expected == 200 || !text.contains("acme"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn with_a_read_token_webhooks_and_health_are_open_and_name_nothing() {
    let server = closed().await;

    let pushed = server.hook("main").send().await.unwrap();
    assert_eq!(pushed.status(), 202);
    for path in ["/healthz", "/readyz", "/assets/style.css"] {
        let answer = server.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        assert!(
            !text.contains("www") && !text.contains("acme"),
            "{path}: {text}"
        );
    }
    // The token to read opens no action.
    let run = server.run("other").await;
    let path = format!("/api/v1/runs/{}/retry", run.id);
    let asked = server.request(Method::POST, &path);
    let asked = asked.header("authorization", format!("Bearer {READ_TOKEN}"));
    assert_eq!(asked.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn who_guesses_the_read_token_is_slowed_down() {
    let server = closed().await;
    let ask = async |token: &str| {
        let asked = server.get("/metrics").header("authorization", basic(token));
        asked.send().await.unwrap().status().as_u16()
    };

    let mut statuses = Vec::new();
    for n in 0..12 {
        statuses.push(ask(&format!("guess {n}")).await);
    }

    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    assert_eq!(ask(READ_TOKEN).await, 429, "it is not looked at");
    // Who sends none only has to send one.
    let answer = server.get("/").send().await.unwrap();
    assert_eq!(answer.status(), 401);
}
