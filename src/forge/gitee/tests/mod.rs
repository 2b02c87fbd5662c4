use serde_json::json;

use super::*;
use crate::forge::scripted::{self, NOW, Reply, Scripted, id, read_entry, repo, unplugged};
use crate::run::StatusState;

mod changes;
mod payloads;
mod signatures;

fn gitee(api_url: &Url, token: Option<&str>) -> Gitee {
    let settings = Settings {
        secrets: vec!["a key".to_owned().into()],
        mode: Mode::Sign,
        token: token.map(|token| token.to_owned().into()),
        api_url: api_url.clone(),
    };
    Gitee::new(settings, &scripted::outbound())
}

/// A Gitee that nothing will be asked of.
fn offline(mode: Mode, secrets: Vec<SecretString>) -> Gitee {
    let settings = Settings {
        secrets,
        mode,
        token: None,
        api_url: Url::parse("https://gitee.com/api/v5").unwrap(),
    };
    Gitee::new(settings, unplugged())
}

fn check(state: StatusState) -> StatusPost {
    StatusPost {
        state,
        context: "cdn/purge".to_owned(),
        description: "Purged 2 URLs".to_owned(),
        target_url: Some("https://purge.example.com/runs/1".to_owned()),
        ref_name: "main".to_owned(),
        pending_before: 0,
    }
}

/// What is posted where the commit has these checks: the method and path, and the form.
async fn posted(state: StatusState, checks: serde_json::Value) -> (String, String) {
    let api = Scripted::new(move |asked| match asked.method.as_str() {
        "GET" => Reply::json(200, checks.clone()),
        _ => Reply::json(201, json!({"id": 9})),
    });

    let result = gitee(&api.url, Some("t"))
        .post_status(&repo("acme/website"), &id('2'), &check(state))
        .await;

    result.unwrap();
    let asked = api.asked();
    assert_eq!(
        asked[0].target,
        format!(
            "/api/repos/acme/website/commits/{}/check-runs?check_name=cdn%2Fpurge&per_page=100",
            id('2').as_str()
        )
    );
    let last = &asked[1];
    assert_eq!(
        last.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    (
        format!("{} {}", last.method, last.target),
        last.body.clone(),
    )
}

#[actix_web::test]
async fn a_status_is_a_check_on_the_commit() {
    let none = json!({"total_count": 0, "check_runs": []});

    let (call, form) = posted(StatusState::Pending, none).await;

    assert_eq!(call, "POST /api/repos/acme/website/check-runs");
    assert_eq!(
        form,
        format!(
            "name=cdn%2Fpurge&head_sha={}&status=in_progress\
            &details_url=https%3A%2F%2Fpurge.example.com%2Fruns%2F1\
            &output%5Btitle%5D=Purged+2+URLs&output%5Bsummary%5D=Purged+2+URLs",
            id('2').as_str()
        )
    );
}

#[actix_web::test]
async fn a_check_without_a_conclusion_goes_on_and_one_with_it_is_followed_by_another() {
    let task =
        |id: u64, name: &str, status: &str| json!({"id": id, "name": name, "status": status});
    let done = task(7, "cdn/purge", "completed");
    let open = task(8, "cdn/purge", "in_progress");
    let other = task(6, "build", "in_progress");

    let (call, form) = posted(
        StatusState::Success,
        json!({"check_runs": [other, done, open]}),
    )
    .await;
    assert_eq!(call, "PATCH /api/repos/acme/website/check-runs/8");
    assert!(
        form.contains("&status=completed&conclusion=success&"),
        "{form}"
    );

    let (call, form) = posted(StatusState::Error, json!([other, done])).await;
    assert_eq!(call, "POST /api/repos/acme/website/check-runs");
    assert!(
        form.contains("&status=completed&conclusion=failure&"),
        "{form}"
    );
}

#[actix_web::test]
async fn no_check_is_tried_without_a_token() {
    let api = Scripted::new(|_| Reply::json(201, json!({})));

    let error = gitee(&api.url, None)
        .post_status(
            &repo("acme/website"),
            &id('2'),
            &check(StatusState::Success),
        )
        .await
        .unwrap_err();

    assert!(matches!(&error, ForgeError::Refused(m) if m.contains("without a `token`")));
    assert!(api.asked().is_empty());
}

#[actix_web::test]
async fn errors_say_what_to_do_about_them() {
    let error_of = async |reply: Reply| {
        let api = Scripted::new(move |_| reply.clone());
        let changes = gitee(&api.url, None)
            .changes(&repo("acme/website"), &id('1'), &id('2'))
            .await;
        changes.unwrap_err()
    };
    let said = |status| Reply::json(status, json!({"message": "some words"}));

    assert!(matches!(error_of(said(404)).await, ForgeError::Gone(_)));
    assert!(matches!(
        error_of(said(401)).await,
        ForgeError::Denied {
            denial: Denial::Token,
            ..
        }
    ));
    let scope = error_of(said(403)).await;
    assert!(
        matches!(&scope, ForgeError::Denied { denial: Denial::Permission, message: m } if m.contains("`projects`"))
    );
    let limited = said(403)
        .with("x-ratelimit-remaining", 0)
        .with("x-ratelimit-reset", NOW + 30);
    let limited = error_of(limited).await;
    assert!(matches!(limited, ForgeError::Later { retry_after: Some(w), .. } if w.as_secs() == 30));
}

#[actix_web::test]
async fn a_name_stands_for_a_commit_and_the_token_is_in_no_address() {
    let api = Scripted::new(|asked| match asked.target.as_str() {
        "/api/repos/acme/website/commits/v1" => Reply::json(200, json!({"sha": id('1').as_str()})),
        _ => Reply::json(404, json!({"message": "Not Found Commit"})),
    });
    let gitee = gitee(&api.url, Some("made-up"));

    let found = gitee.resolve(&repo("acme/website"), "v1").await;
    let lost = gitee.resolve(&repo("acme/website"), "v2").await;

    assert_eq!(found.unwrap(), id('1'));
    assert!(matches!(lost, Err(ForgeError::Gone(_))));
    assert_eq!(api.asked()[0].headers["authorization"], "Bearer made-up");
}

#[test]
fn what_an_entry_needs_is_said() {
    let read_yaml = |yaml: &str| read_entry(yaml, |s| read(s, unplugged()).is_some());

    for yaml in [
        "{secrets: [a-secret-of-the-tests]}",
        "{secrets: [a-secret-of-the-tests], mode: password, token: t}",
    ] {
        let (good, problems) = read_yaml(yaml);
        assert!(good && problems.is_empty(), "{problems}");
    }
    for (yaml, words) in [
        ("{token: t}", "`secrets` is missing"),
        ("{secrets: [k], mode: passwd}", "`mode` cannot be `passwd`"),
        ("{secrets: [k], signing: x}", "signing"),
    ] {
        let (_, problems) = read_yaml(yaml);
        assert!(problems.contains(words), "{problems} for {yaml}");
    }
}
