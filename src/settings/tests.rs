//! Tests how a settings file is read, and the messages for invalid ones.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{Environment, File, Problems, Section, Severity};

/// Reads a file with variables; returns what `read` made of it, and the problems.
fn reading<T>(
    text: &str,
    variables: &[(&str, &str)],
    read: impl FnOnce(&mut Section) -> T,
) -> (Option<T>, Problems) {
    let file = File::new(
        "rules.yaml",
        text,
        Environment::of(variables.iter().copied()),
    );
    let value = file.root().map(|mut root| read(&mut root));
    (value, file.problems())
}

/// The problems as `line:column message | advice`.
fn lines(problems: &Problems) -> Vec<String> {
    problems
        .list
        .iter()
        .map(|p| {
            let advice = p
                .advice
                .as_ref()
                .map_or(String::new(), |a| format!(" | {a}"));
            match (p.line, p.column) {
                (Some(line), Some(column)) => format!("{line}:{column} {}{advice}", p.message),
                _ => format!("{}{advice}", p.message),
            }
        })
        .collect()
}

#[test]
fn plain_scalars_keep_their_text() {
    let text = "a: 1.10\nb: no\nc: 0123\nd: 1_000\ne: 2026-01-02\nf: [0x10, 1e3, yes]\n";

    let (values, problems) = reading(text, &[], |root| {
        let mut all: Vec<String> = ["a", "b", "c", "d", "e"]
            .iter()
            .filter_map(|key| root.text(key))
            .map(|v| v.value)
            .collect();
        all.extend(root.texts("f").into_iter().map(|v| v.value));
        all
    });

    assert_eq!(
        values.unwrap(),
        [
            "1.10",
            "no",
            "0123",
            "1_000",
            "2026-01-02",
            "0x10",
            "1e3",
            "yes"
        ]
    );
    assert_eq!(lines(&problems), [""; 0]);
}

#[test]
fn every_kind_of_value_can_be_read() {
    let text = "n: 80\nq: \"80\"\nt: true\nd: 1h 30m\nu: https://example.com/a\nw: push\none: x\nmany: [x, 'y']\n\
                inner:\n  key: v\nlist:\n  - key: a\n  - key: b\nnothing:\nempty: \"\"\nnull_word: ~\n";

    let (_, problems) = reading(text, &[], |root| {
        assert_eq!(root.number("n", 1..=100).unwrap().value, 80);
        assert_eq!(root.number("q", 1..=100).unwrap().value, 80);
        assert!(root.flag("t").unwrap().value);
        assert_eq!(root.duration("d").unwrap().value, Duration::from_secs(5400));
        assert_eq!(root.url("u").unwrap().value.path(), "/a");
        assert_eq!(root.word("w", &["push", "pull"]).unwrap().value, "push");
        assert_eq!(root.texts("one").len(), 1);
        assert_eq!(root.texts("many").len(), 2);
        assert_eq!(
            root.section("inner").unwrap().text("key").unwrap().value,
            "v"
        );
        let keys: Vec<String> = root
            .sections("list")
            .iter_mut()
            .filter_map(|s| s.text("key"))
            .map(|v| v.value)
            .collect();
        assert_eq!(keys, ["a", "b"]);
        assert!(root.text("nothing").is_none());
        assert!(root.text("empty").is_none());
        assert!(root.text("null_word").is_none());
        assert!(root.number("missing", 0..=1).is_none());
    });

    assert_eq!(lines(&problems), [""; 0]);
}

