//! YAML text as a tree in which every key and value knows its place.
//!
//! The parser's events are taken as they come, because serde would turn `1.10`
//! into a number and forget where it stood. What a scalar means is decided by
//! the getter that reads it.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Tag};

/// The most nodes a file may have, aliases expanded. A rules file for a
/// thousand sites has about 30,000; an alias bomb has no end.
const MAX_NODES: usize = 100_000;
/// How deep a file may nest. rules.yaml itself needs seven levels.
const MAX_DEPTH: usize = 64;

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
    fn new(at: Span, message: impl Into<String>, advice: Option<&str>) -> Self {
        Self {
            at,
            message: message.into(),
            advice: advice.map(str::to_owned),
        }
    }
}

/// Reads the text. None when it stops being YAML somewhere; the last flaw then says where.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let mut builder = Builder::default();
    let tree = builder.build(text);
    match tree {
        Ok(root) => (Some(root), builder.flaws),
        Err(flaw) => {
            builder.flaws.push(flaw);
            (None, builder.flaws)
        }
    }
}

/// A parser's place in bytes.
fn place(text: &str, span: &granit_parser::Span) -> Span {
    let offset =
        |marker: granit_parser::Marker| marker.byte_offset().unwrap_or(text.len()).min(text.len());
    let start = offset(span.start);
    start..offset(span.end).max(start)
}

/// A list or a mapping whose end has not come yet.
struct Open {
    at: Span,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<Located<String>>),
}

/// An anchored value, for the aliases that repeat it.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
    flaws: Vec<Flaw>,
}

impl Builder {
    fn build(&mut self, text: &str) -> Result<Node, Flaw> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.emit_unresolved_aliases = true;
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| syntax_flaw(text, &error))?;
            let tag_at = span.tag_span().map(|tag| place(text, &tag));
            self.take(event, place(text, &span), tag_at)?;
        }
        Ok(self.root.take().unwrap_or(Node {
            at: 0..0,
            value: Value::Null,
        }))
    }

    fn take(&mut self, event: Event<'_>, at: Span, tag_at: Option<Span>) -> Result<(), Flaw> {
        let tag_at = tag_at.unwrap_or_else(|| at.clone());
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Flaw::new(
                at,
                "a second document starts here",
                Some("keep everything in one document, without `---` between"),
            )),
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), tag_at);
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null && !self.expects_key() {
                    Value::Null
                } else {
                    Value::Scalar(Scalar {
                        shown: text.to_string(),
                        text: text.into_owned(),
                    })
                };
                self.add(Node { at, value }, anchor, 1, 0)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(anchored) => {
                    // Problems inside an alias are shown where they stand in the file: at the anchor.
                    let node = anchored.node.clone();
                    let (nodes, depth) = (anchored.nodes, anchored.depth);
                    self.add(node, 0, nodes, depth)
                }
                None => Err(Flaw::new(
                    at,
                    "this alias stands inside its own anchor",
                    None,
                )),
            },
            Event::UnresolvedAlias(name) => {
                self.flaws.push(Flaw::new(
                    at.clone(),
                    format!("`*{name}` reads as a YAML alias, and no anchor has that name"),
                    Some("quote globs: a value that starts with `*` needs \"...\" around it"),
                ));
                let value = Value::Broken;
                self.add(Node { at, value }, 0, 1, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), tag_at);
                self.enter(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), tag_at);
                self.enter(at, anchor, Content::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            // Stream and document marks carry no value.
            _ => Ok(()),
        }
    }

    /// Whether the next node is a key of a mapping.
    fn expects_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                content: Content::Map(_, None),
                ..
            })
        )
    }

    /// YAML's own tags say what the getters decide anyway; any other would ask for what is never done.
    fn check_tag(&mut self, tag: Option<&Tag>, at: Span) {
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema()
            && !(tag.handle().is_empty() && tag.suffix() == "!")
        {
            self.flaws.push(Flaw::new(
                at,
                format!("the tag `{}` is not read here", tag.original()),
                Some("remove it; to read a secret from a file, use `<key>_file: path`"),
            ));
        }
    }

    fn enter(&mut self, at: Span, anchor: usize, content: Content) -> Result<(), Flaw> {
        self.check_depth(&at, 1)?;
        self.open.push(Open {
            at,
            anchor,
            content,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Flaw> {
        let Some(Open {
            at,
            anchor,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map(entries, _) => Value::Map(self.merge(entries)),
        };
        let node = Node { at, value };
        let (nodes, depth) = if anchor == 0 { (1, 1) } else { measure(&node) };
        // Its children have been counted as they came.
        self.place(node, anchor, nodes, depth, 1)
    }

    fn check_depth(&self, at: &Span, deeper: usize) -> Result<(), Flaw> {
        if self.open.len() + deeper > MAX_DEPTH {
            return Err(Flaw::new(
                at.clone(),
                format!("this nests deeper than {MAX_DEPTH} levels"),
                None,
            ));
        }
        Ok(())
    }

    /// Adds a value of `nodes` nodes that is `depth` levels deep.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize, depth: usize) -> Result<(), Flaw> {
        self.check_depth(&node.at, depth)?;
        self.place(node, anchor, nodes, depth, nodes)
    }

    fn place(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        depth: usize,
        fresh: usize,
    ) -> Result<(), Flaw> {
        self.nodes += fresh;
        if self.nodes > MAX_NODES {
            return Err(Flaw::new(
                node.at,
                format!("the file holds more than {MAX_NODES} values, aliases included"),
                None,
            ));
        }
        if anchor != 0 {
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, nodes, depth });
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => match key.take() {
                Some(key) => {
                    let twice = entries
                        .iter()
                        .find(|entry| entry.key.value == key.value && key.value != "<<");
                    if twice.is_some() {
                        self.flaws.push(Flaw::new(
                            key.at.clone(),
                            format!("`{}` is given twice in the same place", key.value),
                            Some("keep one of them"),
                        ));
                    } else {
                        entries.push(Entry { key, value: node });
                    }
                }
                None => match node.value {
                    Value::Scalar(scalar) => {
                        *key = Some(Located {
                            value: scalar.text,
                            at: node.at,
                        });
                    }
                    Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => {
                        return Err(Flaw::new(
                            node.at,
                            "a key must be text",
                            Some("quote it, if it is meant as text"),
                        ));
                    }
                },
            },
        }
        Ok(())
    }

    /// Brings in what `<<: *anchor` names; the mapping's own keys win.
    fn merge(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let (merges, mut own): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.key.value == "<<");
        for Entry { key, value } in merges {
            let sources = match value.value {
                Value::List(items) => items,
                Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => vec![value],
            };
            for source in sources {
                match source.value {
                    Value::Map(entries) => {
                        for entry in entries {
                            if !own.iter().any(|e| e.key.value == entry.key.value) {
                                own.push(entry);
                            }
                        }
                    }
                    Value::Broken => {}
                    Value::Null | Value::Scalar(_) | Value::List(_) => {
                        self.flaws.push(Flaw::new(
                            key.at.clone(),
                            "`<<` takes the alias of a mapping",
                            Some("write `<<: *name`, with `&name` at the mapping"),
                        ));
                    }
                }
            }
        }
        own
    }
}

