//! Tests the API for runs and its one action.

use serde_json::{Value, json};

use super::*;
use crate::store::{StoredTask, TaskState};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_run_carries_what_changed_what_is_purged_and_what_the_commit_shows() {
    let server = Server::start().await;
    let run = server.run("main").await;
    let task = StoredTask {
        id: "task".to_owned(),
        account: crate::account::AccountId::new("account"),
        cdn: "tencent".to_owned(),
        kind: PurgeKind::Url,
        mode: None,
        state: TaskState::Running,
        vendor_id: TaskIds::parse("1490877261"),
        error: None,
        size: 1,
        submitted_at: at("2026-11-22T07:10:05Z"),
        deadline: at("2026-11-22T08:10:05Z"),
        ended_at: None,
    };
    let submitted = PurgeUpdate {
        keys: vec![PurgeKey {
            run: run.id.clone(),
            seq: 1,
        }],
        state: PurgeState::Running,
        task: Some("task".to_owned()),
        error: None,
        tried: true,
        batch_cap: None,
        given_up: None,
        only: crate::store::Precondition::Open,
    };
    let planned = Run {
        proof: Some(Completeness::Proven(Proof::Payload)),
        ..run.clone()
    };
    server
        .write(
            &run.id,
            &[
                Write::Run(planned),
                changes(&run.id, ["b.html", "a.html"]),
                plan(&run.id, ["a.html"]),
                Write::Task(task),
                Write::Update(submitted),
                Write::Posted(
                    run.id.clone(),
                    1,
                    Posting::Posted(at("2026-11-22T07:10:05Z")),
                ),
                Write::Status(
                    run.id.clone(),
                    StatusState::Pending,
                    "0 of 1 done".to_owned(),
                ),
            ],
        )
        .await;

    let json = server.json(&format!("/api/v1/runs/{}", run.id)).await;

    assert_eq!(
        keys(&json),
        [
            "before",
            "changes",
            "commit",
            "covered_by",
            "created_at",
            "deadline",
            "delivery",
            "ended_at",
            "id",
            "mode",
            "next",
            "notes",
            "origin",
            "problems",
            "purges",
            "ref",
            "repo",
            "site",
            "state",
            "statuses",
            "summary",
            "url"
        ]
    );
    assert_eq!(json["id"], run.id.0);
    assert_eq!(json["site"], "www");
    assert_eq!(json["repo"], "trusting:acme/website");
    assert_eq!(json["ref"], "refs/heads/main");
    assert_eq!(json["commit"], COMMIT);
    assert_eq!(json["state"], "pending");
    assert_eq!(
        json["changes"],
        json!({
            "proof": "payload", "held": [], "by_commit": [], "total": 2, "paths": ["a.html", "b.html"],
        })
    );
    assert_eq!(
        json["purges"],
        json!([{
            "cdn": "tencent", "kind": "url", "target": "https://www.example.com/a.html",
            "state": "running", "task": "1490877261", "error": null, "given_up": null, "rule": "files",
            "path": "a.html", "mode": null, "attempts": 1,
        }])
    );
    let mut statuses = json["statuses"].clone();
    for status in statuses.as_array_mut().unwrap() {
        let wanted_at = status.as_object_mut().unwrap().remove("wanted_at");
        assert!(wanted_at.unwrap().as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(
        statuses,
        json!([
            {
                "state": "pending", "description": "Finding out what changed",
                "posted_at": "2026-11-22T07:10:05Z", "error": null, "refused": false,
            },
            {
                "state": "pending", "description": "0 of 1 done",
                "posted_at": null, "error": null, "refused": false,
            },
        ])
    );
}

/// A run that found such files changed, of which the first `purged` are purged.
async fn run_of_files(server: &Server, names: &[String], purged: usize) -> RunId {
    let run = server.run("main").await;
    let of = |names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (changes(&run.id, names.clone()), plan(&run.id, names))
    };
    let (all, _) = of(names);
    let (_, some) = of(&names[..purged]);
    server.write(&run.id, &[all, some]).await;
    run.id
}

/// The lists of a run, read page by page, and how many pages there were.
async fn all_pages(server: &Server, run: &RunId, limit: &str) -> (Vec<Value>, Vec<Value>, usize) {
    let (mut paths, mut purges, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/runs/{run}?limit={limit}&cursor={cursor}");
        let page = server.json(&path).await;
        pages += 1;
        paths.extend(page["changes"]["paths"].as_array().unwrap().clone());
        purges.extend(page["purges"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return (paths, purges, pages),
        }
    }
}

#[tokio::test]
async fn a_large_run_comes_page_by_page_and_nothing_of_it_is_missing() {
    let server = Server::start().await;
    let names: Vec<String> = (0..2_500).map(|n| format!("{n:04}.html")).collect();
    let run = run_of_files(&server, &names, 1_200).await;

    let first = server.json(&format!("/api/v1/runs/{run}")).await;
    assert_eq!(first["purges"].as_array().unwrap().len(), 1_000);
    assert_eq!(first["changes"]["paths"].as_array().unwrap().len(), 1_000);
    assert_eq!(first["changes"]["total"], 2_500);
    assert_eq!(first["next"], "1000");

    for (limit, pages) in [("", 3), ("400", 7)] {
        let read = all_pages(&server, &run, limit).await;
        assert_eq!(read.0, names);
        let purged: Vec<&str> = read
            .1
            .iter()
            .map(|purge| purge["path"].as_str().unwrap())
            .collect();
        assert_eq!(purged, names[..1_200]);
        assert_eq!(read.2, pages);
    }
}

#[tokio::test]
async fn long_names_make_an_answer_no_larger() {
    let server = Server::start().await;
    let long = "x".repeat(4_000);
    let names: Vec<String> = (0..500).map(|n| format!("{n:04}{long}")).collect();
    let run = run_of_files(&server, &names, 500).await;

    let page = server.page(&format!("/api/v1/runs/{run}")).await;
    let html = server.page(&format!("/runs/{run}")).await;

    assert!(page.len() < 1024 * 1024, "{}", page.len());
    assert!(html.len() < 3 * 1024 * 1024, "{}", html.len());
    let (paths, purges, _) = all_pages(&server, &run, "").await;
    assert_eq!(paths, names);
    assert_eq!(purges.len(), 500);
}

#[tokio::test]
async fn before_it_is_known_what_changed_there_is_no_proof() {
    let server = Server::start().await;
    let run = server.run("main").await;

    let json = server.json(&format!("/api/v1/runs/{}", run.id)).await;

    assert_eq!(
        json["changes"],
        json!({"proof": null, "held": [], "by_commit": [], "total": 0, "paths": []})
    );
    assert_eq!(json["purges"], json!([]));
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_page_by_page() {
    let server = Server::start().await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(server.run(&format!("branch-{n}")).await.id.0);
    }
    made.sort_unstable();
    made.reverse();

    let mut listed = Vec::new();
    let mut cursor = String::new();
    for _ in 0..3 {
        let json = server
            .json(&format!("/api/v1/runs?limit=2&cursor={cursor}"))
            .await;
        for run in json["runs"].as_array().unwrap() {
            listed.push(run["id"].as_str().unwrap().to_owned());
        }
        cursor = json["next"].as_str().unwrap_or_default().to_owned();
    }

    assert_eq!(listed, made);
    assert_eq!(cursor, "");
}

#[tokio::test]
async fn runs_are_narrowed_by_site_state_and_commit() {
    let server = Server::start().await;
    let failed = server.run("main").await;
    server.run("other").await;
    server.end(&failed, RunState::Failed, "a CDN refused").await;

    for (query, expected) in [
        ("", 2),
        ("?site=www", 2),
        ("?site=else", 0),
        ("?state=failed", 1),
        ("?state=cancelled", 0),
        (&format!("?commit={COMMIT}"), 2),
        (&format!("?commit={}", COMMIT.replace('0', "1")), 0),
        ("?site=www&state=pending", 1),
    ] {
        let json = server.json(&format!("/api/v1/runs{query}")).await;

        assert_eq!(json["runs"].as_array().unwrap().len(), expected, "{query}");
        assert_eq!(json["next"], Value::Null);
    }
}

#[tokio::test]
async fn what_is_not_there_or_makes_no_sense_is_refused_as_json() {
    let server = Server::start().await;
    let missing = server.clock.new_id();

    for (path, expected, named) in [
        ("/api/v1/runs?state=done", 400, "pending, succeeded"),
        ("/api/v1/runs?limit=0", 400, "1 to 200"),
        ("/api/v1/runs?cursor=x", 400, "next"),
        (&format!("/api/v1/runs/{missing}?limit=0"), 400, "1 to 1000"),
        (&format!("/api/v1/runs/{missing}"), 404, missing.as_str()),
        ("/api/v1/runs/%00", 404, "no run"),
        ("/api/v1/nothing", 404, "nothing"),
    ] {
        let answer = server.get(path).send().await.unwrap();

        assert_eq!(answer.status(), expected, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["outcome"], "refused");
        assert!(body["error"].as_str().unwrap().contains(named), "{body}");
    }
}

#[tokio::test]
async fn a_retry_needs_the_admin_token_and_a_run_that_failed() {
    let server = Server::start().await;
    let failed = server.run("main").await;
    let pending = server.run("other").await;
    server.end(&failed, RunState::Failed, "a CDN refused").await;
    let missing = RunId(server.clock.new_id());
    let good = format!("Bearer {ADMIN_TOKEN}");
    let lower = format!("bearer {ADMIN_TOKEN}");

    for (run, authorization, expected) in [
        (&failed.id, None, 401),
        (&failed.id, Some("Bearer wrong"), 401),
        (&failed.id, Some("Bearer "), 401),
        (&failed.id, Some("Basic b3Blbg=="), 401),
        (&failed.id, Some(ADMIN_TOKEN), 401),
        (&missing, Some(&*good), 404),
        (&pending.id, Some(&*good), 409),
        (&failed.id, Some(&*good), 202),
        (&failed.id, Some(&*lower), 409),
    ] {
        let mut request = server.request(Method::POST, &format!("/api/v1/runs/{run}/retry"));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), expected, "{authorization:?}");
        let asks = answer.headers().contains_key("www-authenticate");
        assert_eq!(asks, expected == 401);
        let body: Value = answer.json().await.unwrap();
        if expected == 202 {
            let url = format!("https://purge.example.com/hook/runs/{run}");
            assert_eq!(
                body,
                json!({"outcome": "accepted", "run": {"id": run.0, "url": url}})
            );
        } else {
            assert_eq!(body["outcome"], "refused");
        }
    }
    let again = server.engine.store().run(&failed.id).await.unwrap();
    assert_eq!(again.unwrap().state, RunState::Pending);
}

