//! The commands that a person or a script runs.

use std::collections::BTreeSet;

use purgehook::sandbox::Change;
use serde_json::{Value, json};

use crate::world::World;

/// A local git repository.
struct Clone(tempfile::TempDir);

impl Clone {
    /// With one commit that has no files.
    fn empty() -> Self {
        let clone = Self(tempfile::tempdir().unwrap());
        clone.git(&["init", "-q"]);
        clone.git(&["commit", "-q", "--allow-empty", "-m", "nothing yet"]);
        clone
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Writes the same into some files, and commits them.
    fn commit(&self, paths: &[impl AsRef<str>], content: &str) {
        for path in paths {
            let path = self.0.path().join(path.as_ref());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", content]);
    }

    fn git(&self, arguments: &[&str]) {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let mut git = std::process::Command::new("git");
        git.args(["-C", self.path()]).args(who).args(arguments);
        // Nobody's own configuration, such as signing, is in the way.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.status().unwrap().success());
    }
}

#[tokio::test]
async fn check_accepts_the_rules_file_and_the_example_in_the_repository() {
    let world = World::new().await;

    let own = world.run(&["check"], "");
    let example = std::process::Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args([
            "check",
            "--rules",
            concat!(env!("CARGO_MANIFEST_DIR"), "/rules.yaml"),
        ])
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .output()
        .unwrap();

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
async fn plan_shows_what_files_on_standard_input_would_purge() {
    let world = World::new().await;
    let files =
        "M\tcontent/posts/hello/index.md\nA\tstatic/a b.css\nD\tstatic/gone.js\nREADME.md\n";

    let output = world.run(&["plan", "--site", "www", "--files", "-", "--json"], files);

    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let purges: Vec<(&str, &str, &str)> = plan["purges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let text = |key: &str| p[key].as_str().unwrap();
            (text("kind"), text("target"), text("rule"))
        })
        .collect();
    for expected in [
        ("url", "https://www.example.com/posts/hello/", "pages"),
        ("url", "https://www.example.com/a%20b.css", "files"),
        ("url", "https://www.example.com/gone.js", "files"),
        ("prefetch", "https://www.example.com/a%20b.css", "files"),
    ] {
        assert!(
            purges.contains(&expected),
            "{expected:?} is not in {purges:?}"
        );
    }
    assert_eq!(purges.len(), 4, "{purges:?}");
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

#[tokio::test]
async fn plan_compares_two_commits_of_a_repository() {
    let world = World::new().await;
    let clone = Clone::empty();
    clone.commit(&["static/a.css"], "a");
    let plan = |from: &str, json: &[&str]| {
        let repo = ["--repo", clone.path(), "--from", from];
        let arguments = [["plan", "--site", "www"].as_slice(), &repo].concat();
        world.run(&[&arguments, json].concat(), "")
    };

    let output = plan("HEAD~1", &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = String::from_utf8(plan("HEAD~1", &[]).stdout).unwrap();
    let wrong = plan("v9", &[]);

    assert_eq!(
        document["purges"][0]["target"],
        "https://www.example.com/a.css"
    );
    assert_eq!(document["summary"][0]["requests"], 1);
    assert!(table.contains("1 URL in 1 request, "), "{table}");
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("there is no commit `v9`"), "{said}");
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

#[tokio::test(flavor = "multi_thread")]
async fn plan_tells_what_a_delivery_would_purge_under_the_rules_as_they_are_now() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let push = website.push("main").unwrap();
    let (_, answer) = world.send(&push).await;
    let run = answer["runs"][0]["id"].as_str().unwrap();
    world.ended(run).await;
    let id = answer["delivery"].as_str().unwrap();
    let plan = |args: &[&str]| {
        let output = world.run(&[&["plan"], args].concat(), "");
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), output.stdout, said)
    };

    world.edit_rules(
        "strip: content/\n        urls: [\"/{page}\"]",
        "urls: [\"/new/{page}\"]",
    );
    let (code, shown, said) = plan(&["--json", "--delivery", id]);

    assert_eq!(code, Some(0), "{said}");
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["purges"][0]["path"], "content/about.md", "{shown}");
    let target = "https://www.example.com/new/content/about/";
    assert_eq!(shown["purges"][0]["target"], target, "{shown}");