/// How many nodes a value has, and how many levels of lists and mappings.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.value {
        Value::Null | Value::Scalar(_) | Value::Broken => return (1, 0),
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Map(entries) => entries.iter().map(|e| measure(&e.value)).collect(),
    };
    children.into_iter().fold((1, 1), |(nodes, depth), (n, d)| {
        (nodes + n, depth.max(d + 1))
    })
}

/// What the parser stopped at, with the advice that people need most.
fn syntax_flaw(text: &str, error: &ScanError) -> Flaw {
    let start = error
        .marker()
        .byte_offset()
        .unwrap_or(text.len())
        .min(text.len());
    let start = (0..=start)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line = text[line_start..].lines().next().unwrap_or("");
    let length = text[start..].chars().next().map_or(0, char::len_utf8);
    let advice = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => Some("indent with spaces; YAML takes no tabs there"),
        ErrorKind::MissingAnchorOrAliasName => {
            Some("quote globs: a value that starts with `*` needs \"...\" around it")
        }
        _ if line.contains("${") => Some("put \"...\" around `${...}` inside `[ ]` and `{ }`"),
        _ if line.contains('{') => Some("put \"...\" around values that contain `{` or `}`"),
        _ if line.contains('*') => {
            Some("quote globs: a value that starts with `*` needs \"...\" around it")
        }
        _ if line.trim_start().starts_with('\t') => {
            Some("indent with spaces; YAML takes no tabs there")
        }
        _ => None,
    };
    Flaw::new(
        start..start + length,
        format!("this is not YAML: {}", error.kind()),
        advice,
    )
}
