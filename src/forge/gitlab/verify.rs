//! GitLab's two ways to authenticate a delivery: a signature (GitLab 19.0, after Standard Webhooks), or a secret
//! sent in clear text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::forge::verifier::Macs;
use crate::forge::{BodyVerifier, Headers, Refusal, Verified, VerifiedByHeaders};

/// How far a delivery's timestamp may be off in either direction, in seconds. The usual tolerance of Standard
/// Webhooks.
pub(super) const TOLERANCE: i64 = 300;
/// The length of GitLab's keys in bytes; it accepts no others.
const KEY_BYTES: usize = 32;

/// How deliveries are authenticated.
pub enum Trust {
    /// By a signature with one of these. A secret in clear text is then never accepted, even if the signature is
    /// missing: otherwise an attacker could simply omit it.
    Signature(Vec<SigningToken>),
    /// By one of these secrets in clear text. Empty ones are never used.
    Secret(Vec<SecretString>),
}

/// The key in a signing token.
pub struct SigningToken(SecretBox<[u8; KEY_BYTES]>);

impl SigningToken {
    /// Parses `whsec_<base64 of 32 bytes>`. The error ends a sentence that names the token.
    pub fn parse(token: &SecretString) -> Result<Self, &'static str> {
        let Some(base64) = token.expose_secret().strip_prefix("whsec_") else {
            return Err("does not start with `whsec_`");
        };
        let mut key = SecretBox::new(Box::new([0; KEY_BYTES]));
        // The slice must be filled exactly: other lengths are errors or leave bytes over.
        match STANDARD.decode_slice(base64, key.expose_secret_mut()) {
            Ok(KEY_BYTES) => Ok(Self(key)),
            Ok(_) | Err(_) => Err("is not 32 bytes in base64 after `whsec_`"),
        }
    }
}

impl SigningToken {
    /// The key itself.
    pub(super) fn key(&self) -> &[u8] {
        &self.0.expose_secret()[..]
    }
}

impl Trust {
    /// The stronger of what is configured. None if neither is.
    pub fn of(signing_tokens: Vec<SigningToken>, secrets: Vec<SecretString>) -> Option<Self> {
        if !signing_tokens.is_empty() {
            Some(Self::Signature(signing_tokens))
        } else if secrets.iter().any(|s| !s.expose_secret().is_empty()) {
            Some(Self::Secret(secrets))
        } else {
            None
        }
    }

    /// Verifies a request by its headers first, and then by its body. `now` is in epoch seconds.
    pub(super) fn verifier(
        &self,
        headers: &Headers,
        now: i64,
    ) -> Result<Box<dyn BodyVerifier>, Refusal> {
        // `Idempotency-Key` and `webhook-id` are the same id, and only the latter is signed. X-Gitlab-Event-UUID
        // and X-Gitlab-Webhook-UUID do not identify a delivery.
        let verified = |ids: [&str; 2]| Verified {
            delivery_id: ids
                .into_iter()
                .find_map(|header| headers.name(header))
                .map(str::to_owned),
            event: headers
                .name("x-gitlab-event")
                .unwrap_or_default()
                .to_owned(),
        };
        Ok(match self {
            Self::Signature(tokens) => {
                let verified = verified(["webhook-id", "idempotency-key"]);
                Box::new(SignatureVerifier::new(tokens, headers, now, verified)?)
            }
            Self::Secret(secrets) => {
                check_secret(secrets, headers)?;
                Box::new(VerifiedByHeaders(verified([
                    "idempotency-key",
                    "webhook-id",
                ])))
            }
        })
    }
}

fn check_secret(secrets: &[SecretString], headers: &Headers) -> Result<(), Refusal> {
    let Some(token) = headers.get("x-gitlab-token") else {
        return Err(Refusal::Unsigned(
            "no single X-Gitlab-Token header came with the request".to_owned(),
        ));
    };
    // Every secret is tried, so that timing does not reveal which one matches.
    let good = secrets
        .iter()
        .map(|secret| secret.expose_secret().as_bytes())
        .filter(|secret| !secret.is_empty())
        .fold(Choice::from(0), |good, secret| good | secret.ct_eq(token));
    if bool::from(good) {
        Ok(())
    } else {
        Err(Refusal::BadSignature(
            "the X-Gitlab-Token header is not the hook's secret".to_owned(),
        ))
    }
}

/// Verifies a body against the signatures in the header.
struct SignatureVerifier {
    macs: Macs,
    /// One or more, as in the header.
    signatures: Vec<u8>,
    sent_at: i64,
    now: i64,
    verified: Verified,
}

impl SignatureVerifier {
    fn new(
        tokens: &[SigningToken],
        headers: &Headers,
        now: i64,
        verified: Verified,
    ) -> Result<Self, Refusal> {
        let (Some(id), Some(timestamp), Some(signatures)) = (
            headers.get("webhook-id").filter(|id| !id.is_empty()),
            headers.get("webhook-timestamp"),
            headers.get("webhook-signature"),
        ) else {
            return Err(Refusal::Unsigned(
                "the headers webhook-id, webhook-timestamp and webhook-signature did not all come, each once".to_owned(),
            ));
        };
        let sent_at = seconds(timestamp).ok_or_else(wrong)?;
        let keys = tokens.iter().map(|token| &token.0.expose_secret()[..]);
        let mut macs = Macs::new(keys);
        for part in [id, b".", timestamp, b"."] {
            macs.update(part);
        }
        Ok(Self {
            macs,
            signatures: signatures.to_owned(),
            sent_at,
            now,
            verified,
        })
    }
}

impl BodyVerifier for SignatureVerifier {
    fn update(&mut self, bytes: &[u8]) {
        self.macs.update(bytes);
    }

    fn finish(self: Box<Self>) -> Result<Verified, Refusal> {
        let good = self.macs.finish().any(|code| {
            let right = STANDARD.encode(code);
            self.signatures
                .split(u8::is_ascii_whitespace)
                // Entries of unknown versions are for other readers.
                .filter_map(|entry| entry.strip_prefix(b"v1,"))
                // Comparing the text rules out other spellings of the same bytes.
                .fold(Choice::from(0), |good, signature| {
                    good | right.as_bytes().ct_eq(signature)
                })
        });
        if !bool::from(good) {
            return Err(wrong());
        }
        // Only revealed to a sender that signed: a forged request must learn nothing.
        let off = self.now.abs_diff(self.sent_at);
        if off > TOLERANCE.unsigned_abs() {
            return Err(Refusal::BadSignature(format!(
                "the request was signed {off} seconds away from now, and {TOLERANCE} are allowed; check the clocks"
            )));
        }
        Ok(self.verified)
    }
}

fn wrong() -> Refusal {
    Refusal::BadSignature("no webhook-signature fits the request".to_owned())
}

/// Epoch seconds, digits only.
fn seconds(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
