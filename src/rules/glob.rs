//! Globs over paths, and messages for those that cannot be read.

use std::iter::Peekable;
use std::str::Chars;

use globset::{ErrorKind, GlobBuilder, GlobSet};

use super::RuleError;

/// A glob over paths: globset's, with `/` matched only by `**`.
///
/// Matching is on bytes, as git's paths are: `?` is one byte. An empty
/// alternative counts, so `index{,.zh}.md` matches `index.md` too. Upper and
/// lower case differ.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    compiled: globset::Glob,
    /// Alone in a set: unlike a `GlobMatcher`, a set reports a glob too large to compile.
    alone: GlobSet,
}

impl Glob {
    /// Reads a glob. One that can match no path is refused too: an empty one, one that starts
    /// with `/`, `./` or `!`, or that ends in `/`.
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

    /// The glob as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches a path (or a branch's name), byte for byte.
    pub fn is_match(&self, path: impl AsRef<[u8]>) -> bool {
        let path = globset::Candidate::from_bytes(path.as_ref());
        self.alone.is_match_candidate(&path)
    }

    /// The glob as globset has it, to be put into a set.
    pub(super) fn compiled(&self) -> &globset::Glob {
        &self.compiled
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn refuse_pointless(text: &str) -> Result<(), RuleError> {
    let wrong = |what: &str, advice: String| {
        Err(RuleError::new(
            format!("the glob `{}` {what}", text.escape_debug()),
            advice,
        ))
    };
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
    Ok(())
}

/// Rewrites character classes so that none matches `/`, which globset leaves
/// open: `[!a]` becomes `[!a/]`, and `[+-9]` becomes `[+-.0-9]`.
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

/// Copies a class up to its `]`, without `/` in it. One that never ends is globset's to refuse.
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
        // A `-` stands for itself at either end of the class, and for a range elsewhere.
        while chars.peek() == Some(&'-') && chars.clone().nth(1).is_some_and(|c| c != ']') {
            chars.next();
            if let Some(c) = chars.next() {
                to = checked(c)?;
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

/// What globset says, with the place and the way out.
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
            "write `\\\\` for the character itself, or leave it out".to_owned(),
        ),
        ErrorKind::Regex(_) => (
            "is too large to compile".to_owned(),
            "split it into several globs".to_owned(),
        ),
        // `ErrorKind` is open to more kinds; globset's own words are good enough for those.
        other => (
            format!("cannot be read: {other}"),
            "see https://docs.rs/globset for what a glob can say".to_owned(),
        ),
    };
    RuleError::new(format!("the glob `{text}` {what}"), advice)
}

/// Where brackets stand that have no partner, counted in characters.
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
                    if braces.pop().is_none() && marks.closing_brace.is_none() {
                        marks.closing_brace = Some(index);
                    }
                }
                _ => {}
            }
        }
        marks.opening_brace = braces.pop();
        marks
    }
}