#[test]
fn every_wrong_value_is_named_with_its_place_and_all_at_once() {
    let text = "n: 8x\nn2: 101\nt: yes\nd: 10\nu: example.com\nu2: https://a.b/?q\nu3: https://me:pass@a.b\nw: psuh\n\
                text: [a]\nlist: [\"\", {a: b}, {page}]\nsection: word\nsections: word\nr: \"\"\n";

    let (_, problems) = reading(text, &[], |root| {
        root.number("n", 1..=100);
        root.number("n2", 1..=100);
        root.flag("t");
        root.duration("d");
        root.url("u");
        root.url("u2");
        root.url("u3");
        root.word("w", &["push", "release"]);
        root.text("text");
        root.texts("list");
        root.section("section");
        root.sections("sections");
        root.required_text("r");
        root.required_text("s");
    });

    assert_eq!(
        lines(&problems),
        [
            "`s` is missing",
            "1:4 `n` must be a whole number from 1 to 100, not `8x`",
            "2:5 `n2` must be a whole number from 1 to 100, not `101`",
            "3:4 `t` must be `true` or `false`, not `yes` | write `true`",
            "4:4 `d` must be a time span, not `10` | write a number and its unit, e.g. `30s`, `1h 30m` or `90d`",
            "5:4 `u` is no URL: relative URL without a base (`example.com`) | write an address such as `https://example.com`",
            "6:5 `u2` must not hold `?` or `#` (`https://a.b/?q`) | write an address such as `https://example.com`",
            "7:5 `u3` must not hold a user name or a password",
            "8:4 `w` cannot be `psuh` | did you mean `push`? it takes `push`, `release`",
            "9:7 `text` must be text, not a list",
            "10:8 an item of `list` is empty",
            "10:13 an item of `list` must be text, not a mapping",
            "10:21 an item of `list` must be text, not a mapping | put \"...\" around text that starts with `{`",
            "11:10 `section` must hold keys with values",
            "12:11 `sections` must be a list | start each item with `- `",
            "13:4 `r` is empty",
        ]
    );
    assert!(!problems.to_string().contains("me:pass"));
}

#[test]
fn a_key_that_nobody_reads_is_an_error_that_says_what_was_meant() {
    let text = "sites:\n  www:\n    bracnhes: main\n    what: 1\ntop: 1\n";

    let (_, problems) = reading(text, &[], |root| {
        for (_, mut site) in root.section("sites").unwrap().entries() {
            site.texts("branches");
            site.text("repo");
        }
    });

    assert_eq!(
        lines(&problems),
        [
            "3:5 `bracnhes` is no key of `sites.www` | did you mean `branches`? the keys here are `branches`, `repo`",
            "4:5 `what` is no key of `sites.www` | the keys here are `branches`, `repo`",
            "5:1 `top` is no key of this file | the keys here are `sites`",
        ]
    );
}

#[test]
fn the_environment_is_read_in_every_scalar() {
    let text = "plain: ${A}\nquoted: \"${A}-'x'\"\nsingle: '${A}${B}'\nlist: [\"${A}\", b]\nblock: |\n  ${A}\n\
                port: ${PORT}\ndefault: ${NONE:-d e:-f}\nempty: ${EMPTY:-d}\ncleared: ${NONE:-}\nliteral: $${A} $A\n";
    let variables = [
        ("A", "a: #1"),
        ("B", "${A}"),
        ("PORT", "8080"),
        ("EMPTY", ""),
    ];

    let (_, problems) = reading(text, &variables, |root| {
        let mut text = |key: &str| root.text(key).map(|v| v.value).unwrap_or_default();
        assert_eq!(text("plain"), "a: #1");
        assert_eq!(text("quoted"), "a: #1-'x'");
        assert_eq!(text("single"), "a: #1${A}", "values are not read again");
        assert_eq!(text("block"), "a: #1\n");
        assert_eq!(text("default"), "d e:-f");
        assert_eq!(text("empty"), "d");
        assert_eq!(text("literal"), "${A} $A");
        assert!(root.text("cleared").is_none());
        assert_eq!(root.texts("list")[0].value, "a: #1");
        assert_eq!(root.number("port", 1..=65535).unwrap().value, 8080);
    });

    assert_eq!(lines(&problems), [""; 0]);
}

