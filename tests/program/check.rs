//! `purgehook check`: whatever is wrong with a rules file is said where it is, all at once.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

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

/// What stands in the file, what is written in its place, and what is said: line and column, and words.
type Case<'c> = (&'c str, &'c str, &'c [(u64, u64, &'c str)]);

/// One thing is wrong, or some, and that is said and nothing else.
const WRONG: &[Case<'_>] = &[
    // Keys.
    (
        "base_urls",
        "base_url",
        &[
            (7, 3, "`base_urls` is missing from `sites.www`"),
            (9, 5, "did you mean `base_urls`?"),
        ],
    ),
    (
        "match:",
        "mach:",
        &[
            (12, 9, "`match` is missing"),
            (13, 9, "did you mean `match`?"),
        ],
    ),
    (
        "secrets:",
        "secret:",
        &[
            (3, 3, "`secrets` is missing"),
            (3, 26, "did you mean `secrets`?"),
        ],
    ),
    (
        "    cdns: [tencent]\n",
        "    cdns: [tencent]\n    cdns: []\n",
        &[(11, 5, "`cdns` is given twice in the same place")],
    ),
    (
        "        match",
        "        urls: /x\n        match",
        &[(15, 9, "`urls` is given twice")],
    ),
    (
        "        match: ['content/**']\n",
        "",
        &[(12, 9, "`match` is missing")],
    ),
    (
        "        urls: ['/{path}']\n",
        "",
        &[(12, 9, "the rule `pages` asks for nothing")],
    ),
    // YAML.
    (
        "    repo",
        "\trepo",
        &[(8, 2, "indent with spaces; YAML takes no tabs there")],
    ),
    (
        "    cdns: [t",
        "   cdns: [t",
        &[(10, 4, "begin each key in the column of those before it")],
    ),
    (
        "name: pages",
        "name: a: b",
        &[(12, 16, "put \"...\" around text that holds `: `")],
    ),
    (
        "'/{path}'",
        "'/{path}",
        &[(14, 16, "close it with the same quote that opens it")],
    ),
    (
        "['content/**']",
        "[*]",
        &[(13, 17, "quote globs: a value that starts with `*`")],
    ),
    (
        "['content/**']",
        "[**/*.md]",
        &[(13, 17, "`**/*.md` reads as a YAML alias")],
    ),
    (
        "token: a-token",
        "token: ${NO_TOKEN}",
        &[(3, 55, "put \"...\" around `${...}`")],
    ),
    (
        "sites:",
        "---\nsites:",
        &[(6, 1, "a second document starts here")],
    ),
    (
        "name: pages",
        "name: p\0",
        &[(12, 16, "this is not YAML: ")],
    ),
    // Kinds of values.
    (
        "    rules:\n      - name: pages\n        match: ['content/**']\n        urls: ['/{path}']\n",
        "    rules: {a: b}\n",
        &[(11, 12, "`rules` must be a list")],
    ),
    (
        "    rules:\n      - name: pages\n        match: ['content/**']\n        urls: ['/{path}']\n",
        "    rules:\n",
        &[(7, 3, "`rules` is missing from `sites.www`")],
    ),
    (
        "        urls",
        "        last: 'yes'\n        urls",
        &[(14, 15, "`last` must be `true` or `false`, not `yes`")],
    ),
    (
        "        urls",
        "        on: yes\n        urls",
        &[(14, 13, "it takes `added`, `changed`, `removed`")],
    ),
    (
        "        urls",
        "        on: [add]\n        urls",
        &[(14, 14, "`on` cannot hold `add`")],
    ),
    (
        "    rules",
        "    settle: 10\n    rules",
        &[(11, 13, "write a number and its unit")],
    ),
    (
        "    rules",
        "    settle: -10m\n    rules",
        &[(11, 13, "`settle` must be a time span")],
    ),
    (
        "    rules",
        "    settle: 99999999999d\n    rules",
        &[(11, 13, "`settle` must be a time span")],
    ),
    (
        "    rules",
        "    trigger: pushed\n    rules",
        &[(11, 14, "did you mean `push`?")],
    ),
    (
        "    rules",
        "    unmatched: everthing\n    rules",
        &[(11, 16, "did you mean `everything`?")],
    ),
    (
        "    rules",
        "    branches: ['[']\n    rules",
        &[(11, 16, "that no `]` closes")],
    ),
    (
        "server: {",
        "server: {listen: '1:2:3', ",
        &[(1, 18, "`listen` is no address with a port")],
    ),
    (
        "server: {",
        "server: {database: 'mysql://x', ",
        &[(1, 20, "write `sqlite://<path>` or `postgres://")],
    ),
    (
        "kind: tencent-cdn",
        "kind: tencent",
        &[(
            5,
            19,
            "it takes `tencent-cdn`, `tencent-ecdn`, `qcloud`, `huawei-cdn`",
        )],
    ),
    (
        "secrets: [a-secret]",
        "secrets: []",
        &[(3, 3, "without one, no delivery could be trusted")],
    ),
    (
        "token: a-token",
        "token: \"${NO_TOKEN}\"",
        &[(3, 55, "NO_TOKEN")],
    ),
    // Names.
    (
        "cdns: [tencent]",
        "cdns: [tencnt]",
        &[(10, 12, "did you mean `tencent`?")],
    ),
    (
        "repo: github:",
        "repo: githb:",
        &[(8, 11, "did you mean `github`?")],
    ),
    (
        "        urls",
        "        cdns: [other]\n        urls",
        &[(14, 16, "the site has no CDN named `other`")],
    ),
    (
        "      - name: pages",
        "      - {name: pages, match: x, urls: /}\n      - name: pages",
        &[(13, 15, "the name `pages` is taken by rule 1")],
    ),
    // Globs, expressions, templates and base URLs.
    (
        "content/**",
        "content/[a",
        &[(13, 17, "has a `[` at character 9 that no `]` closes")],
    ),
    (
        "'content/**'",
        "'{a,b'",
        &[(13, 17, "has a `{` at character 1 that no `}` closes")],
    ),
    (
        "content/**",
        "/content/**",
        &[(13, 17, "write `content/**`")],
    ),
    (
        "content/**",
        "./content/**",
        &[(13, 17, "write `content/**`")],
    ),
    (
        "match: ['content/**']",
        "match_regex: '(a'",
        &[(13, 22, "unclosed group")],
    ),
    (
        "match: ['content/**']",
        "match_regex: '(a{1000}){1000}'",
        &[(13, 22, "exceeds size limit")],
    ),
    (
        "'/{path}'",
        "'/{pth}'",
        &[(14, 16, "did you mean `{path}`?")],
    ),
    (
        "'/{path}'",
        "'/{path'",
        &[(14, 16, "write `{{` for the character itself")],
    ),
    ("'/{path}'", "'{path}'", &[(14, 16, "write `/{path}`")]),
    (
        "'/{path}'",
        "'https://evil.example/{path}'",
        &[(14, 16, "which is none of the site's base URLs")],
    ),
    (
        "https://www.example.com]",
        "www.example.com]",
        &[(9, 17, "does not start with https:// or http://")],
    ),
    (
        "https://www.example.com]",
        "https://me:pw@www.example.com]",
        &[(9, 17, "holds credentials")],
    ),
    (
        "https://www.example.com]",
        "'https://www.example.com/?a=b']",
        &[(9, 17, "has a query")],
    ),
];

/// Allowed, and probably not meant.
const ODD: &[Case<'_>] = &[
    (
        "        urls",
        "        except: '**'\n        urls",
        &[(
            14,
            9,
            "the rule `pages` never fires: `except` takes all it matches",
        )],
    ),
    (
        "    rules",
        "    ignore: ['content/**']\n    rules",
        &[(14, 9, "the site ignores all it matches")],
    ),
    (
        "      - name: pages",
        "      - {name: all, match: '**/*', urls: /, last: true}\n      - name: pages",
        &[(14, 9, "the rule `all` before it takes what it matches")],
    ),
    (
        "        urls",
        "        strip: /content/\n        urls",
        &[(14, 9, "write `strip: content/`")],
    ),
    (
        "        urls",
        "        mode: delete\n        urls",
        &[(14, 15, "this rule purges none")],
    ),
    (
        "  tencent: {",
        "  other: {kind: tencent-cdn, secret_id: an-id, secret_key: a-key}\n  tencent: {",
        &[(5, 3, "no site uses the CDN `other`")],
    ),
    (
        "server: {",
        "server: {admin_token: short, ",
        &[(1, 10, "the admin token is shorter than 16 characters")],
    ),
];

/// Fine, however it is written.
const FINE: &[(&str, &str)] = &[
    ("", ""),
    ("\n", "\r\n"),
    ("server: {public", "\u{feff}server: {public"),
    ("['/{path}']", "/{path}"),
    ("secret_id: an-id", "secret_id: 00123"),
    ("secret_id: an-id", "secret_id: 1e3"),
    ("https://www.example.com]", "'https://bücher.example/ü/']"),
    (
        "match: ['content/**']",
        "match: &those ['content/**']\n        except: &none []",
    ),
    ("        urls", "        on: [added]\n        urls"),
    (
        "match: ['content/**']",
        "match_regex: '^content/(?<section>[^/]+)/'",
    ),
];

fn check(rules: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .arg("check")
        .args(args)
        .arg("--rules")
        .arg(rules)
        .env_remove("NO_TOKEN")
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
    (
        output.status.code(),
        said["problems"].as_array().unwrap().clone(),
    )
}

fn holds(cases: &[Case<'_>], severity: &str, code: i32) {
    for (from, to, expected) in cases {
        let text = RULES.replacen(from, to, 1);
        assert_ne!(text, RULES, "{from}");
        let (status, problems) = checked(text.as_bytes());
        assert_eq!(status, Some(code), "{to}: {problems:#?}");
        assert_eq!(problems.len(), expected.len(), "{to}: {problems:#?}");
        for (problem, (line, column, words)) in problems.iter().zip(*expected) {
            let place = (problem["line"].as_u64(), problem["column"].as_u64());
            assert_eq!(place, (Some(*line), Some(*column)), "{to}: {problem:#}");
            assert_eq!(problem["severity"], severity, "{to}: {problem:#}");
            let said = format!("{} {}", problem["message"], problem["advice"]);
            let said = said.replace("\\\"", "\"");
            assert!(said.contains(words), "{to}: {said}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_where_it_is_with_what_to_do() {
    holds(WRONG, "error", 1);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    holds(ODD, "warning", 0);
}

#[test]
fn what_is_right_is_right_however_it_is_written() {
    for (from, to) in FINE {
        let (status, problems) = checked(RULES.replace(from, to).as_bytes());
        assert_eq!((status, problems), (Some(0), Vec::new()), "{to}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let edits = [
        ("kind: tencent-cdn", "kind: tencent"),
        ("content/**", "content/[a"),
        ("'/{path}'", "'/{pth}'"),
        ("https://www", "www"),
        ("server:", "sever:"),
    ];
    let text = edits.iter().fold(RULES.to_owned(), |text, (from, to)| {
        text.replacen(from, to, 1)
    });
    let (_, problems) = checked(text.as_bytes());
    let errors = problems
        .iter()
        .filter(|problem| problem["severity"] == "error");
    assert_eq!(errors.count(), 5, "{problems:#?}");
}

#[test]
fn what_is_no_rules_file_at_all_is_said_in_a_sentence() {
    let missing = [
        "`forges` is missing",
        "`cdns` is missing",
        "`sites` is missing",
    ];
    for (text, expected) in [
        (&b""[..], &missing[..]),
        (b"# nothing\n", &missing),
        (b"hello\n", &["the file must hold keys with values"]),
        (b"- a\n- b\n", &["the file must hold keys with values"]),
        (
            b"forges: [a]\ncdns: b\nsites: {}\n",
            &[
                "`forges` must hold keys with values",
                "`cdns` must hold keys with values",
            ],
        ),
        (
            b"a: \xff\n",
            &["the rules file is not UTF-8 text (line 1, column"],
        ),
        (b"a: ", &["`a` is no key of this file"]),
        (
            ("a: ".to_owned() + &"[".repeat(100_000)).as_bytes(),
            &["recursion limit exceeded"],
        ),
        (
            aliases().as_bytes(),
            &["the file holds more than 100000 values, aliases included"],
        ),
    ] {
        let (status, problems) = checked(text);
        let said = problems
            .iter()
            .map(|problem| problem["message"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(status, Some(1), "{said}");
        for words in expected {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

/// Nine lists, each of nine of the one before: 400 million values, were they written out.
fn aliases() -> String {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (before, name) in ('a'..='h').zip('b'..='i') {
        let items = vec![format!("*{before}"); 9].join(",");
        text.push_str(&format!("{name}: &{name} [{items}]\n"));
    }
    text
}

#[test]
fn what_cannot_be_read_is_said_with_its_path() {
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
