//! GitHub's signature: HMAC-SHA256 over the raw request body, in `X-Hub-Signature-256`.
//!
//! The older `X-Hub-Signature` (SHA-1), which GitHub also sends, is never checked.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::forge::verifier::Macs;
use crate::forge::{BodyVerifier, Headers, Refusal, Verified};

const SIGNATURE: &str = "x-hub-signature-256";

/// Verifies a body against its signature.
pub(super) struct SignatureVerifier {
    macs: Macs,
    signature: Vec<u8>,
    verified: Verified,
}

impl SignatureVerifier {
    pub fn new(secrets: &[SecretString], headers: &Headers) -> Result<Self, Refusal> {
        let Some(signature) = headers.get(SIGNATURE) else {
            return Err(Refusal::Unsigned(
                "no single X-Hub-Signature-256 header came with the request".to_owned(),
            ));
        };
        Ok(Self {
            macs: Macs::new(secrets.iter().map(|s| s.expose_secret().as_bytes())),
            signature: signature.to_owned(),
            verified: Verified {
                delivery_id: headers.name("x-github-delivery").map(str::to_owned),
                event: headers
                    .name("x-github-event")
                    .unwrap_or_default()
                    .to_owned(),
            },
        })
    }
}

impl BodyVerifier for SignatureVerifier {
    fn update(&mut self, bytes: &[u8]) {
        self.macs.update(bytes);
    }

    fn finish(self: Box<Self>) -> Result<Verified, Refusal> {
        // The only valid value of the header. Comparing it as text rules out other spellings.
        let good = self.macs.finish().any(|code| {
            let right = format!("sha256={}", hex::encode(code));
            right.as_bytes().ct_eq(&self.signature)
        });
        if !bool::from(good) {
            return Err(Refusal::BadSignature(
                "the X-Hub-Signature-256 header does not fit the body".to_owned(),
            ));
        }
        Ok(self.verified)
    }
}
