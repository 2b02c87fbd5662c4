//! `purgehook init`: a rules file for a site, from flags, from the working copy or from answers on a terminal.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// A clone of a repository, with files in it.
fn clone(remote: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = folder(files);
    for arguments in [
        &["init", "-q", "-b", "trunk"][..],
        &["remote", "add", "origin", remote],
    ] {
        let git = Command::new("git")
            .arg("-C")
            .arg(folder.path())
            .args(arguments)
            .status();
        assert!(git.unwrap().success());
    }
    folder
}

fn purgehook(at: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(arguments)
        .current_dir(at)
        .env_remove("PURGEHOOK_RULES")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).unwrap()
}

fn read(at: &Path, file: &str) -> String {
    std::fs::read_to_string(at.join(file)).unwrap()
}

const FLAGS: [&str; 13] = [
    "init",
    "--forge",
    "github",
    "--repo",
    "acme/website",
    "--cdn",
    "tencent-cdn",
    "--generator",
    "hugo",
    "--base-url",
    "https://www.example.com",
    "--public-url",
    "https://purge.example.com",
];

#[test]
fn flags_come_to_a_rules_file_that_check_and_plan_take_and_to_a_file_of_secrets() {
    let folder = folder(&[]);
    let at = folder.path();

    let output = purgehook(at, &FLAGS);

    assert!(output.status.success(), "{}", said(&output));
    let next = String::from_utf8(output.stdout).unwrap();
    assert_eq!(next.lines().count(), 5, "{next}");
    for words in [
        "GITHUB_TOKEN, TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY",
        "purgehook check --strict",
        "purgehook serve",
        "https://purge.example.com/hooks/github",
        "GITHUB_WEBHOOK_SECRET",
    ] {
        assert!(next.contains(words), "{words}: {next}");
    }

    let env = at.join("env");
    let mode = std::fs::metadata(&env).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = read(at, "env");
    let secret = text
        .lines()
        .find_map(|line| line.strip_prefix("GITHUB_WEBHOOK_SECRET="))
        .unwrap();
    assert_eq!(secret.len(), 64);
    assert!(!next.contains(secret), "it shows the secret");

    let check = purgehook(at, &["check"]);
    assert!(check.status.success(), "{}", said(&check));
    std::fs::write(at.join("changes"), "M\tcontent/My Page.md\n").unwrap();
    let plan = purgehook(at, &["plan", "--files", "changes"]);
    let planned = said(&plan);
    assert!(plan.status.success(), "{planned}");
    assert!(
        planned.contains("https://www.example.com/my-page/"),
        "{planned}"
    );

    let filled: String = text
        .lines()
        .map(|line| match line.strip_suffix('=') {
            Some(name) if !line.starts_with('#') => format!("{name}=some-secret-of-the-tests\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&env, filled).unwrap();
    let strict = Command::new("sh")
        .args(["-c", "set -a; . ./env; set +a; exec \"$0\" check --strict"])
        .arg(env!("CARGO_BIN_EXE_purgehook"))
        .current_dir(at)
        .output()
        .unwrap();
    assert!(strict.status.success(), "{}", said(&strict));
    assert!(!said(&strict).contains("warning"), "{}", said(&strict));
}

#[test]
fn what_the_working_copy_tells_need_not_be_given() {
    let files = [("website/docusaurus.config.js", ""), ("package.json", "{}")];
    let clone = clone("git@gitlab.example.com:docs/handbook.git", &files);
    let at = clone.path();

    let output = purgehook(
        at,
        &[
            "init",
            "--cdn",
            "huawei-cdn",
            "--base-url",
            "docs.example.com",
        ],
    );

    assert!(output.status.success(), "{}", said(&output));
    let rules = read(at, "rules.yaml");
    for line in [
        "    kind: gitlab",
        "    api_url: https://gitlab.example.com/api/v4",
        "    kind: huawei-cdn",
        "  docs:",
        "    repo: gitlab:docs/handbook",
        "    branches: [trunk]",
        "    base_urls: [https://docs.example.com]",
        "        match: [\"website/static/**\"]",
        "        strip: website/static/",
    ] {
        assert!(
            rules.lines().any(|is| is.starts_with(line)),
            "{line}:\n{rules}"
        );
    }
    assert!(
        said(&output).contains("Keep env out of git"),
        "{}",
        said(&output)
    );
    let check = purgehook(at, &["check"]);
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn what_nobody_says_is_named_at_once_and_nothing_is_written() {
    let folder = folder(&[]);

    let output = purgehook(folder.path(), &["init", "--forge", "gitea"]);

    assert_eq!(output.status.code(), Some(1));
    let words = said(&output);
    let missing = "--generator, --repo, --api-url, --cdn, --base-url";
    assert!(words.contains(missing), "{words}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let wrong = purgehook(folder.path(), &["init", "--forge", "githup"]);
    let words = said(&wrong);
    assert!(
        words.contains("--forge: there is no forge `githup`"),
        "{words}"
    );
    assert!(words.contains("did you mean `github`?"), "{words}");
}

#[test]
fn a_file_that_is_there_stays_unless_forced_and_its_secrets_stay_even_so() {
    let folder = folder(&[("rules.yaml", "mine\n")]);
    let at = folder.path();

    let refused = purgehook(at, &FLAGS);

    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(read(at, "rules.yaml"), "mine\n");
    assert!(!at.join("env").exists());

    std::fs::write(
        at.join("env"),
        "GITHUB_TOKEN=ghp_mine\nGITHUB_WEBHOOK_SECRET=old\n",
    )
    .unwrap();
    let forced = purgehook(at, &[FLAGS.as_slice(), &["--force"]].concat());

    assert!(forced.status.success(), "{}", said(&forced));
    assert!(read(at, "rules.yaml").contains("repo: github:acme/website"));
    let env = read(at, "env");
    assert!(env.contains("\nGITHUB_TOKEN=ghp_mine\n"), "{env}");
    assert!(env.contains("\nGITHUB_WEBHOOK_SECRET=old\n"), "{env}");
    assert!(!said(&forced).contains("ghp_mine"), "{}", said(&forced));

    let elsewhere = purgehook(at, &[FLAGS.as_slice(), &["--dir", "conf/purge"]].concat());
    assert!(elsewhere.status.success(), "{}", said(&elsewhere));
    assert!(at.join("conf/purge/rules.yaml").is_file());
}

#[test]
fn on_a_terminal_it_asks_and_offers_what_it_found() {
    let clone = clone("https://github.com/acme/website.git", &[("mkdocs.yml", "")]);
    let at = clone.path();
    // In a terminal of its own; each answer waits for its question.
    let mut script = Command::new("script")
        .args([
            "-qec",
            &format!("'{}' init", env!("CARGO_BIN_EXE_purgehook")),
            "/dev/null",
        ])
        .current_dir(at)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = "\n\n\n\nmain\nno-cdn\ntencent-cdn\nhttps://docs.example.com/\n\n";
    let mut input = script.stdin.take().unwrap();
    input.write_all(answers.as_bytes()).unwrap();

    let output = script.wait_with_output().unwrap();
    drop(input);

    let shown = said(&output);
    for words in [
        "[mkdocs]: ",
        "[github]: ",
        "[acme/website]: ",
        "[trunk]: ",
        "there is no CDN `no-cdn`",
        "Wrote ./rules.yaml",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    let rules = read(at, "rules.yaml");
    assert!(rules.contains("branches: [main]"), "{rules}");
    assert!(
        rules.contains("base_urls: [https://docs.example.com]"),
        "{rules}"
    );
}
