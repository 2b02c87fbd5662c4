//! `purgehook check`: what is wrong with a rules file, for people and for programs. What is said of
//! each mistake stands in `src/config/bad_files.txt`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const RULES: &str = "server: {public_url: 'https://p.example.com'}
forges:
  github: {kind: github, secrets: [a-secret], token: a-token}
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
