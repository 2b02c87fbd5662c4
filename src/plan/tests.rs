//! Tests the plans of change sets on a site's CDNs.

use proptest::prelude::*;
use serde_json::json;
use strum::VariantArray;

use super::*;
use crate::rules::{BaseUrl, Glob, Rule, Template};

const AT: &str = "https://www.example.com";

fn base_urls() -> Vec<BaseUrl> {
    vec![BaseUrl::parse(AT).unwrap()]
}

/// A rule by its name and glob, with templates given as `("url", "/{path}")`.
fn rule(name: &str, glob: &str, mode: Option<Mode>, templates: &[(&str, &str)]) -> Rule {
    let read = |kind: PurgeKind| -> Vec<Template> {
        let parse = match kind {
            PurgeKind::Directory => Template::parse_directory,
            PurgeKind::Url | PurgeKind::Prefetch => Template::parse,
        };
        templates
            .iter()
            .filter(|(word, _)| *word == kind.as_str())
            .map(|(_, text)| parse(text, &base_urls(), &[]).unwrap())
            .collect()
    };
    Rule {
        name: name.to_owned(),
        matches: vec![Glob::parse(glob).unwrap()],
        urls: read(PurgeKind::Url),
        directories: read(PurgeKind::Directory),
        prefetch: read(PurgeKind::Prefetch),
        mode,
        ..Rule::default()
    }
}

fn rules(rules: Vec<Rule>) -> Rules {
    Rules::new(base_urls(), Vec::new(), rules)
}

fn able(cdn: &str) -> Capability {
    Capability {
        cdn: cdn.to_owned(),
        kinds: PurgeKind::VARIANTS.to_vec(),
        url_length: None,
    }
}

fn changed(paths: &[&str]) -> BTreeMap<FilePath, ChangeKind> {
    let change = |path: &&str| (FilePath::new(*path), ChangeKind::Modified);
    paths.iter().map(change).collect()
}

/// Each purge as `cdn kind target [mode] < rule: path`, the target without its host.
fn lines(plan: &Plan) -> Vec<String> {
    plan.purges
        .iter()
        .map(|purge| {
            let target = purge.target.strip_prefix(AT).unwrap();
            let mode = purge.mode.map(|mode| format!(" {}", mode.as_str()));
            format!(
                "{} {} {target}{} < {}: {}",
                purge.cdn,
                purge.kind.as_str(),
                mode.unwrap_or_default(),
                purge.rule,
                purge.path.as_deref().unwrap_or("-")
            )
        })
        .collect()
}

/// A plan's problems as people read them.
fn problems(plan: &Plan) -> Vec<&str> {
    let problems = plan.problems.iter();
    problems.map(|problem| problem.words.as_str()).collect()
}

#[test]
fn every_cdn_gets_every_target_once_in_order() {
    let rules = rules(vec![
        rule(
            "pages",
            "**/*.md",
            None,
            &[("url", "/{page}"), ("url", "/feed.xml")],
        ),
        rule(
            "all",
            "**",
            None,
            &[("url", "/feed.xml"), ("prefetch", "/{page}")],
        ),
    ]);

    let plan = plan(&rules, &[able("b"), able("a")], &changed(&["z.md", "x.md"]));

    let each = |cdn: &str| {
        [
            format!("{cdn} url /feed.xml < pages: x.md"),
            format!("{cdn} url /x/ < pages: x.md"),
            format!("{cdn} url /z/ < pages: z.md"),
            format!("{cdn} prefetch /x/ < all: x.md"),
            format!("{cdn} prefetch /z/ < all: z.md"),
        ]
    };
    assert_eq!(lines(&plan), [each("a"), each("b")].concat());
    assert!(plan.problems.is_empty() && plan.notes.is_empty());
    let mut sorted = plan.purges.clone();
    sorted.sort();
    assert_eq!(plan.purges, sorted);
}

