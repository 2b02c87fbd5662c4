//! Tests deliveries, statuses and paged trees against Gitea's behaviour.

use super::super::repo::Change;
use super::*;

const PATH: &str = "acme/www";

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn pushed(gitea: &mut Gitea, commits: usize) -> (String, Delivery) {
    gitea.projects.create(PATH, "main");
    let repo = &mut gitea.projects.find_mut(PATH).unwrap().repo;
    for n in 0..commits {
        repo.commit("main", &[Change::write(format!("d/{n}"), "x")], now());
    }
    let refs_before = repo.refs().clone();
    let (before, after) = repo.push("refs/heads/main");
    let moved = Moved {
        name: "refs/heads/main".into(),
        before,
        after: after.clone(),
        refs_before,
    };
    let delivery = gitea.pushed(PATH, &moved, now()).unwrap();
    (after, delivery)
}

fn ask(gitea: &mut Gitea, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method: method.into(),
        path: format!("/api/v1/repos/{PATH}/{path}"),
        query: query.into(),
        headers: vec![
            ("authorization".into(), format!("token {TOKEN}")),
            ("content-type".into(), "application/json".into()),
        ],
        body: body.as_bytes().to_vec(),
    };
    let answer = gitea.answer(&request, now());
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn a_push_lists_five_commits_newest_first_and_looks_like_githubs() {
    let mut gitea = Gitea::new("");
    let (after, delivery) = pushed(&mut gitea, 7);

    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(
        (&body["total_commits"], &body["commits"][0]["id"]),
        (&json!(7), &json!(after))
    );
    assert_eq!(body["commits"].as_array().unwrap().len(), 5);
    assert!(body.get("created").is_none() && body.get("forced").is_none());
    assert_eq!(delivery.header("X-GitHub-Event"), Some("push"));
    let bare = delivery.header("X-Gitea-Signature").unwrap();
    assert_eq!(
        delivery.header("X-Hub-Signature-256"),
        Some(&*format!("sha256={bare}"))
    );
}

#[test]
fn a_form_is_signed_as_json() {
    let mut gitea = Gitea::new("");
    let json = pushed(&mut gitea, 1).1;
    gitea.forms = true;
    gitea.forgejo = true;
    let body: Value = serde_json::from_slice(&json.body).unwrap();

    let form = gitea.deliver("push", &body);

    assert!(form.body.starts_with(b"payload="));
    assert_eq!(
        form.header("X-Gitea-Signature"),
        json.header("X-Gitea-Signature")
    );
    assert_eq!(form.header("X-Forgejo-Event"), Some("push"));
}

#[test]
fn a_tree_comes_in_pages() {
    let mut gitea = Gitea::new("");
    let (sha, _) = pushed(&mut gitea, 4);
    gitea.tree_page = 3;

    let (_, first) = ask(
        &mut gitea,
        "GET",
        &format!("git/trees/{sha}?recursive=true&per_page=9"),
        "",
    );
    assert_eq!(first["tree"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&first["truncated"], &first["total_count"]),
        (&json!(true), &json!(5))
    );
    let (_, second) = ask(
        &mut gitea,
        "GET",
        &format!("git/trees/{sha}?recursive=true&page=2"),
        "",
    );
    assert_eq!(second["tree"].as_array().unwrap().len(), 2);
    assert_eq!(second["truncated"], false);
}

#[test]
fn statuses_have_a_warning_and_a_field_called_status() {
    let mut gitea = Gitea::new("");
    let (sha, _) = pushed(&mut gitea, 1);
    let path = format!("statuses/{sha}");

    let (status, body) = ask(&mut gitea, "POST", &path, r#"{"state": "warning"}"#);
    assert_eq!((status, &body["status"]), (201, &json!("warning")));
    assert_eq!(
        ask(&mut gitea, "POST", &path, r#"{"state": "done"}"#).0,
        422
    );
    assert_eq!(
        ask(
            &mut gitea,
            "POST",
            "statuses/abc",
            r#"{"state": "success"}"#
        )
        .0,
        404
    );
    assert_eq!(GitHost::statuses(&gitea, PATH, &sha).len(), 1);
}
