//! A forge or a CDN that answers everything with an error in which it repeats the whole request,
//! credentials first, written in another way each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::fields::INSTALLATION_TOKEN;
use crate::stranger::{Asked, Stranger, answer};

/// Headers that hold credentials.
const SENSITIVE: [&str; 5] = [
    "authorization",
    "private-token",
    "x-auth-token",
    "x-tc-token",
    "x-security-token",
];

/// In so many ways what was asked is repeated.
pub const WAYS: usize = 6;

/// What was asked, credentials first: they must not be cut off.
fn repeated(asked: &Asked) -> String {
    let is_sensitive = |name: &str| SENSITIVE.contains(&name.to_ascii_lowercase().as_str());
    let (first, rest): (Vec<_>, Vec<_>) = asked
        .headers
        .iter()
        .partition(|(name, _)| is_sensitive(name));
    let header = |(name, value): &(String, String)| format!("{name}: {value}; ");
    let first: String = first.into_iter().map(header).collect();
    let rest: String = rest.into_iter().map(header).collect();
    let body = String::from_utf8_lossy(&asked.body);
    format!("{first}{body} {} {} {rest}", asked.method, asked.target)
}

fn written(text: &str, way: usize) -> String {
    match way % WAYS {
        0 => text.to_owned(),
        1 => STANDARD.encode(text),
        2 => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        3 => URL_SAFE_NO_PAD.encode(format!("?{text}")),
        4 => hex::encode(text),
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// Starts one that plays the entry `name`.
pub async fn start(name: &'static str) -> Stranger {
    let count = Arc::new(AtomicUsize::new(0));
    Stranger::start(move |asked| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { answered(name, &asked, number) }
    })
    .await
}

fn answered(name: &str, asked: &Asked, number: usize) -> Vec<u8> {
    // The App is let in before it is refused.
    if asked.target.ends_with("/installation") {
        return answer(200, &[], br#"{"id": 7}"#);
    }
    if asked.target.ends_with("/access_tokens") {
        let token = json!({"token": INSTALLATION_TOKEN, "expires_at": "2099-01-01T00:00:00Z"});
        return answer(201, &[], token.to_string().as_bytes());
    }
    let text = repeated(asked);
    let says = written(&text, number);
    // No header holds a line break.
    let in_header: String = says.chars().filter(|c| !c.is_control()).collect();
    let code = if number % 4 == 3 {
        says.as_str()
    } else {
        "AuthFailure.SecretIdNotFound"
    };
    let (status, body) = match name {
        "tencent" | "ecdn" | "tencent-variables" => (
            200,
            json!({"Response": {"Error": {"Code": code, "Message": says}, "RequestId": says}}),
        ),
        "qcloud" => (
            200,
            json!({"code": 4100, "message": says, "codeDesc": says}),
        ),
        "huawei" | "huawei-token" | "huawei-variables" => (
            401,
            json!({"error": {"error_code": "APIGW.0307", "error_msg": says}}),
        ),
        _ => {
            let status = [401, 403, 404, 422][number % 4];
            // Some errors come in plain text.
            if number % 5 == 4 {
                return answer(status, &[("Content-Type", "text/plain")], says.as_bytes());
            }
            let body = json!({"message": says, "errors": [says], "error_description": says});
            (status, body)
        }
    };
    let headers = [
        ("X-Request-Id", in_header.as_str()),
        ("X-Accepted-GitHub-Permissions", &in_header),
        ("Content-Type", "application/json"),
    ];
    answer(status, &headers, body.to_string().as_bytes())
}

/// The words by which requests proved who they were: signatures, JWTs, tokens for the hour.
pub fn proofs(asked: &Asked) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(value) = asked.header("authorization") {
        let words = value.split([' ', ',']).map(|word| {
            let word = word.trim();
            word.strip_prefix("Signature=").unwrap_or(word)
        });
        let public = |word: &&str| {
            let named = ["SignedHeaders=", "Credential=", "Access="];
            word.len() < 20
                || named.iter().any(|name| word.starts_with(name))
                || word.contains("-SHA256")
        };
        found.extend(words.filter(|word| !public(word)).map(str::to_owned));
    }
    let form = url::form_urlencoded::parse(&asked.body);
    let signatures = form.filter(|(name, _)| name == "Signature");
    found.extend(signatures.map(|(_, value)| value.into_owned()));
    found
}
