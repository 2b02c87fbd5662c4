//! YAML text as a tree in which every key and value has its position.
//!
//! The getter that reads a scalar decides its type: the text of a number or flag is kept as written, so that `1.10`
//! stays `1.10`.

use std::collections::HashMap;

use serde_yaml::Spanned;

use super::flaw::Flaw;
use super::span::{Located, Span, line_and_column, place};
use super::yaml::{self, Content};

/// A value of the file with its position.
#[derive(Clone)]
pub(super) struct Node {
    pub at: Span,
    pub value: Value,
}

/// A value's type in YAML; numbers and flags are scalars until a getter reads them.
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
    /// A value with a problem that is already recorded.
    Broken,
    /// A scalar with unset variables, which is no problem for a secret.
    Unset(Vec<Located<String>>),
}

/// A scalar's text.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, with the environment's values substituted.
    pub text: String,
    /// The text for messages, as written in the file.
    pub shown: String,
}

/// The maximum number of a scalar's characters in messages.
const MAX_EXCERPT: usize = 60;

impl Scalar {
    /// The text for messages, truncated if it is long.
    pub fn excerpt(&self) -> String {
        match self.shown.char_indices().nth(MAX_EXCERPT) {
            Some((cut, _)) => format!("{}...", &self.shown[..cut]),
            None => self.shown.clone(),
        }
    }
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub key: Located<String>,
    pub value: Node,
}

/// Parses the text. None if it is not YAML; then the last flaw says where.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let (root, mut flaws, unreadable) = yaml::read(text);
    let mut builder = Builder {
        text,
        unreadable,
        flaws: Vec::new(),
    };
    let root = root.map(|root| builder.node(root));
    // The part that could not be read at all stopped the parser, so it comes last.
    flaws.splice(0..0, builder.flaws);
    (root, flaws)
}

/// Converts the parser's output to located values.
struct Builder<'t> {
    text: &'t str,
    /// Positions at which the parsed value differs from the file, such as an alias without its anchor.
    unreadable: Vec<Span>,
    flaws: Vec<Flaw>,
}

impl Builder<'_> {
    fn node(&mut self, read: Spanned<Content>) -> Node {
        // Problems inside an alias are shown at the anchor, where they are in the file.
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

    /// A scalar as written in the file, without the quotes that a tagged number may have.
    fn written(&self, at: &Span) -> String {
        let text = self.text.get(at.clone()).unwrap_or_default();
        text.trim().trim_matches(['"', '\'']).to_owned()
    }

    /// A mapping's keys and values. Records a key that is repeated or not a text.
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
