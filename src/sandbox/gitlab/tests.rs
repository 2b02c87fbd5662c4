//! Tests the state machine of statuses, deliveries, comparisons and trees against GitLab's behaviour.

use std::time::Duration;

use super::super::repo::{Change, ZERO};
use super::*;

const PATH: &str = "group/sub/site";

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn gitlab() -> GitLab {
    let mut gitlab = GitLab::new("");
    gitlab.projects.create(PATH, "main");
    gitlab
}

fn commit(gitlab: &mut GitLab, changes: &[Change]) -> String {
    let repo = &mut gitlab.projects.find_mut(PATH).unwrap().repo;
    repo.commit("main", changes, now())
}

fn push(gitlab: &mut GitLab, name: &str) -> Delivery {
    let repo = &mut gitlab.projects.find_mut(PATH).unwrap().repo;
    let refs_before = repo.refs().clone();
    let (before, after) = repo.push(name);
    let name = name.to_owned();
    let moved = Moved {
        name,
        before,
        after,
        refs_before,
    };
    gitlab.pushed(PATH, &moved, now()).unwrap()
}

fn body(delivery: &Delivery) -> Value {
    serde_json::from_slice(&delivery.body).unwrap()
}

fn ask(gitlab: &mut GitLab, method: &str, path: &str, body: Option<Value>) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method: method.into(),
        path: format!("/api/v4/projects/group%2Fsub%2Fsite{path}"),
        query: query.into(),
        headers: vec![
            ("private-token".into(), TOKEN.into()),
            ("content-type".into(), "application/json".into()),
        ],
        body: body.map(|b| b.to_string().into_bytes()).unwrap_or_default(),
    };
    gitlab.answer(&request, now())
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn post(gitlab: &mut GitLab, sha: &str, state: &str) -> (u16, String) {
    let body = json!({"state": state, "name": "cdn/purge", "ref": "main"});
    let answer = ask(gitlab, "POST", &format!("/statuses/{sha}"), Some(body));
    let message = json_of(&answer)["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, message)
}

#[test]
fn a_status_moves_as_a_job_does() {
    let refusal = |event: &str, from: &str| {
        format!(
            "Cannot transition status via :{event} from :{from} (Reason(s): Status cannot transition via \"{event}\")"
        )
    };
    let table = [
        (vec!["pending"], "pending", Some(("enqueue", "pending"))),
        (
            vec!["pending", "running"],
            "pending",
            Some(("enqueue", "running")),
        ),
        (vec!["running"], "running", Some(("run", "running"))),
        (vec!["running"], "skipped", Some(("skip", "running"))),
        (vec!["pending"], "running", None),
        (vec!["pending"], "success", None),
        (vec!["running"], "failed", None),
        (vec!["running"], "canceled", None),
        (vec!["success"], "success", None),
        (vec!["failed"], "pending", None),
    ];
    for (before, state, refused) in table {
        let mut gitlab = gitlab();
        let sha = commit(&mut gitlab, &[Change::write("a", "1")]);
        push(&mut gitlab, "refs/heads/main");
        for state in &before {
            assert_eq!(post(&mut gitlab, &sha, state).0, 201);
        }

        let expected = match refused {
            Some((event, from)) => (400, refusal(event, from)),
            None => (201, String::new()),
        };
        assert_eq!(
            post(&mut gitlab, &sha, state),
            expected,
            "{before:?} {state}"
        );
    }
}

#[test]
fn a_status_makes_an_external_pipeline_or_joins_the_newest() {
    let mut gitlab = gitlab();
    let sha = commit(&mut gitlab, &[Change::write("a", "1")]);
    push(&mut gitlab, "refs/heads/main");
    let list = format!("/pipelines?sha={sha}&ref=main");
    assert_eq!(json_of(&ask(&mut gitlab, "GET", &list, None)), json!([]));

    post(&mut gitlab, &sha, "pending");
    let pipelines = json_of(&ask(&mut gitlab, "GET", &list, None));
    assert_eq!(pipelines[0]["source"], "external");

    let own = gitlab.add_pipeline(PATH, &sha, "main", "push", now());
    let named = json!({"state": "pending", "name": "other", "pipeline_id": own});
    let answer = ask(
        &mut gitlab,
        "POST",
        &format!("/statuses/{sha}"),
        Some(named),
    );
    assert_eq!(
        (answer.status, &json_of(&answer)["pipeline_id"]),
        (201, &json!(own))
    );
}

#[test]
fn a_commit_on_no_branch_needs_a_ref() {
    let mut gitlab = gitlab();
    let first = commit(&mut gitlab, &[Change::write("a", "1")]);
    let lost = commit(&mut gitlab, &[Change::write("a", "2")]);
    push(&mut gitlab, "refs/heads/main");
    gitlab
        .projects
        .find_mut(PATH)
        .unwrap()
        .repo
        .reset("main", &first);
    push(&mut gitlab, "refs/heads/main");

    let bare = json!({"state": "success"});
    let answer = ask(
        &mut gitlab,
        "POST",
        &format!("/statuses/{lost}"),
        Some(bare),
    );
    assert_eq!(
        (answer.status, answer.outcome.as_str()),
        (404, "404 References for commit Not Found")
    );
    assert_eq!(post(&mut gitlab, &lost, "success").0, 201);
}

#[test]
fn what_is_too_long_or_unknown_is_refused() {
    let mut gitlab = gitlab();
    let sha = commit(&mut gitlab, &[Change::write("a", "1")]);
    push(&mut gitlab, "refs/heads/main");
    let path = format!("/statuses/{sha}");
    let long = "x".repeat(256);
    for body in [
        json!({"state": "success", "description": long}),
        json!({"state": "error"}),
        json!({"name": "x"}),
        json!({"state": "success", "ref": "refs/heads/main"}),
        json!({"state": "success", "target_url": "javascript:1"}),
    ] {
        assert_eq!(
            ask(&mut gitlab, "POST", &path, Some(body.clone())).status,
            400,
            "{body}"
        );
    }
    let nowhere = ask(
        &mut gitlab,
        "POST",
        &format!("/statuses/{ZERO}"),
        Some(json!({"state": "success"})),
    );
    assert_eq!(
        (nowhere.status, nowhere.outcome.as_str()),
        (404, "404 Commit Not Found")
    );
}

#[test]
fn a_push_lists_the_newest_twenty_and_of_a_rename_only_the_new_path() {
    let mut gitlab = gitlab();
    for n in 0..24 {
        commit(&mut gitlab, &[Change::write("a", format!("{n}"))]);
    }
    let last = commit(&mut gitlab, &[Change::rename("a", "b")]);

    let payload = body(&push(&mut gitlab, "refs/heads/main"));

    let commits = payload["commits"].as_array().unwrap();
    assert_eq!(
        (commits.len(), &payload["total_commits_count"]),
        (20, &json!(25))
    );
    assert_eq!(commits[19]["id"], json!(last));
    assert_eq!(
        (&commits[19]["added"], &commits[19]["removed"]),
        (&json!(["b"]), &json!([]))
    );
    assert!(payload.get("forced").is_none());
    assert_eq!(payload["project"]["path_with_namespace"], PATH);
}

#[test]
fn a_retry_has_the_same_id_and_a_new_signature() {
    let mut gitlab = gitlab();
    commit(&mut gitlab, &[Change::write("a", "1")]);
    let first = push(&mut gitlab, "refs/heads/main");
    let again = gitlab.again(&first, now() + Duration::from_secs(60));

    assert_eq!(first.header("webhook-id"), again.header("idempotency-key"));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("webhook-timestamp"), Some("1700000060"));
    assert_ne!(
        first.header("webhook-signature"),
        again.header("webhook-signature")
    );

    gitlab.signed = false;
    let plain = gitlab.again(&first, now());
    assert_eq!(plain.header("webhook-signature"), None);
    assert!(
        plain.header("webhook-id").is_some(),
        "it comes without a signature too"
    );
    assert_eq!(
        plain.header("x-gitlab-token"),
        Some("sandbox-webhook-secret")
    );
}

