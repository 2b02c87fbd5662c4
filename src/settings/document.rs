//! Parses a settings file, substitutes its variables, and returns its outermost section.

use super::file::File;
use super::problem::Severity;
use super::secret_heuristics;
use super::section::Section;
use super::span::{Located, Span};
use super::substitution::{Piece, pieces};
use super::tree::{self, Node, Value};

impl File {
    /// The file's outermost mapping. None if the file is not YAML or not a mapping, which is recorded.
    pub fn root(&self) -> Option<Section> {
        let (root, flaws) = tree::parse(&self.source().text);
        for flaw in flaws {
            self.note(Severity::Error, flaw.at, flaw.message, flaw.advice);
        }
        let Some(mut root) = root else {
            for at in secret_heuristics::places(&self.source().text) {
                self.mask(at);
            }
            return None;
        };
        self.substitute(&mut root);
        match root.value {
            Value::Map(entries) => Some(Section::new(self.clone(), 0..0, String::new(), entries)),
            Value::Null => Some(Section::new(self.clone(), 0..0, String::new(), Vec::new())),
            Value::Broken => None,
            Value::Scalar(_) | Value::List(_) | Value::Unset(_) => {
                self.note(
                    Severity::Error,
                    // Point to its start, not to the whole file.
                    root.at.start..root.at.end.max(root.at.start + 1),
                    "the file must hold keys with values".to_owned(),
                    Some("start with `forges:`, `cdns:` and `sites:`".to_owned()),
                );
                None
            }
        }
    }

    /// Substitutes the environment's values in every scalar.
    fn substitute(&self, node: &mut Node) {
        match &mut node.value {
            Value::Null | Value::Broken | Value::Unset(_) => {}
            Value::List(items) => items.iter_mut().for_each(|item| self.substitute(item)),
            Value::Map(entries) => {
                for entry in entries {
                    if entry.key.value.contains("${") {
                        self.note(
                            Severity::Error,
                            entry.key.at.clone(),
                            "a key cannot come from the environment".to_owned(),
                            Some("write the key out; values may hold `${NAME}`".to_owned()),
                        );
                    }
                    self.substitute(&mut entry.value);
                }
            }
            Value::Scalar(scalar) => {
                if scalar.text.contains("${") {
                    match self.fill(&scalar.text, &node.at) {
                        // The getters treat an empty value as missing.
                        Filled::Text(text) => scalar.text = text,
                        Filled::Unset(variables) => node.value = Value::Unset(variables),
                        Filled::Broken => node.value = Value::Broken,
                    }
                }
            }
        }
    }

    /// Substitutes the variables in a text. Records errors, except unset variables where these may be no problem.
    fn fill(&self, text: &str, at: &Span) -> Filled {
        let mut filled = Some(String::new());
        let mut unset = Vec::new();
        let mut from = at.start;
        for piece in pieces(text) {
            let value = match piece {
                Piece::Text(text) => Some(text.to_owned()),
                Piece::Escape => Some("${".to_owned()),
                Piece::Variable {
                    source,
                    name,
                    default,
                } => {
                    let place = self.source().find(source, from, at);
                    from = place.end.min(at.end);
                    match (self.variable(name, source), default) {
                        (Some(value), None) => Some(value),
                        (Some(value), Some(_)) if !value.is_empty() => Some(value),
                        (_, Some(default)) => Some(default.to_owned()),
                        (None, None) if self.may_lack_secrets() => {
                            unset.push(Located {
                                value: name.to_owned(),
                                at: place,
                            });
                            Some(String::new())
                        }
                        (None, None) => {
                            self.note_missing_variable(name, place);
                            None
                        }
                    }
                }
                Piece::Malformed(source) => {
                    self.note(
                        Severity::Error,
                        self.source().find(source, from, at),
                        format!("`{source}` is no variable"),
                        Some(
                            "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`"
                                .to_owned(),
                        ),
                    );
                    None
                }
            };
            match (&mut filled, value) {
                (Some(filled), Some(value)) => filled.push_str(&value),
                (filled, _) => *filled = None,
            }
        }
        match filled {
            None => Filled::Broken,
            Some(_) if !unset.is_empty() => Filled::Unset(unset),
            Some(text) => Filled::Text(text),
        }
    }

    pub(super) fn note_missing_variable(&self, name: &str, at: Span) {
        self.note(
            Severity::Error,
            at,
            format!("the environment variable `{name}` is not set"),
            Some(if name.bytes().any(|b| b.is_ascii_lowercase()) {
                format!(
                    "set {name}, or write `${{{name}:-default}}` if there is a good default; \
                     a field of a template is written `{{{name}}}`, without `$`"
                )
            } else {
                format!("set {name}, or write `${{{name}:-default}}` if there is a good default")
            }),
        );
        self.note_unset(name);
    }
}

/// The result of substituting variables.
enum Filled {
    Text(String),
    /// These variables are not set.
    Unset(Vec<Located<String>>),
    /// It contains an error, which is recorded.
    Broken,
}
