use serde_json::Value;

use super::*;
use crate::event::{CommitRef, Deployed, GitRef, Signal};

fn understand(event: &str, body: &Value) -> Result<Event, Malformed> {
    let verified = Verified {
        delivery_id: None,
        event: event.to_owned(),
    };
    offline(Vec::new()).understand(&verified, payload::JSON, body.to_string().as_bytes())
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
            assert_eq!(repo.as_str(), "acme/website");
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

fn deployment_status() -> Value {
    json!({
        "action": "created",
        "deployment_status": {"id": 9, "state": "success", "environment": "production"},
        "deployment": {"id": 7, "sha": id('2').as_str(), "ref": "main", "environment": "production"},
        "repository": {"full_name": "acme/website"},
    })
}

fn workflow_run() -> Value {
    json!({
        "action": "completed",
        "workflow_run": {
            "id": 5, "run_attempt": 2, "path": ".github/workflows/deploy.yml", "event": "push",
            "status": "completed", "conclusion": "success", "head_branch": "main", "head_sha": id('2').as_str(),
        },
        "repository": {"full_name": "acme/website"},
    })
}

fn page_build() -> Value {
    json!({
        "id": 3,
        "build": {"status": "built", "commit": id('2').as_str(), "error": {"message": null}},
        "repository": {"full_name": "acme/website"},
    })
}

fn release() -> Value {
    json!({
        "action": "published",
        "release": {"id": 4, "tag_name": "v1.0", "target_commitish": "main", "draft": false, "prerelease": false},
        "repository": {"full_name": "acme/website"},
    })
}

#[test]
fn a_deployment_that_succeeded_names_its_environment_and_commit() {
    let expected = Deployed {
        repo: repo("acme/website"),
        repo_id: None,
        signal: Signal::Deployment {
            environment: "production".to_owned(),
        },
        id: "7/9".to_owned(),
        git_ref: Some(GitRef::Other("main".to_owned())),
        commit: CommitRef::Id(id('2')),
    };
    assert_eq!(
        deployed("deployment_status", &deployment_status()),
        expected
    );

    let mut old_sender = deployment_status();
    let status = old_sender["deployment_status"].as_object_mut().unwrap();
    status.remove("environment");
    assert_eq!(deployed("deployment_status", &old_sender), expected);
}

#[test]
fn a_deployment_of_a_bare_commit_has_no_ref() {
    let body = with(
        &deployment_status(),
        "/deployment/ref",
        json!(id('2').as_str()),
    );

    assert_eq!(deployed("deployment_status", &body).git_ref, None);
}

#[test]
fn a_deployment_that_has_not_succeeded_says_what_is_waited_for() {
    for state in [
        "pending",
        "queued",
        "in_progress",
        "failure",
        "error",
        "inactive",
    ] {
        let body = with(
            &deployment_status(),
            "/deployment_status/state",
            json!(state),
        );

        assert_eq!(
            why("deployment_status", &body),
            format!("the deployment to `production` is `{state}`, and `success` is waited for")
        );
    }
    let asked = json!({"deployment": {}, "repository": {"full_name": "acme/website"}});
    assert!(why("deployment", &asked).contains("deployment_status"));
}

#[test]
fn a_workflow_that_succeeded_is_named_by_its_file() {
    let expected = Deployed {
        repo: repo("acme/website"),
        repo_id: None,
        signal: Signal::Workflow {
            file: "deploy.yml".to_owned(),
        },
        id: "5/2".to_owned(),
        git_ref: Some(GitRef::Branch("main".to_owned())),
        commit: CommitRef::Id(id('2')),
    };
    for path in [
        ".github/workflows/deploy.yml",
        "acme/shared/.github/workflows/deploy.yml@refs/heads/main",
        "deploy.yml",
    ] {
        let body = with(&workflow_run(), "/workflow_run/path", json!(path));
        assert_eq!(deployed("workflow_run", &body), expected);
    }
    let no_branch = with(&workflow_run(), "/workflow_run/head_branch", Value::Null);
    assert_eq!(deployed("workflow_run", &no_branch).git_ref, None);
}

#[test]
fn a_workflow_that_deployed_nothing_says_why() {
    let run = workflow_run();
    for (body, words) in [
        (with(&run, "/action", json!("requested")), "not done"),
        (
            with(
                &with(&run, "/action", json!("in_progress")),
                "/workflow_run/status",
                json!("in_progress"),
            ),
            "`in_progress`",
        ),
        (
            with(&run, "/workflow_run/status", json!("queued")),
            "`queued`",
        ),
        (
            with(&run, "/workflow_run/conclusion", json!("failure")),
            "ended with `failure`",
        ),
        (
            with(&run, "/workflow_run/conclusion", Value::Null),
            "ended with `unknown`",
        ),
        (
            with(&run, "/workflow_run/event", json!("pull_request")),
            "pull request",
        ),
        (
            with(&run, "/workflow_run/event", json!("pull_request_target")),
            "pull request",
        ),
    ] {
        let why = why("workflow_run", &body);
        assert!(why.contains(words) && why.contains("deploy.yml"), "{why}");
    }
}

#[test]
fn a_build_of_pages_counts_when_it_is_built() {
    let build = deployed("page_build", &page_build());
    assert_eq!(build.signal, Signal::PageBuild);
    assert_eq!((build.id.as_str(), build.git_ref), ("3", None));
    assert_eq!(build.commit, CommitRef::Id(id('2')));

    let broken = with(&page_build(), "/build/status", json!("errored"));
    assert_eq!(
        why("page_build", &broken),
        "the build of GitHub Pages is `errored`, and `built` is waited for"
    );
}

#[test]
fn a_release_is_published_once_however_often_it_is_told() {
    let published = deployed("release", &release());
    let released = deployed("release", &with(&release(), "/action", json!("released")));

    assert_eq!(published.dedup_key(), released.dedup_key());
    assert_eq!(published.commit, CommitRef::Unresolved("v1.0".to_owned()));
    assert_eq!(published.git_ref, Some(GitRef::Tag("v1.0".to_owned())));
    for (body, words) in [
        (with(&release(), "/action", json!("created")), "is created"),
        (with(&release(), "/action", json!("deleted")), "is deleted"),
        (with(&release(), "/release/draft", json!(true)), "a draft"),
    ] {
        let why = why("release", &body);
        assert!(why.contains(words) && why.contains("`v1.0`"), "{why}");
    }
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    let status = deployment_status();
    let run = workflow_run();
    for (event, body, field) in [
        (
            "deployment_status",
            with(&status, "/deployment/sha", json!("main")),
            "deployment.sha",
        ),
        (
            "deployment_status",
            with(&status, "/deployment", json!([])),
            "deployment",
        ),
        (
            "deployment_status",
            with(&status, "/deployment/environment", json!("a\u{7}")),
            "deployment.environment",
        ),
        (
            "workflow_run",
            with(&run, "/workflow_run/path", json!("")),
            "workflow_run.path",
        ),
        (
            "workflow_run",
            with(&run, "/workflow_run/head_sha", json!("0".repeat(39))),
            "workflow_run.head_sha",
        ),
        (
            "workflow_run",
            with(&run, "/workflow_run/head_branch", json!("a..b")),
            "workflow_run.head_branch",
        ),
        ("page_build", with(&page_build(), "/id", json!("x")), "id"),
        (
            "page_build",
            with(&page_build(), "/build/commit", Value::Null),
            "build.commit",
        ),
        (
            "release",
            with(&release(), "/release/tag_name", json!("v1^{}")),
            "release.tag_name",
        ),
        (
            "release",
            with(&release(), "/repository/full_name", json!("x")),
            "repository.full_name",
        ),
    ] {
        let Malformed(message) = understand(event, &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
}