#[tokio::test]
async fn without_an_admin_token_actions_are_off_and_say_how_to_turn_them_on() {
    let server = Server::start_as(Setup {
        rules: RULES.replace("  admin_token: open sesame, please\n", ""),
        ..Setup::default()
    })
    .await;

    let answer = server
        .request(Method::POST, "/api/v1/runs/x/retry")
        .header("authorization", "Bearer ")
        .send()
        .await
        .unwrap();

    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("admin_token"));
}

#[tokio::test]
async fn a_retry_is_no_link_that_can_be_followed() {
    let server = Server::start().await;

    let answer = server.get("/api/v1/runs/x/retry").send().await.unwrap();

    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
}

#[tokio::test]
async fn who_guesses_the_admin_token_is_slowed_down() {
    let server = Server::start().await;
    let failed = server.run("main").await;
    server.end(&failed, RunState::Failed, "a CDN refused").await;
    let retry = |token: String| {
        let path = format!("/api/v1/runs/{}/retry", failed.id);
        let request = server.request(Method::POST, &path);
        request
            .header("authorization", format!("Bearer {token}"))
            .send()
    };

    let mut statuses = Vec::new();
    for n in 0..20 {
        statuses.push(retry(format!("guess {n}")).await.unwrap().status().as_u16());
    }
    let late = retry(ADMIN_TOKEN.to_owned()).await.unwrap();

    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 10]);
    assert_eq!(late.status(), 429, "it is not looked at");
    let wait: u64 = late.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
}
