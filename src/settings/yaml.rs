//! The YAML parser, with the position of everything it read. It does not interpret values, and it reads on after an
//! error where it can.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Error, Options, Spanned};

use super::flaw::Flaw;
use super::span::{Span, place};

/// The maximum number of nodes in a file, with aliases expanded. A rules file for a thousand sites has about
/// 30,000; an alias bomb has no limit.
const MAX_NODES: usize = 100_000;
/// The maximum nesting depth. rules.yaml needs seven levels.
const MAX_DEPTH: usize = 20;
/// How many unknown aliases and tags are skipped: each costs another parse.
const MAX_REPAIRS: usize = 50;

/// A value as the parser returns it.
pub(super) enum Content {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, with quotes and escapes resolved.
    Text(String),
    /// A number or flag by YAML's rules; its text is in the file.
    Typed,
    /// A list.
    List(Vec<Spanned<Content>>),
    /// A mapping, with merges expanded. Keys may be repeated.
    Map(Vec<(Spanned<Content>, Spanned<Content>)>),
}

/// Parses a text. Returns its content, its errors, and the positions at which a replacement was read. There is no
/// content if the text is not YAML; then the last error says where.
pub(super) fn read(text: &str) -> (Option<Spanned<Content>>, Vec<Flaw>, Vec<Span>) {
    let mut flaws = Vec::new();
    let mut unreadable = Vec::new();
    let mut repaired: Option<String> = None;
    loop {
        let now = repaired.as_deref().unwrap_or(text);
        let error = match serde_yaml::from_str_with_options(now, options()) {
            Ok(root) => return (Some(root), flaws, unreadable),
            Err(error) => error,
        };
        let error = error.without_snippet();
        let at = error
            .location()
            .map_or(0..0, |location| place(text, location));
        let repair = if flaws.len() < MAX_REPAIRS {
            repair(error, now, &at)
        } else {
            None
        };
        match repair {
            Some(repair) => {
                flaws.push(repair.flaw);
                unreadable.extend(repair.unreadable);
                repaired = Some(repair.text);
            }
            None => {
                flaws.push(flaw(text, error, at));
                return (None, flaws, unreadable);
            }
        }
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            // Thousands of sites may share one list of globs.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_NODES,
        },
        // Duplicates are detected here, where their positions are known.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// A text that can be parsed further, and each position that was changed.
struct Repair {
    text: String,
    flaw: Flaw,
    /// The position of the replacement.
    unreadable: Option<Span>,
}

/// Removes what stopped the parser but not the reader, so that all problems can be reported at once.
fn repair(error: &Error, text: &str, at: &Span) -> Option<Repair> {
    match error {
        Error::UnknownAnchor { .. } => {
            let at = word_at(text, at.start)?;
            let alias = text.get(at.clone()).filter(|alias| alias.len() > 1)?;
            // There is no replacement for a merged value.
            if text.get(..at.start)?.trim_end().ends_with("<<:") {
                return None;
            }
            Some(Repair {
                text: replaced(text, &at, b'x')?,
                flaw: Flaw::new(
                    at.clone(),
                    format!("`{alias}` reads as a YAML alias, and no anchor has that name"),
                    Some("quote globs: a value that starts with `*` needs \"...\" around it"),
                ),
                unreadable: Some(at),
            })
        }
        Error::UnsupportedTag { .. } => {
            let at = tag_at(text, at.start)?;
            let tag = text.get(at.clone())?;
            Some(Repair {
                text: replaced(text, &at, b' ')?,
                flaw: Flaw::new(
                    at.clone(),
                    format!("the tag `{tag}` is not read here"),
                    Some("remove it; to read a secret from a file, use `<key>_file: path`"),
                ),
                unreadable: None,
            })
        }
        _ => None,
    }
}

/// A character that ends an alias or a tag.
fn ends_a_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}')
}

/// The tag at a position, or the last one before it.
fn tag_at(text: &str, place: usize) -> Option<Span> {
    let start = if text.get(place..)?.starts_with('!') {
        place
    } else {
        let before = text.get(..place)?;
        before
            .rmatch_indices('!')
            .map(|(at, _)| at)
            .find(|at| before[..*at].chars().next_back().is_none_or(ends_a_word))?
    };
    word_at(text, start)
}

/// From a position to the end of the alias or the tag there.
fn word_at(text: &str, start: usize) -> Option<Span> {
    let rest = text.get(start..)?;
    Some(start..start + rest.find(ends_a_word).unwrap_or(rest.len()))
}

/// The text with the part at a position replaced by the same number of bytes.
fn replaced(text: &str, at: &Span, with: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.get_mut(at.clone())?.fill(with);
    String::from_utf8(bytes).ok()
}

