//! Tests what a site's rules do with paths, and properties that hold for every path.

use std::sync::LazyLock;

use proptest::prelude::*;
use url::Url;

use super::*;

/// A rule with one glob, to be filled up with `..`.
fn rule(name: &str, glob: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        matches: vec![Glob::parse(glob).unwrap()],
        ..Rule::default()
    }
}

fn bases(urls: &[&str]) -> Vec<BaseUrl> {
    urls.iter()
        .map(|url| BaseUrl::parse(url).unwrap())
        .collect()
}

fn www() -> Vec<BaseUrl> {
    bases(&["https://www.example.com"])
}

fn url(text: &str) -> Template {
    Template::parse(text, &www(), &[]).unwrap()
}

fn directory(text: &str) -> Template {
    Template::parse_directory(text, &www(), &[]).unwrap()
}

/// What one path asks for, as `rule kind url`.
fn asked(rules: &Rules, path: &str, kind: ChangeKind) -> Vec<String> {
    let mapped = rules.targets(&FilePath::new(path), kind);
    mapped
        .targets
        .iter()
        .map(|target| format!("{} {} {}", target.rule, target.kind.as_str(), target.url))
        .collect()
}

fn changed(rules: &Rules, path: &str) -> Vec<String> {
    asked(rules, path, ChangeKind::Modified)
}

/// The URL that one template makes of one path.
fn filled(template: &str, strip: &str, path: impl Into<Vec<u8>>) -> Result<String, &'static str> {
    fill(&url(template), strip, path)
}

fn fill(
    template: &Template,
    strip: &str,
    path: impl Into<Vec<u8>>,
) -> Result<String, &'static str> {
    let path = path.into();
    let mut urls = Vec::new();
    template.fill(&www(), &Fields::of(&path, strip), |url| urls.push(url))?;
    assert_eq!(urls.len(), 1);
    let url = urls.remove(0);
    Ok(url
        .strip_prefix("https://www.example.com")
        .unwrap()
        .to_owned())
}

/// The site of the documentation's example.
fn example() -> Rules {
    Rules::new(
        www(),
        vec![
            Glob::parse("**/README.md").unwrap(),
            Glob::parse(".github/**").unwrap(),
        ],
        vec![
            Rule {
                except: vec![Glob::parse("content/drafts/**").unwrap()],
                strip: "content/".to_owned(),
                urls: vec![url("/{page}")],
                ..rule("pages", "content/**/*.md")
            },
            Rule {
                strip: "static/".to_owned(),
                urls: vec![url("/{path}")],
                prefetch: vec![url("/{path}")],
                ..rule("files", "static/**")
            },
            Rule {
                matches: vec![
                    Glob::parse("layouts/**").unwrap(),
                    Glob::parse("config.toml").unwrap(),
                ],
                directories: vec![directory("/")],
                mode: Some(Mode::Delete),
                ..rule("theme", "layouts/**")
            },
        ],
    )
}

#[test]
fn the_example_site_maps_as_its_documentation_says() {
    let rules = example();
    let at = "https://www.example.com";
    assert_eq!(
        changed(&rules, "content/posts/hello/index.md"),
        [format!("pages url {at}/posts/hello/")]
    );
    assert_eq!(
        changed(&rules, "content/_index.md"),
        [format!("pages url {at}/")]
    );
    assert_eq!(
        changed(&rules, "content/about.md"),
        [format!("pages url {at}/about/")]
    );
    assert_eq!(
        changed(&rules, "static/css/site.css"),
        [
            format!("files url {at}/css/site.css"),
            format!("files prefetch {at}/css/site.css"),
        ]
    );
    assert_eq!(
        changed(&rules, "config.toml"),
        [format!("theme directory {at}/")]
    );
    assert_eq!(changed(&rules, "content/drafts/soon.md"), [""; 0]);
    assert_eq!(changed(&rules, "content/posts/README.md"), [""; 0]);
    assert_eq!(changed(&rules, ".github/workflows/ci.yml"), [""; 0]);
    assert_eq!(changed(&rules, "Makefile"), [""; 0]);
}

#[test]
fn a_removed_file_is_purged_but_never_prefetched() {
    assert_eq!(
        asked(&example(), "static/old.css", ChangeKind::Removed),
        ["files url https://www.example.com/old.css"]
    );
}

