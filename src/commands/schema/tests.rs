//! Tests that the schema accepts and rejects the same files as the reader.

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use super::SCHEMA;
use crate::clock::Clock;
use crate::config::{self, ALL_KINDS, bad_files};
use crate::http::Outbound;
use crate::settings::{Environment, Problems};

struct Schema {
    all: Schemas,
    root: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let document: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut all = Schemas::new();
        let mut compiler = Compiler::new();
        compiler
            .add_resource("rules.schema.json", document)
            .unwrap();
        let root = compiler.compile("rules.schema.json", &mut all).unwrap();
        Self { all, root }
    }

    fn refusal(&self, text: &str) -> Option<String> {
        // As YAML 1.2 has it, and editors: `yes` is a word.
        let options = serde_yaml::options! { strict_booleans: true };
        let value: Value = serde_yaml::from_str_with_options(text, options).unwrap();
        let result = self.all.validate(&value, self.root);
        result.err().map(|error| format!("{error:#}"))
    }
}

fn problems(text: &str) -> Option<Problems> {
    let outbound = Outbound::new(Clock::system()).unwrap();
    let variables = Environment::of([("SET", "12345678"), ("SPAN", "5m")]);
    config::read("rules.yaml", text, variables, &outbound, ALL_KINDS).err()
}

