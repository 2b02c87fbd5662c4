//! Tests that the matcher agrees with globset on each glob.

use globset::{GlobBuilder, GlobMatcher};
use proptest::prelude::*;

use super::super::Glob;
use super::Matcher;

fn matcher(globs: &[&str]) -> Matcher {
    let globs: Vec<Glob> = globs.iter().map(|g| Glob::parse(g).unwrap()).collect();
    Matcher::new(&globs)
}

fn matches(globs: &[&str], path: &str) -> Vec<usize> {
    matcher(globs).matches(path.as_bytes()).to_vec()
}

/// globset's own matcher for one glob, which does not see the shortcuts a set takes.
fn globsets(glob: &Glob) -> GlobMatcher {
    GlobBuilder::new(glob.compiled().glob())
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .unwrap()
        .compile_matcher()
}

#[test]
fn globs_of_every_form_are_found_by_their_places() {
    let globs = [
        "**",
        "content/**",
        "content/**/*.md",
        "content/*.md",
        "content/posts/a.md",
        "**/a.md",
        "**/posts/**",
        "content/*/a.*",
        "c*t/p[n-p]sts/?.md",
        "static/**",
        "*.md",
        "{content,static}/**/{a,b}.{md,html}",
    ];

    assert_eq!(
        matches(&globs, "content/posts/a.md"),
        [0, 1, 2, 4, 5, 6, 7, 8, 11]
    );
    assert_eq!(matches(&globs, "content/a.md"), [0, 1, 2, 3, 5, 11]);
    assert_eq!(matches(&globs, "static/x/b.html"), [0, 9, 11]);
    assert_eq!(matches(&globs, "content"), [0]);
    assert_eq!(matches(&globs, "a.md"), [0, 5, 10]);
}

#[test]
fn a_glob_is_found_once_however_often_it_matches() {
    assert_eq!(matches(&["{**,a/**,*/b}/b"], "a/b/b"), [0]);
    assert_eq!(matches(&["**/a/**/a/**"], "a/a/a/a/a/a"), [0]);
    assert_eq!(matches(&["{a,?,*,[a]}"], "a"), [0]);
}

#[test]
fn globs_that_no_tree_holds_are_matched_all_the_same() {
    let many = format!("x{}", "{a,b}".repeat(13));
    let globs = ["a{**/b,c}", "{a/**,b}c", many.as_str(), "ac"];
    let matcher = matcher(&globs);

    assert_eq!(matcher.alone.len(), 3);
    assert_eq!(matcher.matches(b"ax/y/b").to_vec(), [0]);
    assert_eq!(matcher.matches(b"ac").to_vec(), [0, 3]);
    assert_eq!(matcher.matches(b"a/x/yc").to_vec(), [1]);
    assert_eq!(matcher.matches(b"xabababababaab").to_vec(), [2]);
}

#[test]
fn globs_whose_braces_multiply_are_built_at_once() {
    let globs: Vec<String> = (0..200)
        .map(|n| format!("{n}/{}", "{a,b*,**/c}{d,{e,f}}".repeat(40)))
        .collect();
    let globs: Vec<&str> = globs.iter().map(String::as_str).collect();

    assert_eq!(matcher(&globs).alone.len(), 200);
}

#[test]
fn no_path_makes_many_stars_slow() {
    let globs: Vec<String> = (0..100)
        .map(|n| format!("**/{}{n}/**/{}{n}", "*a".repeat(20), "*b".repeat(20)))
        .collect();
    let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
    let path = format!(
        "{}x",
        format!("{}{}/", "a".repeat(60), "b".repeat(60)).repeat(16)
    );

    assert_eq!(matches(&globs, &path), [0; 0]);
}

/// Globs of all tokens, also where they have no business to be.
fn any_glob() -> impl Strategy<Value = Glob> {
    let token = prop_oneof![
        6 => "[ab.]{1,3}",
        2 => Just("*".to_owned()),
        1 => Just("**".to_owned()),
        4 => Just("/**/".to_owned()),
        6 => Just("/".to_owned()),
        1 => Just("**/".to_owned()),
        1 => Just("/**".to_owned()),
        1 => Just("?".to_owned()),
        1 => Just("{a,b/c}".to_owned()),
        1 => Just("{,.a}".to_owned()),
        2 => "[{][ab*/.]{0,4}(,[ab*/.]{0,4}){0,2}[}]",
        1 => "[{][ab*/]{0,2},[{](\\*\\*/|/\\*\\*|,|a){1,3}[}][}]",
        1 => "\\[!?[]ab.-]{1,3}\\]",
        1 => "\\\\[ab,/{*]",
        1 => Just(",".to_owned()),
        1 => Just("é".to_owned()),
    ];
    proptest::collection::vec(token, 1..8)
        .prop_filter_map("is a glob", |tokens| Glob::parse(&tokens.concat()).ok())
}

/// Also ones that git has not, with empty segments and slashes at either end. But none that ends in
/// `..`, which git refuses and the shortcuts of globset's sets trip over.
fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abc.]{1,3}(/[abc.]{1,3}){0,4}",
        1 => "[abc./é,{*]{0,8}",
    ]
    .prop_filter("no dots", |path| path.rsplit('/').next() != Some(".."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn many_globs_match_what_globset_says_of_each(
        globs in proptest::collection::vec(any_glob(), 1..12),
        paths in proptest::collection::vec(any_path(), 32),
    ) {
        let together = Matcher::new(&globs);
        let each: Vec<GlobMatcher> = globs.iter().map(globsets).collect();
        for path in paths {
            let alone: Vec<usize> = (0..globs.len()).filter(|i| each[*i].is_match(&path)).collect();
            prop_assert_eq!(together.matches(path.as_bytes()).to_vec(), alone, "{}", path);
        }
    }
}
