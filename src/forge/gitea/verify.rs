//! Gitea's signature: HMAC-SHA256 in bare hex over the JSON, even if that was sent in a form (GitHub signs the
//! form's text).
//!
//! Gitea also sends GitHub's and Gogs's headers, and sends all of them empty if the webhook has no secret. Only its
//! own and Forgejo's are checked.

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::forge::body::{FORM, FormField};
use crate::forge::verifier::Macs;
use crate::forge::{BodyVerifier, Headers, Refusal, Verified};

/// All of these that are present must be right: a valid one does not compensate for a wrong one.
const SIGNATURES: [&str; 2] = ["x-gitea-signature", "x-forgejo-signature"];

/// Verifies the JSON of a body against the signatures in the headers.
pub(super) struct SignatureVerifier {
    macs: Macs,
    /// Extracts the JSON if the body is a form.
    form: Option<FormField>,
    signatures: Vec<Vec<u8>>,
    verified: Verified,
}

impl SignatureVerifier {
    pub fn new(secrets: &[SecretString], headers: &Headers) -> Result<Self, Refusal> {
        let came = SIGNATURES.into_iter().filter(|name| headers.has(name));
        let signatures: Vec<Vec<u8>> = came
            .map(|name| headers.get(name).map(<[u8]>::to_vec).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        if signatures.is_empty() {
            return Err(Refusal::Unsigned(
                "no X-Gitea-Signature header came with the request".to_owned(),
            ));
        }
        let name = |names: [&str; 2]| names.into_iter().find_map(|name| headers.name(name));
        Ok(Self {
            macs: Macs::new(secrets.iter().map(|s| s.expose_secret().as_bytes())),
            form: is_form(headers).then(FormField::default),
            signatures,
            verified: Verified {
                delivery_id: name(["x-gitea-delivery", "x-forgejo-delivery"]).map(str::to_owned),
                event: name(["x-gitea-event", "x-forgejo-event"])
                    .unwrap_or_default()
                    .to_owned(),
            },
        })
    }
}

impl BodyVerifier for SignatureVerifier {
    fn update(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Some(form) => form.update(bytes, |json| self.macs.update(json)),
            None => self.macs.update(bytes),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Verified, Refusal> {
        if let Some(form) = self.form.take() {
            let found = form.finish(|json| self.macs.update(json));
            found.map_err(|_| wrong())?;
        }
        let codes = self.macs.finish();
        let good = self
            .signatures
            .iter()
            .fold(Choice::from(1), |good, signature| {
                good & codes.any(|code| hex::encode(code).as_bytes().ct_eq(signature))
            });
        if !bool::from(good) {
            return Err(wrong());
        }
        Ok(self.verified)
    }
}

fn wrong() -> Refusal {
    Refusal::BadSignature("the X-Gitea-Signature header does not fit".to_owned())
}

fn is_form(headers: &Headers) -> bool {
    let content_type = headers.text("content-type").unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case(FORM)
}