#[test]
fn a_path_feeds_every_rule_that_matches_until_one_says_last() {
    let rules = |last| {
        Rules::new(
            www(),
            Vec::new(),
            vec![
                Rule {
                    urls: vec![url("/one")],
                    ..rule("one", "**")
                },
                Rule {
                    urls: vec![url("/two")],
                    except: vec![Glob::parse("b").unwrap()],
                    last,
                    ..rule("two", "**")
                },
                Rule {
                    urls: vec![url("/three")],
                    ..rule("three", "**")
                },
            ],
        )
    };
    assert_eq!(changed(&rules(false), "a").len(), 3);
    assert_eq!(changed(&rules(true), "a").len(), 2);
    // A rule that is excepted did not match, so its `last` says nothing.
    assert_eq!(
        changed(&rules(true), "b"),
        [
            "one url https://www.example.com/one",
            "three url https://www.example.com/three"
        ]
    );
}

#[test]
fn a_rule_fires_only_for_the_changes_it_is_for() {
    let rules = Rules::new(
        www(),
        Vec::new(),
        vec![
            Rule {
                urls: vec![url("/new")],
                on: vec![ChangeKind::Added, ChangeKind::Removed],
                last: true,
                ..rule("new", "**")
            },
            Rule {
                urls: vec![url("/any")],
                ..rule("any", "**")
            },
        ],
    );
    let asked = |kind| asked(&rules, "a", kind);
    let new = "new url https://www.example.com/new";
    assert_eq!(asked(ChangeKind::Added), [new]);
    assert_eq!(asked(ChangeKind::Removed), [new]);
    // A rule that does not fire keeps nothing from those after it.
    assert_eq!(
        asked(ChangeKind::Modified),
        ["any url https://www.example.com/any"]
    );
    assert!(
        !rules
            .targets(&FilePath::new("a"), ChangeKind::Modified)
            .unmatched
    );
    let explained = rules.explain(&FilePath::new("a"), ChangeKind::Modified);
    assert_eq!(
        explained[0].verdict.to_string(),
        "does not fire: matched by `**`, but `on:` leaves out `changed`"
    );
}

