use super::*;
use crate::run::StatusState;

fn status(state: StatusState, description: &str) -> StatusPost {
    StatusPost {
        state,
        context: "cdn/purge".to_owned(),
        description: description.to_owned(),
        target_url: Some("https://purge.example.com/runs/1".to_owned()),
        ref_name: "main".to_owned(),
        pending_before: 0,
    }
}

async fn post(api: &Scripted, status: &StatusPost) -> Result<PostOutcome, ForgeError> {
    github(&api.url)
        .post_status(&repo("acme/website"), &id('2'), status)
        .await
}

#[actix_web::test]
async fn a_status_goes_to_the_commit() {
    let api = Scripted::new(|_| Reply::json(201, json!({"id": 1})));
    let mut status = status(StatusState::Error, "No rules");

    post(&api, &status).await.unwrap();
    status.target_url = None;
    post(&api, &status).await.unwrap();

    let asked = api.asked();
    assert_eq!(
        asked[0].target,
        format!("/api/repos/acme/website/statuses/{}", id('2'))
    );
    assert_eq!(asked[0].method, "POST");
    assert_eq!(
        asked[0].json(),
        json!({
            "state": "error",
            "context": "cdn/purge",
            "description": "No rules",
            "target_url": "https://purge.example.com/runs/1",
        })
    );
    assert!(asked[1].json().get("target_url").is_none());
}

#[actix_web::test]
async fn a_page_of_a_proxy_in_between_is_no_posted_status() {
    for page in ["<!doctype html><title>Log in</title>", "{}", ""] {
        let api = Scripted::new(move |_| Reply::text(200, page));

        let posted = post(&api, &status(StatusState::Success, "Purged")).await;

        assert!(matches!(posted, Err(ForgeError::Later { .. })), "{page}");
    }
}

#[actix_web::test]
async fn a_description_is_cut_to_140_characters() {
    let api = Scripted::new(|_| Reply::json(201, json!({"id": 1})));
    for (long, kept) in [
        ("é".repeat(140), 140),
        ("é".repeat(141), 140),
        (String::new(), 0),
    ] {
        post(&api, &status(StatusState::Success, &long))
            .await
            .unwrap();

        let sent = api.asked().last().unwrap().json();
        let sent = sent["description"].as_str().unwrap().to_owned();
        assert_eq!(sent.chars().count(), kept);
        assert_eq!(sent.ends_with('…'), long.chars().count() > 140);
    }
}

#[actix_web::test]
async fn both_shapes_of_a_validation_error_are_read() {
    let list = json!({"message": "Validation Failed", "errors": [
        {"resource": "Status", "code": "custom", "message": "This SHA and context has reached the maximum number of statuses."},
    ]});
    let text = json!({"message": "Validation Failed", "status": "422",
        "errors": "Validation failed: Description is too long (maximum is 140 characters)"});
    for (body, words) in [(list, "maximum number"), (text, "too long")] {
        let api = Scripted::new(move |_| Reply::json(422, body.clone()));

        let error = post(&api, &status(StatusState::Success, "done"))
            .await
            .unwrap_err();

        assert!(
            matches!(&error, ForgeError::Refused(m) if m.contains(words)),
            "{error}"
        );
    }
}

#[actix_web::test]
async fn a_commit_that_is_not_there_is_gone() {
    let words = "No commit found for SHA: 2222222222222222222222222222222222222222";
    let api = Scripted::new(move |_| Reply::json(422, json!({"message": words})));

    let error = post(&api, &status(StatusState::Success, "done"))
        .await
        .unwrap_err();

    assert!(matches!(error, ForgeError::Gone(_)), "{error}");
}

#[actix_web::test]
async fn without_a_token_no_status_is_tried() {
    let api = Scripted::new(|_| Reply::json(201, json!({})));

    let error = with_access(&api.url, Access::Anonymous)
        .post_status(
            &repo("acme/website"),
            &id('2'),
            &status(StatusState::Success, "done"),
        )
        .await
        .unwrap_err();

    assert!(matches!(error, ForgeError::Refused(_)));
    assert!(api.asked().is_empty());
}