#[test]
fn every_unset_variable_is_named_at_its_place_and_once_more_together() {
    let text = "a: ${ONE}-${TWO}\nb: [\"x${ONE}\"]\nc: ${TWO-x}\n${KEY}: 1\n";

    let (_, problems) = reading(text, &[], |root| {
        assert!(root.required_text("a").is_none());
        assert!(root.texts("b").is_empty());
        root.required_text("c");
        root.text("${KEY}");
    });

    assert_eq!(
        lines(&problems),
        [
            "1:4 the environment variable `ONE` is not set | set ONE, or write `${ONE:-default}` if there is a good default",
            "1:11 the environment variable `TWO` is not set | set TWO, or write `${TWO:-default}` if there is a good default",
            "2:7 the environment variable `ONE` is not set | set ONE, or write `${ONE:-default}` if there is a good default",
            "3:4 `${TWO-x}` is no variable | write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`",
            "4:1 a key cannot come from the environment | write the key out; values may hold `${NAME}`",
        ]
    );
    assert_eq!(*problems.unset, ["ONE", "TWO"]);
    assert!(
        problems
            .to_string()
            .contains("set these environment variables first: ONE, TWO")
    );
}

#[test]
fn a_value_from_the_environment_is_never_shown() {
    const CANARY: &str = "canary-4f1d";
    let text = "n: ${C}\nt: ${C}\nd: ${C}\nu: ${C}\nu2: https://${C}/?\nw: \"${C}\"\nfile: ${C}\nx_file: ${C}\n";

    let (_, problems) = reading(text, &[("C", CANARY)], |root| {
        root.number("n", 1..=2);
        root.flag("t");
        root.duration("d");
        root.url("u");
        root.url("u2");
        root.word("w", &[CANARY.trim_end_matches('d'), "push"]);
        let seen = root.text("file").unwrap();
        root.problem(
            seen.at,
            format!("`{}` is odd", seen.value),
            Some(seen.value),
        );
        root.secret("x");
    });

    assert_eq!(problems.list.len(), 8);
    let shown = format!(
        "{problems}{problems:?}{}",
        serde_json::to_string(&problems.list).unwrap()
    );
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains("`${C}` is odd"));
}