#[test]
fn a_rule_for_some_cdns_asks_nothing_of_the_others() {
    let only = |cdn: &str, rule: Rule| Rule {
        cdns: Some(vec![cdn.to_owned()]),
        ..rule
    };
    let rules = rules(vec![
        only(
            "a",
            rule("one", "x", None, &[("url", "/x"), ("directory", "/d")]),
        ),
        only("b", rule("two", "x", None, &[("url", "/x")])),
        rule("all", "x", Some(Mode::Delete), &[("directory", "/d")]),
    ]);

    let plan = plan(&rules, &[able("a"), able("b")], &changed(&["x"]));

    assert_eq!(
        lines(&plan),
        [
            "a url /x < one: x",
            "a directory /d/ delete < one: x",
            "b url /x < two: x",
            "b directory /d/ delete < all: x",
        ]
    );
}

#[test]
fn a_path_that_no_rule_is_for_does_what_the_site_says() {
    let planned = |unmatched| {
        let rules = rules(vec![rule("pages", "*.md", None, &[("url", "/{page}")])]);
        let paths = ["a.md", "1", "2", "3", "4", "5", "6", "7"];
        plan(
            &rules.with_unmatched(unmatched),
            &[able("a")],
            &changed(&paths),
        )
    };

    let ignored = planned(Unmatched::Ignore);
    assert_eq!(lines(&ignored), ["a url /a/ < pages: a.md"]);
    assert!(ignored.notes.is_empty());

    let warned = planned(Unmatched::Warn);
    assert_eq!(warned.purges, ignored.purges);
    let paths = r#""1", "2", "3", "4", "5", 2 more"#;
    assert_eq!(warned.notes, [format!("no rule is for {paths}")]);

    let everything = planned(Unmatched::Everything);
    assert_eq!(lines(&everything), ["a directory / delete < everything: 1"]);
    assert_eq!(
        everything.notes,
        [
            format!("purging everything: no rule is for {paths}"),
            format!("a: deleting {AT}/ covers 1 more purge"),
        ]
    );
}

#[test]
fn a_deleted_directory_covers_what_lies_below_it_but_no_prefetch() {
    let rules = rules(vec![
        rule(
            "files",
            "**",
            None,
            &[("url", "/{path}"), ("prefetch", "/{path}")],
        ),
        rule(
            "posts",
            "posts/**",
            Some(Mode::Delete),
            &[("directory", "/posts/"), ("directory", "/posts/{stem}")],
        ),
        rule(
            "query",
            "posts/**",
            None,
            &[("url", "/search?in=/posts/"), ("url", "/posts/a?v=1")],
        ),
    ]);

    let plan = plan(&rules, &[able("cdn")], &changed(&["posts/a", "posts.html"]));

    assert_eq!(
        lines(&plan),
        [
            "cdn url /posts.html < files: posts.html",
            "cdn url /search?in=/posts/ < query: posts/a",
            "cdn directory /posts/ delete < posts: posts/a",
            "cdn prefetch /posts.html < files: posts.html",
            "cdn prefetch /posts/a < files: posts/a",
        ]
    );
    assert_eq!(
        plan.notes,
        ["cdn: deleting https://www.example.com/posts/ covers 3 more purges"]
    );
}

#[test]
fn a_flushed_directory_covers_nothing() {
    for mode in [Some(Mode::Flush), None] {
        let rules = rules(vec![rule(
            "r",
            "**",
            mode,
            &[("url", "/{path}"), ("directory", "/")],
        )]);
        let plan = plan(&rules, &[able("cdn")], &changed(&["a"]));
        assert_eq!(plan.purges.len(), 2);
        assert!(plan.notes.is_empty());
    }
}

#[test]
fn of_two_modes_for_one_directory_delete_wins() {
    for modes in [
        [Some(Mode::Flush), Some(Mode::Delete)],
        [Some(Mode::Delete), Some(Mode::Flush)],
        [None, Some(Mode::Delete)],
    ] {
        let rules = rules(vec![
            rule("one", "**", modes[0], &[("directory", "/x/")]),
            rule("two", "**", modes[1], &[("directory", "/x/")]),
        ]);
        let plan = plan(&rules, &[able("cdn")], &changed(&["a"]));
        assert_eq!(lines(&plan), ["cdn directory /x/ delete < one: a"]);
    }
}

