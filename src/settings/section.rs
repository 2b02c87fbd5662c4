//! One mapping of the file: its keys, nested mappings and problems. The getters for secrets and for typed values
//! are in `secrets` and `values`.

use secrecy::SecretString;

use super::file::File;
use super::problem::Severity;
use super::secret_heuristics::names_a_secret;
use super::span::{Located, Span};
use super::suggest::{closest, did_you_mean};
use super::tree::{Entry, Node, Scalar, Value};

/// A mapping of the file that is being read.
///
/// An empty value (often because of `${NAME:-}`) counts as unset. When the section is dropped, it records the keys
/// that were never read.
pub struct Section {
    pub(super) file: File,
    at: Span,
    /// Its path from the outermost key, e.g. `sites.www`; empty for the file itself.
    path: String,
    pub(super) entries: Vec<Entry>,
    /// Whether a value in it has a problem that was recorded before it was read, such as an unset variable.
    broken: bool,
    /// Keys that were read, in order.
    known: Vec<String>,
    /// Those keys that contain secrets.
    pub(super) secret: Vec<String>,
    /// Keys whose value has the wrong type, and so are not missing.
    wrong: Vec<String>,
    /// Whether a placeholder replaces one of its unset secrets.
    pub(super) lacks_secrets: bool,
}

impl Section {
    pub(super) fn new(file: File, at: Span, path: String, entries: Vec<Entry>) -> Self {
        Self {
            file,
            at,
            path,
            broken: entries.iter().any(|entry| is_broken(&entry.value)),
            entries,
            known: Vec::new(),
            secret: Vec::new(),
            wrong: Vec::new(),
            lacks_secrets: false,
        }
    }

    /// A scalar as text.
    pub fn text(&mut self, key: &str) -> Option<Located<String>> {
        let node = self.take(key)?;
        self.scalar(key, node).map(|(scalar, at)| Located {
            value: scalar.text,
            at,
        })
    }

