use serde_json::Value;

use super::*;
use crate::event::{GitRef, Push};

const ZERO: &str = "0000000000000000000000000000000000000000";

fn understand(event: &str, body: &Value) -> Result<Event, Malformed> {
    let verified = Verified {
        delivery_id: None,
        event: event.to_owned(),
    };
    offline(Mode::Sign, Vec::new()).understand(&verified, JSON, body.to_string().as_bytes())
}

fn push(event: &str, body: &Value) -> Push {
    match understand(event, body) {
        Ok(Event::Push(push)) => push,
        other => panic!("{other:?}"),
    }
}

/// A push of one commit to `main`.
fn one_commit() -> Value {
    json!({
        "hook_name": "push_hooks",
        "ref": "refs/heads/main",
        "before": id('1').as_str(),
        "after": id('2').as_str(),
        "created": false,
        "deleted": false,
        "commits": [{"id": id('2').as_str(), "added": [], "modified": ["a"], "removed": []}],
        "head_commit": {"id": id('2').as_str()},
        "total_commits_count": 1,
        "commits_more_than_ten": false,
        "project": {"path_with_namespace": "acme/website"},
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = one_commit();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[test]
fn a_push_is_understood_and_its_lists_prove_nothing() {
    let push = push("Push Hook", &one_commit());

    assert_eq!(push.repo.as_str(), "acme/website");
    assert_eq!(push.git_ref, GitRef::Branch("main".to_owned()));
    assert_eq!(push.before, Some(id('1')));
    assert_eq!(push.commit, Some(id('2')));
    assert!(matches!(push.listed, ChangeSet::Unknown { why } if why.contains("signature")));
}

#[test]
fn what_gitee_leaves_null_is_no_mistake() {
    let mut gone = with("/after", json!(ZERO));
    for field in ["commits", "head_commit", "total_commits_count"] {
        gone[field] = Value::Null;
    }

    let gone = push("Push Hook", &gone);

    assert_eq!((gone.after, gone.commit), (None, None));
}

#[test]
fn an_annotated_tag_is_shown_on_the_commit_it_points_to() {
    let mut tag = with("/ref", json!("refs/tags/v1"));
    tag["hook_name"] = json!("tag_push_hooks");
    tag["after"] = json!(id('3').as_str());

    let tag = push("Tag Push Hook", &tag);

    assert_eq!((tag.after, tag.commit), (Some(id('3')), Some(id('2'))));
}

#[test]
fn other_hooks_are_named_and_start_nothing() {
    for event in ["Merge Request Hook", "Note Hook", "Issue Hook"] {
        let Ok(Event::Other { repo, why }) = understand(event, &one_commit()) else {
            panic!("{event}");
        };
        assert_eq!(repo.unwrap().as_str(), "acme/website");
        assert!(why.contains(event), "{why}");
    }
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    for (event, body, field) in [
        ("Tag Push Hook", one_commit(), "hook_name"),
        ("Push Hook", with("/project", Value::Null), "project"),
        (
            "Push Hook",
            with("/project/path_with_namespace", json!("website")),
            "project.path_with_namespace",
        ),
        ("Push Hook", with("/after", json!("HEAD")), "after"),
        ("Push Hook", with("/ref", json!("a b")), "ref"),
        (
            "Push Hook",
            with("/head_commit/id", json!("x")),
            "head_commit.id",
        ),
        ("Push Hook", json!("text"), "object"),
        ("", one_commit(), "X-Gitee-Event"),
    ] {
        let Malformed(message) = understand(event, &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
}
