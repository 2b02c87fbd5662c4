//! Verifies Tencent Cloud's signatures: TC3-HMAC-SHA256 (signature method v3) and `HmacSHA1` / `HmacSHA256`
//! (signature method v1), from Tencent's pages on both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::super::exchange::Request;

/// How far a request's time may be off, in seconds.
const WINDOW: i64 = 300;

/// An error as the API names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Refused {
    pub code: String,
    pub message: String,
}

impl Refused {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// Who may call: the key pair, and the session token that must come with it where there is one.
pub(in crate::sandbox) struct Keys<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    pub token: Option<&'a str>,
}

fn mismatch(what: &str) -> Refused {
    Refused::new(
        "AuthFailure.SignatureFailure",
        format!(
            "The provided credentials could not be validated. Please check your signature is correct: {what}."
        ),
    )
}

/// Checks the time, which counts from the epoch in whole seconds.
pub(in crate::sandbox) fn check_time(
    text: Option<&str>,
    now: Timestamp,
) -> Result<Timestamp, Refused> {
    let Some(text) = text else {
        return Err(Refused::new(
            "MissingParameter",
            "The request is missing a required parameter `Timestamp`.",
        ));
    };
    let at = text
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| {
            Refused::new(
                "InvalidParameter",
                "The value of `Timestamp` is not a whole number of seconds.",
            )
        })?;
    if (now.as_second() - at.as_second()).abs() > WINDOW {
        return Err(Refused::new(
            "AuthFailure.SignatureExpire",
            "The provided credentials could not be validated because it has expired.",
        ));
    }
    Ok(at)
}

/// Verifies TC3-HMAC-SHA256 over the request as it came.
pub(in crate::sandbox) fn verify_tc3(
    request: &Request,
    service: &str,
    keys: &Keys<'_>,
    now: Timestamp,
) -> Result<(), Refused> {
    let malformed = || {
        Refused::new(
            "AuthFailure.InvalidAuthorization",
            "The `Authorization` header is not in the format TC3-HMAC-SHA256 asks for.",
        )
    };
    let given = request
        .header("authorization")
        .and_then(|text| Authorization::parse(text, "TC3-HMAC-SHA256 ", "Credential"))
        .ok_or_else(malformed)?;
    let scope: Vec<&str> = given.credential.split('/').collect();
    let [id, date, scoped_service, "tc3_request"] = scope.as_slice() else {
        return Err(malformed());
    };
    let at = check_time(request.header("x-tc-timestamp"), now)?;
    if *id != keys.id {
        return Err(Refused::new(
            "AuthFailure.SecretIdNotFound",
            "The SecretId is not found, please ensure that your SecretId is correct.",
        ));
    }
    if *date != at.strftime("%Y-%m-%d").to_string() {
        return Err(mismatch(
            "the date in the credential scope is not the UTC date of X-TC-Timestamp",
        ));
    }
    if *scoped_service != service {
        return Err(mismatch(
            "the service in the credential scope is not this one",
        ));
    }
    if request.header("x-tc-token") != keys.token {
        return Err(Refused::new(
            "AuthFailure.TokenFailure",
            "The token is not the one that belongs to the SecretId.",
        ));
    }
    let canonical = canonical_tc3(request, &given.signed_headers)?;
    let expected = tc3(keys.secret, date, service, at.as_second(), &canonical);
    if expected != given.signature {
        return Err(mismatch("the signature is another one"));
    }
    Ok(())
}

