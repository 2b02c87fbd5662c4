//! `purgehook explain`: which rule fires and why, and what becomes of a path or a URL.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use serde_json::Value;

const RULES: &str = "
server: {public_url: 'https://purgehook.example.com'}
forges:
  github: {kind: github, secrets: [a-secret], token: a-token}
cdns:
  huawei: {kind: huawei-cdn, access_key: an-id, secret_key: a-key}
  tencent: {kind: tencent-cdn, secret_id: an-id, secret_key: a-key}
sites:
  www:
    repo: github:acme/website
    base_urls: [https://www.example.com]
    cdns: [huawei, tencent]
    ignore: ['*.txt']
    unmatched: warn
    rules:
      - {name: pages, match: ['content/**/*.md'], except: ['content/drafts/**'], strip: content/, urls: ['/{page}'], prefetch: ['/{page}'], cdns: [tencent]}
      - {name: files, match: ['static/**'], strip: static/, urls: ['/{path}'], last: true}
      - {name: news, match_regex: '^news/(?P<year>\\d{4})-', urls: ['/news/{year}/'], on: [added]}
      - {name: theme, match: ['layouts/**', 'static/*.css'], directories: ['/'], mode: delete}
  docs:
    repo: github:acme/docs
    base_urls: [https://docs.example.com/v1]
    mode: dry-run
    cdns: [tencent]
    unmatched: everything
    rules:
      - {name: all, match: ['a/**'], urls: ['/{path}']}
  shop:
    repo: github:acme/shop
    base_urls: [https://shop.example.com]
    cdns: [tencent]
    rules:
      - {name: all, match: ['a/**'], urls: ['/{path}']}
";

fn explain(args: &[&str], what: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(["explain", "--rules"])
        .arg(rules)
        .args(args)
        .arg(OsStr::from_bytes(what))
        .output()
        .unwrap()
}

/// What is said of a path or URL in text, and in JSON.
fn explained(args: &[&str], what: &[u8]) -> (String, Value) {
    let text = explain(args, what);
    let json = explain(&[args, &["--json"]].concat(), what);
    assert_eq!(text.status.code(), Some(0), "{text:?}");
    assert_eq!(json.status.code(), Some(0), "{json:?}");
    (
        String::from_utf8(text.stdout).unwrap(),
        serde_json::from_slice(&json.stdout).unwrap(),
    )
}

/// The words of `text` stand in both answers, in JSON as values somewhere in it.
fn says(args: &[&str], what: &str, text: &[&str]) {
    let (said, json) = explained(args, what.as_bytes());
    let values = strings(&json).join("\n");
    for words in text {
        assert!(said.contains(words), "{what}: {words}: {said}");
        // The text puts several values on one line.
        let parts = words.split(": ").last().unwrap();
        assert!(values.contains(parts), "{what}: {parts}: {json:#}");
    }
}

fn strings(json: &Value) -> Vec<&str> {
    match json {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        Value::Object(map) => map.values().flat_map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

const WWW: &[&str] = &["--site", "www"];

#[test]
fn each_rule_says_why_it_fires_or_not() {
    for (change, path, reasons) in [
        (
            "changed",
            "content/a.md",
            &["pages: fires: matched by `content/**/*.md`"][..],
        ),
        (
            "changed",
            "content/drafts/a.md",
            &[
                "pages: does not fire: matched by `content/**/*.md`, but excepted by `content/drafts/**`",
            ],
        ),
        (
            "changed",
            "static/a.css",
            &[
                "pages: does not fire: it does not match",
                "files: fires: matched by `static/**`",
                "theme: does not fire: the rule `files` before it says `last: true`",
            ],
        ),
        (
            "changed",
            "news/2026-a",
            &[
                "news: does not fire: matched by `^news/(?P<year>\\d{4})-`, but `on:` leaves out `changed`",
            ],
        ),
        (
            "added",
            "news/2026-a",
            &["news: fires: matched by `^news/(?P<year>\\d{4})-`"],
        ),
        (
            "changed",
            "a.txt",
            &["theme: does not fire: the site ignores the path, by `*.txt`"],
        ),
    ] {
        says(&["--site", "www", "--change", change], path, reasons);
    }
}

#[test]
fn what_becomes_of_a_path_is_said_for_each_cdn() {
    let (text, json) = explained(WWW, b"layouts/base.html");
    assert!(
        text.ends_with(
            "  comes to:
    huawei: directory (delete) https://www.example.com/
    tencent: directory (delete) https://www.example.com/
"
        ),
        "{text}"
    );
    assert_eq!(json["sites"][0]["purges"][0]["mode"], "delete");

    let (text, json) = explained(WWW, b"content/a.md");
    assert!(
        text.ends_with(
            "  comes to:
    tencent: url https://www.example.com/a/
    tencent: prefetch https://www.example.com/a/
"
        ),
        "{text}"
    );
    assert_eq!(json["sites"][0]["mode"], "live");
    assert!(json["sites"][0].get("nothing").is_none());
}

#[test]
fn nothing_has_its_reason() {
    for (site, path, reason) in [
        (
            "www",
            "elsewhere",
            "nothing: no rule is for it; `unmatched` is `warn`, so the run has a note",
        ),
        (
            "shop",
            "elsewhere",
            "nothing: no rule is for it, and `unmatched` is `ignore`",
        ),
        ("www", "a.txt", "nothing: the site ignores it"),
        ("www", "news/2026-a", "nothing: no rule fires"),
        (
            "www",
            "content/a\u{1b}.md",
            "nothing: the rules that fire ask for nothing that can be",
        ),
    ] {
        says(&["--site", site], path, &[reason]);
    }
    says(WWW, "elsewhere", &["note: no rule is for \"elsewhere\""]);
    let (text, json) = explained(&["--site", "docs"], b"elsewhere");
    assert!(
        text.ends_with(
            "  comes to (dry run, nothing is sent):
    tencent: directory (delete) https://docs.example.com/v1/
    note: purging everything: no rule is for \"elsewhere\"
"
        ),
        "{text}"
    );
    assert_eq!(json["sites"][0]["mode"], "dry-run");
    assert_eq!(json["sites"][0]["purges"][0]["rule"], "everything");
    let (text, _) = explained(&["--site", "docs"], b"a/b");
    assert!(
        text.contains("comes to (dry run, nothing is sent):\n    tencent: url"),
        "{text}"
    );
}

#[test]
fn what_has_no_url_or_one_that_is_too_long_is_told() {
    says(
        WWW,
        "content/a\u{1b}.md",
        &["no URL from /{page}: control characters never get into a URL"],
    );

    let long = format!("static/{}", "x".repeat(4_096));
    let (text, json) = explained(WWW, long.as_bytes());
    let problem =
        "huawei takes URLs of up to 4096 bytes, and this one has 4120: https://www.example.com/xxx";
    assert!(text.contains(&format!("problem: {problem}")), "{text}");
    let problems = json["sites"][0]["problems"][0].as_str().unwrap();
    assert!(problems.starts_with(problem), "{problems}");
    // The other takes it, whole.
    assert_eq!(
        json["sites"][0]["purges"][0]["target"]
            .as_str()
            .unwrap()
            .len(),
        4_120
    );

    let url = format!("https://www.example.com/{}", "x".repeat(4_096));
    says(
        WWW,
        &url,
        &["problem: huawei takes URLs of up to 4096 bytes, and this one has 4120"],
    );
}

#[test]
fn a_url_leads_back_to_the_rules_however_it_is_written() {
    for url in [
        "https://www.example.com/a/",
        "HTTPS://WWW.Example.com:443/a/#top",
        "https://www.example.com/x/../a/",
    ] {
        let (text, json) = explained(WWW, url.as_bytes());
        assert!(
            text.contains("pages: could ask for it as a URL by `/{page}`, for paths that match `content/**/*.md`"),
            "{text}"
        );
        assert_eq!(json["url"], "https://www.example.com/a/");
        assert_eq!(json["sites"][0]["base_urls"][0], "https://www.example.com");
    }
    let said = explain(WWW, b"https://www.example.com/a b");
    let notes = String::from_utf8(said.stderr).unwrap();
    assert!(
        notes.contains("note: taken as https://www.example.com/a%20b"),
        "{notes}"
    );
}

#[test]
fn nothing_outside_the_base_urls_is_ever_asked_for() {
    for url in [
        "http://www.example.com/a/",
        "https://www.example.com:8443/a/",
        "https://evil.example/a/",
        "https://www.example.com.evil.example/a/",
    ] {
        says(
            WWW,
            url,
            &["problem: nothing but https://www.example.com is ever asked for"],
        );
        let (text, json) = explained(WWW, url.as_bytes());
        assert!(text.contains("no rule could ask for it"), "{text}");
        assert_eq!(json["rules"], Value::Array(Vec::new()));
    }
    let (text, _) = explained(&["--site", "docs"], b"https://docs.example.com/v2/a/b");
    assert!(text.contains("no rule could ask for it"), "{text}");
}

#[test]
fn a_path_is_taken_as_git_has_it() {
    let (text, _) = explained(WWW, b"./content/a.md");
    assert!(
        text.contains("tencent: url https://www.example.com/a/"),
        "{text}"
    );
    let (text, _) = explained(WWW, b"static/\xff.png");
    assert!(
        text.contains("tencent: url https://www.example.com/%FF.png"),
        "{text}"
    );

    for (what, words) in [
        (
            &b"/content/a.md"[..],
            "write paths as they are in the repository, from its top",
        ),
        (b"", "the path is missing"),
        (b"https://[", "is not a URL"),
        (b"https://www.example.com/\xff", "the URL is not UTF-8"),
    ] {
        let output = explain(WWW, what);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(output.stdout.is_empty());
    }
}