const GOOD: &str = r#"
server: {public_url: "https://purge.example.com", database: "sqlite://a.db"}
forges:
  github: {kind: github, secrets: [a], token: "${SET}"}
  gitlab: {kind: gitlab, secrets: b, token: 1, api_url: https://gitlab.example.com/api/v4}
cdns:
  tencent: {kind: tencent-cdn, secret_id: a, secret_key: b, area: mainland, limits: {urls_per_day: "20000"}}
  ecdn: {kind: tencent-ecdn, secret_id: a, secret_key: b, signature: hmac-sha1, migrated_to: tencent}
  huawei: {kind: huawei-cdn, token: x, zh_url_encode: false}
sites:
  www:
    repo: github:acme/website
    branches: [main, release/*]
    trigger: {deployment: production}
    base_urls: [https://www.example.com, http://www.example.com]
    cdns: [tencent, huawei]
    status: {context: cdn/purge}
    mode: dry-run
    when_unknown: fail
    redeploy: everything
    settle: 1h 30m
    ignore: "**/README.md"
    unmatched: warn
    index: index.html
    rules:
      - {name: a, match: ["a/**"], except: a/b, strip: a/, urls: ["/{page}"], last: true}
      - {match_regex: "^b/(?<slug>.*)$", urls: "/{slug}", prefetch: ["https://www.example.com/{path}"], on: [added]}
      - {match: c, directories: /, mode: flush, cdns: huawei, on: removed}
    tests:
      - {path: a/x.md, urls: [/x/, /x/index.html]}
      - {path: c, change: removed, directories: "https://www.example.com/"}
  other:
    repo: gitlab:group/sub/project
    base_urls: https://other.example.com
    cdns: ecdn
    trigger: push
    rules: [{match: "**", urls: "/{path}"}]
"#;

#[test]
fn what_the_reader_accepts_the_schema_accepts() {
    let schema = Schema::new();
    let example = include_str!("../../../rules.yaml");
    assert_eq!(schema.refusal(example), None);
    for (from, to) in [
        ("", ""),
        (
            "server: {public_url: \"https://purge.example.com\", database: \"sqlite://a.db\"}",
            "server:",
        ),
        ("trigger: push", "trigger: {pipeline: success}"),
        ("trigger: push", "trigger:"),
        ("server: {", "server: {retention: 30d, "),
        ("settle: 1h 30m", "settle: ${SPAN:-10m}"),
        ("when_unknown: fail", "when_unknown: ${NONE:-fail}"),
        ("last: true", "last: \"false\""),
        ("{name: a,", "{name: 1.10,"),
        ("ignore: \"**/README.md\"", "ignore: []"),
        (
            "zh_url_encode: false",
            "limits: {requests_per_second: 3, directories_per_request: 50}",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        assert!(
            problems(&text).is_none(),
            "{to}: {}",
            problems(&text).unwrap()
        );
        assert_eq!(schema.refusal(&text), None, "{to}");
    }
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_too() {
    let schema = Schema::new();
    for (from, to) in [
        ("server: {", "server: {port: 1, "),
        ("https://purge.example.com", "purge.example.com"),
        ("forges:\n", "forge:\n"),
        ("kind: github", "kind: gihtub"),
        ("kind: github", "name: github"),
        ("secrets: [a]", "secret: a"),
        ("secrets: [a]", "secrets: [\"\"]"),
        (
            "token: \"${SET}\"",
            "token: a, app: {id: 1, private_key: x}",
        ),
        ("token: 1", "app: {id: 1}"),
        ("area: mainland", "area: everywhere"),
        ("area: mainland", "access_key: x"),
        ("urls_per_day: \"20000\"", "urls_per_day: many"),
        ("urls_per_day: \"20000\"", "urls_per_hour: 1"),
        ("zh_url_encode: false", "zh_url_encode: 1"),
        ("  www:\n", "  WWW:\n"),
        ("repo: github:acme/website", "repo: acme/website"),
        (
            "repo: github:acme/website",
            "repository: github:acme/website",
        ),
        ("trigger: push", "trigger: pull"),
        ("trigger: push", "trigger: {deployment: a, workflow: b}"),
        ("trigger: push", "trigger: {pipeline: green}"),
        ("cdns: ecdn", "cdns: []"),
        (
            "base_urls: https://other.example.com",
            "base_urls: other.example.com",
        ),
        (
            "base_urls: https://other.example.com",
            "urls: https://other.example.com",
        ),
        ("when_unknown: fail", "when_unknown: ignore"),
        ("redeploy: everything", "redeploy: again"),
        ("unmatched: warn", "unmatched: fail"),
        ("index: index.html", "index: a/index.html"),
        ("status: {context: cdn/purge}", "status: cdn/purge"),
        ("match: [\"a/**\"]", "matches: [\"a/**\"]"),
        ("match: [\"a/**\"]", "match: [\"/a/**\"]"),
        ("urls: [\"/{page}\"]", "urls: [\"{page}\"]"),
        ("urls: [\"/{page}\"]", "url: /"),
        ("last: true", "last: yes"),
        ("mode: flush", "mode: purge"),
        ("on: [added]", "on: [modified]"),
        ("on: [added]", "on: [added, added]"),
        ("path: a/x.md", "path: /a/x.md"),
        ("path: a/x.md", "file: a/x.md"),
        ("change: removed", "change: deleted"),
        ("urls: [/x/, /x/index.html]", "urls: [x]"),
        (
            "directories: \"https://www.example.com/\"",
            "directories: /x",
        ),
        ("rules: [{match: \"**\", urls: \"/{path}\"}]", "rules: []"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        assert!(problems(&text).is_some(), "{to}: the reader accepts it");
        assert!(
            schema.refusal(&text).is_some(),
            "{to}: the schema accepts it"
        );
    }
}

/// The keys that the schema knows at a place.
fn keys_of_schema(document: &Value, pointer: &str) -> BTreeSet<String> {
    let place = document.pointer(pointer).and_then(Value::as_object);
    let place = place.unwrap_or_else(|| panic!("there is no {pointer}"));
    place.keys().cloned().collect()
}

/// The keys that the reader lists when it meets `zzzzzz` at a place.
fn keys_of_reader(text: &str) -> BTreeSet<String> {
    let problems = problems(text).unwrap();
    let problem = problems
        .list
        .iter()
        .find(|problem| problem.message.starts_with("`zzzzzz` is no key of"))
        .unwrap_or_else(|| panic!("{problems}"));
    let advice = problem.advice.as_deref().unwrap_or_default();
    let (_, keys) = advice.split_once("the keys here are ").unwrap();
    keys.split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let document: Value = serde_json::from_str(SCHEMA).unwrap();
    for (pointer, from, to) in [
        ("/properties", "\nserver:", "\nzzzzzz: 1\nserver:"),
        (
            "/properties/server/anyOf/0/properties",
            "server: {",
            "server: {zzzzzz: 1, ",
        ),
        (
            "/$defs/github/properties/app/properties",
            "secrets: [a]",
            "app: {zzzzzz: 1}",
        ),
        (
            "/$defs/tencent-cdn/properties/limits/anyOf/0/properties",
            "limits: {",
            "limits: {zzzzzz: 1, ",
        ),
        (
            "/$defs/tencent-ecdn/properties/limits/anyOf/0/properties",
            "signature: hmac-sha1",
            "limits: {zzzzzz: 1}",
        ),
        (
            "/$defs/site/properties",
            "  www:\n",
            "  www:\n    zzzzzz: 1\n",
        ),
        (
            "/$defs/trigger/anyOf/1/properties",
            "trigger: push",
            "trigger: {zzzzzz: 1}",
        ),
        (
            "/$defs/site/properties/status/anyOf/0/properties",
            "status: {",
            "status: {zzzzzz: 1, ",
        ),
        ("/$defs/rule/properties", "{name: a", "{zzzzzz: 1, name: a"),
        (
            "/$defs/case/properties",
            "{path: a/x.md",
            "{zzzzzz: 1, path: a/x.md",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        assert_eq!(
            keys_of_schema(&document, pointer),
            keys_of_reader(&text),
            "{pointer}"
        );
    }
    let forges = ALL_KINDS.forges.iter().map(|kind| ("forges", kind.name));
    let cdns = ALL_KINDS.cdns.iter().map(|kind| ("cdns", kind.name));
    for (part, kind) in forges.chain(cdns) {
        let entry = format!("{part}:\n  another: {{kind: {kind}, zzzzzz: 1}}\n");
        let text = GOOD.replacen(&format!("{part}:\n"), &entry, 1);
        let keys = keys_of_schema(&document, &format!("/$defs/{kind}/properties"));
        assert_eq!(keys, keys_of_reader(&text), "{kind}");
        let kinds = format!("/properties/{part}/additionalProperties/properties/kind/enum");
        let kinds = document.pointer(&kinds).and_then(Value::as_array).unwrap();
        assert!(kinds.contains(&kind.into()), "{kind}");
    }
}

#[test]
fn the_schema_knows_what_is_wrong_with_a_file_as_far_as_a_schema_can() {
    let schema = Schema::new();
    let options = serde_yaml::options! { strict_booleans: true };
    let mut different = Vec::new();
    for file in bad_files::all() {
        let value = serde_yaml::from_str_with_options::<Value>(&file.text, options.clone());
        let refuses = value.ok().map(|_| schema.refusal(&file.text).is_some());
        if refuses != file.schema_refuses {
            different.push((file.title.clone(), refuses));
        }
        assert!(
            refuses != Some(true) || file.has_errors(),
            "{}: the reader accepts it",
            file.title
        );
    }
    assert_eq!(different, []);
}
