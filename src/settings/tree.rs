//! YAML text as a tree in which every key and value has its position.
//!
//! The getter that reads a scalar decides its type: the text of a number or flag is kept as written, so that `1.10`
//! stays `1.10`.

use std::collections::HashMap;

use serde_yaml::Spanned;

use super::flaw::Flaw;
use super::span::{Located, Span, line_and_column, place};
use super::yaml::{self, Content};

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
    /// A scalar that names variables which are not set, where that is no problem for a secret.
    Unset(Vec<Located<String>>),
}

/// A scalar's text.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, with the environment's values in it.
    pub text: String,
    /// What messages show of it: the text as it stands in the file.
    pub shown: String,
}

/// Characters of a scalar that messages show.
const MAX_EXCERPT: usize = 60;

impl Scalar {
    /// What messages show of it: its beginning, where it is long.
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
