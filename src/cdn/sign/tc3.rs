//! TC3-HMAC-SHA256, Tencent Cloud's signature for its API 3.0 (signature method v3).
//!
//! The request is converted to a canonical form, whose hash becomes part of the string to sign. The signing key is
//! derived from the secret key for one UTC day and one service.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The scheme's name: the first word of the Authorization header and the first line of the string to sign.
const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// The parts of a request that a signature covers, as they are sent. The path of every API 3.0 request is `/`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST` or `GET`.
    pub method: &'a str,
    /// The query exactly as it is sent, without `?`; empty for POST.
    pub query: &'a str,
    /// The headers to sign, by lower-case names in alphabetical order. `content-type` and `host` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body's bytes as they are sent; empty for GET.
    pub payload: &'a [u8],
}

/// The time and the product for which a signature is valid.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The product, e.g. `cdn`.
    pub service: &'a str,
    /// The time in X-TC-Timestamp. Tencent accepts a deviation of at most five minutes.
    pub time: Timestamp,
}

impl Scope<'_> {
    /// The UTC date of the timestamp, not the local one.
    fn date(&self) -> String {
        self.time
            .to_zoned(TimeZone::UTC)
            .strftime("%Y-%m-%d")
            .to_string()
    }

    fn credential(&self) -> String {
        format!("{}/{}/tc3_request", self.date(), self.service)
    }
}

/// The canonical form of a request. Header values are trimmed and converted to lower case, as documented.
pub fn canonical_request(request: &Request<'_>) -> String {
    let mut headers = String::new();
    for (name, value) in request.headers {
        headers.push_str(name);
        headers.push(':');
        headers.push_str(&value.trim().to_lowercase());
        headers.push('\n');
    }
    format!(
        "{}\n/\n{}\n{headers}\n{}\n{}",
        request.method,
        request.query,
        signed_headers(request),
        sha256_hex(request.payload),
    )
}

/// The string that the derived key signs.
pub fn string_to_sign(canonical_request: &str, scope: &Scope<'_>) -> String {
    format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        scope.time.as_second(),
        scope.credential(),
        sha256_hex(canonical_request.as_bytes()),
    )
}

/// The signature of a string to sign, in lower-case hex.
pub fn signature(secret_key: &SecretString, scope: &Scope<'_>, string_to_sign: &str) -> String {
    let root = format!("TC3{}", secret_key.expose_secret());
    let day = hmac_sha256(root.as_bytes(), scope.date().as_bytes());
    let service = hmac_sha256(&day, scope.service.as_bytes());
    let key = hmac_sha256(&service, b"tc3_request");
    hex::encode(hmac_sha256(&key, string_to_sign.as_bytes()))
}

/// The value of the Authorization header.
pub fn authorization(
    secret_id: &str,
    secret_key: &SecretString,
    scope: &Scope<'_>,
    request: &Request<'_>,
) -> String {
    let to_sign = string_to_sign(&canonical_request(request), scope);
    format!(
        "{ALGORITHM} Credential={secret_id}/{}, SignedHeaders={}, Signature={}",
        scope.credential(),
        signed_headers(request),
        signature(secret_key, scope, &to_sign),
    )
}

fn signed_headers(request: &Request<'_>) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// Requests that Tencent's own SDK signed with made-up credentials, and its results.
    #[derive(Deserialize)]
    struct Recorded {
        secret_id: String,
        secret_key: SecretString,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        service: String,
        time: i64,
        query: String,
        headers: BTreeMap<String, String>,
        #[serde(default)]
        unsigned_payload: bool,
        body: String,
        canonical_sha256: String,
        signature: String,
    }

    fn recorded() -> Recorded {
        serde_json::from_str(include_str!("../../../tests/data/tc3.json")).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_signs_as_the_vendors_own_client_does() {
        let recorded = recorded();
        assert_eq!(recorded.cases.len(), 21);

        for case in &recorded.cases {
            let headers: Vec<(&str, &str)> = case
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            // With X-TC-Content-SHA256: UNSIGNED-PAYLOAD, the hash is that of this text.
            let payload = if case.unsigned_payload {
                "UNSIGNED-PAYLOAD"
            } else {
                &case.body
            };
            let request = Request {
                method: &case.method,
                query: &case.query,
                headers: &headers,
                payload: payload.as_bytes(),
            };
            let scope = Scope {
                service: &case.service,
                time: at(case.time),
            };

            let canonical = canonical_request(&request);
            let authorization =
                authorization(&recorded.secret_id, &recorded.secret_key, &scope, &request);

            assert_eq!(
                sha256_hex(canonical.as_bytes()),
                case.canonical_sha256,
                "{}",
                case.name
            );
            assert!(
                authorization.ends_with(&format!("Signature={}", case.signature)),
                "{}: {authorization}",
                case.name
            );
            assert!(
                authorization.starts_with(
                    "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE0000000000000000000000SHARED/"
                ),
                "{authorization}"
            );
        }
    }

    #[test]
    fn it_gives_the_values_that_the_documentation_prints() {
        // "Signature v3", the DescribeInstances example in both its editions.
        let body = r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let two = [
            ("content-type", "application/json; charset=utf-8"),
            ("host", "cvm.tencentcloudapi.com"),
        ];
        let three = [two[0], two[1], ("x-tc-action", "DescribeInstances")];
        let request = |headers| Request {
            method: "POST",
            query: "",
            headers,
            payload: body.as_bytes(),
        };

        let older = canonical_request(&request(&two));
        let current = canonical_request(&request(&three));

        assert_eq!(
            sha256_hex(body.as_bytes()),
            "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
        );
        assert_eq!(
            sha256_hex(older.as_bytes()),
            "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031"
        );
        assert_eq!(
            sha256_hex(current.as_bytes()),
            "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84"
        );
        let scope = Scope {
            service: "cvm",
            time: at(1_551_113_065),
        };
        // The editions mask their keys with asterisks, and sign with the masked keys.
        for (key, canonical, printed) in [
            (
                "Gu5t9xGARNpq86cd98joQYCN3*******",
                &older,
                "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c",
            ),
            (
                "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
                &older,
                "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
            ),
            (
                "********************************",
                &current,
                "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
            ),
        ] {
            let to_sign = string_to_sign(canonical, &scope);
            assert_eq!(
                signature(&SecretString::from(key), &scope, &to_sign),
                printed
            );
        }
    }

    #[test]
    fn the_scope_carries_the_utc_date() {
        let scope = Scope {
            service: "cdn",
            time: at(1_767_225_599),
        };

        assert_eq!(scope.credential(), "2025-12-31/cdn/tc3_request");
    }
}