#[test]
fn a_url_over_a_cdns_limit_is_a_problem_there_and_planned_elsewhere() {
    let rules = rules(vec![rule(
        "r",
        "**",
        None,
        &[("url", "/{path}"), ("prefetch", "/{path}")],
    )]);
    let short = Capability {
        url_length: Some(AT.len() + 4),
        ..able("short")
    };

    let plan = plan(&rules, &[short, able("wide")], &changed(&["abc", "abcd"]));

    assert_eq!(
        lines(&plan),
        [
            "short url /abc < r: abc",
            "short prefetch /abc < r: abc",
            "wide url /abc < r: abc",
            "wide url /abcd < r: abcd",
            "wide prefetch /abc < r: abc",
            "wide prefetch /abcd < r: abcd",
        ]
    );
    let words = "short takes URLs of up to 27 bytes, and this one has 28: https://www.example.com/abcd (rule r, abcd)";
    assert_eq!(problems(&plan), [words]);
    assert_eq!(plan.notes, [words]);
}

#[test]
fn what_a_cdn_cannot_do_is_a_problem_and_a_prefetch_a_note() {
    let rules = rules(vec![rule(
        "r",
        "**",
        Some(Mode::Delete),
        &[
            ("url", "/{path}"),
            ("directory", "/"),
            ("prefetch", "/{path}"),
        ],
    )]);
    let urls_only = Capability {
        kinds: vec![PurgeKind::Url],
        ..able("cdn")
    };

    let plan = plan(&rules, &[urls_only], &changed(&["a", "b"]));

    // A directory that is not purged covers nothing.
    assert_eq!(lines(&plan), ["cdn url /a < r: a", "cdn url /b < r: b"]);
    assert_eq!(
        problems(&plan),
        ["cdn cannot purge directories: https://www.example.com/ (rule r, a)"]
    );
    assert_eq!(
        plan.notes,
        ["cdn cannot prefetch: 2 prefetches are left out"]
    );
}

#[test]
fn a_path_without_a_url_is_noted() {
    let rules = rules(vec![rule("r", "**", None, &[("url", "/{path}")])]);
    let plan = plan(&rules, &[able("cdn")], &changed(&["a\nb", "c"]));
    assert_eq!(lines(&plan), ["cdn url /c < r: c"]);
    assert_eq!(
        plan.notes,
        [
            "the path \"a\\nb\" has no URL under `/{path}` of the rule r: control characters never get into a URL"
        ]
    );
}

#[test]
fn everything_is_the_root_directories_on_every_cdn() {
    let rules = Rules::new(
        vec![
            BaseUrl::parse("https://a.example").unwrap(),
            BaseUrl::parse("https://b.example/docs").unwrap(),
        ],
        Vec::new(),
        Vec::new(),
    );
    let no_directories = Capability {
        kinds: vec![PurgeKind::Url],
        ..able("two")
    };

    let plan = plan_everything(
        &rules,
        &[able("one"), no_directories],
        "the old commit is gone",
    );

    let root = |target: &str| PlannedPurge {
        cdn: "one".to_owned(),
        kind: PurgeKind::Directory,
        target: target.to_owned(),
        mode: Some(Mode::Delete),
        rule: "everything".to_owned(),
        path: None,
    };
    assert_eq!(
        plan.purges,
        [root("https://a.example/"), root("https://b.example/docs/")]
    );
    assert_eq!(plan.problems.len(), 2);
    assert_eq!(plan.notes, ["purging everything: the old commit is gone"]);
}

