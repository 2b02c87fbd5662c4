use serde_json::Value;

use super::*;
use crate::event::{CommitRef, Deployed, GitRef, Signal};

fn understand(event: &str, body: &Value) -> Result<Event, Malformed> {
    let verified = Verified {
        delivery_id: None,
        event: event.to_owned(),
    };
    offline(Trust::Secret(Vec::new())).understand(
        &verified,
        "application/json",
        body.to_string().as_bytes(),
    )
}

fn deployed(event: &str, body: &Value) -> Deployed {
    match understand(event, body) {
        Ok(Event::Deployed(deployed)) => deployed,
        other => panic!("{other:?}"),
    }
}

fn why(event: &str, body: &Value) -> String {
    match understand(event, body) {
        Ok(Event::Other {
            repo: Some(repo),
            why,
        }) => {
            assert_eq!(repo.as_str(), "acme/sites/website");
            why
        }
        other => panic!("{other:?}"),
    }
}

fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn deployment() -> Value {
    json!({
        "object_kind": "deployment",
        "status": "success",
        "deployment_id": 15,
        "environment": "production",
        "ref": "main",
        "short_sha": &id('2').as_str()[..8],
        "commit_url": format!("https://git.example/acme/sites/website/-/commit/{}", id('2')),
        "project": {"path_with_namespace": "acme/sites/website"},
    })
}

fn pipeline() -> Value {
    json!({
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 31, "ref": "main", "tag": false, "sha": id('2').as_str(),
            "before_sha": id('1').as_str(), "status": "success", "source": "push",
        },
        "merge_request": null,
        "project": {"path_with_namespace": "acme/sites/website"},
    })
}

fn release() -> Value {
    json!({
        "object_kind": "release",
        "id": 8,
        "action": "create",
        "tag": "v1.0",
        "commit": {"id": id('2').as_str()},
        "project": {"path_with_namespace": "acme/sites/website"},
    })
}

#[test]
fn a_deployment_takes_its_commit_from_the_end_of_an_address_that_is_never_asked() {
    let whole = deployed("Deployment Hook", &deployment());

    assert_eq!(
        whole,
        Deployed {
            repo: repo("acme/sites/website"),
            repo_id: None,
            signal: Signal::Deployment {
                environment: "production".to_owned()
            },
            id: "15".to_owned(),
            git_ref: Some(GitRef::Other("main".to_owned())),
            commit: CommitRef::Id(id('2')),
        }
    );
    let short = CommitRef::Unresolved("22222222".to_owned());
    for url in [
        json!(null),
        json!("https://git.example/acme"),
        json!(format!("https://git.example/-/commit/{}", id('3'))),
    ] {
        let body = with(&deployment(), "/commit_url", url);
        assert_eq!(deployed("Deployment Hook", &body).commit, short);
    }
    let only_url = with(&deployment(), "/short_sha", json!(null));
    assert_eq!(deployed("Deployment Hook", &only_url), whole);
}

#[test]
fn a_deployment_that_has_not_succeeded_says_what_is_waited_for() {
    for status in ["running", "failed", "canceled", "blocked"] {
        let body = with(&deployment(), "/status", json!(status));

        assert_eq!(
            why("Deployment Hook", &body),
            format!("the deployment to `production` is `{status}`, and `success` is waited for")
        );
    }
    let twice = deployment()
        .to_string()
        .replacen('{', "{\"status\": \"running\",", 1);
    let verified = Verified {
        delivery_id: None,
        event: "Deployment Hook".to_owned(),
    };
    let forge = offline(Trust::Secret(Vec::new()));
    let last = forge.understand(&verified, "application/json", twice.as_bytes());
    assert!(matches!(last, Ok(Event::Deployed(_))), "{last:?}");
    let nowhere = json!({
        "object_kind": "deployment", "status": "running", "project": {"path_with_namespace": "acme/sites/website"},
    });
    assert!(why("Deployment Hook", &nowhere).starts_with("the deployment is `running`"));
}

#[test]
fn a_pipeline_that_ended_says_how_and_on_which_ref() {
    for status in ["success", "failed", "canceled", "skipped"] {
        let body = with(&pipeline(), "/object_attributes/status", json!(status));

        let pipeline = deployed("Pipeline Hook", &body);

        let status = status.to_owned();
        assert_eq!(pipeline.id, format!("31 {status}"));
        assert_eq!(pipeline.signal, Signal::Pipeline { status });
        assert_eq!(pipeline.git_ref, Some(GitRef::Branch("main".to_owned())));
        assert_eq!(pipeline.commit, CommitRef::Id(id('2')));
    }
    let tag = with(&pipeline(), "/object_attributes/tag", json!(true));
    assert_eq!(
        deployed("Pipeline Hook", &tag).git_ref,
        Some(GitRef::Tag("main".to_owned()))
    );
    let merge = with(
        &pipeline(),
        "/object_attributes/ref",
        json!("refs/merge-requests/1/head"),
    );
    assert_eq!(
        deployed("Pipeline Hook", &merge).git_ref,
        Some(GitRef::Other("refs/merge-requests/1/head".to_owned()))
    );
}

#[test]
fn a_pipeline_that_deploys_nothing_says_why() {
    for (pointer, value, words) in [
        (
            "/object_attributes/source",
            json!("external"),
            "only shows commit statuses, such as purgehook's own",
        ),
        (
            "/object_attributes/source",
            json!("parent_pipeline"),
            "a part of another one",
        ),
        (
            "/object_attributes/status",
            json!("running"),
            "is `running`, and its end is waited for",
        ),
        (
            "/merge_request",
            json!({"iid": 1, "source_branch": "main", "target_branch": "main"}),
            "merge request",
        ),
    ] {
        let why = why("Pipeline Hook", &with(&pipeline(), pointer, value));
        assert!(why.contains(words) && why.contains("pipeline 31"), "{why}");
    }
}

#[test]
fn a_release_counts_when_it_is_created() {
    let created = deployed("Release Hook", &release());
    assert_eq!(
        created.signal,
        Signal::Release {
            tag: "v1.0".to_owned()
        }
    );
    assert_eq!(created.commit, CommitRef::Id(id('2')));
    assert_eq!(created.git_ref, Some(GitRef::Tag("v1.0".to_owned())));

    let no_commit = with(&release(), "/commit", Value::Null);
    assert_eq!(
        deployed("Release Hook", &no_commit).commit,
        CommitRef::Unresolved("v1.0".to_owned())
    );
    for action in ["update", "delete"] {
        let why = why("Release Hook", &with(&release(), "/action", json!(action)));
        assert!(why.contains(action) && why.contains("`v1.0`"), "{why}");
    }
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    for (event, body, field) in [
        (
            "Deployment Hook",
            with(&deployment(), "/object_kind", json!("push")),
            "object_kind",
        ),
        (
            "Deployment Hook",
            with(&deployment(), "/environment", Value::Null),
            "environment",
        ),
        (
            "Deployment Hook",
            with(
                &with(&deployment(), "/commit_url", Value::Null),
                "/short_sha",
                json!("main~1"),
            ),
            "short_sha",
        ),
        (
            "Pipeline Hook",
            with(&pipeline(), "/object_attributes/sha", json!("1a2b")),
            "object_attributes.sha",
        ),
        (
            "Pipeline Hook",
            with(&pipeline(), "/object_attributes/ref", json!("")),
            "object_attributes.ref",
        ),
        (
            "Release Hook",
            with(&release(), "/tag", json!("v1:x")),
            "tag",
        ),
        ("Release Hook", json!({"text": "v1"}), "custom template"),
    ] {
        let Malformed(message) = understand(event, &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
}
