//! The commands that a person or a script runs.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use purgehook::sandbox::Change;
use serde_json::{Value, json};

use crate::world::World;

/// The output of a command for the rules file in the repository.
fn on_the_example(command: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args([
            command,
            "--rules",
            concat!(env!("CARGO_MANIFEST_DIR"), "/rules.yaml"),
        ])
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .output()
        .unwrap()
}

#[tokio::test]
async fn check_accepts_the_rules_file_and_the_example_in_the_repository() {
    let world = World::new().await;

    let own = world.run(&["check"], "");
    let example = on_the_example("check");

    assert_eq!(
        own.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&own.stderr)
    );
    assert_eq!(
        example.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&example.stderr)
    );
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    let world = World::new().await;

    assert_eq!(world.run(&["purge-it-all"], "").status.code(), Some(2));
    assert_eq!(world.run(&["plan"], "").status.code(), Some(2));
}

#[tokio::test]
async fn help_names_every_command() {
    let world = World::new().await;

    let help = String::from_utf8(world.run(&["--help"], "").stdout).unwrap();

    for command in [
        "serve", "check", "plan", "explain", "test", "schema", "runs", "retry", "demo",
    ] {
        assert!(help.contains(command), "{help}");
    }
}

#[tokio::test]
async fn run_purges_everything_at_the_head_of_the_branch_when_asked_to() {
    let world = World::serving().await;
    let website = world.website();
    let head = website.commit("main", &[Change::write("content/about.md", "second")]);
    website.push("main");

    let output = world.run(&["run", "www", "--everything"], "");

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let run = world.ended(said.split_whitespace().nth(1).unwrap()).await;
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(run["commit"], head.as_str());
    assert_eq!(run["purges"][0]["kind"], "directory");
    assert_eq!(run["purges"][0]["target"], "https://www.example.com/");
    assert_eq!(website.statuses(&head).last().unwrap().state, "success");
}

#[tokio::test]
async fn runs_lists_what_was_done_and_retry_refuses_what_has_not_failed() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.ended(&run).await;

    let listed = world.run(&["runs", "--json"], "");
    let retried = world.run(&["retry", &run], "");

    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["runs"][0]["id"], run.as_str());
    assert_eq!(listed["runs"][0]["state"], "succeeded");
    assert_eq!(retried.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&retried.stderr).contains("has not failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn export_prints_all_that_is_kept_of_a_run_while_the_program_serves() {
    let world = World::serving().await;
    let website = world.website();
    let changes = [
        Change::write("content/about.md", "second"),
        Change::write("static/app.js", "second"),
        Change::write("static/new.css", "first"),
        Change::remove("static/app.css"),
    ];
    let commit = website.commit("main", &changes);
    let delivery = website.push("main").unwrap();
    let id = world.accepted(&delivery).await;
    let shown = world.ended(&id).await;

    let output = world.run(&["export", &id], "");

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let exported: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(exported["run"]["id"], id.as_str());
    assert_eq!(exported["run"]["commit"], commit.as_str());
    assert_eq!(exported["run"]["state"], "succeeded");
    for (name, value) in exported["run"].as_object().unwrap() {
        assert_eq!(value, &shown[name], "{name} as the API has it");
    }
    assert_eq!(exported["covers"], json!([]));
    assert_eq!(exported["delivery"]["id"], shown["delivery"]);
    assert_eq!(exported["delivery"]["forge"], "github");
    assert_eq!(exported["delivery"]["event"], "push");
    assert_eq!(exported["delivery"]["bytes"], delivery.body.len());
    assert_eq!(
        exported["delivery"]["forge_delivery"].as_str(),
        delivery.header("x-github-delivery")
    );
    assert_eq!(exported["changes"]["proof"], "payload");
    assert_eq!(
        exported["changes"]["files"],
        json!([
            {"path": "content/about.md", "change": "changed"},
            {"path": "static/app.css", "change": "removed"},
            {"path": "static/app.js", "change": "changed"},
            {"path": "static/new.css", "change": "added"},
        ])
    );
    assert_eq!(exported["purges"], shown["purges"]);
    assert_eq!(exported["purges"].as_array().unwrap().len(), 6);
    assert_eq!(exported["statuses"], shown["statuses"]);
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|item| item["task"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&exported["tasks"]), names(&exported["purges"]));
    for task in exported["tasks"].as_array().unwrap() {
        assert_eq!(task["state"], "ended");
        assert!(task["submitted_at"].as_str() < task["ended_at"].as_str());
    }

    let output = world.run(&["export", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no run 01ARZ"), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(world.run(&["export"], "").status.code(), Some(2));
}

#[test]
fn the_examples_own_cases_pass() {
    let output = on_the_example("test");

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.ends_with("6 passed, 0 failed\n"), "{said}");
}