#[test]
fn the_json_has_the_documented_keys() {
    let rules = rules(vec![rule(
        "r",
        "**",
        Some(Mode::Flush),
        &[("url", "/{path}"), ("directory", "/d/")],
    )]);
    let mut plan = plan(&rules, &[able("cdn")], &changed(&["a"]));
    plan.purges[1].path = None;
    plan.notes = vec!["a note".to_owned()];
    assert_eq!(
        serde_json::to_value(plan.document(json!([1]))).unwrap(),
        json!({"summary": [1], "problems": [], "notes": ["a note"], "purges": [
            {"cdn": "cdn", "kind": "url", "target": "https://www.example.com/a", "rule": "r", "path": "a"},
            {"cdn": "cdn", "kind": "directory", "target": "https://www.example.com/d/", "rule": "r", "path": null, "mode": "flush"},
        ]})
    );
    assert_eq!(
        serde_json::to_value(Plan::default().document(json!([]))).unwrap(),
        json!({"summary": [], "problems": [], "notes": [], "purges": []})
    );
}

#[test]
fn a_plan_shows_its_purges_problems_and_notes_and_no_control_characters() {
    let rules = rules(vec![rule("r", "**", None, &[("url", "/{name}")])]);
    let mut plan = plan(&rules, &[able("cdn")], &changed(&["a\u{1b}[2J/b"]));
    plan.problems.push(Problem {
        cdn: "cdn".to_owned(),
        kind: PurgeKind::Url,
        target: "https://www.example.com/long".to_owned(),
        words: "too long".to_owned(),
    });
    plan.notes.push("by the way".to_owned());
    let text = table(&plan);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["CDN", "kind", "target", "rule", "path"]);
    assert_eq!(
        lines[1],
        [
            "cdn",
            "url",
            "https://www.example.com/b",
            "r",
            "a\u{FFFD}[2J/b"
        ]
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(plan.remarks(), "problem: too long\nnote: by the way\n");
    assert_eq!(table(&Plan::default()), "nothing to purge\n");
}