#[test]
fn a_secret_that_was_copied_to_a_wrong_place_is_masked_there_too() {
    let file = File::new(
        "rules.yaml",
        "token: 'hunter2hunter2'\nurl: hunter2hunter2\n",
        Environment::of([]),
    );
    let mut root = file.root().unwrap();
    root.url("url");
    root.secret("token");
    drop(root);

    let shown = file.problems().render(false);

    assert!(shown.contains("is no URL"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let json = serde_json::to_string(&file.problems().list).unwrap();
    assert!(!json.contains("hunter2"), "{json}");
}

#[test]
fn a_secret_that_is_written_out_is_masked_where_its_line_is_shown() {
    let text = "forge: {secrets: [\"hunter2\", \"\"], tokne: hunter3, api_key: hunter4}\n";

    let (_, problems) = reading(text, &[], |root| {
        let mut forge = root.section("forge").unwrap();
        assert_eq!(forge.secrets("secrets").len(), 1);
        forge.secret("token");
    });

    let shown = problems.to_string();
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(problems.list.len(), 3);
}

#[test]
fn an_empty_or_blank_secret_is_refused() {
    let text = "a: [\"\"]\nb: \"  \"\nc: [\" \", ok]\nd: \"\"\n";

    let (_, problems) = reading(text, &[], |root| {
        assert!(root.secrets("a").is_empty());
        assert!(root.secret("b").is_none());
        assert_eq!(root.secrets("c").len(), 1);
        assert!(root.secret("d").is_none());
        assert!(root.required_secret("e", &[]).is_none());
        assert!(root.required_secret("f", &["VENDOR_F"]).is_none());
    });

    assert_eq!(
        lines(&problems),
        [
            "`e` is missing | give `e`, or `e_file: path`",
            "`f` is missing | give `f`, `f_file: path`, or set VENDOR_F",
            "1:5 an item of `a` is empty",
            "2:4 `b` is blank",
            "3:5 an item of `c` is blank",
        ]
    );
}

#[test]
fn an_unset_variable_is_not_reported_as_a_missing_key_too() {
    let text = "forge:\n  secrets: [\"${S}\"]\n  app: {key: \"${K}\"}\n  url: ${U}\n";

    let (_, problems) = reading(text, &[], |root| {
        let mut forge = root.section("forge").unwrap();
        assert!(forge.secrets("secrets").is_empty());
        assert!(forge.required_text("url").is_none());
        let mut app = forge.section("app").unwrap();
        assert!(app.required_secret("key", &[]).is_none());
        for section in [&mut forge, &mut app] {
            section.problem(section.at(), "something is missing", None);
        }
        forge.missing("kind", None);
    });

    assert_eq!(*problems.unset, ["S", "K", "U"]);
    assert_eq!(problems.list.len(), 4);
    assert!(lines(&problems)[0].starts_with("1:1 `kind` is missing from `forge`"));
}

#[test]
fn a_secret_falls_back_to_the_vendors_variable() {
    let (secret, problems) = reading("", &[("VENDOR_ID", "id")], |root| {
        root.required_secret("id", &["OTHER", "VENDOR_ID"])
    });

    assert_eq!(secret.flatten().unwrap().expose_secret(), "id");
    assert_eq!(lines(&problems), [""; 0]);
}

#[test]
fn a_secret_can_be_read_from_a_file_beside_the_rules() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "s3cret\n\n").unwrap();
    std::fs::write(directory.path().join("blank"), "\n").unwrap();
    let rules = directory.path().join("rules.yaml");
    let text = "a_file: token\nb_file: [token, token]\nc_file: nowhere\nd: x\nd_file: token\ne_file: blank\n";
    let file = File::new(rules.to_str().unwrap(), text, Environment::of([]));

    let mut root = file.root().unwrap();
    assert_eq!(root.secret("a").unwrap().expose_secret(), "s3cret\n");
    assert_eq!(root.secrets("b").len(), 2);
    assert!(root.secret("c").is_none());
    root.secret("d");
    assert!(root.secret("e").is_none());
    drop(root);

    let mut shown = lines(&file.problems());
    let beside = directory.path().display();
    // Of the two line breaks, one is left.
    let one_more = format!("the secret in `{beside}/token` ends in a line break");
    let before = shown.len();
    shown.retain(|line| !line.contains(&one_more));
    assert_eq!(before - shown.len(), 4, "{shown:?}");
    assert_eq!(
        shown,
        [
            format!(
                "3:9 cannot read the secret file `{beside}/nowhere`: No such file or directory (os error 2) \
                     | the path is relative to the rules file's directory"
            ),
            "4:4 both `d` and `d_file` are given | keep one of them".to_owned(),
            format!("6:9 the secret file `{beside}/blank` is empty"),
        ]
    );
}

#[test]
fn what_is_no_yaml_is_shown_with_line_column_and_advice() {
    let cases = [
        (
            "match: [*.css]\n",
            "1:9 `*.css` reads as a YAML alias, and no anchor has that name | quote globs: a value that starts with `*` needs \"...\" around it",
        ),
        (
            "match:\n  - **/*.md\n",
            "2:5 `**/*.md` reads as a YAML alias, and no anchor has that name | quote globs: a value that starts with `*` needs \"...\" around it",
        ),
        (
            "a: 1\nb: 2\na: 3\n",
            "3:1 `a` is given twice in the same place | keep one of them; the first is in line 1",
        ),
        (
            "a: !include x\n",
            "1:4 the tag `!include` is not read here | remove it; to read a secret from a file, use `<key>_file: path`",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "2:1 a second document starts here | keep everything in one document, without `---` between",
        ),
        (
            "? [a]\n: 1\n",
            "1:3 a key must be text | quote it, if it is meant as text",
        ),
        (
            "- a\n",
            "1:1 the file must hold keys with values | start with `forges:`, `cdns:` and `sites:`",
        ),
        (
            "a: &x [*x]\n",
            "1:8 this alias stands inside its own anchor",
        ),
    ];
    for (text, expected) in cases {
        let (_, problems) = reading(text, &[], |root| {
            root.texts("a");
            root.texts("b");
            root.texts("match");
        });
        assert_eq!(lines(&problems), [expected], "{text}");
    }
}

