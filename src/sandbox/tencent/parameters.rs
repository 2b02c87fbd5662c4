//! The parameters of an API 3.0 action, from JSON or flattened (`Urls.0`), read strictly.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::signature::Refused;

/// What the caller sent for an action. What is read is taken out; [`Parameters::unknown`]
/// refuses what is left.
pub(super) struct Parameters {
    fields: Map<String, Value>,
    /// Flattened parameters are all text; numbers and truth values are read from it.
    textual: bool,
}

impl Parameters {
    /// From the body of a JSON request.
    pub fn from_json(body: &[u8]) -> Result<Self, Refused> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self {
                fields,
                textual: false,
            }),
            Ok(_) | Err(_) => Err(Refused::new(
                "InvalidRequest",
                "The request body is not a JSON object.",
            )),
        }
    }

    /// From pairs whose names may be paths: `Urls.0`, `Headers.0.Name`.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, Refused> {
        let mut root = Tree::default();
        for (name, value) in pairs {
            let mut node = &mut root;
            for step in name.split('.') {
                node = node.children.entry(step.to_owned()).or_default();
            }
            if node.value.replace(value.clone()).is_some() {
                return Err(Refused::new(
                    "InvalidParameter",
                    format!("The parameter `{name}` was given more than once."),
                ));
            }
        }
        let mut fields = Map::new();
        for (name, node) in root.children {
            fields.insert(name, node.into_value());
        }
        Ok(Self {
            fields,
            textual: true,
        })
    }

    /// Drops a parameter that belongs to the protocol.
    pub fn ignore(&mut self, name: &str) {
        self.fields.remove(name);
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refused> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "a string")),
        }
    }

    pub fn word(&mut self, name: &str, allowed: &[&str]) -> Result<Option<String>, Refused> {
        match self.text(name)? {
            Some(word) if !allowed.contains(&word.as_str()) => Err(Refused::new(
                "InvalidParameterValue",
                format!(
                    "The value of `{name}` is not one of {}.",
                    allowed.join(", ")
                ),
            )),
            word => Ok(word),
        }
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refused> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            // Tencent's Python SDK writes True and False in flattened requests.
            Some(Value::String(text)) if self.textual => match text.to_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(wrong_type(name, "a boolean")),
            },
            Some(_) => Err(wrong_type(name, "a boolean")),
        }
    }

    pub fn number(&mut self, name: &str) -> Result<Option<i64>, Refused> {
        let number = match self.fields.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) if self.textual => text.parse().ok(),
            Some(_) => None,
        };
        number
            .map(Some)
            .ok_or_else(|| wrong_type(name, "an integer"))
    }

    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Refused> {
        let items = match self.fields.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong_type(name, "an array of strings")),
        };
        let texts = items.into_iter().map(|item| match item {
            Value::String(text) => Some(text),
            _ => None,
        });
        texts
            .collect::<Option<Vec<String>>>()
            .map(Some)
            .ok_or_else(|| wrong_type(name, "an array of strings"))
    }

    /// An array of objects with a Name and a Value.
    pub fn names_and_values(&mut self, name: &str) -> Result<Vec<(String, String)>, Refused> {
        let items = match self.fields.remove(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong_type(name, "an array")),
        };
        let pairs = items.iter().map(|item| {
            let name = item.get("Name")?.as_str()?.to_owned();
            let value = item.get("Value")?.as_str()?.to_owned();
            let only = item.as_object()?.len() == 2;
            only.then_some((name, value))
        });
        pairs
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong_type(name, "an array of objects with Name and Value"))
    }

    /// Refuses a parameter that the action does not have: to be asked once all others were read,
    /// and before any work.
    pub fn unknown(&self) -> Result<(), Refused> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refused::new(
                "UnknownParameter",
                format!("The parameter `{name}` is not recognized."),
            )),
        }
    }
}

/// The refusal of a call that lacks a parameter.
pub(super) fn missing(name: &str) -> Refused {
    Refused::new(
        "MissingParameter",
        format!("The request is missing a required parameter `{name}`."),
    )
}

fn wrong_type(name: &str, expected: &str) -> Refused {
    Refused::new(
        "InvalidParameter",
        format!("The value type of parameter `{name}` is not valid: it must be {expected}."),
    )
}

#[derive(Default)]
struct Tree {
    value: Option<String>,
    children: BTreeMap<String, Tree>,
}

impl Tree {
    fn into_value(self) -> Value {
        if let Some(value) = self.value
            && self.children.is_empty()
        {
            return Value::String(value);
        }
        let mut numbered: Vec<(Option<usize>, String, Tree)> = self
            .children
            .into_iter()
            .map(|(name, node)| (name.parse().ok(), name, node))
            .collect();
        if numbered.iter().all(|(number, _, _)| number.is_some()) {
            numbered.sort_by_key(|(number, _, _)| *number);
            // An array with a gap is no array.
            let whole = numbered
                .iter()
                .enumerate()
                .all(|(at, (number, _, _))| *number == Some(at));
            if !whole {
                return Value::Bool(false);
            }
            let items = numbered.into_iter().map(|(_, _, node)| node.into_value());
            return items.collect();
        }
        let fields = numbered
            .into_iter()
            .map(|(_, name, node)| (name, node.into_value()));
        Value::Object(fields.collect())
    }
}
