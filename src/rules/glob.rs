//! Globs over paths, and messages for invalid ones.

use std::iter::Peekable;
use std::str::Chars;

use globset::{ErrorKind, GlobBuilder, GlobSet};

use super::RuleError;
use super::alternatives::{alternatives, literal_segments};
use crate::sanitize::visible;

/// The maximum length of a glob in bytes. No system that runs git has longer paths, and a glob of this length
/// always compiles.
const LONGEST: usize = 4_096;

/// The memory of the regular expression for the shortest glob, in bytes,
const COMPILED: usize = 24 * 1_024;
/// and for every additional byte of a glob.
const COMPILED_BYTE: usize = 200;

/// A glob over paths: globset's, with `/` matched only by `**`.
///
/// Matches bytes, as git's paths are: `?` is one byte. Empty alternatives are allowed, so `index{,.zh}.md` also
/// matches `index.md`. Case matters.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    compiled: globset::Glob,
    /// A set with one glob: unlike a `GlobMatcher`, a set reports a glob that is too large to compile.
    alone: GlobSet,
}

impl Glob {
    /// Parses a glob. Also rejects a glob that cannot match any path: an empty one, one that starts with `/` or
    /// `!`, that ends in `/`, or that has a segment `.`, `..` or an empty one.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        refuse_pointless(text)?;
        let compiled = GlobBuilder::new(&only_stars_cross_slashes(text)?)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(|error| explain(text, error.kind()))?;
        let alone = GlobSet::new([&compiled]).map_err(|error| explain(text, error.kind()))?;
        Ok(Self {
            text: text.to_owned(),
            compiled,
            alone,
        })
    }

    /// The glob as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches a path (or a branch's name), byte for byte.
    pub fn is_match(&self, path: impl AsRef<[u8]>) -> bool {
        let path = globset::Candidate::from_bytes(path.as_ref());
        self.alone.is_match_candidate(&path)
    }

    /// The maximum memory of the glob itself in bytes, without the matcher's.
    pub(super) fn compiled_memory(&self) -> usize {
        COMPILED + COMPILED_BYTE * self.text.len()
    }

    /// globset's compiled glob.
    pub(super) fn compiled(&self) -> &globset::Glob {
        &self.compiled
    }

    /// The glob compiled by itself.
    pub(super) fn alone(&self) -> &GlobSet {
        &self.alone
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The beginning of a long glob, to identify it.
fn start_of(text: &str) -> String {
    text.chars().take(40).collect()
}

fn refuse_pointless(text: &str) -> Result<(), RuleError> {
    let wrong = |what: &str, advice: String| {
        Err(RuleError::new(
            format!("the glob `{}` {what}", text.escape_debug()),
            advice,
        ))
    };
    if text.len() > LONGEST {
        return Err(RuleError::new(
            format!(
                "the glob `{}...` is longer than {LONGEST} bytes",
                start_of(text)
            ),
            "split it into several globs",
        ));
    }
    if text.is_empty() {
        return Err(RuleError::new(
            "the glob is empty and matches nothing",
            "write `**` for every path, or leave it out",
        ));
    }
    if text.starts_with('/') || text.starts_with("./") {
        let rest = text.trim_start_matches('.').trim_start_matches('/');
        let rest = if rest.is_empty() { "**" } else { rest };
        return wrong(
            "matches nothing: paths start at the top of the repository, without `/`",
            format!("write `{rest}`"),
        );
    }
    if text.ends_with('/') {
        return wrong(
            "matches nothing: paths are those of files and never end in `/`",
            format!("write `{text}**` for everything in that directory"),
        );
    }
    if let Some(rest) = text.strip_prefix('!') {
        return wrong(
            "starts with `!`, which takes nothing back here",
            format!(
                "write `{rest}` under `except:`; for a name that does start with `!`, write `\\{text}`"
            ),
        );
    }
    refuse_segments(text)
}

/// Git has no path with a segment `.` or `..`, or with two slashes in a row.
fn refuse_segments(text: &str) -> Result<(), RuleError> {
    let alternatives = alternatives(text).unwrap_or_default();
    let segments = alternatives.iter().flat_map(|one| literal_segments(one));
    let bad = segments
        .flatten()
        .find(|it| matches!(it.as_str(), "" | "." | ".."));
    let Some(bad) = bad else {
        return Ok(());
    };
    let shown = visible(text);
    let (what, advice) = match bad.as_str() {
        _ if text.contains("://") => (
            "is a URL",
            "write paths as they are in the repository; URLs stand under `urls:`".to_owned(),
        ),
        ".." => (
            "has `..` in it, which no path in a repository has",
            "write the path from the top of the repository; what lies in another one is that repository's".to_owned(),
        ),
        "." => ("has a segment `.`, which no path in a repository has", format!("write `{}`", shown.replace("/./", "/"))),
        _ => ("has `//` in it, which no path in a repository has", format!("write `{}`", visible(&collapsed(text)))),
    };
    Err(RuleError::new(
        format!("the glob `{shown}` matches nothing: it {what}"),
        advice,
    ))
}

/// Replaces several slashes in a row with one.
fn collapsed(text: &str) -> String {
    let mut before = ' ';
    let mut one = text.to_owned();
    one.retain(|c| {
        let keep = c != '/' || before != '/';
        before = c;
        keep
    });
    one
}

/// Rewrites character classes so that none matches `/`, which globset would allow: `[!a]` becomes `[!a/]`, and
/// `[+-9]` becomes `[+-.0-9]`.
fn only_stars_cross_slashes(text: &str) -> Result<String, RuleError> {
    let mut out = String::with_capacity(text.len() + 4);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '\\' => out.extend(chars.next()),
            '[' => {
                let negated = chars.next_if(|c| *c == '!' || *c == '^');
                out.extend(negated);
                copy_class(text, &mut chars, negated.is_some(), &mut out)?;
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Copies a class up to its `]`, without `/` in it. globset rejects one that never ends.
fn copy_class(
    text: &str,
    chars: &mut Peekable<Chars<'_>>,
    negated: bool,
    out: &mut String,
) -> Result<(), RuleError> {
    let checked = |c: char| {
        let why = match c {
            '/' => "only `**` matches `/`",
            c if !c.is_ascii() => "globs match bytes, and this character is several of them",
            _ => return Ok(c),
        };
        Err(RuleError::new(
            format!("the glob `{text}` has `{c}` in a character class: {why}"),
            "write the choices in braces, e.g. `{a,b}`",
        ))
    };
    let mut first = true;
    while let Some(from) = chars.next() {
        if from == ']' && !first {
            out.push(from);
            return Ok(());
        }
        let mut to = checked(from)?;
        // A `-` is literal at either end of the class, and a range elsewhere.
        while chars.peek() == Some(&'-') && chars.clone().nth(1).is_some_and(|c| c != ']') {
            chars.next();
            if let Some(c) = chars.next() {
                to = checked(c)?;
            }
            // As in `[z-a-z]`, which would otherwise be accepted.
            if to < from {
                return Err(explain(text, &ErrorKind::InvalidRange(from, to)));
            }
        }
        out.push(from);
        if from < '/' && '/' < to && !negated {
            out.push_str("-.0");
        }
        if to != from {
            out.extend(['-', to]);
        }
        if first && negated {
            out.push('/');
        }
        first = false;
    }
    Ok(())
}

/// globset's error, with the position and a suggestion.
fn explain(text: &str, kind: &ErrorKind) -> RuleError {
    let at = |place: Option<usize>| match place {
        Some(index) => format!("at character {}", index + 1),
        None => "somewhere".to_owned(),
    };
    let open = OpenMarks::of(text);
    let (what, advice) = match kind {
        ErrorKind::UnclosedClass => (
            format!("has a `[` {} that no `]` closes", at(open.class)),
            "close it, or write `\\[` for the character itself".to_owned(),
        ),
        ErrorKind::InvalidRange(from, to) => (
            format!("has the range `{from}-{to}`, which runs backwards"),
            format!("write `{to}-{from}`"),
        ),
        ErrorKind::UnopenedAlternates => (
            format!("has a `}}` {} that no `{{` opens", at(open.closing_brace)),
            "open it, or write `\\}` for the character itself".to_owned(),
        ),
        ErrorKind::UnclosedAlternates => (
            format!("has a `{{` {} that no `}}` closes", at(open.opening_brace)),
            "close it, or write `\\{` for the character itself".to_owned(),
        ),
        ErrorKind::DanglingEscape => (
            "ends in a `\\` with nothing behind it".to_owned(),
            "end it in `/**` for everything in a directory; `\\\\` is the character itself"
                .to_owned(),
        ),
        ErrorKind::Regex(_) => (
            "is too large to compile".to_owned(),
            "split it into several globs".to_owned(),
        ),
        // `ErrorKind` is non-exhaustive; globset's own text is good enough for other kinds.
        other => (
            format!("cannot be read: {other}"),
            "see https://docs.rs/globset for what a glob can say".to_owned(),
        ),
    };
    RuleError::new(format!("the glob `{text}` {what}"), advice)
}

/// The positions of unmatched brackets, in characters.
#[derive(Default)]
struct OpenMarks {
    class: Option<usize>,
    opening_brace: Option<usize>,
    closing_brace: Option<usize>,
}

impl OpenMarks {
    fn of(text: &str) -> Self {
        let mut marks = Self::default();
        let mut braces = Vec::new();
        let mut chars = text.chars().enumerate().peekable();
        while let Some((index, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '[' => {
                    chars.next_if(|(_, c)| *c == '!' || *c == '^');
                    chars.next_if(|(_, c)| *c == ']');
                    if !chars.any(|(_, c)| c == ']') {
                        marks.class = Some(index);
                    }
                }
                '{' => braces.push(index),
                '}' => {
                    let opening = braces.pop();
                    if opening.is_none() {
                        marks.closing_brace.get_or_insert(index);
                    }
                }
                _ => {}
            }
        }
        marks.opening_brace = braces.pop();
        marks
    }
}

#[cfg(test)]
mod tests {
    use globset::GlobMatcher;
    use proptest::prelude::*;

    use super::super::matcher::Matcher;
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        Glob::parse(glob).unwrap().is_match(path)
    }

    #[test]
    fn a_slash_is_matched_only_by_two_stars() {
        assert!(matches("content/*.md", "content/a.md"));
        assert!(!matches("content/*.md", "content/posts/a.md"));
        assert!(matches("content/**/*.md", "content/a.md"));
        assert!(matches("content/**/*.md", "content/posts/2026/a.md"));
        assert!(matches("**", "a/b/c"));
        assert!(matches("**/README.md", "README.md"));
        assert!(matches("static/**", "static/a/b"));
        assert!(!matches("static/**", "static"));
        assert!(!matches("a?c", "a/c"));
        assert!(!matches("a[!b]c", "a/c"));
        assert!(!matches("a[^b-z]c", "a/c"));
        assert!(!matches("a[+-9]c", "a/c"));
    }

    #[test]
    fn classes_keep_their_meaning_otherwise() {
        assert!(matches("a[!b]c", "axc"));
        assert!(!matches("a[!b]c", "abc"));
        for (class, yes, no) in [
            ("[+-9]", "+.05 9", "*:/"),
            ("[!]a]", "b", "]a/"),
            ("[!-a]", "b", "-a/"),
            ("[!a-]", "b", "a-/"),
            ("[]-a]", "]_a", "b/"),
            ("[!]-a]", "b", "]_a/"),
            ("[!a-c]", "d", "abc/"),
            ("[--9]", "-.09", "/+"),
            ("[a\\]", "a\\", "b/"),
        ] {
            let glob = Glob::parse(class).unwrap();
            for c in yes.chars().filter(|c| *c != ' ') {
                assert!(glob.is_match(c.to_string()), "{class} {c}");
            }
            for c in no.chars() {
                assert!(!glob.is_match(c.to_string()), "{class} {c}");
            }
        }
    }

    #[test]
    fn an_empty_alternative_counts() {
        assert!(matches("index{,.zh}.md", "index.md"));
        assert!(matches("index{,.zh}.md", "index.zh.md"));
        assert!(!matches("index{,.zh}.md", "index.en.md"));
    }

    #[test]
    fn case_and_bytes_count() {
        assert!(!matches("*.md", "A.MD"));
        assert!(matches("*.html", "中文.html"));
        assert!(Glob::parse("*.txt").unwrap().is_match(b"caf\xE9.txt"));
        assert!(matches("\\!important", "!important"));
        assert!(matches("\\[x\\]", "[x]"));
    }

    #[test]
    fn a_bad_glob_is_refused_with_place_and_advice() {
        for (glob, expected) in [
            ("", "is empty and matches nothing | write `**`"),
            ("/content/**", "without `/` | write `content/**`"),
            ("./content/**", "without `/` | write `content/**`"),
            ("/", "without `/` | write `**`"),
            ("content/", "never end in `/` | write `content/**`"),
            (
                "!drafts/**",
                "takes nothing back here | write `drafts/**` under `except:`",
            ),
            (
                "a[bc",
                "has a `[` at character 2 that no `]` closes | close it, or write `\\[`",
            ),
            ("é[]", "has a `[` at character 2 that no `]` closes"),
            ("a{b,c", "has a `{` at character 2 that no `}` closes"),
            ("{a}{b", "has a `{` at character 4"),
            ("[{]{a", "has a `{` at character 4"),
            ("a}b", "has a `}` at character 2 that no `{` opens"),
            ("\\{a}", "has a `}` at character 4"),
            (
                "[z-a]",
                "has the range `z-a`, which runs backwards | write `a-z`",
            ),
            ("[z-a-z]", "has the range `z-a`, which runs backwards"),
            ("a\\", "ends in a `\\` with nothing behind it"),
            (
                "[a/b]",
                "has `/` in a character class: only `**` matches `/`",
            ),
            ("[éa]", "has `é` in a character class: globs match bytes"),
        ] {
            let error = Glob::parse(glob).unwrap_err();
            let message = format!("{} | {}", error.message, error.advice.unwrap_or_default());
            assert!(message.contains(expected), "{glob}: {message}");
        }
    }

    #[test]
    fn a_glob_too_long_is_refused() {
        assert!(Glob::parse(&"a".repeat(4_096)).is_ok());
        let error = Glob::parse(&"a".repeat(4_097)).unwrap_err();
        assert!(error.message.contains("is longer than 4096 bytes"));
    }

    fn any_glob() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            "[ab.]{1,3}",
            Just("*".to_owned()),
            Just("**".to_owned()),
            Just("/**/".to_owned()),
            Just("/".to_owned()),
            Just("?".to_owned()),
            Just("{a,b/c}".to_owned()),
            Just("{,.a}".to_owned()),
            Just("[ab]".to_owned()),
            Just("[a-c]".to_owned()),
        ];
        proptest::collection::vec(token, 1..6)
            .prop_map(|tokens| tokens.concat())
            .prop_filter("is a glob", |glob| Glob::parse(glob).is_ok())
    }

    /// Without a final `..`, which git rejects and globset's shortcuts handle wrongly.
    fn any_path() -> impl Strategy<Value = String> {
        "[abc.]{1,2}(/[abc.]{1,3}){0,3}"
            .prop_filter("no dots", |path| path.rsplit('/').next() != Some(".."))
    }

    fn globsets(glob: &str) -> GlobMatcher {
        GlobBuilder::new(glob)
            .literal_separator(true)
            .empty_alternates(true)
            .build()
            .unwrap()
            .compile_matcher()
    }

    proptest! {
        // Compiling globs is slow if dependencies are not optimised.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_glob_matches_what_globset_says(glob in any_glob(), path in any_path()) {
            prop_assert_eq!(matches(&glob, &path), globsets(&glob).is_match(&path));
        }

        #[test]
        fn many_globs_together_match_as_each_alone(
            globs in proptest::collection::vec(any_glob(), 0..8),
            path in any_path(),
        ) {
            let globs: Vec<Glob> = globs.iter().map(|glob| Glob::parse(glob).unwrap()).collect();
            let together = Matcher::new(&globs).matches(path.as_bytes());
            let alone: Vec<usize> = (0..globs.len()).filter(|i| globs[*i].is_match(&path)).collect();
            prop_assert_eq!(together.to_vec(), alone);
        }

        #[test]
        fn without_two_stars_a_glob_has_the_slashes_of_its_path(
            glob in "[ab*?/]{0,3}(\\[!?[]a^+.-]{1,4}\\][ab*?/]{0,2}){1,3}",
            path in "[abc+.\\]-]{0,2}(/[abc+.\\]-]{0,2}){0,3}",
        ) {
            prop_assume!(!glob.contains("**"));
            let Ok(parsed) = Glob::parse(&glob) else { return Ok(()) };
            let slashes = |text: &str| text.matches('/').count();
            prop_assert!(!parsed.is_match(&path) || slashes(&glob) == slashes(&path));
            // Except for slashes, a class is globset's.
            if !path.contains('/') {
                prop_assert_eq!(parsed.is_match(&path), globsets(&glob).is_match(&path));
            }
        }
    }
}