/// The canonical request of TC3, from the wire.
pub(super) fn canonical_tc3(request: &Request, signed_headers: &str) -> Result<String, Refused> {
    let names: Vec<&str> = signed_headers.split(';').collect();
    if !names.is_sorted()
        || names
            .iter()
            .any(|n| n.bytes().any(|b| b.is_ascii_uppercase()))
    {
        return Err(mismatch("SignedHeaders must be lower-case and sorted"));
    }
    if !names.contains(&"content-type") || !names.contains(&"host") {
        return Err(mismatch("content-type and host must be signed"));
    }
    let mut headers = String::new();
    for name in &names {
        let Some(value) = request.header(name) else {
            return Err(mismatch("a signed header did not come"));
        };
        // The documents lower-case values, the SDKs do not: a value that is read two ways is refused.
        if *name == "content-type" && value.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(mismatch("Content-Type is not lower-case"));
        }
        headers.push_str(&format!("{name}:{}\n", value.to_lowercase()));
    }
    let payload = match request.header("x-tc-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => b"UNSIGNED-PAYLOAD".to_vec(),
        Some(_) | None if request.method == "GET" => Vec::new(),
        Some(_) | None => request.body.clone(),
    };
    Ok(format!(
        "{}\n/\n{}\n{headers}\n{signed_headers}\n{}",
        request.method,
        if request.method == "GET" {
            request.query.as_str()
        } else {
            ""
        },
        hex::encode(Sha256::digest(payload))
    ))
}

pub(super) fn tc3(
    secret: &str,
    date: &str,
    service: &str,
    timestamp: i64,
    canonical: &str,
) -> String {
    let to_sign = format!(
        "TC3-HMAC-SHA256\n{timestamp}\n{date}/{service}/tc3_request\n{}",
        hex::encode(Sha256::digest(canonical))
    );
    let key = sha256_mac(format!("TC3{secret}").as_bytes(), date.as_bytes());
    let key = sha256_mac(&key, service.as_bytes());
    let key = sha256_mac(&key, b"tc3_request");
    hex::encode(sha256_mac(&key, to_sign.as_bytes()))
}

/// The parts of an `Authorization` header in the style that Tencent and Huawei share.
pub(in crate::sandbox) struct Authorization {
    pub credential: String,
    pub signed_headers: String,
    pub signature: String,
}

impl Authorization {
    /// Reads `<scheme><credential_name>=..., SignedHeaders=..., Signature=...`.
    pub fn parse(text: &str, scheme: &str, credential_name: &str) -> Option<Self> {
        let parts: Vec<(&str, &str)> = text
            .strip_prefix(scheme)?
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
            .collect();
        let find = |name: &str| {
            let found = parts.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Some(Self {
            credential: find(credential_name)?,
            signed_headers: find("SignedHeaders")?,
            signature: find("Signature")?,
        })
    }
}

/// Verifies signature method v1 over decoded parameters. `at` is host and path as signed
/// (`cdn.tencentcloudapi.com/`).
pub(in crate::sandbox) fn verify_v1(
    method: &str,
    at: &str,
    parameters: &[(String, String)],
    secret: &str,
) -> bool {
    let given = parameters
        .iter()
        .find(|(name, _)| name == "Signature")
        .map(|(_, value)| value.as_str());
    let method_name = parameters
        .iter()
        .find(|(name, _)| name == "SignatureMethod")
        .map(|(_, value)| value.as_str());
    let text = string_to_sign_v1(method, at, parameters);
    given == Some(sign_v1(method_name, secret, &text).as_str())
}

/// The signature of v1. Any method but `HmacSHA256`, and none at all, means SHA-1.
pub(in crate::sandbox) fn sign_v1(method: Option<&str>, secret: &str, text: &str) -> String {
    if method == Some("HmacSHA256") {
        STANDARD.encode(sha256_mac(secret.as_bytes(), text.as_bytes()))
    } else {
        STANDARD.encode(sha1_mac(secret.as_bytes(), text.as_bytes()))
    }
}

/// The text that v1 signs: the parameters sorted by name, their values as they are.
pub(in crate::sandbox) fn string_to_sign_v1(
    method: &str,
    at: &str,
    parameters: &[(String, String)],
) -> String {
    let mut sorted: Vec<&(String, String)> = parameters
        .iter()
        .filter(|(name, _)| name != "Signature")
        .collect();
    sorted.sort();
    let pairs: Vec<String> = sorted
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{method}{at}?{}", pairs.join("&"))
}

/// HMAC-SHA256.
pub(in crate::sandbox) fn sha256_mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

fn sha1_mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    Hmac::<Sha1>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}