#[test]
fn what_can_be_read_around_a_flaw_is_read() {
    let text = "a: [*.css, x, *.js]\nb: !env HOME\nc: y\nc: z\nd: &d !!int \"7\"\n1.10: *e";

    let (_, problems) = reading(text, &[], |root| {
        assert_eq!(root.texts("a").len(), 1);
        assert_eq!(root.text("b").unwrap().value, "HOME");
        assert_eq!(root.text("c").unwrap().value, "y");
        assert_eq!(root.text("d").unwrap().value, "7");
        assert!(root.text("1.10").is_none());
        root.number("e", 1..=2);
    });

    let places: Vec<(Option<usize>, Option<usize>)> =
        problems.list.iter().map(|p| (p.line, p.column)).collect();
    let expected = [(1, 5), (1, 15), (2, 4), (4, 1), (6, 7)];
    assert_eq!(places, expected.map(|(l, c)| (Some(l), Some(c))));
    assert!(problems.list[4].message.starts_with("`*e` reads as"));
}

#[test]
fn syntax_errors_come_with_the_advice_people_need() {
    let cases = [
        ("a:\n\tb: 1\n", "spaces"),
        ("a: [${X}]\n", "put \"...\" around `${...}`"),
        ("a: [/{path}]\n", "put \"...\" around values"),
        ("a: [*]\n", "quote globs"),
        ("a: * \n", "quote globs"),
        ("a: '{x}\n", "close it with the same quote"),
        ("a: b: c\n", "around text that holds `: `"),
        ("x:\n  a: b\n c: d\n", "in the column of those before it"),
    ];
    for (text, advice) in cases {
        let (_, problems) = reading(text, &[("X", "x")], |root| drop(root.texts("a")));
        let [problem] = problems.list.as_slice() else {
            panic!("{text}: {problems}");
        };
        assert!(problem.line.is_some(), "{text}: {problem:?}");
        assert!(
            problem.advice.as_ref().is_some_and(|a| a.contains(advice)),
            "{text}: {problem:?}"
        );
    }
}

#[test]
fn anchors_aliases_and_merges_are_read() {
    let text = "base: &base {a: 1, b: [x, y]}\nuse:\n  <<: *base\n  a: 2\nlist: *base\n";

    let (_, problems) = reading(text, &[], |root| {
        let mut merged = root.section("use").unwrap();
        assert_eq!(merged.text("a").unwrap().value, "2");
        assert_eq!(merged.texts("b").len(), 2);
        assert!(
            root.section("list")
                .is_some_and(|mut s| s.text("a").is_some() && !s.texts("b").is_empty())
        );
        root.section("base")
            .map(|mut s| (s.text("a"), s.texts("b")));
    });

    assert_eq!(lines(&problems), [""; 0]);
}