#[test]
fn an_expressions_groups_are_fields() {
    let regex = PathRegex::parse(r"^posts/(?<year>\d{4})-(?<slug>[^/]+?)(?:\.(?<lang>..))?\.md$");
    let regex = regex.unwrap();
    let rules = Rules::new(
        www(),
        vec![Glob::parse("**/2020-x.md").unwrap()],
        vec![
            Rule {
                urls: vec![
                    Template::parse("/{lang}/{year}/{slug}/", &www(), regex.groups()).unwrap(),
                ],
                except: vec![Glob::parse("**/*draft*").unwrap()],
                regex: Some(regex.clone()),
                ..Rule::default()
            },
            Rule {
                urls: vec![url("/{name}")],
                regex: Some(PathRegex::parse("20").unwrap()),
                ..rule("both", "posts/*.txt")
            },
        ],
    );
    let at = "https://www.example.com";
    assert_eq!(
        changed(&rules, "posts/2026-é b.zh.md"),
        [format!(" url {at}/zh/2026/%C3%A9%20b/")]
    );
    assert_eq!(
        changed(&rules, "posts/2026-a.md"),
        [format!(" url {at}/2026/a/")]
    );
    for path in [
        "posts/2026-draft.md",
        "posts/2020-x.md",
        "posts/x.md",
        "x/20.txt",
    ] {
        assert_eq!(changed(&rules, path), [""; 0], "{path}");
    }
    assert_eq!(
        changed(&rules, "posts/20.txt"),
        [format!("both url {at}/20.txt")]
    );
    let verdicts = |path: &str| {
        let path = FilePath::new(path);
        let explained = rules.explain(&path, ChangeKind::Modified);
        explained
            .iter()
            .map(|e| e.verdict.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        verdicts("posts/a.txt"),
        [
            "does not fire: it does not match",
            "does not fire: matched by `posts/*.txt`, but not by `20`"
        ]
    );
    assert!(verdicts("posts/2026-draft.md")[0].ends_with("but excepted by `**/*draft*`"));
    let unmatched = |path: &str| {
        rules
            .targets(&FilePath::new(path), ChangeKind::Added)
            .unmatched
    };
    assert!(unmatched("posts/a.txt") && unmatched("Makefile"));
    assert!(!unmatched("posts/20.txt") && !unmatched("posts/2026-draft.md"));
    assert!(!unmatched("posts/2020-x.md"), "what is ignored is known");
}

#[test]
fn both_urls_of_a_page_are_purged_where_directories_have_an_index() {
    let rules = Rules::new(
        www(),
        Vec::new(),
        vec![Rule {
            urls: vec![url("/{path}"), url("/{dir}/?all")],
            directories: vec![directory("/{dir}")],
            prefetch: vec![url("/{page}")],
            ..rule("r", "**")
        }],
    );
    let rules = rules.with_index(Some(IndexName::parse("index.html").unwrap()));
    let at = "https://www.example.com/a/";
    assert_eq!(
        changed(&rules, "a/index.html"),
        [
            format!("r url {at}index.html"),
            format!("r url {at}"),
            format!("r url {at}?all"),
            format!("r directory {at}"),
            format!("r prefetch {at}"),
        ]
    );
}

#[test]
fn a_path_goes_behind_each_base_url_and_a_full_url_stands_alone() {
    let bases = bases(&["https://www.example.com", "http://example.com:8080/docs/"]);
    let rules = Rules::new(
        bases.clone(),
        Vec::new(),
        vec![Rule {
            urls: vec![
                Template::parse("/{path}", &bases, &[]).unwrap(),
                Template::parse("HTTP://Example.com:8080/other/{name}", &bases, &[]).unwrap(),
            ],
            ..rule("r", "**")
        }],
    );
    assert_eq!(
        changed(&rules, "a/b"),
        [
            "r url https://www.example.com/a/b",
            "r url http://example.com:8080/docs/a/b",
            "r url http://example.com:8080/other/b",
        ]
    );
    assert_eq!(
        rules.roots(),
        ["https://www.example.com/", "http://example.com:8080/docs/"]
    );
}

#[test]
fn a_value_is_encoded_once_by_segment() {
    for (path, url) in [
        ("a b/c.html", "/a%20b/c.html"),
        ("中文/é.html", "/%E4%B8%AD%E6%96%87/%C3%A9.html"),
        ("100%/50%25", "/100%25/50%2525"),
        ("what?#x", "/what%3F%23x"),
        ("a+b&c=d;e,f", "/a+b&c=d;e,f"),
        ("!$'()*:@-._~", "/!$'()*:@-._~"),
        ("[x]{y}|^`\"<>", "/%5Bx%5D%7By%7D%7C%5E%60%22%3C%3E"),
        ("a\\..\\b", "/a%5C..%5Cb"),
        ("%2e%2e/x", "/%252e%252e/x"),
        ("Case/Stays.HTML", "/Case/Stays.HTML"),
        ("a//b///c", "/a/b/c"),
    ] {
        assert_eq!(filled("/{path}", "", path).as_deref(), Ok(url), "{path}");
    }
    assert_eq!(
        filled("/{path}", "", b"caf\xE9".to_vec()).as_deref(),
        Ok("/caf%E9")
    );
}

#[test]
fn in_a_query_a_value_cannot_become_syntax() {
    assert_eq!(
        filled("/view?file={path}&v=1", "", "a&b=c+d/é?.txt").as_deref(),
        Ok("/view?file=a%26b%3Dc%2Bd/%C3%A9%3F.txt&v=1")
    );
    assert_eq!(
        filled("/{name}?v=1", "", "x/a.js").as_deref(),
        Ok("/a.js?v=1")
    );
}

#[test]
fn an_empty_field_leaves_no_empty_segment() {
    assert_eq!(filled("/{dir}/{name}", "", "a.md").as_deref(), Ok("/a.md"));
    assert_eq!(
        filled("/{page}index.html", "", "index.md").as_deref(),
        Ok("/index.html")
    );
    assert_eq!(
        filled("/{page}/amp/", "", "posts/a.md").as_deref(),
        Ok("/posts/a/amp/")
    );
    assert_eq!(
        filled("/{page}", "content", "content/a.md").as_deref(),
        Ok("/a/")
    );
    assert_eq!(filled("/x/{dir}/", "", "a.md").as_deref(), Ok("/x/"));
}

#[test]
fn a_directory_always_ends_in_a_slash() {
    for (template, path, url) in [
        ("/", "a", "/"),
        ("/posts", "a", "/posts/"),
        ("/{dir}", "a/b/c.md", "/a/b/"),
        ("/{dir}", "c.md", "/"),
        ("/{page}", "a/b.md", "/a/b/"),
        ("https://www.example.com", "a", "/"),
        ("/{name}/", "x/y z", "/y%20z/"),
    ] {
        assert_eq!(
            fill(&directory(template), "", path).as_deref(),
            Ok(url),
            "{template}"
        );
    }
}

#[test]
fn dots_and_control_characters_never_get_through() {
    for path in ["../x", "a/../b", "a/./b", "..", ".", "a/.."] {
        assert_eq!(
            filled("/{path}", "", path),
            Err("its URL would have a `.` or `..` segment"),
            "{path}"
        );
        assert!(filled("/v?p={path}", "", path).is_err(), "{path}");
    }
    for path in ["a\nb", "a\rb", "\0", "a\u{7f}", "a\u{85}b", "a\tb"] {
        assert_eq!(
            filled("/{path}", "", path),
            Err("control characters never get into a URL")
        );
    }
    // Only what a template asks for has to be in order.
    assert_eq!(filled("/{name}", "", "a\nb/c").as_deref(), Ok("/c"));
    assert_eq!(filled("/all/", "", "a\nb").as_deref(), Ok("/all/"));
}

#[test]
fn text_and_value_cannot_make_dots_together() {
    assert_eq!(filled("/.{ext}/x", "", "a.").ok(), None);
    assert_eq!(filled("/.{ext}/x", "", "a.b").as_deref(), Ok("/.b/x"));
    assert_eq!(filled("/%2e{ext}/x", "", "a.").ok(), None);
}

#[test]
fn what_makes_no_url_is_reported_with_its_rule_and_template() {
    let rules = Rules::new(
        www(),
        Vec::new(),
        vec![Rule {
            urls: vec![url("/{path}"), url("/all")],
            ..rule("r", "**")
        }],
    );
    let path = FilePath::new("a\nb");
    let mapped = rules.targets(&path, ChangeKind::Added);
    assert_eq!(mapped.targets.len(), 1);
    assert_eq!(mapped.unmappable.len(), 1);
    assert_eq!(mapped.unmappable[0].template, "/{path}");
}

#[test]
fn a_templates_own_text_is_taken_as_a_url() {
    assert_eq!(
        filled("/a%20b/é/{{x}}/{name}", "", "n").as_deref(),
        Ok("/a%20b/%C3%A9/%7Bx%7D/n")
    );
    assert_eq!(
        filled("/x?v=1&w=a/b?c", "", "n").as_deref(),
        Ok("/x?v=1&w=a/b?c")
    );
    assert_eq!(filled("/{{path}}", "", "n").as_deref(), Ok("/%7Bpath%7D"));
}

#[test]
fn a_bad_template_is_refused_with_place_and_advice() {
    let refused = |text: &str| {
        let error = Template::parse(text, &www(), &[]).unwrap_err();
        format!("{} | {}", error.message, error.advice.unwrap_or_default())
    };
    for (text, expected) in [
        (
            "/{pth}",
            "unknown field `{pth}` at character 2 | did you mean `{path}`? The fields are {path}, {dir}, {name}, {stem}, {ext}, {page}",
        ),
        ("/é/{Path}", "at character 4 | did you mean `{path}`?"),
        ("/{filename}", "did you mean `{name}`?"),
        ("/{}", "unknown field `{}` at character 2 | the fields are"),
        ("/{whatever}", "| the fields are {path}"),
        ("/a{path", "a `{` that no `}` closes at character 3"),
        ("/a}", "a `}` that no `{` opens at character 3"),
        (
            "/50%",
            "a `%` without two hex digits behind it at character 4",
        ),
        ("/%é", "a `%` without two hex digits"),
        ("/a%0Ab", "an encoded control character at character 3"),
        ("/a b", "a blank at character 3"),
        ("/a#b", "a `#` at character 3"),
        ("/a\\b", "a `\\` at character 3"),
        ("/a\nb", "a control character at character 3"),
        ("/a/../b", "has a `.` or `..` segment"),
        ("/a/%2E%2e/b", "has a `.` or `..` segment"),
        ("//cdn.example.com/x", "starts with `//`"),
        ("{path}", "neither a path nor a full URL | write `/{path}`"),
        ("", "neither a path nor a full URL"),
        ("ftp://www.example.com/x", "neither a path nor a full URL"),
        (
            "https://other.example.com/x",
            "is on https://other.example.com, which is none of the site's base URLs | scheme, host and port must be those of one of them: https://www.example.com",
        ),
        (
            "http://www.example.com/x",
            "is on http://www.example.com, which is none",
        ),
        (
            "https://www.example.com:8443/x",
            "none of the site's base URLs",
        ),
        ("https://www.example.com@evil.example/x", "credentials"),
        ("https://{name}/x", "has a field in its host"),
        ("https://{name}.example.com/x", "has a field in its host"),
        ("https:///x", "is not a URL"),
    ] {
        let message = refused(text);
        assert!(message.contains(expected), "{text:?}: {message}");
    }
    let error = Template::parse_directory("/a/?x", &www(), &[]).unwrap_err();
    assert!(error.message.contains("has a query"));
}

#[test]
fn explaining_a_path_names_the_globs_that_decide() {
    let mut rules = example().rules().to_vec();
    rules[0].last = true;
    let rules = Rules::new(www(), example().ignore().to_vec(), rules);
    let explained = |path: &str| -> Vec<String> {
        let path = FilePath::new(path);
        let each = rules.explain(&path, ChangeKind::Modified);
        each.iter()
            .map(|each| format!("{} {}", each.rule, each.verdict))
            .collect()
    };
    assert_eq!(
        explained("content/a.md"),
        [
            "pages fires: matched by `content/**/*.md`",
            "files does not fire: the rule `pages` before it says `last: true`",
            "theme does not fire: the rule `pages` before it says `last: true`",
        ]
    );
    assert_eq!(
        explained("content/drafts/a.md")[0],
        "pages does not fire: matched by `content/**/*.md`, but excepted by `content/drafts/**`"
    );
    assert_eq!(
        explained("layouts/x")[0],
        "pages does not fire: it does not match"
    );
    assert_eq!(
        explained("layouts/x")[2],
        "theme fires: matched by `layouts/**`"
    );
    assert_eq!(
        explained("docs/README.md")[1],
        "files does not fire: the site ignores the path, by `**/README.md`"
    );
}

/// Path bytes as git could have them, and then some.
fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let segment = prop_oneof![
        4 => "[a-zA-Z0-9._ %?#+&é中\\\\-]{1,8}".prop_map(String::into_bytes),
        1 => Just(b"index.md".to_vec()),
        1 => Just(b"..".to_vec()),
        1 => Just(b".".to_vec()),
        1 => Just(Vec::new()),
        1 => proptest::collection::vec(any::<u8>().prop_filter("no slash", |b| *b != b'/'), 1..6),
    ];
    proptest::collection::vec(segment, 1..5).prop_map(|segments| segments.join(&b'/'))
}