fn table(plan: &Plan) -> String {
    let mut text = Vec::new();
    plan.write_table(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_plans_columns_stand_below_one_another_whatever_is_in_them() {
    let rules = rules(vec![
        rule("\u{9875}\u{9762}", "**/*.md", None, &[("url", "/{page}")]),
        rule("all", "**", Some(Mode::Flush), &[("directory", "/")]),
    ]);
    let plan = plan(&rules, &[able("a")], &changed(&["\u{6587}.md"]));

    assert_eq!(
        table(&plan),
        " CDN  kind               target                              rule  path\n \
         a    url                https://www.example.com/%E6%96%87/  \u{9875}\u{9762}  \u{6587}.md\n \
         a    directory (flush)  https://www.example.com/            all   \u{6587}.md\n"
    );
}

/// The numbers of objects by directory, without the host.
fn objects(rules: &Rules, files: &[&str], plan: &Plan) -> BTreeMap<String, u64> {
    let files: Vec<FilePath> = files.iter().map(|path| FilePath::new(*path)).collect();
    let counted = Objects::count(rules, &files, plan).by_directory();
    let short = |url: String| url.strip_prefix(AT).unwrap().to_owned();
    counted
        .into_iter()
        .map(|(url, n)| (short(url), n))
        .collect()
}

#[test]
fn a_directory_holds_the_urls_that_its_files_map_to_each_once_and_those_that_went() {
    let mut gone = rule("gone", "old/*", None, &[("url", "/a/{stem}.old")]);
    gone.on = vec![ChangeKind::Removed];
    let rules = rules(vec![
        rule(
            "pages",
            "**/*.md",
            None,
            &[("url", "/{page}"), ("url", "/feed.xml")],
        ),
        rule("files", "static/**", None, &[("prefetch", "/x/{path}")]),
        rule("new", "a/*", None, &[("directory", "/tags/")]),
        gone,
    ]);
    let mut changes = changed(&["a/1.md", "a/b/index.md"]);
    changes.insert(FilePath::new("old/2"), ChangeKind::Removed);
    let plan = plan(&rules, &[able("cdn")], &changes);

    let counted = objects(
        &rules,
        &[
            "a/1.md",
            "a/2.md",
            "a/b/index.md",
            "a/b/c/1.md",
            "z/1.md",
            "static/1",
            "README",
        ],
        &plan,
    );

    let expected = [
        // Five pages, the feed, and the URL of the file that is gone.
        ("/", 7),
        // What is there: the pages `1/`, `2/`, `b/` and `b/c/1/`, and 2.old.
        ("/a/", 5),
        ("/a/1/", 1),
        ("/a/b/", 2),
        // Nothing that is known.
        ("/tags/", 0),
    ];
    assert_eq!(
        counted,
        expected.map(|(path, n)| (path.to_owned(), n)).into()
    );
}

proptest! {
    #[test]
    fn objects_are_the_distinct_urls_below_each_directory(
        files in proptest::collection::btree_set("([ab]/){0,3}[abc]\\.(md|html)", 0..40),
        some in proptest::collection::btree_set("([ab]/){0,3}[abc]\\.(md|html)", 0..10),
    ) {
        let rules = rules(vec![
            rule("pages", "**/*.md", None, &[("url", "/{page}")]),
            rule("same", "**", None, &[("url", "/{dir}/{stem}.html"), ("url", "/a/{name}")]),
        ]);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let wanted: Vec<&str> = some.iter().map(String::as_str).collect();
        let plan = plan(&rules, &[able("cdn")], &changed(&wanted));

        let counted = objects(&rules, &files, &plan);

        let all = [files, wanted].concat();
        let everything = super::plan(&rules, &[able("cdn")], &changed(&all));
        let url = |purge: &PlannedPurge| purge.target.strip_prefix(AT).unwrap().to_owned();
        let urls: BTreeSet<String> = everything.purges.iter().map(url).collect();
        for (directory, count) in &counted {
            let below = urls.iter().filter(|url| url.starts_with(directory)).count();
            prop_assert_eq!(*count, below as u64, "{}", directory);
        }
        // All that a cover could choose is among them.
        for purge in &plan.purges {
            for above in cover::directories_above(&purge.target) {
                prop_assert!(counted.contains_key(above.strip_prefix(AT).unwrap()));
            }
        }
    }
}

fn read(text: &str) -> Vec<String> {
    let files = read_files(text.as_bytes()).unwrap();
    files
        .iter()
        .map(|(path, kind)| format!("{kind:?} {path:?}"))
        .collect()
}

#[test]
fn changed_files_are_read_as_git_prints_them() {
    assert_eq!(
        read("a.md\nb c.md\n"),
        ["Modified \"a.md\"", "Modified \"b c.md\""]
    );
    assert_eq!(
        read("A\ta\r\nM\tb\r\nD\tc\nT\td"),
        [
            "Added \"a\"",
            "Modified \"b\"",
            "Removed \"c\"",
            "Modified \"d\""
        ]
    );
    assert_eq!(
        read("R100\told\tnew\n"),
        ["Added \"new\"", "Removed \"old\""]
    );
    assert_eq!(read("C75\told\tnew\n"), ["Added \"new\""]);
    assert_eq!(
        read("M\t\"\\346\\226\\207\\t\\\"x\\\\.md\"\n"),
        ["Modified \"文\\t\\\"x\\\\.md\""]
    );
    assert_eq!(read("\"caf\\303\\251.md\"\n"), ["Modified \"café.md\""]);
    assert_eq!(read("\u{FEFF}./a\n\n\r\n"), ["Modified \"a\""]);
    assert_eq!(read("D\ta\nA\ta\n"), ["Modified \"a\""]);
    assert_eq!(
        read("R090\ta\tb\nM\ta\nD\tc\nD\tc\n"),
        ["Modified \"a\"", "Added \"b\"", "Removed \"c\""]
    );
    assert_eq!(read(""), [""; 0]);

    let files = read_files(b"A\tcaf\xE9\n").unwrap();
    assert_eq!(files.into_keys().next().unwrap().as_bytes(), b"caf\xE9");
}

#[test]
fn a_line_that_says_no_file_is_an_error_with_its_number() {
    for (text, expected) in [
        ("a\nX\tb\n", "line 2: `X` before a tab is no status"),
        ("U\tb", "`U` before a tab"),
        ("a\tb", "`a` before a tab"),
        ("R100\tb", "`R100` before a tab"),
        ("M\ta\tb", "`M` before a tab"),
        ("Rx\ta\tb", "`Rx` before a tab"),
        ("M\ta\tb\tc", "more than three columns"),
        ("A\t", "the path is missing"),
        ("A\t\"\"", "the path is missing"),
        ("\n/etc/x", "line 2: `/etc/x` starts with `/`"),
        ("\"a", "a quote that is not closed"),
        ("\"", "a quote that is not closed"),
        ("\"a\"b\"", "a quote inside quotes"),
        ("\"a\\\"", "a quoted path that ends in `\\`"),
        ("\"\\q\"", "`\\q` means nothing"),
        ("\"\\12\"", "less than three octal digits"),
        ("\"\\400\"", "`\\4` means nothing"),
        ("\"\\000\"", "a NUL byte"),
        ("A\0a\0", "run git without -z"),
    ] {
        let error = read_files(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

/// Redactor a path as git does.
fn quoted(path: &[u8]) -> Vec<u8> {
    let mut line = b"\"".to_vec();
    for byte in path {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b'\t' => line.extend(b"\\t"),
            b'\n' => line.extend(b"\\n"),
            0x20..=0x7e => line.push(*byte),
            other => line.extend(format!("\\{other:03o}").into_bytes()),
        }
    }
    line.push(b'"');
    line
}

proptest! {
    #[test]
    fn a_quoted_path_is_read_back(path in proptest::collection::vec(1u8.., 1..20)) {
        prop_assume!(path[0] != b'/' && !path.starts_with(b"./"));
        // Git has no path with such a segment. A slash at its end means a directory.
        let mut segments = path
            .strip_suffix(b"/")
            .unwrap_or(&path)
            .split(|b| *b == b'/');
        prop_assume!(!segments.any(|it| matches!(it, b"" | b"." | b"..")));
        let files = read_files(&quoted(&path)).unwrap();
        prop_assert_eq!(files.into_keys().next(), Some(FilePath::new(path)));
    }

    #[test]
    fn reading_files_never_panics(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_files(&input);
    }

    #[test]
    fn a_plan_does_not_depend_on_any_order(
        mut paths in proptest::collection::vec(("[ab]{1,2}(/[ab]{1,2}){0,2}", 0usize..3), 0..12),
        seed in any::<u64>(),
    ) {
        let kinds = [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Removed];
        paths.sort();
        paths.dedup_by(|a, b| a.0 == b.0);
        let rules = rules(vec![
            rule("one", "**", None, &[("url", "/{path}"), ("directory", "/{dir}"), ("prefetch", "/{name}")]),
            rule("two", "a*/**", Some(Mode::Delete), &[("directory", "/{dir}"), ("url", "/{name}")]),
        ]);
        let gather = |paths: &[(String, usize)]| -> BTreeMap<FilePath, ChangeKind> {
            paths.iter().map(|(path, kind)| (FilePath::new(path.as_str()), kinds[*kind])).collect()
        };

        let one = plan(&rules, &[able("a"), able("b")], &gather(&paths));
        fastrand::Rng::with_seed(seed).shuffle(&mut paths);
        let other = plan(&rules, &[able("b"), able("a")], &gather(&paths));

        prop_assert_eq!(&one, &other);
        let mut keys: Vec<_> = one.purges.iter().map(|p| (&p.cdn, p.kind, &p.target)).collect();
        let all = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), all);
        prop_assert!(keys.is_sorted());
        for purge in &one.purges {
            prop_assert_eq!(purge.kind == PurgeKind::Directory && !purge.target.ends_with('/'), false);
        }
    }
}
