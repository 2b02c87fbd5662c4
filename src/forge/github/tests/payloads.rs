use serde_json::Value;

use super::*;
use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::{GitRef, Push};
use crate::forge::body::{self, Text};

const ZERO: &str = "0000000000000000000000000000000000000000";

fn understand(event: &str, body: &Value) -> Result<Event, Malformed> {
    let verified = Verified {
        delivery_id: None,
        event: event.to_owned(),
    };
    offline(Vec::new()).understand(&verified, payload::JSON, body.to_string().as_bytes())
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
        "created": false,
        "deleted": false,
        "forced": false,
        "base_ref": null,
        "head_commit": {"id": id('2').as_str(), "message": "Say \"hello\""},
        "commits": [{
            "id": id('2').as_str(),
            "message": "Say \"hello\"",
            "distinct": true,
            "added": ["content/new.md"],
            "modified": ["content/文档.md", "a\"b.txt"],
            "removed": ["content/old.md"],
        }],
        "repository": {"id": 1, "full_name": "acme/website"},
    })
}

/// Changes one field of [`one_commit`], named by a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = one_commit();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn without(pointer: &str, field: &str) -> Value {
    let mut body = one_commit();
    let object = body.pointer_mut(pointer).unwrap();
    object.as_object_mut().unwrap().remove(field).unwrap();
    body
}

fn why(push: &Push) -> &str {
    match &push.listed {
        ChangeSet::Unknown { why } => why,
        ChangeSet::Complete { .. } => panic!("proved"),
    }
}

#[test]
fn a_push_of_one_commit_proves_what_changed() {
    let push = push(&one_commit());

    assert_eq!(push.repo.as_str(), "acme/website");
    assert_eq!(push.git_ref, GitRef::Branch("main".to_owned()));
    assert_eq!(push.before, Some(id('1')));
    assert_eq!(push.after, Some(id('2')));
    assert_eq!(push.commit, Some(id('2')));
    assert!(!push.forced);
    let files = [
        ("content/new.md", ChangeKind::Added),
        ("content/old.md", ChangeKind::Removed),
        ("content/文档.md", ChangeKind::Modified),
        ("a\"b.txt", ChangeKind::Modified),
    ];
    assert_eq!(
        push.listed,
        ChangeSet::Complete {
            proof: Proof::Payload,
            files: files.map(|(p, k)| (FilePath::new(p), k)).into(),
        }
    );
}

#[test]
fn a_payload_that_could_leave_something_out_proves_nothing() {
    let commit = one_commit()["commits"][0].clone();
    let many: Vec<String> = (0..3_000).map(|n| format!("f{n}")).collect();
    let mut listing_nothing = one_commit();
    for list in ["added", "modified", "removed"] {
        listing_nothing["commits"][0][list] = json!([]);
    }
    let cases = [
        (with("/forced", json!(true)), "rewrites history"),
        (without("", "forced"), "rewrites history"),
        (with("/created", json!(true)), "new"),
        (without("", "created"), "new"),
        (with("/before", json!(ZERO)), "new"),
        (with("/commits", json!([])), "0 commits"),
        (with("/commits", Value::Null), "0 commits"),
        (without("", "commits"), "0 commits"),
        (with("/commits", json!([commit, commit])), "2 commits"),
        (
            with("/commits/0/id", json!(id('3').as_str())),
            "not the one",
        ),
        (without("/commits/0", "removed"), "lacks"),
        (with("/commits/0/added", Value::Null), "lacks"),
        (with("/commits/0/added", json!(many)), "3000 files"),
        (with("/commits/0/added", json!(["caf\u{fffd}"])), "UTF-8"),
        (
            with("/commits/0/message", json!("\n Merge branch 'next'")),
            "merge",
        ),
        (listing_nothing, "no files"),
    ];
    for (body, reason) in cases {
        let push = push(&body);
        assert!(why(&push).contains(reason), "{} for {reason}", why(&push));
    }
}

#[test]
fn an_annotated_tag_is_shown_on_the_commit_it_points_to() {
    let mut body = with("/ref", json!("refs/tags/v1"));
    body["before"] = json!(ZERO);
    body["after"] = json!(id('3').as_str());
    body["commits"] = json!([]);

    let push = push(&body);

    assert_eq!(push.git_ref, GitRef::Tag("v1".to_owned()));
    assert_eq!(push.before, None);
    assert_eq!(push.after, Some(id('3')));
    assert_eq!(push.commit, Some(id('2')));
}

#[test]
fn a_deleted_branch_has_no_commit() {
    let mut body = with("/after", json!(ZERO));
    body["deleted"] = json!(true);
    body["head_commit"] = Value::Null;
    body["commits"] = json!([]);

    let push = push(&body);

    assert_eq!((push.after.clone(), push.commit.clone()), (None, None));
    assert_eq!(push.before, Some(id('1')));
    assert!(why(&push).contains("deletes"));
}

