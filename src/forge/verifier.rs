//! Verifies that a request comes from its forge, while its body arrives.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::Choice;

use super::{Refusal, Verified};

/// Verifies a request with known headers by the bytes of its body as they arrive.
pub trait BodyVerifier: Send {
    /// Adds the next bytes of the body, split in any way.
    fn update(&mut self, bytes: &[u8]);

    /// The verified request, once the body is complete.
    ///
    /// # Errors
    ///
    /// The signature does not match the body, or is too old.
    fn finish(self: Box<Self>) -> Result<Verified, Refusal>;
}

/// A request that its headers alone authenticate.
pub struct VerifiedByHeaders(pub Verified);

impl BodyVerifier for VerifiedByHeaders {
    fn update(&mut self, _: &[u8]) {}

    fn finish(self: Box<Self>) -> Result<Verified, Refusal> {
        Ok(self.0)
    }
}

/// The HMAC-SHA256 of some bytes with each of several keys.
pub(super) struct Macs(Vec<Hmac<Sha256>>);

impl Macs {
    /// One for each key. Empty keys are never used.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        let keys = keys.into_iter().filter(|key| !key.is_empty());
        let macs = keys.filter_map(|key| Hmac::new_from_slice(key).ok());
        Self(macs.collect())
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for mac in &mut self.0 {
            mac.update(bytes);
        }
    }

    /// The codes of the bytes so far.
    pub fn finish(self) -> Codes {
        let codes = self.0.into_iter().map(|mac| mac.finalize().into_bytes());
        Codes(codes.map(Into::into).collect())
    }
}

/// The results of [`Macs`].
pub(super) struct Codes(Vec<[u8; 32]>);

impl Codes {
    /// The code of the first key, for signing.
    pub fn first(&self) -> Option<&[u8; 32]> {
        self.0.first()
    }

    /// Whether any of them matches. Tries every one, so that timing does not reveal which.
    pub fn any(&self, fits: impl Fn(&[u8]) -> Choice) -> Choice {
        self.0
            .iter()
            .fold(Choice::from(0), |good, code| good | fits(code))
    }
}
