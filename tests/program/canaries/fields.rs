//! Every field of the rules file that holds a secret, each with a secret that is like no other.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A rules file with every secret field of every kind. `@DEF/KEY` stands for a secret of the
/// field `KEY` in the schema's `DEF`; what follows `#` tells apart several of one field.
/// `<NAME>` is the address of the stranger who plays NAME.
pub const RULES: &str = r#"
server:
  listen: ${LISTEN}
  database: ${DATABASE}
  public_url: https://purge.example.com
  admin_token: @server/admin_token
  read_token: @server/read_token
forges:
  github:
    kind: github
    secrets: @github/secrets
    token: @github/token
    api_url: <github>
  app:
    kind: github
    secrets: @github/secrets#app
    app:
      id: 12345
      private_key: @github/app/private_key
    api_url: <app>
  gitlab:
    kind: gitlab
    signing_tokens: @gitlab/signing_tokens
    token: @gitlab/token
    api_url: <gitlab>
  plain:
    kind: gitlab
    secrets: @gitlab/secrets
    token: @gitlab/token#plain
    api_url: <plain>
  gitea:
    kind: gitea
    secrets: @gitea/secrets
    token: @gitea/token
    api_url: <gitea>
  gitee:
    kind: gitee
    mode: password
    secrets: @gitee/secrets
    token: @gitee/token
    api_url: <gitee>
cdns:
  tencent:
    kind: tencent-cdn
    secret_id: @tencent-cdn/secret_id
    secret_key: @tencent-cdn/secret_key
    token: @tencent-cdn/token
    endpoint: <tencent>
  ecdn:
    kind: tencent-ecdn
    signature: hmac-sha256
    secret_id: @tencent-ecdn/secret_id
    secret_key: @tencent-ecdn/secret_key
    token: @tencent-ecdn/token
    endpoint: <ecdn>
  qcloud:
    kind: qcloud
    secret_id: @qcloud/secret_id
    secret_key: @qcloud/secret_key
    token: @qcloud/token
    endpoint: <qcloud>
  huawei:
    kind: huawei-cdn
    access_key: @huawei-cdn/access_key
    secret_key: @huawei-cdn/secret_key
    security_token: @huawei-cdn/security_token
    endpoint: <huawei>
  huawei-token:
    kind: huawei-cdn
    token: @huawei-cdn/token
    endpoint: <huawei-token>
  tencent-variables:
    kind: tencent-cdn
    endpoint: <tencent-variables>
  huawei-variables:
    kind: huawei-cdn
    endpoint: <huawei-variables>
sites:
"#;

/// Entries under `forges:` whose API is played by a stranger of the same name.
pub const FORGES: [&str; 6] = ["github", "app", "gitlab", "plain", "gitea", "gitee"];
/// The same under `cdns:`.
pub const CDNS: [&str; 7] = [
    "tencent",
    "ecdn",
    "qcloud",
    "huawei",
    "huawei-token",
    "tencent-variables",
    "huawei-variables",
];
/// The vendors' own variables, which stand in for keys that the file does not give.
pub const VARIABLES: [&str; 6] = [
    "TENCENTCLOUD_SECRET_ID",
    "TENCENTCLOUD_SECRET_KEY",
    "TENCENTCLOUD_TOKEN",
    "HUAWEICLOUD_SDK_AK",
    "HUAWEICLOUD_SDK_SK",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN",
];

/// The signing key behind GitLab's `whsec_`.
pub const SIGNING_KEY: &[u8; 32] = b"canary as a signing key 32 bytes";
/// The password in the database's address.
pub const DATABASE_PASSWORD: &str = "canary_database_Qz81";
/// The token that the App's installation is given.
pub const INSTALLATION_TOKEN: &str = "ghs_canaryInstallation7Xk2";

/// A secret in a place of its own.
#[derive(Clone)]
pub struct Canary {
    /// `github/token`, `TENCENTCLOUD_TOKEN`.
    pub id: String,
    pub value: String,
}

/// How a rules file comes by a secret.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Variable,
    File,
    Written,
}

