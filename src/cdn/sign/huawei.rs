//! SDK-HMAC-SHA256, Huawei Cloud's signature for requests with an access key.
//!
//! Similar to TC3, but the secret key signs directly, the query is sorted and encoded again, and the signed path
//! has a final slash that the request does not have.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parts of a request that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST` or `GET`.
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query's parameters, not encoded.
    pub query: &'a [(String, String)],
    /// The headers to sign, by lower-case names in alphabetical order. `x-sdk-date` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body's hash, or the value of the header `x-sdk-content-sha256` instead.
    pub payload_hash: &'a str,
}

/// A time in the format of `X-Sdk-Date`: `20250101T010405Z`.
pub fn sdk_date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// The hash of a body's bytes, in lower-case hex.
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The canonical query, which is also a valid one to send: sorted, and `k=` for an empty value.
pub fn canonical_query(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = parameters.iter().collect();
    sorted.sort();
    let pairs: Vec<String> = sorted
        .into_iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

/// The canonical form of a request.
pub fn canonical_request(request: &Request<'_>) -> String {
    let mut headers = String::new();
    for (name, value) in request.headers {
        headers.push_str(name);
        headers.push(':');
        headers.push_str(value.trim());
        headers.push('\n');
    }
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        canonical_uri(request.path),
        canonical_query(request.query),
        signed_headers(request),
        request.payload_hash,
    )
}

/// The string that the secret key signs.
pub fn string_to_sign(canonical_request: &str, sdk_date: &str) -> String {
    let hash = payload_hash(canonical_request.as_bytes());
    format!("{ALGORITHM}\n{sdk_date}\n{hash}")
}

/// The signature of a string, in lower-case hex.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub fn signature(secret_key: &SecretString, string_to_sign: &str) -> String {
    let key = secret_key.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(string_to_sign.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The value of the Authorization header.
pub fn authorization(
    access_key: &str,
    secret_key: &SecretString,
    sdk_date: &str,
    request: &Request<'_>,
) -> String {
    let to_sign = string_to_sign(&canonical_request(request), sdk_date);
    format!(
        "{ALGORITHM} Access={access_key}, SignedHeaders={}, Signature={}",
        signed_headers(request),
        signature(secret_key, &to_sign),
    )
}

/// Decodes and re-encodes each segment, and adds a final slash.
fn canonical_uri(path: &str) -> String {
    let mut uri = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        uri.push('/');
        uri.push_str(&encoded(&percent_decode_str(segment).decode_utf8_lossy()));
    }
    uri.push('/');
    uri
}

fn signed_headers(request: &Request<'_>) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// Requests that Huawei's own SDK signed with made-up credentials, and its results.
    #[derive(Deserialize)]
    struct Recorded {
        access_key: String,
        secret_key: SecretString,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        query: String,
        headers: BTreeMap<String, String>,
        body: String,
        #[serde(default)]
        unsigned_payload: bool,
        uri: String,
        canonical_query: String,
        canonical_sha256: String,
        signature: String,
    }

    fn parameters(query: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    }

    #[test]
    fn it_signs_as_the_vendors_own_client_does() {
        let recorded: Recorded =
            serde_json::from_str(include_str!("../../../tests/data/huawei.json")).unwrap();
        assert_eq!(recorded.cases.len(), 17);

        for case in &recorded.cases {
            let headers: Vec<(&str, &str)> = case
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let hash = if case.unsigned_payload {
                "UNSIGNED-PAYLOAD".to_owned()
            } else {
                payload_hash(case.body.as_bytes())
            };
            let query = parameters(&case.query);
            let request = Request {
                method: &case.method,
                path: &case.path,
                query: &query,
                headers: &headers,
                payload_hash: &hash,
            };

            let canonical = canonical_request(&request);
            let authorization = authorization(
                &recorded.access_key,
                &recorded.secret_key,
                &case.headers["x-sdk-date"],
                &request,
            );

            assert_eq!(canonical_uri(&case.path), case.uri, "{}", case.name);
            assert_eq!(
                canonical_query(&query),
                case.canonical_query,
                "{}",
                case.name
            );
            assert_eq!(
                payload_hash(canonical.as_bytes()),
                case.canonical_sha256,
                "{}",
                case.name
            );
            let expected = format!("Signature={}", case.signature);
            assert!(authorization.ends_with(&expected), "{}", case.name);
        }
    }

    #[test]
    fn it_gives_the_values_that_the_documentation_prints() {
        // The example of the API signing guide.
        let query = parameters("marker=13551d6b-755d-4757-b956-536f674975c0&limit=2");
        let date = sdk_date("2019-11-15T03:36:55Z".parse().unwrap());
        let request = Request {
            method: "GET",
            path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
            query: &query,
            headers: &[
                ("content-type", "application/json"),
                ("host", "service.region.example.com"),
                ("x-sdk-date", &date),
            ],
            payload_hash: &payload_hash(b""),
        };
        let key = SecretString::from("MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc");

        let canonical = canonical_request(&request);

        assert_eq!(
            payload_hash(canonical.as_bytes()),
            "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
        );
        assert_eq!(
            authorization("QTWAOYTTINDUT2QVKYUC", &key, &date, &request),
            "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, \
             SignedHeaders=content-type;host;x-sdk-date, \
             Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
        );
    }
}
