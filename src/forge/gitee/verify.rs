//! Gitee's two ways to authenticate a delivery: a signature over the time, or a password in clear text ("Webhook
//! key verification and verification algorithm").
//!
//! Neither covers the body. To stop an attacker from reusing a captured signature with another body, each is
//! accepted for five minutes and for one body only.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::forge::{BodyVerifier, Headers, Refusal, Verified, VerifiedByHeaders};

/// How far a signature's time may be off in either direction, in milliseconds. Gitee's documents say one hour.
pub(super) const TOLERANCE: i64 = 5 * 60 * 1_000;
/// Signatures to remember. Only someone with the key can create more.
const MAX_REMEMBERED: usize = 10_000;

/// The kind of secret, as on the webhook's page on Gitee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A signing key.
    Sign,
    /// A password, sent in clear text.
    Password,
}

/// A signature's time in milliseconds, and the signature.
type Used = (i64, Vec<u8>);

/// The secrets that a delivery may contain, and how.
pub struct Trust {
    mode: Mode,
    secrets: Vec<SecretString>,
    used: Arc<UsedSignatures>,
}

/// The signatures received within the time limit, each with the digest of the body that it was used for.
#[derive(Default)]
struct UsedSignatures(Mutex<BTreeMap<Used, [u8; 32]>>);

impl Trust {
    /// Accepts any of these secrets. Empty ones are never used.
    pub fn new(mode: Mode, secrets: Vec<SecretString>) -> Self {
        Self {
            mode,
            secrets,
            used: Arc::default(),
        }
    }

    /// The token header for the first secret at a time, in milliseconds since 1970. None without a secret.
    pub(super) fn token_at(&self, timestamp: &str) -> Option<String> {
        let mut secrets = self.secrets.iter().map(|secret| secret.expose_secret());
        let secret = secrets.find(|secret| !secret.is_empty())?;
        match self.mode {
            Mode::Password => Some(secret.to_owned()),
            Mode::Sign => sign(secret.as_bytes(), timestamp.as_bytes()),
        }
    }

    /// The configured kind of secret.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Verifies a request by its headers first, and then by its body. `now` is in milliseconds since 1970.
    pub(super) fn verifier(
        &self,
        headers: &Headers,
        now: i64,
    ) -> Result<Box<dyn BodyVerifier>, Refusal> {
        let Some(token) = headers.get("x-gitee-token") else {
            return Err(Refusal::Unsigned(
                "no single X-Gitee-Token header came with the request".to_owned(),
            ));
        };
        let verified = Verified {
            // Gitee sends no delivery id.
            delivery_id: None,
            event: headers.name("x-gitee-event").unwrap_or_default().to_owned(),
        };
        Ok(match self.mode {
            Mode::Password => {
                self.check_password(headers, token)?;
                Box::new(VerifiedByHeaders(verified))
            }
            Mode::Sign => {
                let signed_at = self.check_signature(headers, token, now)?;
                Box::new(OneBodyVerifier {
                    digest: Sha256::new(),
                    signature: (signed_at, token.to_owned()),
                    used: Arc::clone(&self.used),
                    now,
                    verified,
                })
            }
        })
    }

    /// Tries every secret, so that timing does not reveal which one matches.
    fn any(&self, fits: impl Fn(&[u8]) -> Choice) -> bool {
        let secrets = self.secrets.iter().map(|s| s.expose_secret().as_bytes());
        let good = secrets
            .filter(|secret| !secret.is_empty())
            .fold(Choice::from(0), |good, secret| good | fits(secret));
        bool::from(good)
    }

    fn is_password(&self, token: &[u8]) -> bool {
        self.any(|secret| secret.ct_eq(token))
    }

    fn is_signature(&self, token: &[u8], timestamp: &[u8]) -> bool {
        self.any(|secret| match sign(secret, timestamp) {
            Some(right) => right.as_bytes().ct_eq(token),
            None => Choice::from(0),
        })
    }

    fn check_password(&self, headers: &Headers, token: &[u8]) -> Result<(), Refusal> {
        if self.is_password(token) {
            return Ok(());
        }
        // Only revealed to a sender that signed with a secret of the hook.
        if let Some(timestamp) = headers.get("x-gitee-timestamp")
            && self.is_signature(token, timestamp)
        {
            return Err(Refusal::OtherMode(
                "the X-Gitee-Token header is a signature, and a password is waited for; write `mode: sign` \
                 under this forge in rules.yaml, or choose the password on the webhook's page"
                    .to_owned(),
            ));
        }
        Err(Refusal::BadSignature(
            "the X-Gitee-Token header is not the hook's password".to_owned(),
        ))
    }

    /// The time when a request was signed.
    fn check_signature(&self, headers: &Headers, token: &[u8], now: i64) -> Result<i64, Refusal> {
        // Only revealed to a sender that has a secret of the hook.
        if self.is_password(token) {
            return Err(Refusal::OtherMode(
                "the X-Gitee-Token header is the secret itself, and a signature is waited for; write \
                 `mode: password` under this forge in rules.yaml, or choose the signature on the webhook's page"
                    .to_owned(),
            ));
        }
        let Some(timestamp) = headers.get("x-gitee-timestamp") else {
            return Err(Refusal::Unsigned(
                "no single X-Gitee-Timestamp header came with the request".to_owned(),
            ));
        };
        let wrong = || {
            Refusal::BadSignature("the X-Gitee-Token header is not a signature of ours".to_owned())
        };
        let signed_at = milliseconds(timestamp).ok_or_else(wrong)?;
        if !self.is_signature(token, timestamp) {
            return Err(wrong());
        }
        // Only revealed to a sender that signed: a forged request must learn nothing.
        let off = now.abs_diff(signed_at);
        if off > TOLERANCE.unsigned_abs() {
            return Err(Refusal::BadSignature(format!(
                "the request was signed {} seconds away from now, and {} are allowed; check the clocks",
                off / 1_000,
                TOLERANCE / 1_000
            )));
        }
        Ok(signed_at)
    }
}

/// Checks that a signature is used with one body only.
struct OneBodyVerifier {
    digest: Sha256,
    signature: Used,
    used: Arc<UsedSignatures>,
    now: i64,
    verified: Verified,
}

impl BodyVerifier for OneBodyVerifier {
    fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    fn finish(self: Box<Self>) -> Result<Verified, Refusal> {
        let digest = self.digest.finalize().into();
        if !self.used.vouches(self.signature, digest, self.now) {
            return Err(Refusal::BadSignature(
                "the signature came before, with another body".to_owned(),
            ));
        }
        Ok(self.verified)
    }
}

impl UsedSignatures {
    /// Whether a signature is new, or was used with this body before: repeating the same request does no harm.
    fn vouches(&self, signature: Used, digest: [u8; 32], now: i64) -> bool {
        let mut used = self.0.lock();
        *used = used.split_off(&(now.saturating_sub(TOLERANCE), Vec::new()));
        if let Some(first) = used.get(&signature) {
            return *first == digest;
        }
        if used.len() >= MAX_REMEMBERED {
            used.pop_first();
        }
        used.insert(signature, digest);
        true
    }
}

/// `base64(HMAC-SHA256(secret, timestamp + "\n" + secret))`. It is percent-encoded only in URLs.
fn sign(secret: &[u8], timestamp: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for part in [timestamp, b"\n", secret] {
        mac.update(part);
    }
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

/// Milliseconds since 1970, digits only.
fn milliseconds(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