static EXAMPLE: LazyLock<Rules> = LazyLock::new(example);

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        for part in [encode::Part::Path, encode::Part::Query] {
            let mut url = String::new();
            encode::push_value(&mut url, &value, part);
            prop_assert!(url.is_ascii());
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(&url).collect();
            prop_assert_eq!(&decoded, &value);
        }
    }

    #[test]
    fn what_is_encoded_already_stays_as_it_is_in_a_template(value in "[^\\x00-\\x1f\\x7f/?.*]{1,20}") {
        let mut once = String::from("/");
        encode::push_value(&mut once, value.as_bytes(), encode::Part::Path);
        prop_assert_eq!(filled(&once, "", "n"), Ok(once.clone()));
    }

    #[test]
    fn every_url_is_a_clean_one_on_its_base_urls_host(path in any_path()) {
        for template in ["/{path}", "/{dir}/{stem}-{ext}/", "/{page}", "/p/{name}?from={path}", "/.{stem}/.{ext}"] {
            for template in [Template::parse(template, &www(), &[]), Template::parse_directory(template, &www(), &[])] {
                let Ok(template) = template else { continue };
                let Ok(url) = fill(&template, "", path.clone()) else { continue };
                let text = format!("https://www.example.com{url}");
                let parsed = Url::parse(&text).unwrap();
                // A URL parser changes nothing, so it finds no dots to resolve and nothing to encode.
                prop_assert_eq!(parsed.as_str(), &text);
                prop_assert_eq!(parsed.host_str(), Some("www.example.com"));
                prop_assert!(!parsed.path().contains("//"));
                prop_assert!(!parsed.path().split('/').any(|s| s == ".." || s == "."));
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(parsed.fragment().is_none());
                let decoded: Vec<u8> = percent_encoding::percent_decode_str(&text).collect();
                prop_assert!(!decoded.iter().any(u8::is_ascii_control));
            }
        }
    }

    #[test]
    fn explaining_and_mapping_agree(path in any_path()) {
        let path = FilePath::new(path);
        let rules = &*EXAMPLE;
        let mapped = rules.targets(&path, ChangeKind::Modified);
        let explained = rules.explain(&path, ChangeKind::Modified);
        let targets: Vec<_> = explained.into_iter().flat_map(|each| each.mapped.targets).collect();
        prop_assert_eq!(mapped.targets, targets);
    }
}