/// The secret of each field in [`RULES`], in its order, and those of the vendors' variables.
pub fn canaries() -> Vec<Canary> {
    let fields = RULES.lines().filter_map(|line| line.split_once('@'));
    let ids = fields
        .map(|(_, id)| id.to_owned())
        .chain(VARIABLES.map(str::to_owned));
    (10..)
        .zip(ids)
        .map(|(number, id)| {
            let value = match id.as_str() {
                "gitlab/signing_tokens" => format!("whsec_{}", STANDARD.encode(SIGNING_KEY)),
                "github/app/private_key" => {
                    include_str!("../../data/github-app-pkcs1.pem").to_owned()
                }
                // All that a header may hold and that encodings change.
                _ => format!("canary{number}+Kq/{}=~{number}\"x", number * 7919),
            };
            Canary { id, value }
        })
        .collect()
}

/// The value of a canary.
pub fn value<'c>(canaries: &'c [Canary], id: &str) -> &'c str {
    let found = canaries.iter().find(|canary| canary.id == id);
    &found
        .unwrap_or_else(|| panic!("there is no canary {id}"))
        .value
}

/// The file with its secrets: as they come by `way`, each field by the next way from there. Strangers are at
/// `addresses`. Variables that it needs are given along.
pub fn rules(
    canaries: &[Canary],
    folder: &Path,
    first: Way,
    address: impl Fn(&str) -> String,
) -> (String, Vec<(String, String)>) {
    let ways = [Way::Variable, Way::File, Way::Written];
    let skipped = ways.iter().position(|way| *way == first).unwrap();
    let mut ways = ways.iter().cycle().skip(skipped);
    let mut variables: Vec<(String, String)> = VARIABLES
        .iter()
        .map(|name| ((*name).to_owned(), value(canaries, name).to_owned()))
        .collect();
    let mut text = String::new();
    for line in RULES.lines() {
        if let Some((before, id)) = line.split_once(": @") {
            let (value, way) = (value(canaries, id), ways.next().unwrap());
            let name = id.to_uppercase().replace(['/', '-', '#'], "_");
            match way {
                Way::Variable => {
                    text.push_str(&format!("{before}: ${{CANARY_{name}}}\n"));
                    variables.push((format!("CANARY_{name}"), value.to_owned()));
                }
                Way::File => {
                    let path = folder.join(&name);
                    std::fs::write(&path, format!("{value}\n")).unwrap();
                    text.push_str(&format!("{before}_file: {}\n", path.display()));
                }
                // A JSON text is a YAML text too.
                Way::Written => {
                    text.push_str(&format!("{before}: {}\n", Value::from(value)));
                }
            }
        } else if let Some((before, name)) = line.split_once('<') {
            let address = address(name.trim_end_matches('>'));
            text.push_str(&format!("{before}{address}\n"));
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    for forge in FORGES {
        let cdns = match forge {
            "github" => CDNS.join(", "),
            _ => "tencent".to_owned(),
        };
        text.push_str(&format!(
            "  {forge}:
    repo: {forge}:acme/website
    branches: [main]
    base_urls: [\"https://www.example.com\"]
    cdns: [{cdns}]
    rules:
      - {{name: files, match: [\"static/**\"], strip: static/, urls: [\"/{{path}}\"]}}
      - {{name: theme, match: [\"layouts/**\"], directories: [\"/\"]}}
"
        ));
    }
    (text, variables)
}

/// The secret fields that the schema knows: those that may stand in a file of their own.
pub fn of_schema(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, "", &mut found);
    found
}

fn walk(node: &Value, place: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = node["properties"].as_object() {
        for key in properties.keys() {
            if properties.contains_key(&format!("{key}_file")) {
                found.insert(format!("{place}{key}"));
            }
        }
    }
    match node {
        Value::Object(entries) => {
            for (key, below) in entries {
                // Only what names a thing is a part of its place.
                match key.as_str() {
                    "$defs" | "properties" | "anyOf" | "oneOf" | "allOf" => {
                        walk(below, place, found);
                    }
                    _ => walk(below, &format!("{place}{key}/"), found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, found)),
        _ => {}
    }
}
