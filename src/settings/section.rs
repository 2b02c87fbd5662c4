//! One mapping of the file, and the getters that read it.

use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::file::File;
use super::problem::Severity;
use super::tree::{Entry, Located, Node, Scalar, Span, Value};

/// A mapping of the file that is being read.
///
/// A value that is empty (often because of `${NAME:-}`) counts as unset.
/// Keys that no getter asked for are noted when the section is dropped.
pub struct Section {
    file: File,
    at: Span,
    /// Its keys from the outermost on, e.g. `sites.www`; empty for the file itself.
    path: String,
    entries: Vec<Entry>,
    /// Whether a value in it has a problem that was noted before anyone read it, such as an unset variable.
    broken: bool,
    /// Keys that were asked for, in the order of asking.
    known: Vec<String>,
    /// Those of them that hold secrets.
    secret: Vec<String>,
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

    /// A scalar that must be there and not be empty.
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

    /// A list of scalars; one scalar alone is a list of one.
    pub fn texts(&mut self, key: &str) -> Vec<Located<String>> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        match node.value {
            Value::List(items) => items
                .into_iter()
                .filter_map(|item| self.item(key, item))
                .collect(),
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => self
                .scalar(key, node)
                .map(|(scalar, at)| Located {
                    value: scalar.text,
                    at,
                })
                .into_iter()
                .collect(),
        }
    }

    /// One item of a list of scalars.
    fn item(&mut self, key: &str, node: Node) -> Option<Located<String>> {
        match node.value {
            Value::Scalar(scalar) if !scalar.text.is_empty() => Some(Located {
                value: scalar.text,
                at: node.at,
            }),
            Value::Broken => None,
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

    /// A secret: under `key`, or in the file that `<key>_file` names. An empty one counts as unset.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let value = self.take_secret(key);
        match (value, self.secret_files(key)) {
            (None, files) => files.into_iter().next(),
            (Some(node), files) => {
                self.note_both(key, &node, &files);
                let (scalar, at) = self.scalar(key, node)?;
                if scalar.text.trim().is_empty() {
                    self.problem(at, format!("`{key}` is blank"), None);
                    return None;
                }
                Some(scalar.text.into())
            }
        }
    }

    /// A secret that must be there. `variables` are the vendor's own names for
    /// it in the environment, asked in this order where the file is silent.
    pub fn required_secret(&mut self, key: &str, variables: &[&str]) -> Option<SecretString> {
        let errors = self.file.errors();
        if let Some(secret) = self.secret(key) {
            return Some(secret);
        }
        if self.file.errors() > errors {
            return None;
        }
        if let Some(value) = variables.iter().find_map(|name| self.env(name)) {
            return Some(value.into());
        }
        let advice = match variables {
            [] => format!("give `{key}`, or `{key}_file: path`"),
            [name, ..] => format!("give `{key}`, `{key}_file: path`, or set {name}"),
        };
        self.missing(key, Some(advice));
        None
    }

    /// A list of secrets. An empty one is a problem.
    pub fn secrets(&mut self, key: &str) -> Vec<SecretString> {
        let value = self.take_secret(key);
        let files = self.secret_files(key);
        let Some(node) = value else {
            return files;
        };
        self.note_both(key, &node, &files);
        let items = match node.value {
            Value::List(items) => items,
            Value::Null | Value::Scalar(_) | Value::Map(_) | Value::Broken => vec![node],
        };
        items
            .into_iter()
            .filter_map(|item| {
                let at = item.at.clone();
                let text = self.item(key, item)?.value;
                if text.trim().is_empty() {
                    self.problem(at, format!("an item of `{key}` is blank"), None);
                    return None;
                }
                Some(text.into())
            })
            .collect()
    }

    fn take_secret(&mut self, key: &str) -> Option<Node> {
        self.secret.push(key.to_owned());
        let node = self.take(key)?;
        mask(&self.file, &node);
        Some(node)
    }

    fn note_both(&mut self, key: &str, value: &Node, files: &[SecretString]) {
        if !files.is_empty() {
            self.problem(
                value.at.clone(),
                format!("both `{key}` and `{key}_file` are given"),
                Some("keep one of them".to_owned()),
            );
        }
    }

    /// The secrets in the files that `<key>_file` names, less one line break at the end of each.
    fn secret_files(&mut self, key: &str) -> Vec<SecretString> {
        let key = format!("{key}_file");
        let mut secrets = Vec::new();
        for path in self.texts(&key) {
            let full = self.file.directory().join(&path.value);
            match std::fs::read_to_string(&full) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    if text.trim().is_empty() {
                        let message = format!("the secret file `{}` is empty", full.display());
                        self.problem(path.at, message, None);
                    } else {
                        self.file.keep_confidential(text, "the secret");
                        secrets.push(text.into());
                    }
                }
                Err(error) => {
                    let message =
                        format!("cannot read the secret file `{}`: {error}", full.display());
                    let advice = "the path is relative to the rules file's directory";
                    self.problem(path.at, message, Some(advice.to_owned()));
                }
            }
        }
        secrets
    }

    /// The environment's value, for keys that fall back to a vendor's own variable. An empty one counts as unset.
    pub fn env(&self, name: &str) -> Option<String> {
        self.file.env(name)
    }

    /// An absolute http or https URL without query, fragment or credentials.
    pub fn url(&mut self, key: &str) -> Option<Located<Url>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let wrong = match Url::parse(&scalar.text) {
            Err(error) => format!("is no URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                "must start with `https://` or `http://`".to_owned()
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                // Whoever wrote a password there does not want to see it in a log.
                self.file.mask(at.clone());
                self.problem(
                    at,
                    format!("`{key}` must not hold a user name or a password"),
                    None,
                );
                return None;
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "must not hold `?` or `#`".to_owned()
            }
            Ok(url) => return Some(Located { value: url, at }),
        };
        let shown = File::shown(&scalar);
        self.problem(
            at,
            format!("`{key}` {wrong} (`{shown}`)"),
            Some("write an address such as `https://example.com`".to_owned()),
        );
        None
    }

    /// One of the given words.
    pub fn word(&mut self, key: &str, allowed: &[&str]) -> Option<Located<String>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        if allowed.contains(&scalar.text.as_str()) {
            return Some(Located {
                value: scalar.text,
                at,
            });
        }
        let message = format!("`{key}` cannot be `{}`", File::shown(&scalar));
        let advice = did_you_mean(&scalar.text, allowed.iter().copied(), "it takes");
        self.problem(at, message, Some(advice));
        None
    }

    /// A whole number in a range.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Located<u64>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let digits = scalar.text.bytes().all(|b| b.is_ascii_digit());
        match scalar.text.parse::<u64>() {
            Ok(value) if digits && range.contains(&value) => Some(Located { value, at }),
            Ok(_) | Err(_) => {
                let message = format!(
                    "`{key}` must be a whole number from {} to {}, not `{}`",
                    range.start(),
                    range.end(),
                    File::shown(&scalar)
                );
                self.problem(at, message, None);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<Located<bool>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" => Some(Located { value: true, at }),
            "false" | "False" | "FALSE" => Some(Located { value: false, at }),
            other => {
                let advice = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" => Some("write `true`".to_owned()),
                    "no" | "off" => Some("write `false`".to_owned()),
                    _ => None,
                };
                let message = format!(
                    "`{key}` must be `true` or `false`, not `{}`",
                    File::shown(&scalar)
                );
                self.problem(at, message, advice);
                None
            }
        }
    }

    /// A time span such as `10m` or `1h 30m`.
    pub fn duration(&mut self, key: &str) -> Option<Located<Duration>> {
        let node = self.take(key)?;
        let (scalar, at) = self.scalar(key, node)?;
        let span = scalar.text.trim().parse::<jiff::SignedDuration>();
        match span.ok().and_then(|span| Duration::try_from(span).ok()) {
            Some(value) => Some(Located { value, at }),
            None => {
                let message = format!(
                    "`{key}` must be a time span, not `{}`",
                    File::shown(&scalar)
                );
                let advice = "write a number and its unit, e.g. `30s`, `10m` or `1h 30m`";
                self.problem(at, message, Some(advice.to_owned()));
                None
            }
        }
    }

    /// A nested mapping. An empty one counts as unset.
    pub fn section(&mut self, key: &str) -> Option<Section> {
        let at = self.place_of(key);
        let node = self.take(key)?;
        let path = self.path_to(key);
        self.mapping(&format!("`{key}`"), at?, path, node)
    }

    /// Whether a key holds anything at all, right or wrong.
    pub fn has_items(&self, key: &str) -> bool {
        self.entries
            .iter()
            .filter(|e| e.key.value == key)
            .any(|e| match &e.value.value {
                Value::Null => false,
                Value::Scalar(scalar) => !scalar.text.is_empty(),
                Value::List(items) => !items.is_empty(),
                Value::Map(_) | Value::Broken => true,
            })
    }

    /// Whether a key holds a mapping, for keys that take a word or a mapping.
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
                        Value::Null | Value::Scalar(_) | Value::List(_) | Value::Broken => {
                            item.at.clone()
                        }
                    };
                    let path = format!("{}[{}]", self.path_to(key), i + 1);
                    self.mapping(&format!("an item of `{key}`"), at, path, item)
                })
                .collect(),
            Value::Broken => Vec::new(),
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

    fn mapping(&mut self, what: &str, at: Span, path: String, node: Node) -> Option<Section> {
        match node.value {
            Value::Map(entries) => Some(Section::new(self.file.clone(), at, path, entries)),
            Value::Broken => None,
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                let place = if node.at.is_empty() { at } else { node.at };
                self.problem(place, format!("{what} must hold keys with values"), None);
                None
            }
        }
    }

    /// Where the section itself stands: its key, or its first key in a list.
    /// Empty at 0 for the file as a whole.
    pub fn at(&self) -> Span {
        self.at.clone()
    }

    /// Where a key stands, if it is there.
    pub fn place_of(&self, key: &str) -> Option<Span> {
        self.entries
            .iter()
            .find(|e| e.key.value == key)
            .map(|e| e.key.at.clone())
    }

    /// Notes a problem at a place, with advice where there is some.
    ///
    /// One with the section as a whole is passed over while a value in it is
    /// broken: "no token is given" is no news where the token's variable is unset.
    pub fn problem(&mut self, at: Span, message: impl Into<String>, advice: Option<String>) {
        self.note(Severity::Error, at, message.into(), advice);
    }

    /// Notes something that is allowed but probably not meant.
    pub fn warning(&mut self, at: Span, message: impl Into<String>, advice: Option<String>) {
        self.note(Severity::Warning, at, message.into(), advice);
    }

    fn note(&self, severity: Severity, at: Span, message: String, advice: Option<String>) {
        let repeats = self.broken && at == self.at && !self.path.is_empty();
        if !repeats {
            self.file.note(severity, at, message, advice);
        }
    }

    /// Notes that a key is missing, if it is.
    pub fn missing(&mut self, key: &str, advice: Option<String>) {
        let broken = self
            .entries
            .iter()
            .any(|e| e.key.value == key && is_broken(&e.value));
        if broken {
            return;
        }
        let message = if self.path.is_empty() {
            format!("`{key}` is missing")
        } else {
            format!("`{key}` is missing from `{}`", self.path)
        };
        self.file.note(Severity::Error, self.at(), message, advice);
    }

    /// How many errors the file has so far, for those who must know whether a reader found any.
    pub(crate) fn errors(&self) -> usize {
        self.file.errors()
    }

    /// Masks a value where the file's lines are shown, because it may hold a password.
    pub fn mask(&self, at: Span) {
        self.file.mask(at);
    }

    /// Lets the keys that nobody asked for pass, where it cannot be known what they should be.
    pub fn ignore_rest(&mut self) {
        for entry in self.entries.drain(..) {
            // One of them may well be a secret.
            mask(&self.file, &entry.value);
        }
    }

    /// A key's value; none if it is missing or empty.
    fn take(&mut self, key: &str) -> Option<Node> {
        if !self.known.iter().any(|k| k == key) {
            self.known.push(key.to_owned());
        }
        let entry = self.entries.iter().find(|e| e.key.value == key)?;
        match entry.value.value {
            Value::Null => None,
            Value::Scalar(_) | Value::List(_) | Value::Map(_) | Value::Broken => {
                Some(entry.value.clone())
            }
        }
    }

    /// A value as a scalar that is not empty.
    fn scalar(&mut self, key: &str, node: Node) -> Option<(Scalar, Span)> {
        match node.value {
            Value::Scalar(scalar) => (!scalar.text.is_empty()).then_some((scalar, node.at)),
            Value::Null | Value::Broken => None,
            Value::List(_) | Value::Map(_) => {
                self.note_not_text(&format!("`{key}`"), &node);
                None
            }
        }
    }

    fn note_not_text(&mut self, what: &str, node: &Node) {
        let (kind, advice) = match &node.value {
            Value::List(_) => ("a list", None),
            // `{page}` without quotes is a mapping to YAML.
            Value::Map(entries) if entries.iter().all(|e| matches!(e.value.value, Value::Null)) => {
                (
                    "a mapping",
                    Some("put \"...\" around text that starts with `{`".to_owned()),
                )
            }
            Value::Map(_) => ("a mapping", None),
            Value::Null | Value::Scalar(_) | Value::Broken => return,
        };
        let at = match &node.value {
            Value::Map(entries) => entries
                .first()
                .map_or(node.at.clone(), |e| e.key.at.clone()),
            Value::List(_) | Value::Null | Value::Scalar(_) | Value::Broken => node.at.clone(),
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
            let secret = |key: &str| {
                let key = key.to_ascii_lowercase();
                ["secret", "token", "password", "key"]
                    .iter()
                    .any(|word| key.contains(word))
            };
            if secret(&key.value) || meant.is_some_and(|m| self.secret.iter().any(|s| s == m)) {
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

/// Whether a problem was noted with a value, or with one inside it.
fn is_broken(node: &Node) -> bool {
    match &node.value {
        Value::Broken => true,
        Value::List(items) => items.iter().any(is_broken),
        Value::Map(entries) => entries.iter().any(|e| is_broken(&e.value)),
        Value::Null | Value::Scalar(_) => false,
    }
}

/// Masks every scalar of a value.
fn mask(file: &File, node: &Node) {
    match &node.value {
        Value::Scalar(_) => file.mask(node.at.clone()),
        Value::List(items) => items.iter().for_each(|item| mask(file, item)),
        Value::Map(entries) => entries.iter().for_each(|e| mask(file, &e.value)),
        Value::Null | Value::Broken => {}
    }
}

/// Advice for a word that is not among the known ones: the nearest, then all of them behind `lead`.
pub fn did_you_mean<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    lead: &str,
) -> String {
    let all: Vec<String> = known.clone().map(|k| format!("`{k}`")).collect();
    let all = if all.is_empty() {
        "there are none".to_owned()
    } else {
        format!("{lead} {}", all.join(", "))
    };
    match closest(word, known) {
        Some(meant) => format!("did you mean `{meant}`? {all}"),
        None => all,
    }
}

/// The known word that is one slip of the finger away, or two or three in a long one.
fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