    let guid = push
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-github-delivery"))
        .map(|(_, value)| value.as_str())
        .unwrap();
    let (_, by_the_forges_id, said) = plan(&["--json", "--delivery", guid]);
    let by_the_forges_id: Value = serde_json::from_slice(&by_the_forges_id).expect(&said);
    assert_eq!(by_the_forges_id["purges"], shown["purges"]);

    let (code, _, said) = plan(&["--delivery", "nothing"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no delivery \"nothing\""), "{said}");
    let (code, _, said) = plan(&["--delivery", id, "--site", "docs"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("made no run of the site docs"), "{said}");
    let (code, _, _) = plan(&["--delivery", id, "--files", "-"]);
    assert_eq!(code, Some(2));

    world.edit_rules("\n  www:\n", "\n  renamed:\n");
    let (code, _, said) = plan(&["--delivery", id]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("the site www is no longer in the rules file"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_the_server_choose_the_same_cover_for_the_same_commits() {
    let mut world = World::new().await;
    world.edit_rules(
        "status: {context: cdn/purge}",
        "status: {context: cdn/purge}\n    cover: cheapest",
    );
    world.settle_at_once();
    world.start().await;
    let website = world.website();
    let clone = Clone::empty();
    let write = |count: usize, content: &str| {
        let small = (0..120).map(|n| format!("content/small/{n}.md"));
        let large = (0..count).map(|n| format!("content/large/{n}.md"));
        let paths: Vec<String> = small.chain(large).collect();
        clone.commit(&paths, content);
        let changes = paths.iter().map(|path| Change::write(path, content));
        website.commit("main", &changes.collect::<Vec<_>>());
        website.push("main").unwrap()
    };
    let first = world.accepted(&write(300, "first")).await;
    world.ended(&first).await;

    let second = world.accepted(&write(120, "second")).await;
    let run = world.ended(&second).await;
    let planned = |json: &[&str]| {
        let arguments = [
            "plan",
            "--site",
            "www",
            "--repo",
            clone.path(),
            "--from",
            "HEAD~1",
        ];
        world.run(&[&arguments, json].concat(), "")
    };
    let document: Value = serde_json::from_slice(&planned(&["--json"]).stdout).unwrap();

    let key = |purge: &Value| format!("{} {}", purge["kind"], purge["target"]);
    let keys = |purges: &Value| {
        let keys: std::collections::BTreeSet<String> =
            purges.as_array().unwrap().iter().map(key).collect();
        keys
    };
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let (planned_keys, run_keys) = (keys(&document["purges"]), keys(&run["purges"]));
    let difference: Vec<_> = planned_keys.symmetric_difference(&run_keys).collect();
    assert!(difference.is_empty(), "{difference:?}");
    let small = r#""directory" "https://www.example.com/small/""#;
    assert!(keys(&run["purges"]).contains(small));
    let large = r#""url" "https://www.example.com/large/1/""#;
    assert!(keys(&run["purges"]).contains(large));
    let said = String::from_utf8(planned(&[]).stderr).unwrap();
    assert!(said.contains("is counted, over 420 files"), "{said}");
}

#[tokio::test]
async fn explain_leads_from_a_url_back_to_the_rules() {
    let world = World::new().await;

    let output = world.run(&["explain", "https://www.example.com/posts/hello/"], "");

    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("pages: could ask for it as a URL by `/{page}`"),
        "{said}"
    );
}

#[test]
fn the_examples_own_cases_pass() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args([
            "test",
            "--rules",
            concat!(env!("CARGO_MANIFEST_DIR"), "/rules.yaml"),
        ])
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .output()
        .unwrap();

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.ends_with("5 passed, 0 failed\n"), "{said}");
}
