use serde_json::json;

use super::*;
use crate::forge::scripted::{self, Reply, Scripted, id, repo};

mod changes;
mod deployed;
mod payloads;
mod resolve;
mod settings;
mod signatures;
mod statuses;

fn gitlab(api_url: &Url) -> GitLab {
    let settings = Settings {
        trust: Trust::Secret(vec!["a secret".to_owned().into()]),
        token: Some("glpat-made-up".to_owned().into()),
        api_url: api_url.clone(),
    };
    GitLab::new(settings, &scripted::outbound())
}

/// A GitLab that nothing will be asked of.
fn offline(trust: Trust) -> GitLab {
    let settings = Settings {
        trust,
        token: None,
        api_url: Url::parse("https://gitlab.com/api/v4").unwrap(),
    };
    GitLab::new(settings, scripted::unplugged())
}

#[actix_web::test]
async fn errors_say_what_to_do_about_them() {
    let error_of = async |reply: Reply| {
        let api = Scripted::new(move |_| reply.clone());
        let changes = gitlab(&api.url)
            .changes(&repo("acme/website"), &id('1'), &id('2'))
            .await;
        changes.unwrap_err()
    };

    let limited = error_of(Reply::text(429, "Retry later\n").with("retry-after", 12)).await;
    assert!(
        matches!(&limited, ForgeError::Later { message, retry_after: Some(wait), .. }
            if wait.as_secs() == 12 && message.contains("Retry later")),
        "{limited}"
    );
    let reset = Reply::text(429, "")
        .with("ratelimit-remaining", 0)
        .with("ratelimit-reset", scripted::NOW + 30);
    let reset = error_of(reset).await;
    assert!(matches!(reset, ForgeError::Later { retry_after: Some(w), .. } if w.as_secs() == 30));
    let scope = json!({"error": "insufficient_scope", "error_description": "needs more"});
    let scope = error_of(Reply::json(403, scope)).await;
    assert!(
        matches!(&scope, ForgeError::Denied { denial: Denial::Permission, message: m } if m.contains("insufficient_scope") && m.contains("`api`"))
    );
    let unauthorised = error_of(Reply::json(401, json!({"message": "401 Unauthorized"}))).await;
    assert!(matches!(
        unauthorised,
        ForgeError::Denied {
            denial: Denial::Token,
            ..
        }
    ));
    let moved = error_of(Reply::text(302, "").with("location", "/users/sign_in")).await;
    assert!(matches!(
        moved,
        ForgeError::Denied {
            denial: Denial::Repository,
            ..
        }
    ));
    let missing = error_of(Reply::json(
        404,
        json!({"message": "404 Project Not Found"}),
    ))
    .await;
    assert!(matches!(missing, ForgeError::Gone(_)));
    for status in [409, 500, 502, 503] {
        let error = error_of(Reply::text(status, "")).await;
        assert!(matches!(error, ForgeError::Later { .. }), "{error}");
    }
}

#[actix_web::test]
async fn a_project_is_one_segment_of_the_address_and_the_token_a_header() {
    let api = Scripted::new(|_| Reply::text(500, ""));

    let _ = gitlab(&api.url)
        .changes(&repo("acme/sites/website"), &id('1'), &id('2'))
        .await;

    let asked = &api.asked()[0];
    assert_eq!(
        asked.target,
        format!(
            "/api/projects/acme%2Fsites%2Fwebsite/repository/compare?from={}&to={}&straight=true",
            id('1'),
            id('2')
        )
    );
    assert_eq!(asked.headers["private-token"], "glpat-made-up");
}
