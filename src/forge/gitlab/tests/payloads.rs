use serde_json::Value;

use super::*;
use crate::event::{GitRef, Push};

const ZERO: &str = "0000000000000000000000000000000000000000";

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

fn push(event: &str, body: &Value) -> Push {
    match understand(event, body) {
        Ok(Event::Push(push)) => push,
        other => panic!("{other:?}"),
    }
}

fn one_commit() -> Value {
    json!({
        "object_kind": "push",
        "event_name": "push",
        "before": id('1').as_str(),
        "after": id('2').as_str(),
        "ref": "refs/heads/main",
        "checkout_sha": id('2').as_str(),
        "project_id": 7,
        "project": {"id": 7, "path_with_namespace": "acme/sites/website"},
        "commits": [{"id": id('2').as_str(), "added": [], "modified": ["a"], "removed": []}],
        "total_commits_count": 1,
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = one_commit();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn why(push: &Push) -> &str {
    match &push.listed {
        ChangeSet::Unknown { why } => why,
        ChangeSet::Complete { .. } => panic!("GitLab's lists prove nothing"),
    }
}

#[test]
fn a_push_is_understood_and_its_lists_prove_nothing() {
    let push = push("Push Hook", &one_commit());

    assert_eq!(push.repo.as_str(), "acme/sites/website");
    assert_eq!(push.git_ref, GitRef::Branch("main".to_owned()));
    assert_eq!(push.before, Some(id('1')));
    assert_eq!(push.after, Some(id('2')));
    assert_eq!(push.commit, Some(id('2')));
    assert!(!push.forced);
    assert!(why(&push).contains("renamed"));
}

#[test]
fn a_list_that_is_cut_off_says_so() {
    let push = push("Push Hook", &with("/total_commits_count", json!(34)));

    assert_eq!(why(&push), "the payload lists 1 of 34 commits");
}

#[test]
fn an_annotated_tag_is_shown_on_the_commit_it_points_to() {
    let mut body = with("/ref", json!("refs/tags/v1"));
    body["object_kind"] = json!("tag_push");
    body["before"] = json!(ZERO);
    body["after"] = json!(id('3').as_str());

    let push = push("Tag Push Hook", &body);

    assert_eq!(push.git_ref, GitRef::Tag("v1".to_owned()));
    assert_eq!(push.after, Some(id('3')));
    assert_eq!(push.commit, Some(id('2')));
}

#[test]
fn a_deleted_branch_has_no_commit() {
    let mut body = with("/after", json!(ZERO));
    body["checkout_sha"] = Value::Null;
    body["commits"] = Value::Null;

    let push = push("Push Hook", &body);

    assert_eq!((push.after.clone(), push.commit.clone()), (None, None));
    assert!(why(&push).contains("deletes"));
}

#[test]
fn other_hooks_are_named_and_start_nothing() {
    let body = json!({"object_kind": "build", "project": {"path_with_namespace": "a/b"}});
    for event in ["Job Hook", "Issue Hook", "Some New Hook"] {
        let Ok(Event::Other { repo, why }) = understand(event, &body) else {
            panic!("{event}");
        };
        assert_eq!(repo.unwrap().as_str(), "a/b");
        assert!(why.contains(event));
    }
    let system = understand("System Hook", &json!({"event_name": "push"}));
    assert!(matches!(system, Ok(Event::Other { why, .. }) if why.contains("to the project")));
}

#[test]
fn a_custom_template_is_told_from_a_push() {
    for body in [json!({}), json!({"text": "A push to main"})] {
        let Malformed(message) = understand("Push Hook", &body).unwrap_err();
        assert!(message.contains("custom template"), "{message}");
    }
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    let cases = [
        (with("/object_kind", json!("tag_push")), "object_kind"),
        (with("/project", json!([])), "project"),
        (
            with("/project/path_with_namespace", json!(null)),
            "project.path_with_namespace",
        ),
        (
            with("/project/path_with_namespace", json!("a")),
            "project.path_with_namespace",
        ),
        (with("/commits", json!("boom")), "commits"),
        (
            with("/total_commits_count", json!(-1)),
            "total_commits_count",
        ),
        (with("/before", json!("0")), "before"),
        (with("/checkout_sha", json!("main")), "checkout_sha"),
        (with("/ref", json!(7)), "ref"),
        (json!([]), "object"),
    ];
    for (body, field) in cases {
        let Malformed(message) = understand("Push Hook", &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
    let Malformed(message) = understand("", &one_commit()).unwrap_err();
    assert!(message.contains("X-Gitlab-Event"));
}
