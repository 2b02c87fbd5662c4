//! The reference of the rules file is what its schema says.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::generated::{cell, hold};

const PAGE: &str = "docs/reference/rules-file.md";

/// JSON whose objects keep the order of their members.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Text(String),
    Other,
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            Self::Text(_) | Self::Other | Self::List(_) => None,
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Text(text) => Some(text),
            Self::Other | Self::List(_) | Self::Object(_) => None,
        }
    }

    fn list(&self, key: &str) -> &[Json] {
        match self.get(key) {
            Some(Self::List(items)) => items,
            Some(Self::Text(_) | Self::Other | Self::Object(_)) | None => &[],
        }
    }

    fn members(&self, key: &str) -> &[(String, Json)] {
        match self.get(key) {
            Some(Self::Object(members)) => members,
            Some(Self::Text(_) | Self::Other | Self::List(_)) | None => &[],
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other | Self::List(_) | Self::Object(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = entries.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn schema() -> Json {
    serde_json::from_str(include_str!("../../../schema/rules.schema.json")).unwrap()
}

/// A cell of words, in which `<forge>` is no tag of HTML. What stands between backticks is code and stays.
fn words(text: &str) -> String {
    let cell = cell(text);
    let parts = cell
        .split('`')
        .enumerate()
        .map(|(place, part)| match place % 2 {
            0 => part.replace('<', "\\<"),
            _ => part.to_owned(),
        });
    parts.collect::<Vec<String>>().join("`")
}

/// The schema of a name below `$defs`.
fn definition<'s>(schema: &'s Json, name: &str) -> &'s Json {
    schema
        .get("$defs")
        .unwrap()
        .get(name)
        .unwrap_or_else(|| panic!("no {name}"))
}

/// The schema of an object, which may stand beside `null`.
fn object(node: &Json) -> Option<&Json> {
    let alternatives = node.list("anyOf").iter();
    std::iter::once(node)
        .chain(alternatives)
        .find(|node| node.get("properties").is_some())
}

/// The words that a value may be one of.
fn words_of(node: &Json, words: &mut Vec<String>) {
    let own = node.list("enum").iter().filter_map(Json::as_text);
    words.extend(own.map(|word| format!("`{word}`")));
    for alternative in node.list("anyOf") {
        words_of(alternative, words);
    }
}

/// What a value may be, in words.
fn values(node: &Json) -> String {
    let mut words = Vec::new();
    words_of(node, &mut words);
    if !words.is_empty() {
        return words.join(", ");
    }
    let named = node.text("$ref").and_then(|name| name.rsplit('/').next());
    let kinds = node
        .list("anyOf")
        .iter()
        .filter_map(|node| node.text("type"));
    let kinds: Vec<&str> = node.text("type").into_iter().chain(kinds).collect();
    let words = match named {
        Some("texts" | "someTexts") => "text, or a list",
        Some("globs") => "globs",
        Some("templates" | "targets" | "directories") => "one, or a list",
        Some("url") => "an address",
        Some("flag") => "`true`, `false`",
        Some(_) => "text",
        None if kinds.contains(&"integer") => "a number",
        None if kinds == ["array"]
            && node
                .list("anyOf")
                .iter()
                .any(|node| node.get("$ref").is_some()) =>
        {
            "one, or a list"
        }
        None if kinds.contains(&"array") => "a list",
        None if node.get("anyOf").is_some() && kinds.is_empty() => "one, or a list",
        None => "text",
    };
    words.to_owned()
}

/// Whether a key has to be there, alone or as a file.
fn is_required(object: &Json, key: &str) -> bool {
    let names = |node: &Json| {
        node.list("required")
            .iter()
            .filter_map(Json::as_text)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let of_this_key = |node: &Json| {
        let names = names(node);
        !names.is_empty()
            && names
                .iter()
                .all(|name| name == key || *name == format!("{key}_file"))
    };
    let alternatives = |node: &Json| {
        let list = node.list("anyOf");
        !list.is_empty() && list.iter().all(of_this_key)
    };
    names(object).iter().any(|name| name == key)
        || alternatives(object)
        || object.list("allOf").iter().any(alternatives)
}

/// A description without its last sentence about the default, and that default.
fn without_default(description: &str) -> (&str, &str) {
    match description.rsplit_once("Default: ") {
        Some((meaning, default)) => (meaning.trim(), default.trim_end_matches('.')),
        None => (description, ""),
    }
}

/// The rows of a table of keys; those of objects in it with their path.
fn rows(object: &Json, prefix: &str, skip: &[&str], table: &mut String) {
    let keys = object.members("properties");
    for (key, node) in keys {
        let of_a_file = key
            .strip_suffix("_file")
            .is_some_and(|plain| keys.iter().any(|(name, _)| name == plain));
        if of_a_file || skip.contains(&key.as_str()) {
            continue;
        }
        let inner = self::object(node);
        let description = node
            .text("description")
            .or_else(|| inner?.text("description"));
        let (meaning, default) =
            without_default(description.unwrap_or_else(|| panic!("`{key}` has no description")));
        let has_file = keys.iter().any(|(name, _)| *name == format!("{key}_file"));
        let file = if has_file {
            format!(", `{prefix}{key}_file`")
        } else {
            String::new()
        };
        let default = if is_required(object, key) {
            "required"
        } else {
            default
        };
        let values = inner.map_or_else(|| values(node), |_| "keys of its own".to_owned());
        table.push_str(&format!(
            "| `{prefix}{key}`{file} | {} | {} | {} |\n",
            cell(&values),
            words(meaning),
            words(default)
        ));
        if let Some(inner) = inner {
            rows(inner, &format!("{prefix}{key}."), &[], table);
        }
    }
}

fn table(object: &Json, skip: &[&str]) -> String {
    let mut table =
        String::from("| key | value | meaning | default |\n| --- | --- | --- | --- |\n");
    rows(object, "", skip, &mut table);
    table
}

/// The kinds of forges or CDNs, each with its keys.
fn kinds(schema: &Json, part: &str, skip: &[&str]) -> String {
    let entry = schema
        .get("properties")
        .unwrap()
        .get(part)
        .unwrap()
        .get("additionalProperties")
        .unwrap();
    let kind = entry.get("properties").unwrap().get("kind").unwrap();
    let mut page = String::new();
    let skip: Vec<&str> = ["kind"].into_iter().chain(skip.iter().copied()).collect();
    for name in kind.list("enum").iter().filter_map(Json::as_text) {
        let definition = definition(schema, name);
        let what = definition.text("description").unwrap();
        page.push_str(&format!(
            "### `kind: {name}`\n\n{what}\n\n{}\n",
            table(definition, &skip)
        ));
    }
    page
}

#[test]
fn the_reference_of_the_rules_file_is_what_the_schema_says() {
    let schema = schema();
    let server = schema.get("properties").unwrap().get("server").unwrap();

    hold(PAGE, "server", &table(object(server).unwrap(), &[]));
    hold(PAGE, "forges", &kinds(&schema, "forges", &[]));
    hold(PAGE, "cdns", &kinds(&schema, "cdns", &["limits"]));
    let limits = definition(&schema, "tencent-cdn")
        .get("properties")
        .unwrap()
        .get("limits")
        .unwrap();
    hold(PAGE, "limits", &table(object(limits).unwrap(), &[]));
    hold(
        PAGE,
        "sites",
        &table(definition(&schema, "site"), &["trigger"]),
    );
    let trigger = definition(&schema, "trigger");
    hold(PAGE, "trigger", &table(object(trigger).unwrap(), &[]));
    hold(PAGE, "rules", &table(definition(&schema, "rule"), &[]));
    hold(PAGE, "tests", &table(definition(&schema, "case"), &[]));
}

#[test]
fn a_default_is_the_last_sentence_of_a_description() {
    assert_eq!(
        without_default("How often. Default: 5m."),
        ("How often.", "5m")
    );
    assert_eq!(without_default("A token."), ("A token.", ""));
}