#[test]
fn an_alias_bomb_and_a_deep_file_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(",");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    let mut deep_by_alias = format!("a0: &a0 {}{}\n", "[".repeat(15), "]".repeat(15));
    deep_by_alias.push_str(&format!("a1: {}*a0{}\n", "[".repeat(15), "]".repeat(15)));

    for (text, expected) in [
        (
            bomb,
            "the file holds more than 100000 values, aliases included",
        ),
        (deep, "this nests deeper than 20 levels"),
        (deep_by_alias, "this nests deeper than 20 levels"),
    ] {
        let (_, problems) = reading(&text, &[], |root| root.ignore_rest());
        assert_eq!(problems.list.len(), 1);
        assert!(
            problems.list[0].message.starts_with(expected),
            "{}",
            problems.list[0].message
        );
    }
}

#[test]
fn an_empty_file_has_every_key_missing() {
    for text in ["", "\n", "# nothing yet\n", "---\n", "\u{feff}"] {
        let (_, problems) = reading(text, &[], |root| root.missing("sites", None));

        assert_eq!(lines(&problems), ["`sites` is missing"], "{text:?}");
    }
}

#[test]
fn places_are_right_behind_characters_of_several_bytes_and_with_crlf() {
    let text = "# Grüße 你好\r\nname: \"Zoë 你好\"\r\n你好: {ключ: x, bad: \"${NOT_SET}\"}\r\n";

    let (_, problems) = reading(text, &[], |root| {
        let name = root.text("name").unwrap();
        root.problem(name.at, "odd", None);
        let mut inner = root.section("你好").unwrap();
        inner.text("bad");
    });

    let places: Vec<(Option<usize>, Option<usize>)> =
        problems.list.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(
        places,
        [(Some(2), Some(7)), (Some(3), Some(6)), (Some(3), Some(21))]
    );
    let shown = problems.to_string();
    for place in ["rules.yaml:2:7", "rules.yaml:3:6", "rules.yaml:3:21"] {
        assert!(shown.contains(place), "{shown}");
    }
}

#[test]
fn problems_are_rendered_with_the_line_a_caret_and_advice() {
    let text = "server:\n  listen: 127.0.0.1\n  prot: 1\n";

    let (_, problems) = reading(text, &[], |root| {
        let mut server = root.section("server").unwrap();
        let listen = server.text("listen").unwrap();
        server.problem(listen.at, "there is no port in `127.0.0.1`", None);
        server.number("port", 1..=2);
        root.warning(0..0, "no site is configured", Some("add one".to_owned()));
    });

    assert_eq!(
        problems.render(false),
        "\
warning: no site is configured
--> rules.yaml
 = help: add one

error: there is no port in `127.0.0.1`
 --> rules.yaml:2:11
  |
2 |   listen: 127.0.0.1
  |           ^^^^^^^^^

error: `prot` is no key of `server`
 --> rules.yaml:3:3
  |
3 |   prot: 1
  |   ^^^^
  |
  = help: did you mean `port`? the keys here are `listen`, `port`

rules.yaml: 2 errors, 1 warning"
    );
    assert!(problems.render(true).contains("\u{1b}["));
    assert!(problems.has_errors());
    assert_eq!(problems.list[0].severity, Severity::Warning);
}

#[test]
fn problems_have_a_form_for_programs() {
    let (_, problems) = reading("a: 1\n", &[], |root| root.missing("b", None));

    assert_eq!(
        serde_json::to_value(&problems.list).unwrap(),
        serde_json::json!([
            {"severity": "error", "line": null, "column": null, "message": "`b` is missing", "advice": null},
            {"severity": "error", "line": 1, "column": 1, "message": "`a` is no key of this file",
             "advice": "there are none"},
        ])
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ \\t\\r\\n\\-:,.?!&*#|>%@'\"${}<\\[\\]\\\\a-c\u{feff}\u{e9}\u{4f60}\u{301}]{0,60}") {
        let (_, problems) = reading(&text, &[("a", "\u{e9}")], |root| {
            root.secrets("a");
            root.required_text("b");
            root.texts("c");
            root.sections("ab");
            for (key, section) in root.entries() {
                section.mask(key.at);
            }
        });
        problems.render(false);
        problems.render(true);
    }
}
