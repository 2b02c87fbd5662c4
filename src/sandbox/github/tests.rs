//! Tests statuses, comparisons, trees and deliveries against GitHub's documentation.

use std::time::Duration;

use super::super::host::{GitHost, Moved};
use super::super::repo::{Change, ZERO};
use super::super::tree::EXECUTABLE;
use super::*;

const PATH: &str = "acme/www";

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn github() -> GitHub {
    let mut github = GitHub::new("");
    github.projects.create(PATH, "main");
    github
}

fn commit(github: &mut GitHub, branch: &str, changes: &[Change]) -> String {
    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.commit(branch, changes, now())
}

fn push(github: &mut GitHub, name: &str) -> Value {
    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    let refs_before = repo.refs().clone();
    let (before, after) = repo.push(name);
    let name = name.to_owned();
    let moved = Moved {
        name,
        before,
        after,
        refs_before,
    };
    let delivery = github.pushed(PATH, &moved, now()).unwrap();
    serde_json::from_slice(&delivery.body).unwrap()
}

fn ask(github: &mut GitHub, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method: method.into(),
        path: format!("/repos/{PATH}/{path}"),
        query: query.into(),
        headers: vec![
            ("user-agent".into(), "test".into()),
            ("authorization".into(), format!("Bearer {TOKEN}")),
        ],
        body: body.map(|b| b.to_string().into_bytes()).unwrap_or_default(),
    };
    let answer = github.answer(&request, now());
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn files(body: &Value) -> Vec<(&str, &str)> {
    let files = body["files"].as_array().unwrap().iter();
    files
        .map(|f| {
            (
                f["status"].as_str().unwrap(),
                f["filename"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn who_does_not_say_who_they_are_is_not_let_in() {
    let mut github = github();
    let mut request = Request {
        method: "GET".into(),
        path: "/repos/acme/www".into(),
        ..Request::default()
    };
    assert_eq!(github.answer(&request, now()).status, 403);

    request.headers.push(("user-agent".into(), "test".into()));
    assert_eq!(github.answer(&request, now()).status, 401);
    request
        .headers
        .push(("authorization".into(), "Bearer x".into()));
    let answer = github.answer(&request, now());
    assert!(String::from_utf8_lossy(&answer.body).contains("Bad credentials"));
}

#[test]
fn statuses_have_limits() {
    let mut github = github();
    let sha = commit(&mut github, "main", &[Change::write("a", "1")]);
    let path = format!("statuses/{sha}");
    let state = |text: &str| Some(json!({"state": text, "context": "cdn/purge"}));
    assert_eq!(
        ask(&mut github, "POST", &path, state("success")).0,
        422,
        "not pushed yet"
    );
    push(&mut github, "refs/heads/main");

    assert_eq!(ask(&mut github, "POST", &path, state("success")).0, 201);
    assert_eq!(ask(&mut github, "POST", &path, state("done")).0, 422);
    assert_eq!(
        ask(&mut github, "POST", "statuses/abc", state("success")).0,
        422
    );
    let with = |field: &str, text: &str| Some(json!({"state": "success", field: text}));
    let long = with("description", &"é".repeat(141));
    let (status, body) = ask(&mut github, "POST", &path, long);
    assert_eq!(status, 422);
    assert_eq!(
        body["errors"],
        "Validation failed: Description is too long (maximum is 140 characters)"
    );
    let fits = with("description", &"é".repeat(140));
    assert_eq!(ask(&mut github, "POST", &path, fits).0, 201);
    let ftp = with("target_url", "ftp://example.com");
    assert_eq!(ask(&mut github, "POST", &path, ftp).0, 422);
}

#[test]
fn the_newest_status_of_a_context_counts_whatever_its_case() {
    let mut github = github();
    let sha = commit(&mut github, "main", &[Change::write("a", "1")]);
    push(&mut github, "refs/heads/main");
    let path = format!("statuses/{sha}");
    for (state, context) in [("pending", "CDN"), ("success", "cdn")] {
        let body = json!({"state": state, "context": context});
        ask(&mut github, "POST", &path, Some(body));
    }

    let (_, combined) = ask(&mut github, "GET", &format!("commits/{sha}/status"), None);

    assert_eq!(
        (&combined["state"], &combined["total_count"]),
        (&json!("success"), &json!(1))
    );
    let posted = GitHost::statuses(&github, PATH, &sha);
    assert_eq!(posted.len(), 2);
}

#[test]
fn a_comparison_starts_at_the_merge_base_and_names_both_sides_of_a_rename() {
    let mut github = github();
    let start = [Change::write("a", "1"), Change::write("b", "2")];
    let base = commit(&mut github, "main", &start);
    push(&mut github, "refs/heads/main");
    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.reset("topic", &base);
    let moved = [Change::rename("a", "c"), Change::mode("b", EXECUTABLE)];
    commit(&mut github, "topic", &moved);
    push(&mut github, "refs/heads/topic");
    commit(&mut github, "main", &[Change::write("only-main", "3")]);
    push(&mut github, "refs/heads/main");

    let (_, body) = ask(&mut github, "GET", "compare/main...topic", None);

    assert_eq!(body["status"], "diverged");
    assert_eq!(
        (&body["ahead_by"], &body["behind_by"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(body["merge_base_commit"]["sha"], base);
    assert_eq!(files(&body), [("changed", "b"), ("renamed", "c")]);
    assert_eq!(body["files"][1]["previous_filename"], "a");
    assert_eq!(ask(&mut github, "GET", "compare/main..topic", None).0, 404);
    assert_eq!(
        ask(&mut github, "GET", &format!("compare/{ZERO}...topic"), None).0,
        404
    );
}

#[test]
fn a_comparison_is_cut_at_300_files_without_a_word() {
    let mut github = github();
    let base = commit(&mut github, "main", &[Change::write("a", "1")]);
    push(&mut github, "refs/heads/main");
    let many: Vec<Change> = (0..301)
        .map(|n| Change::write(format!("{n}"), format!("{n}")))
        .collect();
    commit(&mut github, "main", &many);
    push(&mut github, "refs/heads/main");

    let (_, body) = ask(&mut github, "GET", &format!("compare/{base}...main"), None);
    assert_eq!(body["files"].as_array().unwrap().len(), 300);
    let (_, second) = ask(
        &mut github,
        "GET",
        &format!("compare/{base}...main?page=2"),
        None,
    );
    assert!(second["files"].as_array().unwrap().is_empty());
}

#[test]
fn a_recursive_tree_says_when_it_is_cut() {
    let mut github = github();
    let changes = [
        Change::write("a/x", "1"),
        Change::write("a/y", "2"),
        Change::write("b", "3"),
    ];
    let sha = commit(&mut github, "main", &changes);
    push(&mut github, "refs/heads/main");

    // Any value counts as set.
    let whole = format!("git/trees/{sha}?recursive=false");
    let (_, body) = ask(&mut github, "GET", &whole, None);
    let paths = |body: &Value| {
        let tree = body["tree"].as_array().unwrap().iter();
        tree.map(|e| e["path"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (paths(&body).as_slice(), &body["truncated"]),
        (
            &["a", "a/x", "a/y", "b"].map(str::to_owned)[..],
            &json!(false)
        )
    );

    github.tree_limit = 2;
    let (_, cut) = ask(&mut github, "GET", &whole, None);
    assert_eq!((paths(&cut).len(), &cut["truncated"]), (2, &json!(true)));
    let (_, flat) = ask(&mut github, "GET", &format!("git/trees/{sha}"), None);
    assert_eq!(paths(&flat), ["a", "b"]);
    let sub = flat["tree"][0]["sha"].as_str().unwrap().to_owned();
    let (_, inner) = ask(&mut github, "GET", &format!("git/trees/{sub}"), None);
    assert_eq!(paths(&inner), ["x", "y"]);
}

#[test]
fn a_push_tells_what_each_commit_did() {
    let mut github = github();
    commit(&mut github, "main", &[Change::write("a", "1")]);
    let created = push(&mut github, "refs/heads/main");
    assert_eq!(
        (&created["created"], &created["before"]),
        (&json!(true), &json!(ZERO))
    );

    commit(&mut github, "main", &[Change::rename("a", "b")]);
    commit(
        &mut github,
        "main",
        &[Change::write("b", "2"), Change::write("c", "3")],
    );
    let two = push(&mut github, "refs/heads/main");
    let commits = two["commits"].as_array().unwrap();
    assert_eq!(commits.len(), 2);
    assert_eq!(
        (&commits[0]["added"], &commits[0]["removed"]),
        (&json!(["b"]), &json!(["a"]))
    );
    assert_eq!(
        (&commits[1]["added"], &commits[1]["modified"]),
        (&json!(["c"]), &json!(["b"]))
    );
    assert_eq!(two["head_commit"]["id"], two["after"]);
}

#[test]
fn a_forced_push_back_has_no_commits_and_a_new_branch_at_an_old_commit_neither() {
    let mut github = github();
    let first = commit(&mut github, "main", &[Change::write("a", "1")]);
    commit(&mut github, "main", &[Change::write("a", "2")]);
    push(&mut github, "refs/heads/main");

    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.reset("main", &first);
    let forced = push(&mut github, "refs/heads/main");
    assert_eq!(
        (&forced["forced"], &forced["commits"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(forced["head_commit"]["id"], first);

    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.reset("copy", &first);
    let branch = push(&mut github, "refs/heads/copy");
    assert_eq!(
        (&branch["created"], &branch["commits"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(branch["base_ref"], "refs/heads/main");
}

#[test]
fn an_annotated_tag_is_an_object_of_its_own() {
    let mut github = github();
    let sha = commit(&mut github, "main", &[Change::write("a", "1")]);
    push(&mut github, "refs/heads/main");
    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.tag("v1", &sha, true);

    let tagged = push(&mut github, "refs/tags/v1");

    assert_ne!(tagged["after"], json!(sha));
    assert_eq!(tagged["head_commit"]["id"], json!(sha));
    let repo = &mut github.projects.find_mut(PATH).unwrap().repo;
    repo.delete("refs/tags/v1");
    let gone = push(&mut github, "refs/tags/v1");
    assert_eq!(
        (&gone["deleted"], &gone["after"]),
        (&json!(true), &json!(ZERO))
    );
    assert!(gone["head_commit"].is_null());
}

// The example of GitHub's page on validating deliveries.
#[test]
fn the_published_signature_is_made() {
    assert_eq!(
        webhooks::sha256_mac("It's a Secret to Everybody", b"Hello, World!"),
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    );
}

#[test]
fn a_form_is_signed_as_a_form() {
    let mut github = github();
    github.forms = true;

    let delivery = github.deliver(
        "push",
        &json!({"ref": "refs/heads/main"}),
        Timestamp::UNIX_EPOCH,
    );

    assert!(delivery.body.starts_with(b"payload=%7B"));
    let signature = delivery.header("X-Hub-Signature-256").unwrap();
    assert_eq!(
        signature,
        "sha256=20a3d7696e6f211251b929b834c9b603ba5bb644e011a7e4c8024c1f0b06bc4a"
    );
    assert_eq!(
        delivery.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[test]
fn too_many_writes_in_a_minute_meet_the_secondary_limit() {
    let mut github = github();
    let sha = commit(&mut github, "main", &[Change::write("a", "1")]);
    push(&mut github, "refs/heads/main");
    let path = format!("statuses/{sha}");
    let body = Some(json!({"state": "success"}));
    for _ in 0..80 {
        assert_eq!(ask(&mut github, "POST", &path, body.clone()).0, 201);
    }

    assert_eq!(ask(&mut github, "POST", &path, body).0, 403);
    assert!(
        github
            .count_write(now() + Duration::from_secs(60))
            .is_none()
    );
}
