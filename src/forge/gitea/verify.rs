//! Gitea's signature: HMAC-SHA256 in bare hex, over the JSON even where that
//! came in a form (GitHub signs the form's text).
//!
//! Gitea sends GitHub's and Gogs's headers too, and sends all of them empty when
//! the webhook has no secret. Only its own and Forgejo's are looked at.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::forge::body::{self, FORM};
use crate::forge::{Headers, Refusal, Verified};

/// Whichever of these came must be right: a wrong one is not made good by another.
const SIGNATURES: [&str; 2] = ["x-gitea-signature", "x-forgejo-signature"];

pub(super) fn verify(
    secrets: &[SecretString],
    headers: &Headers,
    body: &[u8],
) -> Result<Verified, Refusal> {
    let came: Vec<_> = SIGNATURES
        .into_iter()
        .filter(|name| headers.has(name))
        .collect();
    if came.is_empty() {
        return Err(Refusal::Unsigned(
            "no X-Gitea-Signature header came with the request".to_owned(),
        ));
    }
    let wrong = || Refusal::BadSignature("the X-Gitea-Signature header does not fit".to_owned());
    let signed = signed_bytes(headers, body).ok_or_else(wrong)?;
    let mut good = Choice::from(1);
    for name in came {
        good &= fits(secrets, headers.get(name).ok_or_else(wrong)?, &signed);
    }
    if !bool::from(good) {
        return Err(wrong());
    }
    let name = |names: [&str; 2]| names.into_iter().find_map(|name| headers.name(name));
    Ok(Verified {
        delivery_id: name(["x-gitea-delivery", "x-forgejo-delivery"]).map(str::to_owned),
        event: name(["x-gitea-event", "x-forgejo-event"])
            .unwrap_or_default()
            .to_owned(),
    })
}

/// The JSON, whether it is the body or a field of it. None for a form without it.
fn signed_bytes<'a>(headers: &Headers, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let content_type = headers.text("content-type").unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(FORM) {
        return body::form_field(body).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(body))
}

/// Every secret is tried, so that the time tells nothing about which one fits.
fn fits(secrets: &[SecretString], signature: &[u8], signed: &[u8]) -> Choice {
    secrets
        .iter()
        .map(|secret| secret.expose_secret().as_bytes())
        .filter(|secret| !secret.is_empty())
        .filter_map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(signed);
            Some(hex::encode(mac.finalize().into_bytes()))
        })
        .fold(Choice::from(0), |good, right| {
            good | right.as_bytes().ct_eq(signature)
        })
}
