use serde_json::json;

use super::*;
use crate::forge::scripted::{self, Reply, Scripted, id, read_entry, repo, unplugged};
use crate::run::StatusState;

mod changes;
mod payloads;
mod signatures;

fn gitea(api_url: &Url, token: Option<&str>) -> Gitea {
    let settings = Settings {
        secrets: vec!["a secret".to_owned().into()],
        token: token.map(|token| token.to_owned().into()),
        api_url: api_url.clone(),
    };
    Gitea::new(settings, &scripted::outbound())
}

/// A Gitea that nothing will be asked of.
fn offline(secrets: Vec<SecretString>) -> Gitea {
    let settings = Settings {
        secrets,
        token: None,
        api_url: Url::parse("http://127.0.0.1:1/api/v1").unwrap(),
    };
    Gitea::new(settings, unplugged())
}

fn status(state: StatusState) -> StatusPost {
    StatusPost {
        state,
        context: "cdn/purge".to_owned(),
        description: "é".repeat(300),
        target_url: Some("https://purge.example.com/runs/1".to_owned()),
        ref_name: "main".to_owned(),
        pending_before: 0,
    }
}

#[actix_web::test]
async fn a_status_goes_to_the_commit_with_the_token() {
    let api = Scripted::new(|_| Reply::json(201, json!({"id": 1})));

    gitea(&api.url, Some("made-up"))
        .post_status(
            &repo("acme/website"),
            &id('2'),
            &status(StatusState::Failure),
        )
        .await
        .unwrap();

    let asked = &api.asked()[0];
    assert_eq!(
        asked.target,
        format!("/api/repos/acme/website/statuses/{}", id('2'))
    );
    assert_eq!(asked.headers["authorization"], "token made-up");
    let body = asked.json();
    assert_eq!(body["state"], "failure");
    assert_eq!(body["context"], "cdn/purge");
    assert_eq!(body["target_url"], "https://purge.example.com/runs/1");
    let description = body["description"].as_str().unwrap();
    assert_eq!(description.chars().count(), MAX_DESCRIPTION);
}

#[actix_web::test]
async fn without_a_token_no_status_is_tried() {
    let api = Scripted::new(|_| Reply::json(201, json!({})));

    let error = gitea(&api.url, None)
        .post_status(
            &repo("acme/website"),
            &id('2'),
            &status(StatusState::Success),
        )
        .await
        .unwrap_err();

    assert!(matches!(error, ForgeError::Refused(_)));
    assert!(api.asked().is_empty());
}

#[actix_web::test]
async fn errors_say_what_to_do_about_them() {
    let error_of = async |status, words: &str| {
        let body = json!({"message": words, "url": "https://gitea.example/api/swagger"});
        let api = Scripted::new(move |_| Reply::json(status, body.clone()));
        let changes = gitea(&api.url, None)
            .changes(&repo("acme/website"), &id('1'), &id('2'))
            .await;
        changes.unwrap_err()
    };

    assert!(matches!(
        error_of(400, "sha not found [1111]").await,
        ForgeError::Gone(_)
    ));
    assert!(matches!(error_of(404, "").await, ForgeError::Gone(_)));
    let scope = error_of(403, "token does not have at least one of required scope(s)").await;
    assert!(
        matches!(&scope, ForgeError::Denied { denial: Denial::Permission, message: m } if m.contains("`write:repository`"))
    );
    assert!(matches!(
        error_of(401, "").await,
        ForgeError::Denied {
            denial: Denial::Token,
            ..
        }
    ));
    assert!(matches!(error_of(502, "").await, ForgeError::Later { .. }));
}

#[actix_web::test]
async fn a_name_stands_for_a_commit() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/repos/acme/website/git/commits/v1?stat=false" => {
            Reply::json(200, json!({"sha": id('1').as_str()}))
        }
        _ => Reply::json(404, json!({"message": "not found"})),
    });
    let gitea = gitea(&api.url, None);

    let found = gitea.resolve(&repo("acme/website"), "v1").await;
    let lost = gitea.resolve(&repo("acme/website"), "v2").await;

    assert_eq!(found.unwrap(), id('1'));
    assert!(matches!(lost, Err(ForgeError::Gone(_))));
}

#[test]
fn what_is_wrong_with_an_entry_is_said() {
    let read_yaml = |yaml: &str| read_entry(yaml, |s| read(s, unplugged()).is_some());
    let api = "api_url: https://git.example/api/v1";

    assert_eq!(
        read_yaml(&format!(
            "{{secrets: [a-secret-of-the-tests], token: t, {api}}}"
        )),
        (true, String::new())
    );
    for (yaml, words) in [
        (
            format!("{{secrets: [s], {api}}}"),
            "no status can be posted",
        ),
        (format!("{{token: t, {api}}}"), "`secrets` is missing"),
        (
            "{secrets: [s], token: t}".to_owned(),
            "`api_url` is missing",
        ),
        (format!("{{secrets: [s], app: x, {api}}}"), "app"),
    ] {
        let (_, problems) = read_yaml(&yaml);
        assert!(problems.contains(words), "{problems} for {yaml}");
    }
}
