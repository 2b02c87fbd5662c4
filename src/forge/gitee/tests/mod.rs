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
    Gitee::new(settings, &scripted::outside())
}

/// A Gitee that nothing will be asked of.
fn offline(mode: Mode, secrets: Vec<SecretString>) -> Gitee {
    let settings = Settings {
        secrets,
        mode,
        token: None,
        api_url: Url::parse(API_URL).unwrap(),
    };
    Gitee::new(settings, unplugged())
}

#[actix_web::test]
async fn no_status_is_tried_and_the_reason_is_said() {
    let api = Scripted::new(|_| Reply::json(201, json!({})));
    let status = StatusPost {
        state: StatusState::Success,
        context: "cdn/purge".to_owned(),
        description: "done".to_owned(),
        target_url: None,
        ref_name: "main".to_owned(),
    };

    let error = gitee(&api.url, Some("t"))
        .post_status(&repo("acme/website"), &id('2'), &status)
        .await
        .unwrap_err();

    assert!(matches!(&error, ForgeError::Refused(m) if m.contains("no commit statuses")));
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
    assert!(matches!(error_of(said(401)).await, ForgeError::Refused(_)));
    let scope = error_of(said(403)).await;
    assert!(matches!(&scope, ForgeError::Refused(m) if m.contains("`projects`")));
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
fn what_an_entry_needs_and_what_it_cannot_do_is_said() {
    let read_yaml = |yaml: &str| read_entry(yaml, |s| read(s, unplugged()).is_some());

    for yaml in ["{secrets: [k]}", "{secrets: [k], mode: password, token: t}"] {
        let (good, problems) = read_yaml(yaml);
        assert!(
            good && problems.contains("no commit statuses"),
            "{problems}"
        );
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