    /// A scalar's text, without recording anything or marking the key as read.
    pub fn peek(&self, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.key.value == key)?;
        match &entry.value.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken | Value::Unset(_) => None,
        }
    }

    /// A scalar that must exist and not be empty.
    pub fn required_text(&mut self, key: &str) -> Option<Located<String>> {
        match self.take(key) {
            Some(node) => {
                let before = self.file.errors();
                let at = node.at.clone();
                let broken = matches!(node.value, Value::Broken);
                let text = self.scalar(key, node);
                if text.is_none() && !broken && self.file.errors() == before {
                    self.problem(at, format!("`{key}` is empty"), None);
                }
                text.map(|(scalar, at)| Located {
                    value: scalar.text,
                    at,
                })
            }
            None => {
                self.missing(key, None);
                None
            }
        }
    }

    /// A list of scalars; a single scalar counts as a list.
    pub fn texts(&mut self, key: &str) -> Vec<Located<String>> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        match node.value {
            Value::List(items) => items
                .into_iter()
                .filter_map(|item| self.item(key, item))
                .collect(),
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken | Value::Unset(_) => {
                self.scalar(key, node)
                    .map(|(scalar, at)| Located {
                        value: scalar.text,
                        at,
                    })
                    .into_iter()
                    .collect()
            }
        }
    }

    /// One item of a list of scalars.
    pub(super) fn item(&mut self, key: &str, node: Node) -> Option<Located<String>> {
        match node.value {
            Value::Scalar(scalar) if !scalar.text.is_empty() => {
                self.warn_of_unread_variable(key, &scalar, &node.at);
                Some(Located {
                    value: scalar.text,
                    at: node.at,
                })
            }
            Value::Broken | Value::Unset(_) => None,
            Value::Null | Value::Scalar(_) => {
                self.problem(node.at, format!("an item of `{key}` is empty"), None);
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.note_not_text(&format!("an item of `{key}`"), &node);
                None
            }
        }
    }

    /// The environment's value, for keys that fall back to a vendor's own variable. An empty one counts as unset.
    pub fn env(&self, name: &str) -> Option<String> {
        self.file.env(name)
    }

    /// A nested mapping. An empty one counts as unset.
    pub fn section(&mut self, key: &str) -> Option<Section> {
        let at = self.place_of(key);
        let node = self.take(key)?;
        let path = self.path_to(key);
        let section = self.mapping(&format!("`{key}`"), at?, path, node);
        if section.is_none() {
            self.wrong.push(key.to_owned());
        }
        section
    }

    /// Whether a key has any value, valid or not.
    pub fn has_items(&self, key: &str) -> bool {
        self.entries
            .iter()
            .filter(|e| e.key.value == key)
            .any(|e| match &e.value.value {
                Value::Null => false,
                Value::Scalar(scalar) => !scalar.text.is_empty(),
                Value::List(items) => !items.is_empty(),
                Value::Map(_) | Value::Broken | Value::Unset(_) => true,
            })
    }

    /// Whether a key's value is a mapping, for keys that accept a word or a mapping.
    pub fn holds_section(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|e| e.key.value == key && matches!(e.value.value, Value::Map(_)))
    }

    /// A list of mappings.
    pub fn sections(&mut self, key: &str) -> Vec<Section> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        match node.value {
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .filter_map(|(i, item)| {
                    let at = match &item.value {
                        Value::Map(entries) => entries
                            .first()
                            .map_or(item.at.clone(), |e| e.key.at.clone()),
                        Value::Null
                        | Value::Scalar(_)
                        | Value::List(_)
                        | Value::Broken
                        | Value::Unset(_) => item.at.clone(),
                    };
                    let path = format!("{}[{}]", self.path_to(key), i + 1);
                    self.mapping(&format!("an item of `{key}`"), at, path, item)
                })
                .collect(),
            Value::Broken | Value::Unset(_) => Vec::new(),
            Value::Null | Value::Scalar(_) | Value::Map(_) => {
                self.problem(
                    node.at,
                    format!("`{key}` must be a list"),
                    Some("start each item with `- `".to_owned()),
                );
                Vec::new()
            }
        }
    }

    /// The mappings in this mapping, by their keys.
    pub fn entries(&mut self) -> Vec<(Located<String>, Section)> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_iter()
            .filter_map(|Entry { key, value }| {
                let path = self.path_to(&key.value);
                let what = format!("`{}`", key.value);
                if matches!(value.value, Value::Null) {
                    self.problem(key.at.clone(), format!("{what} is empty"), None);
                    return None;
                }
                let section = self.mapping(&what, key.at.clone(), path, value)?;
                Some((key, section))
            })
            .collect()
    }

    fn mapping(&mut self, what: &str, at: Span, path: String, mut node: Node) -> Option<Section> {
        self.note_unset(&mut node);
        match node.value {
            Value::Map(entries) => Some(Section::new(self.file.clone(), at, path, entries)),
            Value::Broken | Value::Unset(_) => None,
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                let place = if node.at.is_empty() { at } else { node.at };
                self.problem(place, format!("{what} must hold keys with values"), None);
                None
            }
        }
    }

    /// The section's position: its key, or its first key in a list. `0..0` for the whole file.
    pub fn at(&self) -> Span {
        self.at.clone()
    }

    /// The position of a key, if it exists.
    pub fn place_of(&self, key: &str) -> Option<Span> {
        self.entries
            .iter()
            .find(|e| e.key.value == key)
            .map(|e| e.key.at.clone())
    }

    /// Records a problem at a position, with optional advice.
    ///
    /// A problem of the whole section is skipped if a value in it has one already: "no token is given" is redundant
    /// if the token's variable is unset.
    pub fn problem(&mut self, at: Span, message: impl Into<String>, advice: Option<String>) {
        self.note(Severity::Error, at, message.into(), advice);
    }

    /// Records something that is allowed but probably a mistake.
    pub fn warning(&mut self, at: Span, message: impl Into<String>, advice: Option<String>) {
        self.warn(at, message.into(), advice);
    }

    pub(super) fn warn(&self, at: Span, message: String, advice: Option<String>) {
        self.note(Severity::Warning, at, message, advice);
    }

    fn note(&self, severity: Severity, at: Span, message: String, advice: Option<String>) {
        let repeats = self.broken && at == self.at && !self.path.is_empty();
        if !repeats {
            self.file.note(severity, at, message, advice);
        }
    }

    /// Records that a key is missing, if it is.
    pub fn missing(&mut self, key: &str, advice: Option<String>) {
        let broken = self.entries.iter().any(|e| {
            e.key.value == key && (is_broken(&e.value) || matches!(e.value.value, Value::Unset(_)))
        });
        if broken || self.wrong.iter().any(|wrong| wrong == key) {
            return;
        }
        let message = if self.path.is_empty() {
            format!("`{key}` is missing")
        } else {
            format!("`{key}` is missing from `{}`", self.path)
        };
        self.file.note(Severity::Error, self.at(), message, advice);
    }

    /// The number of errors so far, to find out whether a reader found any.
    pub(crate) fn errors(&self) -> usize {
        self.file.errors()
    }

    /// Masks a value wherever the file's lines are shown, since it may contain a password.
    pub fn mask(&self, at: Span) {
        self.file.mask(at);
    }

    /// Records a secret that is part of a value, such as the password in an address.
    pub fn note_secret(&self, secret: &SecretString) {
        self.file.note_secret(secret);
    }

    /// Ignores the keys that were not read, if it is unknown which keys are valid.
    pub fn ignore_rest(&mut self) {
        for entry in self.entries.drain(..) {
            // One of them may be a secret. Keys that were read are masked if they are secret.
            if !self.known.contains(&entry.key.value) {
                mask(&self.file, &entry.value);
            }
        }
    }

    /// A key's value; none if it is missing or empty. Records unset variables in it.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let mut node = self.take_raw(key)?;
        self.note_unset(&mut node);
        Some(node)
    }

    /// A key's raw value; none if it is missing or empty.
    pub(super) fn take_raw(&mut self, key: &str) -> Option<Node> {
        if !self.known.iter().any(|k| k == key) {
            self.known.push(key.to_owned());
        }
        let entry = self.entries.iter().find(|e| e.key.value == key)?;
        match entry.value.value {
            Value::Null => None,
            Value::Scalar(_) | Value::List(_) | Value::Map(_) | Value::Broken | Value::Unset(_) => {
                Some(entry.value.clone())
            }
        }
    }

    /// Records unset variables in values that are not secrets. The content of a mapping is read separately.
    fn note_unset(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::List(items) => {
                for item in items {
                    self.note_unset(item);
                }
            }
            Value::Unset(variables) => {
                for variable in variables {
                    self.file
                        .note_missing_variable(&variable.value, variable.at.clone());
                }
                node.value = Value::Broken;
                self.broken = true;
            }
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => {}
        }
    }

    /// A value as a non-empty scalar.
    pub(super) fn scalar(&mut self, key: &str, node: Node) -> Option<(Scalar, Span)> {
        match node.value {
            Value::Scalar(scalar) => {
                self.warn_of_unread_variable(key, &scalar, &node.at);
                (!scalar.text.is_empty()).then_some((scalar, node.at))
            }
            Value::Null | Value::Broken | Value::Unset(_) => None,
            Value::List(_) | Value::Map(_) => {
                self.note_not_text(&format!("`{key}`"), &node);
                None
            }
        }
    }

    /// `$NAME` and `%NAME%` are not substituted. For secrets, `secret_form` has a better check.
    fn warn_of_unread_variable(&self, key: &str, scalar: &Scalar, at: &Span) {
        if self.secret.iter().any(|secret| secret == key) {
            return;
        }
        let dollar = scalar.shown.strip_prefix('$');
        let name = dollar.or_else(|| scalar.shown.strip_prefix('%')?.strip_suffix('%'));
        let is_variable = |name: &&str| {
            let mut letters = name.bytes();
            letters.next().is_some_and(|b| b.is_ascii_uppercase())
                && letters.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if let Some(name) = name.filter(is_variable) {
            self.warn(
                at.clone(),
                format!("`{}` is taken letter for letter", scalar.shown),
                Some(format!(
                    "write `${{{name}}}` to read it from the environment"
                )),
            );
        }
    }

    fn note_not_text(&mut self, what: &str, node: &Node) {
        let (kind, advice) = match &node.value {
            Value::List(_) => ("a list", None),
            // YAML reads `{page}` without quotes as a mapping.
            Value::Map(entries) if entries.iter().all(|e| matches!(e.value.value, Value::Null)) => {
                (
                    "a mapping",
                    Some("put \"...\" around text that starts with `{`".to_owned()),
                )
            }
            Value::Map(_) => ("a mapping", None),
            Value::Null | Value::Scalar(_) | Value::Broken | Value::Unset(_) => return,
        };
        let at = match &node.value {
            Value::Map(entries) => entries
                .first()
                .map_or(node.at.clone(), |e| e.key.at.clone()),
            Value::List(_) | Value::Null | Value::Scalar(_) | Value::Broken | Value::Unset(_) => {
                node.at.clone()
            }
        };
        self.problem(at, format!("{what} must be text, not {kind}"), advice);
    }

    fn path_to(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for entry in &self.entries {
            let key = &entry.key;
            if self.known.contains(&key.value) {
                continue;
            }
            let known = self.known.iter().map(String::as_str);
            let meant = closest(&key.value, known.clone());
            if names_a_secret(&key.value)
                || meant.is_some_and(|m| self.secret.iter().any(|s| s == m))
            {
                mask(&self.file, &entry.value);
            }
            let message = if self.path.is_empty() {
                format!("`{}` is no key of this file", key.value)
            } else {
                format!("`{}` is no key of `{}`", key.value, self.path)
            };
            let advice = did_you_mean(&key.value, known, "the keys here are");
            self.file
                .note(Severity::Error, key.at.clone(), message, Some(advice));
        }
    }
}

/// Whether a problem was recorded for a value or inside it.
fn is_broken(node: &Node) -> bool {
    match &node.value {
        Value::Broken => true,
        Value::List(items) => items.iter().any(is_broken),
        Value::Map(entries) => entries.iter().any(|e| is_broken(&e.value)),
        Value::Null | Value::Scalar(_) | Value::Unset(_) => false,
    }
}

/// Masks every scalar of a value.
pub(super) fn mask(file: &File, node: &Node) {
    match &node.value {
        Value::Scalar(_) => file.mask(node.at.clone()),
        Value::List(items) => items.iter().for_each(|item| mask(file, item)),
        Value::Map(entries) => entries.iter().for_each(|e| mask(file, &e.value)),
        Value::Null | Value::Broken | Value::Unset(_) => {}
    }
}
