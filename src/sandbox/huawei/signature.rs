//! Verifies Huawei Cloud's SDK-HMAC-SHA256, from the API signing guide.

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

use super::super::exchange::{Request, form_pairs};
use super::super::tencent::signature::{Authorization, sha256_mac};

/// How far a request's time may be off.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Everything but `A-Z a-z 0-9 - _ . ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Verifies the `Authorization` header against the request as received; otherwise returns the error message.
pub(super) fn verify(
    request: &Request,
    access_key: &str,
    secret_key: &str,
    now: Timestamp,
) -> Result<(), &'static str> {
    let given = request
        .header("authorization")
        .and_then(|text| Authorization::parse(text, "SDK-HMAC-SHA256 ", "Access"))
        .ok_or("Incorrect IAM authentication information: decrypt token fail")?;
    if given.credential != access_key {
        return Err("Incorrect IAM authentication information: AK access key not exist");
    }
    let date = request
        .header("x-sdk-date")
        .ok_or("Incorrect IAM authentication information: x-sdk-date is missing")?;
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .ok()
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|zoned| zoned.timestamp())
        .ok_or("Incorrect IAM authentication information: x-sdk-date is malformed")?;
    if now.duration_since(at).abs() > WINDOW {
        return Err("Incorrect IAM authentication information: signature expired");
    }
    let names: Vec<&str> = given.signed_headers.split(';').collect();
    let lower = names
        .iter()
        .all(|n| !n.bytes().any(|b| b.is_ascii_uppercase()));
    if !names.is_sorted() || !lower || !names.contains(&"x-sdk-date") {
        return Err("Incorrect IAM authentication information: SignedHeaders is malformed");
    }
    let canonical = canonical(request, &names, &given.signed_headers)
        .ok_or("Incorrect IAM authentication information: a signed header is missing")?;
    if sign(secret_key, date, &canonical) != given.signature {
        return Err("Incorrect IAM authentication information: verify aksk signature fail");
    }
    Ok(())
}

/// The canonical request.
fn canonical(request: &Request, names: &[&str], signed_headers: &str) -> Option<String> {
    let mut headers = String::new();
    for name in names {
        headers.push_str(&format!("{name}:{}\n", request.header(name)?));
    }
    let payload = match request.header("x-sdk-content-sha256") {
        Some(hash) if !request.body.is_empty() => hash.to_owned(),
        Some(_) | None => hex::encode(Sha256::digest(&request.body)),
    };
    Some(format!(
        "{}\n{}\n{}\n{headers}\n{signed_headers}\n{payload}",
        request.method,
        canonical_path(&request.path),
        canonical_query(&request.query)
    ))
}

/// Decodes and re-encodes each segment, and adds a final slash if there is none.
fn canonical_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let bytes: Vec<u8> = percent_decode_str(segment).collect();
        percent_encode(&bytes, ENCODED).to_string()
    });
    let mut path = segments.collect::<Vec<_>>().join("/");
    if !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// Sorted by name and then value, with `%20` for a space.
fn canonical_query(query: &str) -> String {
    let mut pairs = form_pairs(query.as_bytes());
    pairs.sort();
    let encode = |text: &str| percent_encode(text.as_bytes(), ENCODED).to_string();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

fn sign(secret_key: &str, date: &str, canonical: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("SDK-HMAC-SHA256\n{date}\n{hash}");
    hex::encode(sha256_mac(secret_key.as_bytes(), text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the API signing guide.
    #[test]
    fn the_signing_guides_example_verifies() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut request = Request {
            method: "GET".into(),
            path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs".into(),
            query: "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0".into(),
            headers: vec![
                header("content-type", "application/json"),
                header("host", "service.region.example.com"),
                header("x-sdk-date", "20191115T033655Z"),
                header(
                    "authorization",
                    "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, \
                     SignedHeaders=content-type;host;x-sdk-date, \
                     Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
                ),
            ],
            body: Vec::new(),
        };
        let secret = "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc";
        let now: Timestamp = "2019-11-15T03:40:00Z".parse().unwrap();

        assert_eq!(
            verify(&request, "QTWAOYTTINDUT2QVKYUC", secret, now),
            Ok(())
        );

        request.query.push('0');
        assert!(verify(&request, "QTWAOYTTINDUT2QVKYUC", secret, now).is_err());
    }
}
