//! YAML text as a tree in which every key and value knows its place.
//!
//! What a scalar means is decided by the getter that reads it: a number's or a
//! flag's text is what stands in the file, so that `1.10` stays `1.10`.

use std::collections::HashMap;
use std::ops::Range;

use serde_yaml::{Location, Spanned};

use super::problem::line_and_column;
use super::yaml::{self, Content};

/// A place in the file, as bytes.
pub type Span = Range<usize>;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Span,
}

/// A value of the file, with its place.
#[derive(Clone)]
pub(super) struct Node {
    pub at: Span,
    pub value: Value,
}

/// What YAML knows of a value; numbers and flags are scalars until a getter asks for them.
#[derive(Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, quoted or not.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the file's order, each key once.
    Map(Vec<Entry>),
    /// Something with a problem that has been noted already.
    Broken,
}

/// A scalar's text.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, with the environment's values in it.
    pub text: String,
    /// What messages show of it: the text as it stands in the file.
    pub shown: String,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub key: Located<String>,
    pub value: Node,
}

/// Something that is wrong with the text as YAML.
pub(super) struct Flaw {
    pub at: Span,
    pub message: String,
    pub advice: Option<String>,
}

impl Flaw {
    pub(super) fn new(at: Span, message: impl Into<String>, advice: Option<&str>) -> Self {
        Self {
            at,
            message: message.into(),
            advice: advice.map(str::to_owned),
        }
    }
}

/// Reads the text. None when it stops being YAML somewhere; the last flaw then says where.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let (root, mut flaws, unreadable) = yaml::read(text);
    let mut builder = Builder {
        text,
        unreadable,
        flaws: Vec::new(),
    };
    let root = root.map(|root| builder.node(root));
    // What could not be read at all is what the parser stopped at, so it comes last.
    flaws.splice(0..0, builder.flaws);
    (root, flaws)
}

/// A place of the parser in bytes. Some errors know no more than line and column.
pub(super) fn place(text: &str, location: Location) -> Span {
    let span = location.span();
    let number = |n: u64| usize::try_from(n).ok();
    match span.byte_offset().and_then(number) {
        Some(start) => {
            let start = start.min(text.len());
            let length = span.byte_len().and_then(number).unwrap_or(0);
            start..start.saturating_add(length).min(text.len())
        }
        None => {
            let number = |n: u64| number(n.saturating_sub(1)).unwrap_or(usize::MAX);
            let start = byte_at(text, number(location.line()), number(location.column()));
            start..start
        }
    }
}

/// The byte at a line and a column (in characters), both from 0.
fn byte_at(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for each in text.split_inclusive('\n').take(line) {
        start += each.len();
    }
    let rest = text.get(start..).unwrap_or_default();
    let within = rest.char_indices().nth(column).map(|(i, _)| i);
    start + within.unwrap_or(rest.len())
}

/// Makes located values of what the parser read.
struct Builder<'t> {
    text: &'t str,
    /// Where what was read does not stand in the file, such as an alias without its anchor.
    unreadable: Vec<Span>,
    flaws: Vec<Flaw>,
}

impl Builder<'_> {
    fn node(&mut self, read: Spanned<Content>) -> Node {
        // Problems inside an alias are shown where they stand in the file: at the anchor.
        let at = place(self.text, read.defined);
        let value = match read.value {
            _ if self.unreadable.iter().any(|place| place.start == at.start) => Value::Broken,
            Content::Null => Value::Null,
            Content::Text(text) => Value::Scalar(Scalar {
                shown: text.clone(),
                text,
            }),
            Content::Typed => {
                let text = self.written(&at);
                Value::Scalar(Scalar {
                    shown: text.clone(),
                    text,
                })
            }
            Content::List(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            Content::Map(entries) => Value::Map(self.entries(entries)),
        };
        Node { at, value }
    }

    /// A scalar as it stands in the file, without the quotes that a tagged number may have.
    fn written(&self, at: &Span) -> String {
        let text = self.text.get(at.clone()).unwrap_or_default();
        text.trim().trim_matches(['"', '\'']).to_owned()
    }

    /// A mapping's keys and values; a key that is there twice, or is no text, is noted.
    fn entries(&mut self, read: Vec<(Spanned<Content>, Spanned<Content>)>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(read.len());
        let mut first: HashMap<String, Span> = HashMap::with_capacity(read.len());
        for (key, value) in read {
            let Some(key) = self.key(key) else { continue };
            let value = self.node(value);
            if let Some(first) = first.get(&key.value) {
                let (line, _) = line_and_column(self.text, first.start);
                self.flaws.push(Flaw {
                    at: key.at,
                    message: format!("`{}` is given twice in the same place", key.value),
                    advice: Some(format!("keep one of them; the first is in line {line}")),
                });
            } else {
                first.insert(key.value.clone(), key.at.clone());
                entries.push(Entry { key, value });
            }
        }
        entries
    }

    fn key(&mut self, read: Spanned<Content>) -> Option<Located<String>> {
        let at = place(self.text, read.defined);
        let value = match read.value {
            _ if self.unreadable.iter().any(|place| place.start == at.start) => return None,
            Content::Text(text) => text,
            Content::Null | Content::Typed => self.written(&at),
            Content::List(_) | Content::Map(_) => {
                self.flaws.push(Flaw::new(
                    at,
                    "a key must be text",
                    Some("quote it, if it is meant as text"),
                ));
                return None;
            }
        };
        Some(Located { value, at })
    }
}
