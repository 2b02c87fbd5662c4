//! What `purgehook plan` says a change would purge.

use purgehook::sandbox::{Change, Delivery, Fault, Service, When};
use serde_json::Value;

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

/// `plan` for a delivery: exit code, the document where there is one, and what it said.
fn of_delivery(world: &World, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = world.run(&[&["plan", "--json"], arguments].concat(), "");
    let said = String::from_utf8(output.stderr).unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document, said)
}

/// Sends a push that must be accepted: our id of the delivery, and its runs.
async fn accepted(world: &World, push: &Delivery) -> (String, Vec<String>) {
    let (status, answer) = world.send(push).await;
    assert_eq!(status, 202, "{answer}");
    let runs = answer["runs"].as_array().unwrap().iter();
    let runs = runs.map(|run| run["id"].as_str().unwrap().to_owned());
    (
        answer["delivery"].as_str().unwrap().to_owned(),
        runs.collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deliverys_plan_what_was_handed_over_today_is_off_the_quota() {
    let mut world = World::new().await;
    world.edit_rules(
        "    endpoint: ${TENCENT_URL}",
        "    endpoint: ${TENCENT_URL}\n    limits: {urls_per_day: 5, prefetches_per_day: 9}",
    );
    world.start().await;
    let website = world.website();
    let styles = |names: [&str; 3]| names.map(|name| Change::write(format!("static/{name}"), name));
    website.commit("main", &styles(["a.css", "b.css", "c.css"]));
    let (delivery, runs) = accepted(&world, &website.push("main").unwrap()).await;
    world.ended(&runs[0]).await;

    let (code, plan, said) = of_delivery(&world, &["--delivery", &delivery]);

    assert_eq!(code, Some(0), "{said}");
    let load = |kind: &str| {
        let mut loads = plan["summary"].as_array().unwrap().iter();
        let load = loads.find(|load| load["kind"] == kind).unwrap();
        ["per_day", "left_today", "today", "waiting"].map(|key| load[key].as_u64().unwrap())
    };
    assert_eq!(load("url"), [5, 2, 2, 1]);
    assert_eq!(load("prefetch"), [9, 6, 3, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_several_sites_takes_the_name_of_one() {
    let mut world = World::new().await;
    world.edit_rules(
        "  docs:\n    repo: gitlab:acme/handbook/docs",
        "  docs:\n    repo: github:acme/website",
    );
    world.start().await;
    let website = world.website();
    let both = ["content/about.md", "docs/setup.md"].map(|path| Change::write(path, "second"));
    website.commit("main", &both);
    let (delivery, runs) = accepted(&world, &website.push("main").unwrap()).await;
    for run in &runs {
        world.ended(run).await;
    }
    assert_eq!(runs.len(), 2);

    let (code, _, said) = of_delivery(&world, &["--delivery", &delivery]);
    assert_eq!(code, Some(1));
    assert!(said.contains("say which with --site: docs, www"), "{said}");

    let (_, docs, said) = of_delivery(&world, &["--delivery", &delivery, "--site", "docs"]);
    assert_eq!(docs["purges"].as_array().map(Vec::len), Some(1), "{said}");
    let setup = "https://docs.example.com/setup/";
    assert_eq!(docs["purges"][0]["target"], setup, "{docs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_planned_once_it_is_known_what_changed_by_whichever_run_does_its_work() {
    let world = World::serving().await;
    let website = world.website();
    let first = website.commit("main", &[Change::write("content/1.md", "1")]);
    let (_, runs) = accepted(&world, &website.push("main").unwrap()).await;
    world.ended(&runs[0]).await;
    // What a forced push changed only the forge can say, which is away.
    // It is asked again after the second push.
    let away = Fault::Http(503, Some(5));
    let faults = world.sandbox.faults();
    faults.add(Service::GITHUB, "*", When::Always, away);
    let forced = async |path: &str| {
        website.commit("main", &[Change::write("content/off.md", path)]);
        website.push("main");
        website.reset("main", &first);
        website.commit("main", &[Change::write(path, "new")]);
        accepted(&world, &website.push("main").unwrap()).await
    };

    let (early, early_runs) = forced("content/2.md").await;
    let early_run = format!("/api/v1/runs/{}", early_runs[0]);
    world.answers(&early_run, "trying again").await;
    let (code, _, said) = of_delivery(&world, &["--delivery", &early]);
    assert_eq!(code, Some(1), "{said}");
    let words = format!("run {} has not found out what changed yet", early_runs[0]);
    assert!(said.contains(&words), "{said}");

    let (_, late_runs) = forced("content/3.md").await;
    faults.clear();
    world.answers(&early_run, r#""state":"superseded""#).await;
    world.ended(&late_runs[0]).await;
    let (code, plan, said) = of_delivery(&world, &["--delivery", &early]);

    assert_eq!(code, Some(0), "{said}");
    let words = format!(
        "was folded into run {}, whose changes these are",
        late_runs[0]
    );
    assert!(said.contains(&words), "{said}");
    assert!(
        plan.to_string().contains("https://www.example.com/3/"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_plan_that_nobody_reads_to_its_end_is_no_error() {
    let world = World::new().await;
    let files: String = (0..20_000).map(|n| format!("static/{n}.css\n")).collect();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), files).unwrap();

    for json in ["", "--json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut plan = world.command(0, &["plan", "--site", "www"]);
        plan.arg("--files")
            .arg(list.path())
            .args((!json.is_empty()).then_some(json));
        let mut child = plan
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop((plan, reader));

        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
        assert_eq!(said, "");
    }
}

#[tokio::test]
async fn a_plan_shows_a_path_of_any_length() {
    let world = World::new().await;
    let path = format!("static/{}", "x".repeat(70_000));
    let files = format!("{path}\nstatic/app.css\n");

    let output = world.run(&["plan", "--site", "www", "--files", "-"], &files);

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains(&path), "whole");
    let short = table.lines().find(|line| line.contains("app.css"));
    assert!(short.unwrap().len() < 500);
}

/// What `plan` of the site `www` says of a list of changes: exit code, `kind target` of each purge, and what it said.
fn of_list(world: &World, files: &str) -> (Option<i32>, Vec<String>, String) {
    let output = world.run(&["plan", "--site", "www", "--files", "-", "--json"], files);
    let said = String::from_utf8(output.stderr).unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let purges = document["purges"].as_array().into_iter().flatten();
    let purges = purges.map(|purge| {
        let text = |key: &str| purge[key].as_str().unwrap();
        format!("{} {}", text("kind"), text("target"))
    });
    let mut purges: Vec<String> = purges.collect();
    purges.extend(
        document["notes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|note| format!("note: {}", note.as_str().unwrap())),
    );
    (output.status.code(), purges, said)
}

#[tokio::test]
async fn what_another_command_printed_is_no_list_of_paths() {
    let world = World::new().await;

    for (files, line) in [
        (
            " M static/a.css\n?? static/b.css\nR  static/old.css -> static/new.css\n",
            1,
        ),
        ("static/a.css\nM  static/b.css\n", 2),
    ] {
        let (code, purges, said) = of_list(&world, files);
        assert_eq!((code, purges), (Some(1), Vec::new()), "{said}");
        let words = format!(
            "line {line}: this is what is printed by `git status --porcelain` or `--short`"
        );
        assert!(said.contains(&words), "{said}");
        assert!(said.contains("use `git diff --name-status`"), "{said}");
    }
    for files in ["static\\a.css\n", "../static/a.css\n", "static//a.css\n"] {
        let (code, _, said) = of_list(&world, files);
        assert_eq!(code, Some(1), "{files}: {said}");
    }
}

#[tokio::test]
async fn a_submodule_meets_the_rules_for_what_lies_in_it() {
    let world = World::new().await;
    let note = |path: &str| {
        format!(
            "note: \"{path}\" is a directory that git has as one entry (a submodule or a link): \
             what changed in it is not told, and the rules for what lies in it fire"
        )
    };

    // Named by a rule as a directory, or known for one by git's own word.
    world.edit_rules("[\"layouts/**\"", "[\"themes/ananke/**\"");
    let (_, purges, said) = of_list(&world, "M\tthemes/ananke\n");
    let everything = "directory https://www.example.com/".to_owned();
    assert_eq!(purges, [everything, note("themes/ananke")], "{said}");
    let raw = |mode: &str, path: &str| {
        format!(
            ":{mode} {mode} {} {} M\t{path}\n",
            "1".repeat(40),
            "2".repeat(40)
        )
    };
    let docs = "directory https://www.example.com/docs/".to_owned();
    let (_, purges, said) = of_list(&world, &raw("160000", "content/docs"));
    assert_eq!(purges, [docs.clone(), note("content/docs/")], "{said}");
    let (_, purges, said) = of_list(&world, "M\tcontent/docs/\n");
    assert_eq!(purges, [docs, note("content/docs/")], "{said}");
    // It may be a file.
    let (_, purges, said) = of_list(&world, "M\tcontent/docs\n");
    assert_eq!(purges, [""; 0], "{said}");
}

#[tokio::test]
async fn plan_tells_submodules_and_links_of_a_repository_from_files() {
    let world = World::new().await;
    let clone = Clone::empty();
    clone.commit(&["content/a.md", "shared/b.md"], "first");
    let commit = String::from_utf8(
        std::process::Command::new("git")
            .args(["-C", clone.path(), "rev-parse", "HEAD"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    let module = format!("160000,{},content/docs", commit.trim());
    clone.git(&["update-index", "--add", "--cacheinfo", &module]);
    std::os::unix::fs::symlink("../shared", clone.0.path().join("content/shared")).unwrap();
    clone.git(&["add", "content/shared"]);
    clone.git(&["commit", "-q", "-m", "a submodule and a link"]);

    let arguments = [
        "plan",
        "--site",
        "www",
        "--repo",
        clone.path(),
        "--from",
        "HEAD~1",
        "--json",
    ];
    let output = world.run(&arguments, "");

    let said = String::from_utf8_lossy(&output.stderr);
    let plan: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let targets: Vec<&str> = plan["purges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|purge| purge["target"].as_str().unwrap())
        .collect();
    let at = "https://www.example.com";
    assert_eq!(
        targets,
        [format!("{at}/docs/"), format!("{at}/shared/")],
        "{plan}"
    );
    let notes = plan["notes"].to_string();
    assert!(
        notes.contains("are directories that git has as one entry each"),
        "{notes}"
    );
}
