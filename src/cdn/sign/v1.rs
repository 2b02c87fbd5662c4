//! Tencent Cloud's signature method v1, for both its API 3.0 and API 2.0 (`QCloud`).
//!
//! All parameters, those of the action and the common ones, form one flat list. The list is sorted, signed with the
//! secret key, and sent as a form together with its signature.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;

/// RFC 3986: everything except the unreserved characters is encoded, with upper-case hex; a space is `%20`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The hash in `SignatureMethod`. The server's default is SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `HmacSHA1`.
    HmacSha1,
    /// `HmacSHA256`.
    HmacSha256,
}

impl Method {
    /// The value of the parameter `SignatureMethod`.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HmacSHA1",
            Self::HmacSha256 => "HmacSHA256",
        }
    }
}

/// Parameters by name, sorted by the bytes of the names: `Urls.10` before `Urls.2`.
pub type Parameters = BTreeMap<String, String>;

/// Flattens the action's parameters: `{"Urls": ["a"]}` becomes `Urls.0=a`. Null is omitted.
pub fn flatten(parameters: &Value) -> Parameters {
    let mut flat = Parameters::new();
    flatten_into(&mut flat, "", parameters);
    flat
}

fn flatten_into(flat: &mut Parameters, name: &str, value: &Value) {
    let below = |part: &str| match name {
        "" => part.to_owned(),
        name => format!("{name}.{part}"),
    };
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => {
            flat.insert(name.to_owned(), value.to_string());
        }
        Value::String(text) => {
            flat.insert(name.to_owned(), text.clone());
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                flatten_into(flat, &below(&index.to_string()), value);
            }
        }
        Value::Object(values) => {
            for (key, value) in values {
                flatten_into(flat, &below(key), value);
            }
        }
    }
}

/// The string to sign: the method, the host with any port, the path, and every parameter with its raw, unencoded
/// value.
pub fn string_to_sign(method: &str, host: &str, path: &str, parameters: &Parameters) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{method}{host}{path}?{}", pairs.join("&"))
}

/// The signature of a string in Base64, not yet encoded for a form.
pub fn signature(secret_key: &SecretString, method: Method, string_to_sign: &str) -> String {
    let key = secret_key.expose_secret().as_bytes();
    let message = string_to_sign.as_bytes();
    match method {
        Method::HmacSha1 => STANDARD.encode(mac::<Hmac<Sha1>>(key, message)),
        Method::HmacSha256 => STANDARD.encode(mac::<Hmac<Sha256>>(key, message)),
    }
}

/// The parameters as they are sent in a query or a form.
pub fn form(parameters: &Parameters) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
        .collect();
    pairs.join("&")
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// Requests that Tencent's own clients signed with made-up credentials, and their signatures.
    #[derive(Deserialize)]
    struct Recorded {
        secret_key: SecretString,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        host: String,
        path: String,
        parameters: Parameters,
        sha1: String,
        sha256: String,
    }

    fn check(recorded: &str, signed: impl Fn(&Case) -> Parameters) {
        let recorded: Recorded = serde_json::from_str(recorded).unwrap();
        assert_eq!(recorded.cases.len(), 13);
        for case in &recorded.cases {
            for (method, expected) in [
                (Method::HmacSha1, &case.sha1),
                (Method::HmacSha256, &case.sha256),
            ] {
                let mut parameters = signed(case);
                parameters.insert("SignatureMethod".to_owned(), method.name().to_owned());
                let to_sign = string_to_sign(&case.method, &case.host, &case.path, &parameters);

                assert_eq!(
                    &signature(&recorded.secret_key, method, &to_sign),
                    expected,
                    "{}",
                    case.name
                );
            }
        }
    }

    #[test]
    fn it_signs_api_3_requests_as_the_vendors_own_client_does() {
        check(
            include_str!("../../../tests/data/tencent-v1.json"),
            |case| case.parameters.clone(),
        );
    }

    #[test]
    fn it_signs_api_2_requests_as_the_vendors_own_client_does() {
        // The old client signs `.` instead of `_` in names and omits POST values that start with `@` (its mark for
        // files). We send no parameter with either.
        check(include_str!("../../../tests/data/qcloud-v2.json"), |case| {
            case.parameters
                .iter()
                .filter(|(_, value)| case.method == "GET" || !value.starts_with('@'))
                .map(|(name, value)| (name.replace('_', "."), value.clone()))
                .collect()
        });
    }

    #[test]
    fn it_gives_the_value_that_the_documentation_prints() {
        let parameters = flatten(&json!({
            "Action": "DescribeInstances", "InstanceIds": ["ins-09dx96dg"], "Limit": 20,
            "Nonce": 11886, "Offset": 0, "Region": "ap-guangzhou",
            "SecretId": "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******", "Timestamp": 1_465_185_768,
            "Version": "2017-03-12",
        }));
        let key = SecretString::from("Gu5t9xGARNpq86cd98joQYCN3*******");

        let to_sign = string_to_sign("GET", "cvm.tencentcloudapi.com", "/", &parameters);

        assert_eq!(
            signature(&key, Method::HmacSha1, &to_sign),
            "zmmjn35mikh6pM3V7sUEuX4wyYM="
        );
    }

    #[test]
    fn a_form_encodes_values_by_rfc_3986() {
        let parameters = flatten(&json!({"Urls": ["http://a.example/é +~"], "Area": null}));

        assert_eq!(
            form(&parameters),
            "Urls.0=http%3A%2F%2Fa.example%2F%C3%A9%20%2B~"
        );
    }
}