#[test]
fn a_straight_comparison_sees_what_a_rewind_takes_away_and_says_when_it_is_cut() {
    let mut gitlab = gitlab();
    let first = commit(&mut gitlab, &[Change::write("a", "1")]);
    let second = commit(
        &mut gitlab,
        &[Change::rename("a", "b"), Change::write("c", "2")],
    );
    push(&mut gitlab, "refs/heads/main");
    let compare = |gitlab: &mut GitLab, straight: bool| {
        let path = format!("/repository/compare?from={second}&to={first}&straight={straight}");
        json_of(&ask(gitlab, "GET", &path, None))
    };

    assert_eq!(compare(&mut gitlab, false)["diffs"], json!([]));
    let back = compare(&mut gitlab, true);
    assert_eq!(
        (&back["diffs"][0]["old_path"], &back["diffs"][0]["new_path"]),
        (&json!("b"), &json!("a"))
    );
    assert_eq!(back["diffs"][0]["renamed_file"], true);
    assert_eq!(
        (&back["diffs"][1]["deleted_file"], &back["compare_timeout"]),
        (&json!(true), &json!(false))
    );

    gitlab.diff_limit = 1;
    let cut = compare(&mut gitlab, true);
    assert_eq!(
        (
            cut["diffs"].as_array().unwrap().len(),
            &cut["compare_timeout"]
        ),
        (1, &json!(true))
    );
}

#[test]
fn a_tree_comes_page_by_page_with_a_link_to_the_next() {
    let mut gitlab = gitlab();
    let files: Vec<Change> = (100..350)
        .map(|n| Change::write(format!("d/{n}"), "x"))
        .collect();
    commit(&mut gitlab, &files);
    push(&mut gitlab, "refs/heads/main");

    let mut path = "/repository/tree?recursive=true&per_page=100&pagination=keyset".to_owned();
    let mut sizes = Vec::new();
    loop {
        let answer = ask(&mut gitlab, "GET", &path, None);
        sizes.push(json_of(&answer).as_array().unwrap().len());
        let link = answer.headers.iter().find(|(name, _)| name == "link");
        let Some((_, link)) = link else { break };
        let url = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        path = url.split("site").nth(1).unwrap().to_owned();
    }
    assert_eq!(sizes, [100, 100, 51]);

    let missing = ask(&mut gitlab, "GET", "/repository/tree?path=nowhere", None);
    assert_eq!(missing.status, 404);
    let raw = Request {
        method: "GET".into(),
        path: "/api/v4/projects/group/sub/site/repository/tree".into(),
        headers: vec![("private-token".into(), TOKEN.into())],
        ..Request::default()
    };
    assert_eq!(
        gitlab.answer(&raw, now()).status,
        404,
        "the path must be encoded"
    );
}