#[tokio::test]
async fn commands_that_look_make_no_database() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.db");
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();

    for path in [&nowhere, &empty] {
        let address = format!("sqlite://{}", path.display());
        for args in [
            &["runs"][..],
            &["run", "www"],
            &["retry", "01"],
            &["export", "01"],
            &["plan", "--delivery", "01"],
        ] {
            let output = world.run(&[args, &["--database", &address]].concat(), "");
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
            let words = format!(
                "there is no database at {}: --database, PURGEHOOK_DATABASE",
                path.display()
            );
            assert!(said.contains(&words), "{args:?}: {said}");
        }
    }
    assert!(!nowhere.exists());
    assert_eq!(std::fs::read(&empty).unwrap(), b"");
    let mut names = std::fs::read_dir(folder.path()).unwrap();
    let only = names.next().unwrap().unwrap().file_name();
    assert_eq!((only.to_str(), names.count()), (Some("empty.db"), 0));
}

#[tokio::test]
async fn a_run_that_no_server_takes_up_says_so() {
    let mut world = World::serving().await;
    let served = world.run(&["run", "www"], "");
    world.terminate().await;
    let alone = world.run(&["run", "www"], "");

    let words = "no server answers at 127.0.0.1:";
    let said = String::from_utf8(served.stderr).unwrap();
    assert!(!said.contains(words), "{said}");
    let said = String::from_utf8(alone.stderr).unwrap();
    assert_eq!(alone.status.code(), Some(0), "{said}");
    assert!(
        said.contains(words) && said.contains("the run waits until one works on"),
        "{said}"
    );
}

#[tokio::test]
async fn a_site_that_is_not_there_is_the_same_error_for_every_command() {
    let world = World::serving().await;
    let said = |args: &[&str]| {
        let output = world.run(args, "");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };

    let run = said(&["run", "nosuch"]);
    let runs = said(&["runs", "--site", "nosuch"]);
    let json = said(&["runs", "--site", "nosuch", "--json"]);

    assert!(
        run.contains("there is no site \"nosuch\"; there is blog, docs, www"),
        "{run}"
    );
    assert_eq!((&runs, &json), (&run, &run));
    // One that has no runs yet is no error.
    assert_eq!(
        world.run(&["runs", "--site", "docs"], "").status.code(),
        Some(0)
    );
}

#[tokio::test]
async fn help_lists_the_options_that_mean_something_and_no_others() {
    let world = World::new().await;
    let help = |command: &str| {
        let output = world.run(&[command, "--help"], "");
        String::from_utf8(output.stdout).unwrap()
    };

    for command in ["runs", "export", "plan", "retry", "skip"] {
        let help = help(command);
        assert!(help.contains("--database"), "{help}");
        assert!(
            !help.contains("--listen") && !help.contains("--public-url"),
            "{help}"
        );
    }
    for command in ["serve", "run"] {
        let help = help(command);
        assert!(
            help.contains("--listen") && help.contains("--database"),
            "{help}"
        );
    }
    let help = help("trigger");
    assert!(
        help.contains("--listen") && !help.contains("--database"),
        "{help}"
    );
}
