//! `purgehook check`: what is wrong with a rules file, for people and for programs. What is said of
//! each mistake stands in `src/config/bad_files.txt`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const RULES: &str = "server: {public_url: 'https://p.example.com'}
forges:
  github: {kind: github, secrets: [a-secret-of-the-tests], token: a-token}
cdns:
  tencent: {kind: tencent-cdn, secret_id: an-id, secret_key: a-key}
sites:
  www:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [tencent]
    rules:
      - name: pages
        match: ['content/**']
        urls: ['/{path}']
";

fn check(rules: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .arg("check")
        .args(args)
        .arg("--rules")
        .arg(rules)
        .output()
        .unwrap()
}

/// What is said of a file: the exit code, and each problem.
fn checked(text: &[u8]) -> (Option<i32>, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, text).unwrap();
    let output = check(&rules, &["--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["ok"], output.status.success());
    (
        output.status.code(),
        said["problems"].as_array().unwrap().clone(),
    )
}

#[test]
fn an_error_is_told_to_programs_with_its_place_and_exits_with_1() {
    let (code, problems) = checked(RULES.replace("content/**", "content/[a").as_bytes());

    assert_eq!(code, Some(1));
    assert_eq!(
        problems,
        [json!({
            "severity": "error",
            "line": 13,
            "column": 17,
            "message": "the glob `content/[a` has a `[` at character 9 that no `]` closes",
            "advice": "close it, or write `\\[` for the character itself",
        })]
    );
}

#[test]
fn a_warning_is_told_to_programs_and_exits_with_0() {
    let (code, problems) = checked(
        RULES
            .replace("        urls", "        except: '**'\n        urls")
            .as_bytes(),
    );

    assert_eq!(code, Some(0));
    assert_eq!(
        problems,
        [json!({
            "severity": "warning",
            "line": 14,
            "column": 9,
            "message": "the rule `pages` never fires: `except` takes all it matches",
            "advice": null,
        })]
    );
}

#[test]
fn people_are_shown_the_line_and_the_place_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RULES.replace("{path}", "{pth}")).unwrap();

    let output = check(&rules, &[]);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "error: the template `/{pth}` has the unknown field `{pth}` at character 2",
        ":14:16\n",
        "14 |         urls: ['/{pth}']\n   |                ^^^^^^^^\n",
        "= help: did you mean `{path}`?",
        ": 1 error\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_is_right_is_right_however_it_is_written() {
    for (from, to) in [
        ("", ""),
        ("\n", "\r\n"),
        ("server: {public", "\u{feff}server: {public"),
        ("['/{path}']", "/{path}"),
        (
            "match: ['content/**']",
            "match_regex: '^content/(?<section>[^/]+)/'",
        ),
    ] {
        let (code, problems) = checked(RULES.replace(from, to).as_bytes());
        assert_eq!((code, problems), (Some(0), Vec::new()), "{to}");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_path() {
    let (code, problems) = checked(b"a: \xff\n");
    assert_eq!(code, Some(1));
    assert_eq!(
        problems[0]["message"],
        "the rules file is not UTF-8 text (line 1, column 4)"
    );

    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, RULES.to_owned() + "# " + &"x".repeat(30 << 20)).unwrap();
    assert_eq!(check(&large, &[]).status.code(), Some(0));

    for (path, words) in [
        (
            folder.path().to_owned(),
            "cannot read the rules file: Is a directory",
        ),
        (folder.path().join("none.yaml"), "there is no rules file at"),
    ] {
        let output = check(&path, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}

/// `purgehook` in a folder, with these variables and no others that matter.
fn purgehook(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_rules_file_nearby_is_named_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();

    for args in [
        &["check"][..],
        &["serve"],
        &["runs"],
        &["plan", "--files", "-"],
    ] {
        let (code, _, said) = purgehook(folder.path(), args, &[]);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        let words = "there is a rules.yml here: `--rules rules.yml`";
        assert!(said.contains(words), "{args:?}: {said}");
    }
    for args in [&["check", "rules.yml"][..], &["serve", "./rules.yml"]] {
        let (code, _, said) = purgehook(folder.path(), args, &[]);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        let words = format!("the rules file is named by an option: --rules {}", args[1]);
        assert!(said.contains(&words), "{args:?}: {said}");
    }
    let (code, _, said) = purgehook(folder.path(), &["check", "--rules", "rules.yml"], &[]);
    assert_eq!(code, Some(0), "{said}");
}

/// Rules whose every secret is from the environment.
fn with_variables() -> String {
    RULES
        .replace("[a-secret-of-the-tests]", "[\"${HOOK_SECRET}\"]")
        .replace("token: a-token", "token: \"${TOKEN}\"")
        .replace(", secret_id: an-id, secret_key: a-key", "")
}

#[test]
fn rules_are_checked_and_planned_without_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, with_variables()).unwrap();
    std::fs::write(folder.path().join("changed"), "content/a.md\n").unwrap();
    let unset = "not set here, and needed by `purgehook serve`: \
                 HOOK_SECRET, TOKEN, TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY\n";

    let (code, fine, said) = purgehook(folder.path(), &["check"], &[]);
    assert_eq!((code, said.as_str()), (Some(0), unset));
    assert!(fine.contains("is fine: 1 site, 1 rule"), "{fine}");
    for args in [
        &["plan", "--files", "changed"][..],
        &["explain", "content/a.md"],
        &["test"],
    ] {
        let (code, _, said) = purgehook(folder.path(), args, &[]);
        assert_eq!(code, Some(0), "{args:?}: {said}");
        assert_eq!(said, format!("note: {unset}"), "{args:?}");
    }
    let (_, report, _) = purgehook(folder.path(), &["check", "--json"], &[]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["unset"].as_array().unwrap().len(), 4);

    for args in [&["check", "--strict"][..], &["serve"], &["run", "www"]] {
        let (code, _, said) = purgehook(folder.path(), args, &[]);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        let words = "the environment variable `HOOK_SECRET` is not set";
        assert!(said.contains(words), "{args:?}: {said}");
    }
    // What is no secret is needed for a plan.
    let other = with_variables().replace("acme/website", "acme/${REPO}");
    std::fs::write(&rules, other).unwrap();
    let (code, _, said) = purgehook(folder.path(), &["check"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the environment variable `REPO` is not set"),
        "{said}"
    );
}

#[test]
fn what_comes_along_with_a_secret_from_the_environment_is_said_without_showing_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), with_variables()).unwrap();

    let (code, _, said) = purgehook(
        folder.path(),
        &["check"],
        &[
            ("HOOK_SECRET", "\"s3cret-of-the-webhook\""),
            ("TOKEN", "t0ken-of-the-forge\r\n"),
            ("TENCENTCLOUD_SECRET_ID", " AKID0123456789"),
            ("TENCENTCLOUD_SECRET_KEY", "$TENCENT_KEY"),
        ],
    );

    assert_eq!(code, Some(0), "{said}");
    for words in [
        "an item of `secrets` begins and ends with a quote",
        "`token` ends in a line break",
        "the environment variable TENCENTCLOUD_SECRET_ID begins or ends with a blank",
        "the environment variable TENCENTCLOUD_SECRET_KEY looks like a variable that is not read",
        "rules.yaml: 4 warnings",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for secret in ["s3cret", "t0ken", "AKID", "TENCENT_KEY\n"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

#[test]
fn the_warnings_of_a_rules_file_are_no_other_commands_matter() {
    let folder = tempfile::tempdir().unwrap();
    let odd = RULES.replace("content/**", "content/**.md");
    std::fs::write(folder.path().join("rules.yaml"), odd).unwrap();

    for args in [
        &["plan", "--files", "/dev/null"][..],
        &["explain", "a"],
        &["test"],
        &["runs"],
    ] {
        let (_, _, said) = purgehook(folder.path(), args, &[]);
        assert!(!said.contains("warning"), "{args:?}: {said}");
    }
    let (_, _, said) = purgehook(folder.path(), &["check"], &[]);
    assert!(said.contains("write `content/**/*.md`"), "{said}");
}

#[test]
fn an_escape_that_yaml_does_not_know_is_shown_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    let text = RULES.replace(
        "match: ['content/**']",
        r#"match_regex: "^posts/(?<slug>[^/]+)\.md$""#,
    );
    std::fs::write(&rules, text).unwrap();

    let (code, _, said) = purgehook(folder.path(), &["check"], &[]);

    assert_eq!(code, Some(1));
    for words in [
        "rules.yaml:13:44\n",
        r#"13 |         match_regex: "^posts/(?<slug>[^/]+)\.md$""#,
        "   |                                            ^^\n",
        "= help: put it in single quotes, where a `\\` stands for itself, or double the `\\`",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