#[test]
fn a_forced_push_says_so() {
    assert!(push(&with("/forced", json!(true))).forced);
}

#[test]
fn a_ping_is_a_ping_with_and_without_a_repository() {
    for body in [
        json!({"zen": "Keep it simple.", "hook_id": 1}),
        one_commit(),
    ] {
        assert_eq!(understand("ping", &body), Ok(Event::Ping));
    }
}

#[test]
fn other_events_are_named_and_start_nothing() {
    for event in ["star", "deployment", "check_suite", "create"] {
        let body = json!({"action": "created", "repository": {"full_name": "acme/website"}});
        let Ok(Event::Other { repo, why }) = understand(event, &body) else {
            panic!("{event}");
        };
        assert_eq!(repo.unwrap().as_str(), "acme/website");
        assert!(why.contains(event), "{why}");
    }
    let organisation = understand("membership", &json!({"organization": {"login": "acme"}}));
    assert!(matches!(organisation, Ok(Event::Other { repo: None, .. })));
}

#[test]
fn a_body_of_the_wrong_shape_is_named_by_its_field() {
    let cases = [
        (
            with("/commits/0/added", json!({"a": 1})),
            "commits[0].added",
        ),
        (with("/commits", json!("boom")), "commits"),
        (with("/commits/0", Value::Null), "commits[0]"),
        (with("/repository", Value::Null), "repository"),
        (
            with("/repository/full_name", json!("website")),
            "repository.full_name",
        ),
        (
            with("/repository/full_name", json!("a/../b")),
            "repository.full_name",
        ),
        (without("", "ref"), "ref"),
        (with("/ref", json!("")), "ref"),
        (with("/ref", json!("refs/heads/")), "ref"),
        (with("/ref", json!("refs/heads/a\nb")), "ref"),
        (with("/before", json!("1a2b")), "before"),
        (with("/after", json!("HEAD")), "after"),
        (with("/head_commit/id", json!("x")), "head_commit.id"),
        (with("/forced", json!("no")), "forced"),
        (json!({"event": "invalid"}), "ref"),
        (json!([]), "object"),
        (json!(null), "object"),
    ];
    for (body, field) in cases {
        let Malformed(message) = understand("push", &body).unwrap_err();
        assert!(message.contains(field), "{message} for {field}");
    }
    let mut both_zero = with("/before", json!(ZERO));
    both_zero["after"] = json!(ZERO);
    assert!(understand("push", &both_zero).is_err());
    let Malformed(message) = understand("", &one_commit()).unwrap_err();
    assert!(message.contains("X-GitHub-Event"));
}

#[test]
fn hostile_bodies_are_malformed_and_harm_nothing() {
    let deep = format!("{{\"commits\":{}", "[".repeat(100_000));
    let twice = r#"{"ref":"refs/heads/a","ref":"refs/heads/b"}"#;
    let noisy = format!(r#"{{"ref": {{}}, "x": "{}"}}"#, "\\u0007".repeat(9));
    let forge = offline(Vec::new());
    let verified = Verified {
        delivery_id: None,
        event: "push".to_owned(),
    };
    for body in [deep.as_str(), twice, &noisy, "{} {}", "", "\u{feff}{}"] {
        let Malformed(message) = forge
            .understand(&verified, payload::JSON, body.as_bytes())
            .unwrap_err();
        assert!(message.chars().count() <= 300 && !message.contains(char::is_control));
    }
}

#[test]
fn a_form_is_read_like_json() {
    let form = |fields: &[(&str, &str)]| {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish()
    };
    let forge = offline(Vec::new());
    let verified = Verified {
        delivery_id: None,
        event: "push".to_owned(),
    };
    let read = |body: &[u8]| forge.understand(&verified, payload::FORM, body);
    let json = one_commit().to_string();

    assert_eq!(
        read(form(&[("payload", &json)]).as_bytes()),
        Ok(Event::Push(push(&one_commit())))
    );
    assert!(read(json.as_bytes()).is_err());
    assert!(read(b"").is_err());
    assert!(read(form(&[("payload", &json), ("payload", &json)]).as_bytes()).is_err());
    assert!(read(b"payload=%7B%22ref%22%3A%22%FF%22%7D").is_err());
    assert!(read(b"payload=%").is_err());
}

#[test]
fn paths_without_escapes_are_borrowed_from_the_body() {
    #[derive(serde::Deserialize)]
    struct Paths<'a> {
        #[serde(borrow)]
        added: Vec<Text<'a>>,
    }
    let body = r#"{"added": ["plain", "es\u0063aped"]}"#;

    let Paths { added } = body::read(body.as_bytes()).unwrap();

    assert!(matches!(added[0].0, std::borrow::Cow::Borrowed("plain")));
    assert_eq!(added[1].as_str(), "escaped");
}
