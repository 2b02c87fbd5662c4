//! GitHub's signature: HMAC-SHA256 over the request's body as it came, in `X-Hub-Signature-256`.
//!
//! The older `X-Hub-Signature` (SHA-1) is sent beside it and never looked at.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::forge::{Headers, Refusal, Verified};

const SIGNATURE: &str = "x-hub-signature-256";

pub(super) fn verify(
    secrets: &[SecretString],
    headers: &Headers,
    body: &[u8],
) -> Result<Verified, Refusal> {
    let Some(signature) = headers.get(SIGNATURE) else {
        return Err(Refusal::Unsigned(
            "no single X-Hub-Signature-256 header came with the request".to_owned(),
        ));
    };
    // Every secret is tried, so that the time tells nothing about which one fits.
    let good = secrets
        .iter()
        .map(|secret| secret.expose_secret().as_bytes())
        .filter(|secret| !secret.is_empty())
        .filter_map(|secret| sign(secret, body))
        .fold(Choice::from(0), |good, right| {
            good | right.as_bytes().ct_eq(signature)
        });
    if !bool::from(good) {
        return Err(Refusal::BadSignature(
            "the X-Hub-Signature-256 header does not fit the body".to_owned(),
        ));
    }
    Ok(Verified {
        delivery_id: headers.name("x-github-delivery").map(str::to_owned),
        event: headers
            .name("x-github-event")
            .unwrap_or_default()
            .to_owned(),
    })
}

/// The header's only right value. Comparing it as text leaves no other spelling.
fn sign(secret: &[u8], body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(body);
    Some(format!(
        "sha256={}",
        hex::encode(mac.finalize().into_bytes())
    ))
}