/// The error that stopped the parser, with the most useful advice.
fn flaw(text: &str, error: &Error, at: Span) -> Flaw {
    match error {
        Error::MultipleDocuments { .. } => Flaw::new(
            separator_before(text, at),
            "a second document starts here",
            Some("keep everything in one document, without `---` between"),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Flaw::new(at, "this alias stands inside its own anchor", None)
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => Flaw::new(
            at,
            "`<<` takes the alias of a mapping",
            Some("write `<<: *name`, with `&name` at the mapping"),
        ),
        Error::UnknownAnchor { .. } => Flaw::new(
            at,
            "this alias has the name of no anchor before it",
            Some("write `&name` at what it stands for, further up"),
        ),
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => Flaw::new(
            at,
            format!("this nests deeper than {MAX_DEPTH} levels"),
            None,
        ),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Flaw::new(
            at,
            format!("the file holds more than {MAX_NODES} values, aliases included"),
            None,
        ),
        Error::AliasError { error, .. } => flaw(text, error, at),
        Error::ExternalMessage { msg, .. } => syntax_flaw(text, msg, at),
        other => syntax_flaw(text, &other.to_string(), at),
    }
}

/// The `---` before a position; the position itself if there is none.
fn separator_before(text: &str, at: Span) -> Span {
    let before = text.get(..at.start).unwrap_or_default();
    match before.rfind("\n---") {
        Some(line_break) => line_break + 1..line_break + "\n---".len(),
        None => at,
    }
}

/// The position of a git conflict marker, if there is one.
fn conflict(text: &str) -> Option<Span> {
    let mark = "<<<<<<< ";
    let start = if text.starts_with(mark) {
        0
    } else {
        text.find(&format!("\n{mark}"))? + 1
    };
    Some(start..start + mark.len() - 1)
}

fn is_control_at(text: &str, start: usize) -> bool {
    let c = text.get(start..).and_then(|rest| rest.chars().next());
    c.is_none_or(char::is_control)
}

fn syntax_flaw(text: &str, message: &str, at: Span) -> Flaw {
    if let Some(at) = conflict(text) {
        return Flaw::new(
            at,
            "this is not YAML: it holds git's marks of a merge conflict",
            Some("keep what is meant of both sides, and remove the marks"),
        );
    }
    let start = (0..=at.start)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    let length = text[start..].chars().next().map_or(0, char::len_utf8);
    let is_of_escape = message.contains("escape") || message.contains("hexadecimal");
    let escape = unknown_escape(text, start).filter(|_| is_of_escape);
    let advice = if message.contains("found a tab")
        || message.contains("tab") && line.contains('\t')
    {
        Some("indent with spaces; YAML takes no tabs there")
    } else if message.contains("recursion") {
        Some("nest less; rules.yaml itself needs seven levels")
    } else if message.contains("alias") {
        Some("quote globs: a value that starts with `*` needs \"...\" around it")
    } else if let Some(escape) = escape {
        return Flaw::new(
            escape,
            format!("this is not YAML: {message}"),
            Some("put it in single quotes, where a `\\` stands for itself, or double the `\\`"),
        );
    } else if message.contains("trailing content") {
        Some(
            "close it with the same quote that opens it; a quote inside '...' is written `''`, and inside \"...\" `\\\"`",
        )
    } else if message.contains("quote") {
        Some("close it with the same quote that opens it")
    } else if message.contains("mismatched bracket") {
        Some(
            "close each `[` with `]` and each `{` with `}`; text that holds brackets needs \"...\" around it",
        )
    } else if message.contains("misplaced bracket") {
        Some("remove it, or put \"...\" around text that holds brackets")
    } else if message.contains("block scalar") {
        Some("put \"...\" around text that starts with `|` or `>`")
    } else if message.contains("'-' indicator") {
        Some("begin each item of a list with `- `; a key beside them belongs in another column")
    } else if message.contains("unexpected character") && !is_control_at(text, start) {
        Some("put \"...\" around text that starts with such a character")
    } else if line.contains("${") {
        Some("put \"...\" around `${...}` inside `[ ]` and `{ }`")
    } else if line.contains('{') {
        Some("put \"...\" around values that contain `{` or `}`")
    } else if line.contains('*') {
        Some("quote globs: a value that starts with `*` needs \"...\" around it")
    } else if line.trim_start_matches(' ').starts_with('\t') {
        Some("indent with spaces; YAML takes no tabs there")
    } else if message.contains("mapping values") {
        Some(
            "put \"...\" around text that holds `: `, a blank behind each key's `:`, and each key in the column of those before it",
        )
    } else if message.contains("flow") || message.contains("indicator") {
        Some("close the `[` or `{` before it, and put a comma between its items")
    } else if message.contains("expected key") {
        Some("begin each key in the column of those before it")
    } else {
        None
    };
    Flaw::new(
        start..start + length,
        format!("this is not YAML: {message}"),
        advice,
    )
}

/// The characters that YAML 1.2 allows after a `\` in double quotes (section 5.7).
const ESCAPES: &str = "0abt\tnvfre \"/\\N_LP\n\r";

/// The first `\` without a valid escape in the double quotes around a position, with the character after it.
fn unknown_escape(text: &str, place: usize) -> Option<Span> {
    // The parser stops in or after the quotes. They may span lines, but a key does not.
    let line = text.get(..place)?.rfind('\n').map_or(0, |at| at + 1);
    let mut from = line;
    loop {
        let at = from + text.get(from..)?.find('\\')?;
        let next = text.get(at + 1..)?.chars().next()?;
        let digits = match next {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let code = text.get(at + 2..at + 2 + digits).unwrap_or_default();
        let is_code =
            digits > 0 && code.len() == digits && code.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_code && !ESCAPES.contains(next) {
            return Some(at..at + 1 + next.len_utf8());
        }
        from = at + 1 + next.len_utf8();
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}
