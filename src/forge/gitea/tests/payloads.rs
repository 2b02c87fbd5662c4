use serde_json::Value;

use super::*;
use crate::event::{CommitRef, GitRef, Push, Signal};

const ZERO: &str = "0000000000000000000000000000000000000000";

fn understand(event: &str, body: &Value) -> Result<Event, Malformed> {
    let verified = Verified {
        delivery_id: None,
        event: event.to_owned(),
    };
    offline(Vec::new()).understand(&verified, JSON, body.to_string().as_bytes())
}

fn push(body: &Value) -> Push {
    match understand("push", body) {
        Ok(Event::Push(push)) => push,
        other => panic!("{other:?}"),
    }
}

/// A push of one commit to `main`.
fn one_commit() -> Value {
    json!({
        "ref": "refs/heads/main",
        "before": id('1').as_str(),
        "after": id('2').as_str(),
        "total_commits": 1,
        "commits": [{"id": id('2').as_str(), "added": [], "modified": ["a"], "removed": []}],
        "repository": {"full_name": "acme/website"},
    })
}

fn release() -> Value {
    json!({
        "action": "published",
        "release": {"id": 48, "tag_name": "v1.0", "target_commitish": "main", "draft": false},
        "repository": {"full_name": "acme/website"},
    })
}

fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[test]
fn a_push_is_understood_and_its_lists_prove_nothing() {
    let push = push(&one_commit());

    assert_eq!(push.repo.as_str(), "acme/website");
    assert_eq!(push.git_ref, GitRef::Branch("main".to_owned()));
    assert_eq!(push.before, Some(id('1')));
    assert_eq!(push.after, Some(id('2')));
    assert_eq!(push.commit, Some(id('2')));
    assert!(matches!(push.listed, ChangeSet::Unknown { .. }));
}

#[test]
fn zeros_stand_for_a_new_and_for_a_deleted_branch() {
    let new = push(&with(&one_commit(), "/before", json!(ZERO)));
    let mut gone = with(&one_commit(), "/after", json!(ZERO));
    gone["commits"] = Value::Null;
    let gone = push(&gone);

    assert_eq!((new.before, new.commit), (None, Some(id('2'))));
    assert_eq!((gone.after, gone.commit), (None, None));
}

#[test]
fn an_annotated_tag_is_shown_on_the_commit_it_points_to() {
    let mut tag = with(&one_commit(), "/ref", json!("refs/tags/v1"));
    tag["head_commit"] = json!({"id": id('3').as_str()});

    assert_eq!(push(&tag).commit, Some(id('3')));
}

#[test]
fn a_release_counts_when_it_is_published() {
    let Ok(Event::Deployed(published)) = understand("release", &release()) else {
        panic!();
    };
    assert_eq!(
        published.signal,
        Signal::Release {
            tag: "v1.0".to_owned()
        }
    );
    assert_eq!(published.commit, CommitRef::Unresolved("v1.0".to_owned()));
    assert_eq!(published.git_ref, Some(GitRef::Tag("v1.0".to_owned())));

    for (body, words) in [
        (with(&release(), "/action", json!("updated")), "is updated"),
        (with(&release(), "/action", json!("deleted")), "is deleted"),
        (with(&release(), "/release/draft", json!(true)), "a draft"),
    ] {
        let Ok(Event::Other { why, .. }) = understand("release", &body) else {
            panic!("{words}");
        };
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn other_events_are_named_and_start_nothing() {
    for event in ["create", "delete", "issues", "something_new"] {
        let body = json!({"ref": "v1", "sha": id('2').as_str(), "repository": {"full_name": "acme/website"}});
        let Ok(Event::Other { repo, why }) = understand(event, &body) else {
            panic!("{event}");
        };
        assert_eq!(repo.unwrap().as_str(), "acme/website");
        assert!(why.contains(event), "{why}");
    }
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    let push = one_commit();
    let mut both_zero = with(&push, "/before", json!(ZERO));
    both_zero["after"] = json!(ZERO);
    for (event, body, field) in [
        (
            "push",
            with(&push, "/repository", Value::Null),
            "repository",
        ),
        (
            "push",
            with(&push, "/repository/full_name", json!("a/../b")),
            "repository.full_name",
        ),
        ("push", with(&push, "/ref", json!("refs/heads/")), "ref"),
        ("push", with(&push, "/after", json!("main")), "after"),
        ("push", both_zero, "after"),
        (
            "release",
            with(&release(), "/release/tag_name", json!("a b")),
            "release.tag_name",
        ),
        ("", push, "X-Gitea-Event"),
        ("push", json!([]), "object"),
    ] {
        let Malformed(message) = understand(event, &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
}
